"""Points sorted into the cells of a periodic box, in columns that run along its third vector.

Cells of a column follow each other in memory: what lies near a point is a few long runs of places,
found with one look-up each, rather than many cells.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit
from mdpipe.kernels.matrix import inverse3

__all__ = ["Columns", "capped", "sort_into_columns", "widths", "wrapped"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Columns(NamedTuple):
    """Points of a box in the order of their cells.

    `order` (n,) int64 is the point at each place, `place` (n,) int64 the place of each point,
    `inside` (n, 3) float64 their positions within the box by place, `cell` (n, 3) int64 their
    cells by place, `heads` (cells + 1,) int64 the first place of each cell, `shape` (3,) int64 the
    number of cells along each vector (the last runs fastest) and `edges` (3,) float64 the
    perpendicular widths of a cell.
    """

    order: Ints
    place: Ints
    inside: Floats
    cell: Ints
    heads: Ints
    shape: Ints
    edges: Floats


def widths(box: Floats) -> Floats:
    """Return the perpendicular widths of a cell.

    Parameters
    ----------
    box : (3, 3) float64
        Rows are the cell vectors, length.

    Returns
    -------
    (3,) float64
        Distances between opposite faces, length.
    """
    found: Floats = 1.0 / np.sqrt((inverse3(box) ** 2).sum(axis=0))
    return found


def capped(shape: Ints, n: int) -> Ints:
    """Coarsen a grid that has far more cells than points, longest direction first.

    Parameters
    ----------
    shape : (3,) int64
        Cells along each vector.
    n : int
        Number of points.

    Returns
    -------
    (3,) int64
        At most 8 n + 64 cells.
    """
    shape = shape.copy()
    while shape.prod() > 8 * n + 64:
        longest = int(shape.argmax())
        shape[longest] = (shape[longest] + 1) // 2
    return shape


def sort_into_columns(points: Floats, box: Floats, shape: Ints) -> Columns:
    """Sort points by cell, stable by index within a cell.

    Parameters
    ----------
    points : (n, 3) float64
        Positions in any image, length.
    box : (3, 3) float64
        Rows are the cell vectors, length.
    shape : (3,) int64
        Number of cells along each vector.

    Returns
    -------
    Columns
        The points in order.
    """
    n = points.shape[0]
    sorted_points = Columns(
        np.empty(n, np.int64), np.empty(n, np.int64), np.empty((n, 3)), np.empty((n, 3), np.int64),
        np.zeros(int(shape.prod()) + 1, np.int64), shape, widths(box) / shape,
    )  # fmt: skip
    _sort(
        points, np.ascontiguousarray(box, dtype=np.float64), inverse3(box), shape,
        sorted_points.order, sorted_points.place, sorted_points.inside, sorted_points.cell,
        sorted_points.heads,
    )  # fmt: skip
    return sorted_points


@jit()
def wrapped(cell: int, size: int) -> tuple[int, int]:
    """Return the cell of the box that a cell is an image of, and which image.

    Parameters
    ----------
    cell : int
        Number of a cell along a vector, of any image.
    size : int
        Cells of the box along it.

    Returns
    -------
    cell, image : int
        ``cell + image * size`` is what was given.
    """
    image = 0
    while cell < 0:
        cell += size
        image -= 1
    while cell >= size:
        cell -= size
        image += 1
    return cell, image


@jit()
def _sort(
    points: Floats,
    box: Floats,
    inverse: Floats,
    shape: Ints,
    order: Ints,
    place: Ints,
    inside: Floats,
    cell: Ints,
    heads: Ints,
) -> None:
    n = points.shape[0]
    flat = np.empty(n, np.int64)
    shift = np.empty((n, 3))
    where = np.empty((n, 3), np.int64)
    for i in range(n):
        index = 0
        for a in range(3):
            f = (
                points[i, 0] * inverse[0, a]
                + points[i, 1] * inverse[1, a]
                + points[i, 2] * inverse[2, a]
            )
            shift[i, a] = np.floor(f)
            # f - floor(f) rounds to 1 for a tiny negative f.
            where[i, a] = min(int((f - shift[i, a]) * shape[a]), shape[a] - 1)
            index = index * shape[a] + where[i, a]
        flat[i] = index
        heads[index + 1] += 1
    for c in range(heads.shape[0] - 1):
        heads[c + 1] += heads[c]
    following = heads.copy()
    for i in range(n):
        s = following[flat[i]]
        following[flat[i]] = s + 1
        order[s] = i
        place[i] = s
        for a in range(3):
            cell[s, a] = where[i, a]
            inside[s, a] = points[i, a] - (
                shift[i, 0] * box[0, a] + shift[i, 1] * box[1, a] + shift[i, 2] * box[2, a]
            )
