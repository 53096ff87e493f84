"""What every program of a benchmark is asked to run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from mdpipe.models import WaterModel, load_model


@dataclass(frozen=True, slots=True)
class Case:
    """One box, one model, one number of threads: PME, NVT, from a state that is a liquid."""

    model_key: str
    start: Path
    n_molecules: int
    threads: int
    dt_ps: float = 0.002
    r_cut_nm: float = 0.9
    temperature_K: float = 298.15

    @property
    def model(self) -> WaterModel:
        """The water model."""
        return load_model(self.model_key)

    @property
    def atoms(self) -> int:
        """Number of atoms; the site M of a model is none."""
        return 3 * self.n_molecules

    def plain(self) -> dict[str, Any]:
        """Return the case as plain data, for a process of its own."""
        return asdict(self) | {"start": str(self.start)}


class Timing(NamedTuple):
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

    def parts(self, case: Case, folder: Path) -> dict[str, float] | None:
        """Return where the time of a step goes, ms, or None where the program does not say."""


def run_length(atoms: int, atom_steps: float, most: int, multiple: int = 1) -> int:
    """Return how many steps make a run of a few seconds.

    Parameters
    ----------
    atoms : int
        Size of the box.
    atom_steps : float
        Steps times atoms that the program is given.
    most : int
        At most so many steps.
    multiple : int
        The number is a multiple of this, and at least it.

    Returns
    -------
    int
        Number of steps.
    """
    return multiple * max(1, round(min(atom_steps / atoms, most) / multiple))
