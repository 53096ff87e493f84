"""Force field, time loop, ensembles, checkpoints."""
