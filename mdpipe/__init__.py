"""mdpipe: from a folder of water configurations to simulations, a film, a report and a table."""

__version__ = "0.1.0"
