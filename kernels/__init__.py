"""Numba kernels: arrays in, arrays out, unit-agnostic, knowing nothing of the rest of mdpipe."""
