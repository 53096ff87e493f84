"""Cell grid: molecules sorted by the cell of a triclinic box that they lie in."""

from __future__ import annotations

from typing import Any

import numpy as np

from mdpipe.kernels._jit import jit

__all__ = ["sort_into_cells"]


@jit()
def sort_into_cells(
    points: Any, inverse: Any, shape: Any, order: Any, images: Any, cell_start: Any
) -> None:
    """Sort points by cell (stable: by index within a cell) and say which image each is in.

    Parameters
    ----------
    points : (n, 3) float64
        Any image; points on an upper face count as in the next cell's image.
    inverse : (3, 3) float64
        Inverse of the box: fractional coordinates are ``points @ inverse``.
    shape : (3,) int64
        Number of cells along each box vector.
    order : (n,) int32
        Out: point at each place of the sorted order.
    images : (n, 3) float64
        Out, in sorted order: whole box vectors to subtract to get into the box.
    cell_start : (cells + 1,) int32
        Out: first place of each cell; the last axis runs fastest.
    """
    n = points.shape[0]
    cell = np.empty(n, np.int32)
    floors = np.empty((n, 3))
    cell_start[:] = 0
    for i in range(n):
        index = 0
        for a in range(3):
            f = (
                points[i, 0] * inverse[0, a]
                + points[i, 1] * inverse[1, a]
                + points[i, 2] * inverse[2, a]
            )
            floors[i, a] = np.floor(f)
            # f - floor(f) rounds to 1 for a tiny negative f.
            c = min(int((f - floors[i, a]) * shape[a]), shape[a] - 1)
            index = index * shape[a] + c
        cell[i] = index
        cell_start[index + 1] += 1
    for c in range(cell_start.shape[0] - 1):
        cell_start[c + 1] += cell_start[c]
    place = cell_start[:-1].copy()
    for i in range(n):
        s = place[cell[i]]
        place[cell[i]] += 1
        order[s] = i
        for a in range(3):
            images[s, a] = floors[i, a]
