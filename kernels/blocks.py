"""Blocks of molecules as rows of a scratch array: filling, kicking, summing and writing back.

No sum runs over the lanes of a vector but in the fixed order of `fold_row`, so the width of the
vectors does not change a bit.
"""

from __future__ import annotations

from typing import Any, Final

from mdpipe.kernels._jit import jit
from mdpipe.kernels.settle import LANES, MASS_H, MASS_O, PLACE, SPEED

__all__ = [
    "N_SUMS",
    "PUSH",
    "ROWS",
    "SPARE",
    "kick_block",
    "kinetic_block",
    "load_block",
    "store_block",
    "sum_block",
]

N_SUMS: Final = 6
"""Columns of the sums: Σ m v²/2, Σ m v (3), Σ M V²/2 of centres, Σ m v²/2 before the noise."""

PUSH: Final = 24 * LANES
"""Rows 24-32 of the scratch, after those of `settle`: what the kick adds to the velocities."""

SPARE: Final = 33 * LANES
"""Rows 33-34: terms of the sums."""

ROWS: Final = 35
FOLD: Final = 8


@jit()
def kick_block(s: Any) -> None:
    """Add the kick to the velocities.

    Parameters
    ----------
    s : (ROWS LANES,) float64
        Scratch.
    """
    for row in range(9 * LANES):
        s[SPEED + row] += s[PUSH + row]


@jit()
def load_block(
    s: Any, x: Any, v: Any, f: Any, first: int, count: int, per_o: float, per_h: float
) -> None:
    """Fill the scratch and kick the velocities; idle lanes repeat the last molecule.

    Parameters
    ----------
    s : (ROWS LANES,) float64
        Out: bonds, places, velocities after the kick, and what the kick added.
    x, v, f : (n, 9) float64
        Positions, velocities and forces.
    first, count : int
        The molecules of the block.
    per_o, per_h : float
        Length of the kick over the mass of O and of H.
    """
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
        for c in range(3):
            s[PUSH + c * LANES + k] = per_o * f[i, c]
            s[PUSH + (3 + c) * LANES + k] = per_h * f[i, 3 + c]
            s[PUSH + (6 + c) * LANES + k] = per_h * f[i, 6 + c]
    kick_block(s)


@jit()
def store_block(s: Any, x: Any, v: Any, first: int, count: int, moved: bool) -> None:
    """Write velocities back, and positions where they moved.

    Parameters
    ----------
    s : (ROWS LANES,) float64
        Scratch.
    x, v : (n, 9) float64
        Out: positions and velocities.
    first, count : int
        The molecules of the block.
    moved : bool
        Whether positions are written.
    """
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
    """Yield Σ m v²/2 of a block.

    Parameters
    ----------
    s : (ROWS LANES,) float64
        Scratch; its spare rows are overwritten.
    water : (12,) float64
        From `settle.constants`.
    count : int
        Lanes in use.

    Returns
    -------
    float
        The kinetic energy.
    """
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
    """Fill columns 0-4 of the sums of a block.

    Parameters
    ----------
    s, water, count
        As in `kinetic_block`.
    sums : (6,) float64
        Out: Σ m v²/2, Σ m v (3), Σ M V²/2 of the centres; the last column is left alone.
    """
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
