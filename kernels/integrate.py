"""Kicks, drifts and constraints of all molecules, one call for each half of a step.

References
----------
Andersen, J. Comput. Phys. 52, 24 (1983), DOI 10.1016/0021-9991(83)90014-1 (RATTLE).
Zhang et al., J. Phys. Chem. A 123, 6056 (2019), DOI 10.1021/acs.jpca.9b02771 (Langevin middle).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.rng import MASK, SHIFT, philox4x32, two_normals
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

__all__ = ["DRIFT", "KICK", "LANGEVIN", "N_SUMS", "advance", "n_blocks"]

KICK: Final = 0
"""v += kick f/m, then v is projected on the constraints."""

DRIFT: Final = 1
"""v += kick f/m, x += dt v with constraints; v becomes the displacement divided by dt."""

LANGEVIN: Final = 2
"""v += kick f/m, projected; half drift, Ornstein-Uhlenbeck, half drift with constraints."""

N_SUMS: Final = 6
"""Columns of the sums: Σ m v²/2, Σ m v (3), Σ M V²/2 of centres, Σ m v²/2 before the noise."""

N_WORDS: Final = 12
PART_SHIFT: Final = np.uint64(28)
ROWS: Final = 24


@jit()
def gather_block(s: Any, x: Any, v: Any, first: int, count: int) -> None:
    """Fill the scratch with bonds, places and velocities; idle lanes repeat the last molecule."""
    for k in range(LANES):
        i = first + min(k, count - 1)
        for c in range(3):
            s[c * LANES + k] = x[i, 3 + c] - x[i, c]
            s[(3 + c) * LANES + k] = x[i, 6 + c] - x[i, c]
            s[PLACE + c * LANES + k] = 0.0
            s[PLACE + (3 + c) * LANES + k] = s[c * LANES + k]
            s[PLACE + (6 + c) * LANES + k] = s[(3 + c) * LANES + k]
        for c in range(9):
            s[SPEED + c * LANES + k] = v[i, c]


@jit()
def kick_block(s: Any, f: Any, first: int, count: int, per_o: float, per_h: float) -> None:
    """Add `per_o` f to the velocities of O, `per_h` f to those of H."""
    for k in range(LANES):
        i = first + min(k, count - 1)
        for c in range(3):
            s[SPEED + c * LANES + k] += per_o * f[i, c]
            s[SPEED + (3 + c) * LANES + k] += per_h * f[i, 3 + c]
            s[SPEED + (6 + c) * LANES + k] += per_h * f[i, 6 + c]


@jit()
def noise_block(s: Any, first: int, scales: Any, seed: Any, stream: Any, step: Any) -> None:
    """Replace v by a v + b ξ with three Philox calls for each molecule; scales = (a, b_O, b_H)."""
    words = np.empty(N_WORDS, np.float64)
    for k in range(LANES):
        for call in range(3):
            part = stream | (np.uint64(call) << PART_SHIFT)
            w0, w1, w2, w3 = philox4x32(
                np.uint64(first + k), step & MASK, step >> SHIFT, part, seed
            )
            words[4 * call], words[4 * call + 1] = two_normals(w0, w1)
            words[4 * call + 2], words[4 * call + 3] = two_normals(w2, w3)
        for c in range(9):
            b = scales[1] if c < 3 else scales[2]
            row = SPEED + c * LANES + k
            s[row] = scales[0] * s[row] + b * words[c]


@jit()
def drift_block(s: Any, water: Any, dt: float) -> None:
    """Move by dt v, constrain, and correct v by what the constraints moved."""
    for c in range(9):
        for k in range(LANES):
            s[PLACE + c * LANES + k] += dt * s[SPEED + c * LANES + k]
    if water[RIGID] > 0.0:
        settle_positions(s, water)
        for k in range(LANES):
            for c in range(3):
                s[SPEED + c * LANES + k] = s[PLACE + c * LANES + k] / dt
                for atom in range(1, 3):
                    row = (3 * atom + c) * LANES + k
                    moved = s[PLACE + row] - s[(3 * atom - 3 + c) * LANES + k]
                    s[SPEED + row] = moved / dt


@jit()
def middle_block(
    s: Any, water: Any, dt: float, first: int, scales: Any, seed: Any, stream: Any, step: Any
) -> None:
    """Half drift, noise, half drift; then constraints of positions and of velocities."""
    half = 0.5 * dt
    for c in range(9):
        for k in range(LANES):
            s[PLACE + c * LANES + k] += half * s[SPEED + c * LANES + k]
    noise_block(s, first, scales, seed, stream, step)
    old = np.empty(9 * LANES, np.float64)
    for row in range(9 * LANES):
        s[PLACE + row] += half * s[SPEED + row]
        old[row] = s[PLACE + row]
    if water[RIGID] > 0.0:
        settle_positions(s, water)
        for row in range(9 * LANES):
            s[SPEED + row] += (s[PLACE + row] - old[row]) / dt
        for c in range(3):
            for k in range(LANES):
                s[c * LANES + k] = s[PLACE + (3 + c) * LANES + k] - s[PLACE + c * LANES + k]
                s[(3 + c) * LANES + k] = s[PLACE + (6 + c) * LANES + k] - s[PLACE + c * LANES + k]
        settle_velocities(s, water)


@jit()
def scatter_block(s: Any, x: Any, v: Any, first: int, count: int, moved: bool) -> None:
    """Write velocities back, and positions where they moved."""
    for k in range(count):
        i = first + k
        for c in range(9):
            v[i, c] = s[SPEED + c * LANES + k]
        if moved:
            for c in range(3):
                ox = x[i, c]
                x[i, c] = ox + s[PLACE + c * LANES + k]
                x[i, 3 + c] = ox + s[PLACE + (3 + c) * LANES + k]
                x[i, 6 + c] = ox + s[PLACE + (6 + c) * LANES + k]


@jit()
def kinetic_block(s: Any, water: Any, count: int) -> float:
    """Yield Σ m v²/2 of a block."""
    total = 0.0
    for k in range(count):
        o = 0.0
        h = 0.0
        for c in range(3):
            o += s[SPEED + c * LANES + k] ** 2
        for c in range(3, 9):
            h += s[SPEED + c * LANES + k] ** 2
        total += 0.5 * (water[MASS_O] * o + water[MASS_H] * h)
    return total


@jit()
def sum_block(s: Any, water: Any, count: int, sums: Any) -> None:
    """Fill columns 0-4 of the sums of a block."""
    m_o = water[MASS_O]
    m_h = water[MASS_H]
    sums[0] = kinetic_block(s, water, count)
    sums[4] = 0.0
    for c in range(3):
        momentum = 0.0
        centres = 0.0
        for k in range(count):
            p = m_o * s[SPEED + c * LANES + k] + m_h * (
                s[SPEED + (3 + c) * LANES + k] + s[SPEED + (6 + c) * LANES + k]
            )
            momentum += p
            centres += p * p
        sums[1 + c] = momentum
        sums[4] += 0.5 * centres / (m_o + 2.0 * m_h)


@jit()
def advance_block(
    mode: int, block: int, x: Any, v: Any, f: Any, water: Any, numbers: Any, keys: Any, sums: Any
) -> None:
    """Do one operation on one block; the arguments are those of `advance`."""
    first = block * LANES
    count = min(LANES, x.shape[0] - first)
    dt = numbers[0]
    kick = numbers[1]
    s = np.empty(ROWS * LANES, np.float64)
    gather_block(s, x, v, first, count)
    kick_block(s, f, first, count, kick / water[MASS_O], kick / water[MASS_H])
    if mode == DRIFT:
        drift_block(s, water, dt)
    elif water[RIGID] > 0.0:
        settle_velocities(s, water)
    sums[block, 5] = 0.0
    if mode == LANGEVIN:
        sums[block, 5] = kinetic_block(s, water, count)
        middle_block(s, water, dt, first, numbers[2:5], keys[0], keys[1], keys[2])
    sum_block(s, water, count, sums[block])
    scatter_block(s, x, v, first, count, mode != KICK)


@parallel_jit()
def advance(
    mode: int, x: Any, v: Any, f: Any, water: Any, numbers: Any, keys: Any, sums: Any
) -> None:
    """Do one operation of an integrator on every molecule, in place.

    Parameters
    ----------
    mode : int
        `KICK`, `DRIFT` or `LANGEVIN`.
    x, v, f : (n, 9) float64
        Positions, velocities and forces: x, y, z of O, H1, H2.
    water : (12,) float64
        From `settle.constants`.
    numbers : (5,) float64
        dt, length of the kick, and the factors of the Ornstein-Uhlenbeck step: a, b of O, b of H.
    keys : (3,) uint64
        Seed, stream, step.
    sums : (ceil(n / LANES), 6) float64
        Overwritten by each block's sums (`N_SUMS`), taken after the operation.

    Notes
    -----
    Blocks are fixed and the sums are kept apart, so the bits do not depend on the threads.
    """
    for block in numba.prange(sums.shape[0]):
        advance_block(mode, block, x, v, f, water, numbers, keys, sums)


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
