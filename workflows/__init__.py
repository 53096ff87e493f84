"""The graph of steps, and the engines that run it."""
