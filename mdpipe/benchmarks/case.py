"""What every program of a benchmark is asked to run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mdpipe.models import WaterModel, load_model


@dataclass(frozen=True, slots=True)
class Case:
    """One box, one model, one number of threads: PME, 0.9 nm, NVT at 298.15 K.

    `steps` are timed after `warmup` steps that are not.
    """

    model_key: str
    start: Path
    n_molecules: int
    threads: int
    steps: int
    warmup: int
    dt_ps: float = 0.002
    r_cut_nm: float = 0.9
    temperature_K: float = 298.15

    @property
    def model(self) -> WaterModel:
        """The water model."""
        return load_model(self.model_key)


@dataclass(frozen=True, slots=True)
class Timing:
    """What one run of one program took: ms a step, and its peak resident memory in MB."""

    ms_per_step: float
    peak_mb: float


class Program(Protocol):
    """A program that can run a case."""

    name: str

    def missing(self, case: Case) -> str | None:
        """Say why the program cannot run this case here, or None."""

    def version(self) -> str:
        """Return the program's version."""

    def simd(self) -> str:
        """Return the instruction set that it uses."""

    def time(self, case: Case, folder: Path) -> Timing:
        """Run the case once in a process of its own."""

    def forces(self, case: Case, folder: Path) -> NDArray[np.float64]:
        """Return the forces on O, H, H at the start, (n, 3, 3), kJ/mol/nm, as timed."""
