"""A whole step of Langevin dynamics between two force calls, by the middle scheme.

References
----------
Zhang et al., J. Phys. Chem. A 123, 6056 (2019), DOI 10.1021/acs.jpca.9b02771 (Langevin middle).
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.blocks import (
    PUSH,
    ROWS,
    kinetic_block,
    load_block,
    store_block,
    sum_block,
)
from mdpipe.kernels.noise import N_ROWS, fill_normal_rows
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

__all__ = ["advance_in_bath"]

NOISE: Final = ROWS * LANES
"""Where the rows of the noise begin in the scratch."""


@jit()
def noise_block(s: Any, first: int, scales: Any, keys: Any) -> None:
    """Replace v by a v + b ξ; scales = (a, b_O, b_H)."""
    fill_normal_rows(s[NOISE : NOISE + N_ROWS * LANES], s[NOISE + N_ROWS * LANES :], first, keys)
    for row in range(3 * LANES):
        s[SPEED + row] = scales[0] * s[SPEED + row] + scales[1] * s[NOISE + row]
    for row in range(3 * LANES, 9 * LANES):
        s[SPEED + row] = scales[0] * s[SPEED + row] + scales[2] * s[NOISE + row]


@jit()
def middle_block(s: Any, water: Any, dt: float, first: int, scales: Any, keys: Any) -> None:
    """Half drift, noise, half drift; then constraints of positions and of velocities."""
    half = 0.5 * dt
    for row in range(9 * LANES):
        s[PLACE + row] += half * s[SPEED + row]
    noise_block(s, first, scales, keys)
    for row in range(9 * LANES):
        s[PLACE + row] += half * s[SPEED + row]
        s[PUSH + row] = s[PLACE + row]
    if water[RIGID] > 0.0:
        settle_positions(s, water)
        rate = 1.0 / dt
        for row in range(9 * LANES):
            s[SPEED + row] += (s[PLACE + row] - s[PUSH + row]) * rate
        for row in range(3 * LANES):
            s[row] = s[PLACE + 3 * LANES + row] - s[PLACE + row]
            s[3 * LANES + row] = s[PLACE + 6 * LANES + row] - s[PLACE + row]
        settle_velocities(s, water)


@jit()
def advance_block_in_bath(
    block: int, x: Any, v: Any, f: Any, water: Any, numbers: Any, keys: Any, sums: Any
) -> None:
    """Advance one block; the arguments are those of `advance_in_bath`."""
    first = block * LANES
    count = min(LANES, x.shape[0] - first)
    kick = numbers[1]
    s = np.empty((ROWS + N_ROWS + 1) * LANES, np.float64)
    load_block(s, x, v, f, first, count, kick / water[MASS_O], kick / water[MASS_H])
    if water[RIGID] > 0.0:
        settle_velocities(s, water)
    before = kinetic_block(s, water, count)
    middle_block(s, water, numbers[0], first, numbers[2:5], keys)
    sum_block(s, water, count, sums)
    sums[5] = before
    store_block(s, x, v, first, count, True)


@parallel_jit()
def advance_in_bath(x: Any, v: Any, f: Any, water: Any, numbers: Any, keys: Any, sums: Any) -> None:
    """Advance every molecule by a step of the Langevin middle scheme, in place.

    v += kick f/m, projected on the constraints; half drift, Ornstein-Uhlenbeck, half drift with
    constraints.

    Parameters
    ----------
    x, v, f : (n, 9) float64
        Positions, velocities and forces: x, y, z of O, H1, H2.
    water : (12,) float64
        From `settle.constants`.
    numbers : (5,) float64
        dt, length of the kick, and the factors of the Ornstein-Uhlenbeck step: a, b of O, b of H.
    keys : (3,) uint64
        Seed, stream, step.
    sums : (ceil(n / LANES), 6) float64
        Overwritten by each block's sums (`blocks.N_SUMS`), taken after the step.

    Notes
    -----
    Blocks are fixed and the sums are kept apart, so the bits do not depend on the threads.
    """
    for block in numba.prange(sums.shape[0]):
        advance_block_in_bath(block, x, v, f, water, numbers, keys, sums[block])
