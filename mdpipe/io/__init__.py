"""Readers and writers; the only doors to MDAnalysis and ASE."""
