"""Kicks, drifts and constraints of all molecules, one call for each half of a step or for both.

References
----------
Andersen, J. Comput. Phys. 52, 24 (1983), DOI 10.1016/0021-9991(83)90014-1 (RATTLE).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.blocks import N_SUMS, ROWS, kick_block, load_block, store_block, sum_block
from mdpipe.kernels.settle import (
    LANES,
    MASS_H,
    MASS_O,
    PLACE,
    RIGID,
    SPEED,
    settle_positions,
    settle_velocities,
)

__all__ = ["DRIFT", "KICK", "KICK_DRIFT", "N_SUMS", "advance", "n_blocks"]

KICK: Final = 0
"""v += kick f/m, then v is projected on the constraints."""

DRIFT: Final = 1
"""v += kick f/m, x += dt v with constraints; v becomes the displacement divided by dt."""

KICK_DRIFT: Final = 2
"""KICK and then DRIFT in one pass, with the bits of the two."""


@jit()
def drift_block(s: Any, water: Any, dt: float) -> None:
    """Move by dt v, constrain, and correct v by what the constraints moved."""
    for c in range(9):
        for k in range(LANES):
            s[PLACE + c * LANES + k] += dt * s[SPEED + c * LANES + k]
    if water[RIGID] > 0.0:
        settle_positions(s, water)
        rate = 1.0 / dt
        for row in range(3 * LANES):
            s[SPEED + row] = s[PLACE + row] * rate
        for row in range(6 * LANES):
            s[SPEED + 3 * LANES + row] = (s[PLACE + 3 * LANES + row] - s[row]) * rate


@jit()
def advance_block(
    mode: int, block: int, x: Any, v: Any, f: Any, water: Any, dt: float, kick: float, sums: Any
) -> None:
    """Do one operation on one block; the arguments are those of `advance`."""
    first = block * LANES
    count = min(LANES, x.shape[0] - first)
    s = np.empty(ROWS * LANES, np.float64)
    load_block(s, x, v, f, first, count, kick / water[MASS_O], kick / water[MASS_H])
    if mode != DRIFT and water[RIGID] > 0.0:
        settle_velocities(s, water)
    if mode == KICK_DRIFT:
        kick_block(s)
    if mode != KICK:
        drift_block(s, water, dt)
    sum_block(s, water, count, sums)
    sums[5] = 0.0
    store_block(s, x, v, first, count, mode != KICK)


@parallel_jit()
def advance(
    mode: int, x: Any, v: Any, f: Any, water: Any, dt: float, kick: float, sums: Any
) -> None:
    """Do one operation of an integrator on every molecule, in place.

    Parameters
    ----------
    mode : int
        `KICK`, `DRIFT` or `KICK_DRIFT`.
    x, v, f : (n, 9) float64
        Positions, velocities and forces: x, y, z of O, H1, H2.
    water : (12,) float64
        From `settle.constants`.
    dt, kick : float
        Lengths of the drift and of each kick.
    sums : (ceil(n / LANES), 6) float64
        Overwritten by each block's sums (`blocks.N_SUMS`), taken after the operation.

    Notes
    -----
    Blocks are fixed and the sums are kept apart, so the bits do not depend on the threads.
    """
    for block in numba.prange(sums.shape[0]):
        advance_block(mode, block, x, v, f, water, dt, kick, sums[block])


def n_blocks(n_molecules: int) -> int:
    """Return how many blocks hold so many molecules.

    Parameters
    ----------
    n_molecules : int
        At least 1.

    Returns
    -------
    int
        Rows of the sums.
    """
    return math.ceil(n_molecules / LANES)
