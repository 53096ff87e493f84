"""Neighbours of points in any periodic cell: all within a radius, or the four nearest.

Both searches are exact for every triclinic cell and every size of it: a cell grid with few cells is
searched over as many periodic images as the radius needs, and the search for the four nearest
widens until nothing outside the searched cells can be nearer. Image points of a point itself count
as neighbours. Results do not depend on the number of threads (serial, without the GIL).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit
from mdpipe.kernels.matrix import determinant3, inverse3

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


class _Grid(NamedTuple):
    wrapped: Floats
    cell: Ints
    heads: Ints
    members: Ints
    shape: Ints
    edges: Floats


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
    widths = _widths(box)
    shape = np.maximum(1, np.floor(widths / r_max * (1 - 1e-9))).astype(np.int64)
    grid = _grid(points, box, _capped(shape, n))
    # Two points r apart differ by at most r/width in a fractional coordinate.
    reach = np.floor(r_max / grid.edges * (1 + 1e-9)).astype(np.int64) + 1
    volume = abs(determinant3(box))
    capacity = int(n * (8.0 + 1.3 * n / volume * 4.19 * r_max**3))
    offsets = np.zeros(n + 1, np.int64)
    cell_box = np.ascontiguousarray(box, dtype=np.float64)
    while True:
        indices = np.empty(capacity, np.int64)
        vectors = np.empty((capacity, 3))
        found = _fill(
            grid.wrapped, grid.cell, grid.heads, grid.members, grid.shape, reach, cell_box,
            r_max * r_max, offsets, indices, vectors,
        )  # fmt: skip
        if found <= capacity:
            return Neighbours(offsets, indices[:found], vectors[:found])
        capacity = found


def nearest4(points: Floats, box: Floats) -> tuple[Ints, Floats]:
    """Find the four nearest neighbours of every point.

    Parameters
    ----------
    points : (n, 3) float64
        Positions in any image, length.
    box : (3, 3) float64
        Rows are the cell vectors; any non-degenerate cell, length.

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
    if n:
        widths = _widths(box)
        edge = (abs(determinant3(box)) * POINTS_PER_CELL / n) ** (1.0 / 3.0)
        shape = np.maximum(1, np.floor(widths / edge)).astype(np.int64)
        grid = _grid(points, box, _capped(shape, n))
        # What lies beyond `reach` cells in some direction is further away than this edge times it.
        covered = float(grid.edges.min()) * (1 - 1e-9)
        _nearest4(
            grid.wrapped, grid.cell, grid.heads, grid.members, grid.shape,
            np.ascontiguousarray(box, dtype=np.float64), covered, indices, vectors,
        )  # fmt: skip
    return indices, vectors


def _widths(box: Floats) -> Floats:
    """Return the perpendicular widths of a cell."""
    widths: Floats = 1.0 / np.sqrt((inverse3(box) ** 2).sum(axis=0))
    return widths


def _capped(shape: Ints, n: int) -> Ints:
    """Coarsen a grid that has far more cells than points, longest direction first."""
    shape = shape.copy()
    while shape.prod() > 8 * n + 64:
        longest = int(shape.argmax())
        shape[longest] = (shape[longest] + 1) // 2
    return shape


def _grid(points: Floats, box: Floats, shape: Ints) -> _Grid:
    inverse = inverse3(box)
    fractional = (
        points[:, :1] * inverse[0] + points[:, 1:2] * inverse[1] + points[:, 2:3] * inverse[2]
    )
    shift = np.floor(fractional)
    wrapped = points - (shift[:, :1] * box[0] + shift[:, 1:2] * box[1] + shift[:, 2:3] * box[2])
    cell = np.clip(((fractional - shift) * shape).astype(np.int64), 0, shape - 1)
    flat = (cell[:, 0] * shape[1] + cell[:, 1]) * shape[2] + cell[:, 2]
    members = np.argsort(flat, kind="stable").astype(np.int64)
    heads = np.zeros(int(shape.prod()) + 1, np.int64)
    np.cumsum(np.bincount(flat, minlength=heads.size - 1), out=heads[1:])
    return _Grid(np.ascontiguousarray(wrapped), cell, heads, members, shape, _widths(box) / shape)


@jit()
def _fill(
    wrapped: Floats,
    cell: Ints,
    heads: Ints,
    members: Ints,
    shape: Ints,
    reach: Ints,
    box: Floats,
    r2_max: float,
    offsets: Ints,
    indices: Ints,
    vectors: Floats,
) -> int:
    """Fill a neighbour list as far as it has room; return how many entries there are."""
    found = 0
    for i in range(wrapped.shape[0]):
        offsets[i] = found
        for a in range(cell[i, 0] - reach[0], cell[i, 0] + reach[0] + 1):
            wa = a // shape[0]
            row_a = (a - wa * shape[0]) * shape[1]
            for b in range(cell[i, 1] - reach[1], cell[i, 1] + reach[1] + 1):
                wb = b // shape[1]
                row_b = (row_a + b - wb * shape[1]) * shape[2]
                for c in range(cell[i, 2] - reach[2], cell[i, 2] + reach[2] + 1):
                    wc = c // shape[2]
                    here = row_b + c - wc * shape[2]
                    sx = wa * box[0, 0] + wb * box[1, 0] + wc * box[2, 0]
                    sy = wa * box[0, 1] + wb * box[1, 1] + wc * box[2, 1]
                    sz = wa * box[0, 2] + wb * box[1, 2] + wc * box[2, 2]
                    for k in range(heads[here], heads[here + 1]):
                        j = members[k]
                        if j == i and wa == 0 and wb == 0 and wc == 0:
                            continue
                        # In this order of the sum, i to j is exactly the opposite of j to i.
                        x = (wrapped[j, 0] - wrapped[i, 0]) + sx
                        y = (wrapped[j, 1] - wrapped[i, 1]) + sy
                        z = (wrapped[j, 2] - wrapped[i, 2]) + sz
                        if x * x + y * y + z * z < r2_max:
                            if found < indices.shape[0]:
                                indices[found] = j
                                vectors[found, 0] = x
                                vectors[found, 1] = y
                                vectors[found, 2] = z
                            found += 1
    offsets[wrapped.shape[0]] = found
    return found


@jit()
def _nearest4(
    wrapped: Floats,
    cell: Ints,
    heads: Ints,
    members: Ints,
    shape: Ints,
    box: Floats,
    covered: float,
    indices: Ints,
    vectors: Floats,
) -> None:
    """Keep the four nearest points, widening the search until it is sure of them."""
    best = np.empty(4)
    for i in range(wrapped.shape[0]):
        reach = 0
        best[3] = np.inf
        while best[3] > (reach * covered) ** 2:
            reach += 1
            best[:] = np.inf
            for a in range(cell[i, 0] - reach, cell[i, 0] + reach + 1):
                wa = a // shape[0]
                row_a = (a - wa * shape[0]) * shape[1]
                for b in range(cell[i, 1] - reach, cell[i, 1] + reach + 1):
                    wb = b // shape[1]
                    row_b = (row_a + b - wb * shape[1]) * shape[2]
                    for c in range(cell[i, 2] - reach, cell[i, 2] + reach + 1):
                        wc = c // shape[2]
                        here = row_b + c - wc * shape[2]
                        sx = wa * box[0, 0] + wb * box[1, 0] + wc * box[2, 0]
                        sy = wa * box[0, 1] + wb * box[1, 1] + wc * box[2, 1]
                        sz = wa * box[0, 2] + wb * box[1, 2] + wc * box[2, 2]
                        for k in range(heads[here], heads[here + 1]):
                            j = members[k]
                            if j == i and wa == 0 and wb == 0 and wc == 0:
                                continue
                            x = (wrapped[j, 0] - wrapped[i, 0]) + sx
                            y = (wrapped[j, 1] - wrapped[i, 1]) + sy
                            z = (wrapped[j, 2] - wrapped[i, 2]) + sz
                            r2 = x * x + y * y + z * z
                            if r2 >= best[3]:
                                continue
                            slot = 3
                            while slot > 0 and best[slot - 1] > r2:
                                best[slot] = best[slot - 1]
                                indices[i, slot] = indices[i, slot - 1]
                                vectors[i, slot, 0] = vectors[i, slot - 1, 0]
                                vectors[i, slot, 1] = vectors[i, slot - 1, 1]
                                vectors[i, slot, 2] = vectors[i, slot - 1, 2]
                                slot -= 1
                            best[slot] = r2
                            indices[i, slot] = j
                            vectors[i, slot, 0] = x
                            vectors[i, slot, 1] = y
                            vectors[i, slot, 2] = z
