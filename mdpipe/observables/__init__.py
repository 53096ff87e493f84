"""Observables of a scene with standard errors, and the summary of all groups."""

from mdpipe.observables.definitions import METHODS, OBSERVABLES, REFERENCES
from mdpipe.observables.measure import measure_scene
from mdpipe.observables.results import Measurements, Scalar, load_measurements
from mdpipe.observables.summary import Row, summarise, write_summary

__all__ = [
    "METHODS",
    "OBSERVABLES",
    "REFERENCES",
    "Measurements",
    "Row",
    "Scalar",
    "load_measurements",
    "measure_scene",
    "summarise",
    "write_summary",
]
