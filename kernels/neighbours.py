"""Neighbours of points in any periodic cell: all within a radius, or the four nearest.

Both searches are exact for every triclinic cell and every size of it: a cell grid with few cells is
searched over as many periodic images as the radius needs, and the search for the four nearest
widens until nothing outside the searched cells can be nearer. Image points of a point itself count
as neighbours. Results do not depend on the number of threads (serial, without the GIL).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit
from mdpipe.kernels.columns import capped, sort_into_columns, widths, wrapped
from mdpipe.kernels.matrix import determinant3

__all__ = ["Neighbours", "nearest4", "neighbour_list"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

POINTS_PER_CELL = 3.0
"""Aim of the grid of `nearest4`: 27 cells hold ~80 points, of which 4 are wanted."""


class Neighbours(NamedTuple):
    """All neighbours within a radius, row by row.

    The neighbours of point ``i`` are entries ``offsets[i]:offsets[i + 1]`` of `indices` (M,) int64
    and `vectors` (M, 3) float64, the vector from ``i`` to that image of the neighbour.
    """

    offsets: Ints
    indices: Ints
    vectors: Floats


def neighbour_list(points: Floats, box: Floats, r_max: float) -> Neighbours:
    """Find every pair of points (and of their images) nearer than a radius.

    Parameters
    ----------
    points : (n, 3) float64
        Positions in any image, length.
    box : (3, 3) float64
        Rows are the cell vectors; any non-degenerate cell, length.
    r_max : float
        Radius; it may exceed half the cell, length.

    Returns
    -------
    Neighbours
        Each pair twice (i to j, and j to i with exactly the opposite vector).
    """
    n = points.shape[0]
    if n == 0:
        return Neighbours(np.zeros(1, np.int64), np.zeros(0, np.int64), np.zeros((0, 3)))
    shape = np.maximum(1, np.floor(widths(box) / r_max * (1 - 1e-9))).astype(np.int64)
    columns = sort_into_columns(points, box, capped(shape, n))
    # Two points r apart differ by at most r/width in a fractional coordinate.
    reach = np.floor(r_max / columns.edges * (1 + 1e-9)).astype(np.int64) + 1
    volume = abs(determinant3(box))
    capacity = int(n * (8.0 + 1.3 * n / volume * 4.19 * r_max**3))
    offsets = np.zeros(n + 1, np.int64)
    cell_box = np.ascontiguousarray(box, dtype=np.float64)
    while True:
        # One entry more than there is room for: what is tried is written before it is judged.
        indices = np.empty(capacity + 1, np.int64)
        vectors = np.empty((capacity + 1, 3))
        found = _fill(columns, reach, cell_box, r_max * r_max, offsets, indices, vectors)
        if found <= capacity:
            return Neighbours(offsets, indices[:found], vectors[:found])
        capacity = found


def nearest4(points: Floats, box: Floats, near: Neighbours | None = None) -> tuple[Ints, Floats]:
    """Find the four nearest neighbours of every point.

    Parameters
    ----------
    points : (n, 3) float64
        Positions in any image, length.
    box : (3, 3) float64
        Rows are the cell vectors; any non-degenerate cell, length.
    near : Neighbours, optional
        All neighbours of these points within some radius, where they are known already: whoever
        has four of them needs no search.

    Returns
    -------
    indices : (n, 4) int64
        Neighbours, nearest first.
    vectors : (n, 4, 3) float64
        Vectors from the point to them, length.
    """
    n = points.shape[0]
    indices = np.zeros((n, 4), np.int64)
    vectors = np.zeros((n, 4, 3))
    wanted = np.arange(n)
    if near is not None:
        wanted = np.flatnonzero(np.diff(near.offsets) < 4)
        _choose4(near.offsets, near.indices, near.vectors, indices, vectors)
    if wanted.size:
        edge = (abs(determinant3(box)) * POINTS_PER_CELL / n) ** (1.0 / 3.0)
        shape = np.maximum(1, np.floor(widths(box) / edge)).astype(np.int64)
        columns = sort_into_columns(points, box, capped(shape, n))
        # What lies beyond `reach` cells in some direction is further away than this edge times it.
        covered = float(columns.edges.min()) * (1 - 1e-9)
        cell_box = np.ascontiguousarray(box, dtype=np.float64)
        _nearest4(columns, cell_box, covered, wanted, indices, vectors)
    return indices, vectors


@jit()
def _fill(
    columns: Any,
    reach: Ints,
    box: Floats,
    r2_max: float,
    offsets: Ints,
    indices: Ints,
    vectors: Floats,
) -> int:
    """Fill a neighbour list as far as it has room; return how many entries there are."""
    order, place, inside, cell, heads, shape, _ = columns
    room = indices.shape[0] - 1
    found = 0
    for i in range(place.shape[0]):
        offsets[i] = found
        s = place[i]
        x0, y0, z0 = inside[s, 0], inside[s, 1], inside[s, 2]
        for a in range(cell[s, 0] - reach[0], cell[s, 0] + reach[0] + 1):
            ca, wa = wrapped(a, shape[0])
            for b in range(cell[s, 1] - reach[1], cell[s, 1] + reach[1] + 1):
                cb, wb = wrapped(b, shape[1])
                column = (ca * shape[1] + cb) * shape[2]
                c = cell[s, 2] - reach[2]
                while c <= cell[s, 2] + reach[2]:
                    # As many cells of this column as lie in the same image are one run.
                    cc, wc = wrapped(c, shape[2])
                    run = min(shape[2] - cc, cell[s, 2] + reach[2] + 1 - c)
                    c += run
                    sx = wa * box[0, 0] + wb * box[1, 0] + wc * box[2, 0]
                    sy = wa * box[0, 1] + wb * box[1, 1] + wc * box[2, 1]
                    sz = wa * box[0, 2] + wb * box[1, 2] + wc * box[2, 2]
                    itself = s if wa == 0 and wb == 0 and wc == 0 else -1
                    for t in range(heads[column + cc], heads[column + cc + run]):
                        # In this order of the sum, i to j is exactly the opposite of j to i.
                        x = (inside[t, 0] - x0) + sx
                        y = (inside[t, 1] - y0) + sy
                        z = (inside[t, 2] - z0) + sz
                        # Written first and kept by a sum: a branch here is mispredicted too often.
                        here = min(found, room)
                        indices[here] = order[t]
                        vectors[here, 0] = x
                        vectors[here, 1] = y
                        vectors[here, 2] = z
                        found += (x * x + y * y + z * z < r2_max) & (t != itself)
    offsets[place.shape[0]] = found
    return found


@jit()
def _insert(
    best: Floats, indices: Ints, vectors: Floats, j: int, x: float, y: float, z: float, r2: float
) -> None:
    """Put a point that is nearer than the fourth among the four nearest."""
    slot = 3
    while slot > 0 and best[slot - 1] > r2:
        best[slot] = best[slot - 1]
        indices[slot] = indices[slot - 1]
        vectors[slot, 0] = vectors[slot - 1, 0]
        vectors[slot, 1] = vectors[slot - 1, 1]
        vectors[slot, 2] = vectors[slot - 1, 2]
        slot -= 1
    best[slot] = r2
    indices[slot] = j
    vectors[slot, 0] = x
    vectors[slot, 1] = y
    vectors[slot, 2] = z


@jit()
def _choose4(
    offsets: Ints, near: Ints, near_vectors: Floats, indices: Ints, vectors: Floats
) -> None:
    """Choose the four nearest out of a list for every point that has as many."""
    best = np.empty(4)
    for i in range(indices.shape[0]):
        if offsets[i + 1] - offsets[i] < 4:
            continue
        best[:] = np.inf
        for k in range(offsets[i], offsets[i + 1]):
            x, y, z = near_vectors[k, 0], near_vectors[k, 1], near_vectors[k, 2]
            r2 = x * x + y * y + z * z
            if r2 < best[3]:
                _insert(best, indices[i], vectors[i], near[k], x, y, z, r2)


@jit()
def _nearest4(
    columns: Any, box: Floats, covered: float, wanted: Ints, indices: Ints, vectors: Floats
) -> None:
    """Keep the four nearest points, widening the search until it is sure of them."""
    order, place, inside, cell, heads, shape, _ = columns
    best = np.empty(4)
    for w in range(wanted.shape[0]):
        i = wanted[w]
        s = place[i]
        reach = 0
        best[3] = np.inf
        while best[3] > (reach * covered) ** 2:
            reach += 1
            best[:] = np.inf
            for a in range(cell[s, 0] - reach, cell[s, 0] + reach + 1):
                ca, wa = wrapped(a, shape[0])
                for b in range(cell[s, 1] - reach, cell[s, 1] + reach + 1):
                    cb, wb = wrapped(b, shape[1])
                    column = (ca * shape[1] + cb) * shape[2]
                    c = cell[s, 2] - reach
                    while c <= cell[s, 2] + reach:
                        cc, wc = wrapped(c, shape[2])
                        run = min(shape[2] - cc, cell[s, 2] + reach + 1 - c)
                        c += run
                        sx = wa * box[0, 0] + wb * box[1, 0] + wc * box[2, 0]
                        sy = wa * box[0, 1] + wb * box[1, 1] + wc * box[2, 1]
                        sz = wa * box[0, 2] + wb * box[1, 2] + wc * box[2, 2]
                        itself = s if wa == 0 and wb == 0 and wc == 0 else -1
                        for t in range(heads[column + cc], heads[column + cc + run]):
                            x = (inside[t, 0] - inside[s, 0]) + sx
                            y = (inside[t, 1] - inside[s, 1]) + sy
                            z = (inside[t, 2] - inside[s, 2]) + sz
                            r2 = x * x + y * y + z * z
                            if r2 < best[3] and t != itself:
                                _insert(best, indices[i], vectors[i], order[t], x, y, z, r2)
