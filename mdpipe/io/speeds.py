"""Units of velocities in files that name none: the one that gives a likely temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from mdpipe.io.raw import Atoms
from mdpipe.state import Array
from mdpipe.units import BOLTZMANN

ANGSTROM_PER_FS = 100.0
"""1 Å/fs in nm/ps."""

ANGSTROM_PER_PS = 0.1
"""1 Å/ps in nm/ps."""

ASE_SPEED = 9.822694788464063
"""ASE's unit of velocity, Å over Å √(amu/eV), in nm/ps."""

LIKELY_K = 300.0


def masses_of(atoms: Atoms) -> Array:
    """Return the masses of the atoms of water.

    Parameters
    ----------
    atoms : Atoms
        With elements.

    Returns
    -------
    (n,) float64
        amu; 1 for what is neither O nor H.
    """
    table = {8: 15.9994, 1: 1.008}
    return np.array([table.get(int(z), 1.0) for z in atoms.elements])


def likely_unit(
    velocities: Array,
    atoms: Atoms,
    units: Sequence[float] = (ANGSTROM_PER_FS, ASE_SPEED, ANGSTROM_PER_PS),
) -> float:
    """Choose the unit in which velocities mean a temperature nearest to 300 K.

    The units lie a factor of 10 and 100 apart, temperatures a factor of 100 and 10⁴.

    Parameters
    ----------
    velocities : (n, 3) float64
        In an unknown unit.
    atoms : Atoms
        What moves.
    units : sequence of float
        The candidates in nm/ps.

    Returns
    -------
    float
        The chosen unit in nm/ps.
    """
    masses = masses_of(atoms) * (atoms.elements > 0)
    # 3 atoms of a molecule share 6 to 9 degrees of freedom; 7 is near enough for factors of 100.
    dof = max(7.0 / 3.0 * int((masses > 0.0).sum()), 1.0)
    energy = float((masses[:, None] * velocities**2).sum())
    if not math.isfinite(energy) or energy <= 0.0:
        return units[0]
    return min(
        units, key=lambda unit: abs(math.log(energy * unit**2 / (dof * BOLTZMANN) / LIKELY_K))
    )
