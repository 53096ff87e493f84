"""Boxes of water made from nothing: liquids on a lattice, ices with disordered protons, slabs."""
