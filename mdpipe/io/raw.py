"""What a reader yields: atoms as the file has them, before molecules are recognised."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.state import Array

VIRTUAL = 0
UNKNOWN = -1


class Atoms(NamedTuple):
    """What the atoms of a file are.

    `elements` (n,) int16 holds atomic numbers, `VIRTUAL` (0) for massless sites and `UNKNOWN` (-1)
    for atoms that carry only a type; `types` (n,) int64 then tells the types apart. `residues`
    (n,) int64 numbers the molecules of the topology, None where the file has none.
    """

    elements: NDArray[np.int16]
    residues: NDArray[np.int64] | None = None
    types: NDArray[np.int64] | None = None


class RawFrame(NamedTuple):
    """One frame as it stands in a file.

    `positions` and `velocities` are (n, 3) float64 in nm and nm/ps by the unit that the format
    declares; where it declares none, `unit_is_declared` is False and the positions are taken for
    nm (npy) or Å (LAMMPS) until the O-H distances are known. `atoms` is the same object from frame
    to frame as long as the atoms stay the same.
    """

    positions: Array
    box: Array | None
    number: int
    time_ps: float = 0.0
    velocities: Array | None = None
    atoms: Atoms | None = None
    unit_is_declared: bool = True
