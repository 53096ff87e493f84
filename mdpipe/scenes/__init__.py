"""Scenes: one simulation of one group, its specification, its key and its cache."""
