"""Water models, sample inputs, published numbers and the demo study, each with its source."""
