"""Kicks, drifts and constraints of all molecules, one call for each half of a step or for both.

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

__all__ = ["DRIFT", "KICK", "KICK_DRIFT", "LANGEVIN", "N_SUMS", "advance", "n_blocks"]

KICK: Final = 0
"""v += kick f/m, then v is projected on the constraints."""

DRIFT: Final = 1
"""v += kick f/m, x += dt v with constraints; v becomes the displacement divided by dt."""

LANGEVIN: Final = 2
"""v += kick f/m, projected; half drift, Ornstein-Uhlenbeck, half drift with constraints."""

KICK_DRIFT: Final = 3
"""KICK and then DRIFT in one pass, with the bits of the two."""

N_SUMS: Final = 6
"""Columns of the sums: Σ m v²/2, Σ m v (3), Σ M V²/2 of centres, Σ m v²/2 before the noise."""

PUSH: Final = 24 * LANES
"""Rows 24-32 of the scratch: what a kick adds; later the places before the constraints."""

SPARE: Final = 33 * LANES
"""Rows 33-45: terms of the sums, or words and deviates of the noise and a row of scratch."""

ROWS: Final = 33 + N_ROWS + 1
FOLD: Final = 8


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
def load_push(s: Any, f: Any, first: int, count: int, per_o: float, per_h: float) -> None:
    """Fill the rows of the kick: `per_o` f of O, `per_h` f of H."""
    for k in range(LANES):
        i = first + min(k, count - 1)
        for c in range(3):
            s[PUSH + c * LANES + k] = per_o * f[i, c]
            s[PUSH + (3 + c) * LANES + k] = per_h * f[i, 3 + c]
            s[PUSH + (6 + c) * LANES + k] = per_h * f[i, 6 + c]


@jit()
def kick_block(s: Any) -> None:
    """Add the kick to the velocities."""
    for row in range(9 * LANES):
        s[SPEED + row] += s[PUSH + row]


@jit()
def noise_block(s: Any, first: int, scales: Any, keys: Any) -> None:
    """Replace v by a v + b ξ; scales = (a, b_O, b_H)."""
    fill_normal_rows(s[SPARE : SPARE + N_ROWS * LANES], s[SPARE + N_ROWS * LANES :], first, keys)
    for row in range(3 * LANES):
        s[SPEED + row] = scales[0] * s[SPEED + row] + scales[1] * s[SPARE + row]
    for row in range(3 * LANES, 9 * LANES):
        s[SPEED + row] = scales[0] * s[SPEED + row] + scales[2] * s[SPARE + row]


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
def fold_row(row: Any, count: int) -> float:
    """Yield the sum of the lanes in use, in an order that vectors of any width keep."""
    for k in range(count, LANES):
        row[k] = 0.0
    for begin in range(FOLD, LANES, FOLD):
        part = row[begin : begin + FOLD]
        for k in range(FOLD):
            row[k] += part[k]
    total: float = (row[0] + row[1]) + (row[2] + row[3]) + ((row[4] + row[5]) + (row[6] + row[7]))
    return total


@jit()
def kinetic_block(s: Any, water: Any, count: int) -> float:
    """Yield Σ m v²/2 of a block."""
    half_o = 0.5 * water[MASS_O]
    half_h = 0.5 * water[MASS_H]
    v = s[SPEED : SPEED + 9 * LANES]
    row = s[SPARE : SPARE + LANES]
    for k in range(LANES):
        o = v[k] ** 2 + v[LANES + k] ** 2 + v[2 * LANES + k] ** 2
        h = v[3 * LANES + k] ** 2 + v[4 * LANES + k] ** 2 + v[5 * LANES + k] ** 2
        h += v[6 * LANES + k] ** 2 + v[7 * LANES + k] ** 2 + v[8 * LANES + k] ** 2
        row[k] = half_o * o + half_h * h
    total: float = fold_row(row, count)
    return total


@jit()
def sum_block(s: Any, water: Any, count: int, sums: Any) -> None:
    """Fill columns 0-4 of the sums of a block."""
    m_o = water[MASS_O]
    m_h = water[MASS_H]
    half_m = 0.5 / (m_o + 2.0 * m_h)
    sums[0] = kinetic_block(s, water, count)
    centres = s[SPARE + LANES : SPARE + 2 * LANES]
    centres[:] = 0.0
    momentum = s[SPARE : SPARE + LANES]
    for c in range(3):
        o = s[SPEED + c * LANES : SPEED + (c + 1) * LANES]
        h1 = s[SPEED + (3 + c) * LANES : SPEED + (4 + c) * LANES]
        h2 = s[SPEED + (6 + c) * LANES : SPEED + (7 + c) * LANES]
        for k in range(LANES):
            p = m_o * o[k] + m_h * (h1[k] + h2[k])
            momentum[k] = p
            centres[k] += half_m * p * p
        sums[1 + c] = fold_row(momentum, count)
    sums[4] = fold_row(centres, count)


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
    load_push(s, f, first, count, kick / water[MASS_O], kick / water[MASS_H])
    kick_block(s)
    if mode != DRIFT and water[RIGID] > 0.0:
        settle_velocities(s, water)
    if mode == KICK_DRIFT:
        kick_block(s)
    sums[block, 5] = 0.0
    if mode in (DRIFT, KICK_DRIFT):
        drift_block(s, water, dt)
    elif mode == LANGEVIN:
        sums[block, 5] = kinetic_block(s, water, count)
        middle_block(s, water, dt, first, numbers[2:5], keys)
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
        `KICK`, `DRIFT`, `LANGEVIN` or `KICK_DRIFT`.
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
