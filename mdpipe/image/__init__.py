"""The container image: settings, how it is built, and whether it is healthy."""
