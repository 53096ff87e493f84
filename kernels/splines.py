"""Cardinal B-splines of order 4 and 5, their slopes, and rows of them, in explicit vectors."""

from __future__ import annotations

from typing import Any

from mdpipe.kernels.simd import Vector

__all__ = ["interleave", "spline", "spline_slope", "sum_each"]


def spline(w: Vector, order: int) -> list[Any]:
    """Weigh the grid points from the lower corner of the cell on.

    Parameters
    ----------
    w : Vector
        Place in the cell, 0 to 1.
    order : int
        4 or 5.

    Returns
    -------
    list of Vector
        `order` weights; they add up to 1.
    """
    v = 1.0 - w
    vv, ww = v * v, w * w
    a = vv * v * (1.0 / 6.0)
    d = ww * w * (1.0 / 6.0)
    b = (w * 0.5 - 1.0).fma(ww, w.trace.constant(2.0 / 3.0, "f32", w.lanes))
    c = 1.0 - a - b - d
    if order == 4:
        return [a, b, c, d]
    return [
        v * a * 0.25,
        ((w + 3.0) * a + (1.0 + v) * b) * 0.25,
        ((w + 2.0) * b + (2.0 + v) * c) * 0.25,
        ((w + 1.0) * c + (3.0 + v) * d) * 0.25,
        w * d * 0.25,
    ]


def spline_slope(w: Vector, order: int) -> list[Any]:
    """Differentiate the weights with respect to w; as `spline`."""
    if order == 5:
        a, b, c, d = spline(w, 4)
        return [-a, a - b, b - c, c - d, d]
    v = 1.0 - w
    a = v * v * 0.5
    c = w * w * 0.5
    b = 1.0 - a - c
    return [-a, a - b, b - c, c]


def interleave(rows: list[Vector]) -> list[Vector]:
    """Put the first lanes of all rows side by side, then the second ones, and so on.

    Parameters
    ----------
    rows : list of Vector
        A power of two of them.

    Returns
    -------
    list of Vector
        As many.
    """
    count = len(rows)
    if count == 1:
        return rows
    lanes = rows[0].lanes
    even, odd = interleave(rows[0::2]), interleave(rows[1::2])
    both = [place for k in range(lanes) for place in (k, lanes + k)]
    answer = []
    for a, b in zip(even, odd, strict=True):
        answer += [a.shuffle(b, both[:lanes]), a.shuffle(b, both[lanes:])]
    return answer


def sum_each(rows: list[Vector]) -> Vector:
    """Add up the lanes of each vector.

    Parameters
    ----------
    rows : list of Vector
        As many as they have lanes.

    Returns
    -------
    Vector
        The sums, in the order of the rows.
    """
    lanes = rows[0].lanes
    part = lanes
    while len(rows) > 1:
        part //= 2
        low = [k for k in range(2 * lanes) if k // part % 2 == 0]
        high = [k for k in range(2 * lanes) if k // part % 2 == 1]
        rows = [
            a.shuffle(b, low) + a.shuffle(b, high)
            for a, b in zip(rows[0::2], rows[1::2], strict=True)
        ]
    return rows[0]
