"""Benchmarks against other programs, in interleaved runs on the same machine."""
