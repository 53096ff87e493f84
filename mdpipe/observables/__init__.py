"""What is measured on a trajectory, with errors."""
