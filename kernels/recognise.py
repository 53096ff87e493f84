"""Water molecules out of loose atoms: bonds under periodic images, and whole molecules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@jit()
def grid_shape(box: Floats, width: float, shape: Ints) -> None:
    """Choose the number of cells along each box vector.

    Parameters
    ----------
    box : (3, 3) float64
        Lower triangular, rows a, b, c.
    width : float
        Least distance between the faces of a cell.
    shape : (3,) int64
        Overwritten with the number of cells along a, b, c (at least 1 and at most 256).
    """
    ax, bx, by = box[0, 0], box[1, 0], box[1, 1]
    cx, cy, cz = box[2, 0], box[2, 1], box[2, 2]
    # Heights over the faces: volume over the area of the face that the other two vectors span.
    shear = bx * cy - by * cx
    widths = (
        ax * by * cz / np.sqrt((by * cz) ** 2 + (bx * cz) ** 2 + shear * shear),
        by * cz / np.sqrt(cz * cz + cy * cy),
        cz,
    )
    for d in range(3):
        shape[d] = min(max(int(widths[d] / width), 1), 256)


@jit()
def bin_points(
    positions: Floats, box: Floats, width: float, shape: Ints
) -> tuple[Ints, Ints, Ints]:
    """Sort points into the cells of a periodic grid.

    Parameters
    ----------
    positions : (n, 3) float64
        In any image.
    box : (3, 3) float64
        Lower triangular, rows a, b, c.
    width : float
        Least distance between the faces of a cell.
    shape : (3,) int64
        Overwritten with the number of cells along a, b, c (at least 1 and at most 256).

    Returns
    -------
    cells : (n, 3) int64
        Cell of each point.
    first : (cells,) int64
        First point of each cell, -1 where it is empty.
    following : (n,) int64
        Next point of the same cell, -1 after the last.
    """
    ax, bx, by = box[0, 0], box[1, 0], box[1, 1]
    cx, cy, cz = box[2, 0], box[2, 1], box[2, 2]
    grid_shape(box, width, shape)
    n = positions.shape[0]
    cells = np.empty((n, 3), np.int64)
    following = np.empty(n, np.int64)
    first = np.full(shape[0] * shape[1] * shape[2], -1, np.int64)
    for i in range(n):
        s2 = positions[i, 2] / cz
        s1 = (positions[i, 1] - s2 * cy) / by
        s0 = (positions[i, 0] - s1 * bx - s2 * cx) / ax
        c0 = min(int((s0 - np.floor(s0)) * shape[0]), shape[0] - 1)
        c1 = min(int((s1 - np.floor(s1)) * shape[1]), shape[1] - 1)
        c2 = min(int((s2 - np.floor(s2)) * shape[2]), shape[2] - 1)
        cells[i, 0], cells[i, 1], cells[i, 2] = c0, c1, c2
        cell = (c0 * shape[1] + c1) * shape[2] + c2
        following[i] = first[cell]
        first[cell] = i
    return cells, first, following


@jit()
def square_distance(positions: Floats, i: int, others: Floats, j: int, box: Floats) -> float:
    """Return the squared distance of two points under periodic images.

    Exact for distances below half of each diagonal element of the box; longer ones may come out
    too long in skewed boxes, never too short.

    Parameters
    ----------
    positions, others : (n, 3), (m, 3) float64
        Points.
    i, j : int
        Which of them.
    box : (3, 3) float64
        Lower triangular.

    Returns
    -------
    float
        Squared distance.
    """
    dx = positions[i, 0] - others[j, 0]
    dy = positions[i, 1] - others[j, 1]
    dz = positions[i, 2] - others[j, 2]
    k = np.rint(dz / box[2, 2])
    dx -= k * box[2, 0]
    dy -= k * box[2, 1]
    dz -= k * box[2, 2]
    k = np.rint(dy / box[1, 1])
    dx -= k * box[1, 0]
    dy -= k * box[1, 1]
    dx -= np.rint(dx / box[0, 0]) * box[0, 0]
    squared: float = dx * dx + dy * dy + dz * dz
    return squared


@jit()
def match_hydrogens(
    oxygens: Floats, hydrogens: Floats, box: Floats, r_max: float, owner: Ints, counts: Ints
) -> None:
    """Give each hydrogen its nearest oxygen.

    Parameters
    ----------
    oxygens, hydrogens : (n, 3), (m, 3) float64
        Positions, finite, in any image.
    box : (3, 3) float64
        Lower triangular reduced.
    r_max : float
        Longest bond; less than half of each diagonal element of the box.
    owner : (m,) int64
        Overwritten: oxygen of each hydrogen, -1 where none is within `r_max`.
    counts : (n,) int64
        Overwritten: hydrogens of each oxygen.
    """
    shape = np.empty(3, np.int64)
    # Cells of about one oxygen each.
    _cells, first, following = bin_points(oxygens, box, max(r_max, 0.3), shape)
    shape_h = np.empty(3, np.int64)
    cells, _first, _following = bin_points(hydrogens, box, max(r_max, 0.3), shape_h)
    counts[:] = 0
    for h in range(hydrogens.shape[0]):
        best = r_max * r_max
        owner[h] = -1
        for p in range(-1, 2):
            if (shape[0] == 1 and p != 0) or (shape[0] == 2 and p == 1):
                continue
            for q in range(-1, 2):
                if (shape[1] == 1 and q != 0) or (shape[1] == 2 and q == 1):
                    continue
                for r in range(-1, 2):
                    if (shape[2] == 1 and r != 0) or (shape[2] == 2 and r == 1):
                        continue
                    c0 = (cells[h, 0] + p) % shape[0]
                    c1 = (cells[h, 1] + q) % shape[1]
                    c2 = (cells[h, 2] + r) % shape[2]
                    o = first[(c0 * shape[1] + c1) * shape[2] + c2]
                    while o >= 0:
                        d2 = square_distance(hydrogens, h, oxygens, o, box)
                        if d2 < best or (d2 == best and (owner[h] < 0 or o < owner[h])):
                            best = d2
                            owner[h] = o
                        o = following[o]
        if owner[h] >= 0:
            counts[owner[h]] += 1


@jit()
def gather_whole(
    positions: Floats, order: Ints, box: Floats, r_bond: float, molecules: Floats
) -> tuple[float, int]:
    """Take atoms into molecules, each hydrogen beside its oxygen.

    Parameters
    ----------
    positions : (atoms, 3) float64
        In any image.
    order : (n, 3) int64
        Atoms O, H1, H2 of each molecule.
    box : (3, 3) float64
        Lower triangular reduced.
    r_bond : float
        An H that is nearer needs no search for its image; below half of each box width.
    molecules : (n, 3, 3) float64
        Overwritten; oxygens stay where they are.

    Returns
    -------
    longest : float
        Longest O-H distance.
    worst : int
        Molecule that has it.
    """
    longest = 0.0
    worst = 0
    for m in range(order.shape[0]):
        o = order[m, 0]
        for d in range(3):
            molecules[m, 0, d] = positions[o, d]
        for s in range(1, 3):
            h = order[m, s]
            dx = positions[h, 0] - positions[o, 0]
            dy = positions[h, 1] - positions[o, 1]
            dz = positions[h, 2] - positions[o, 2]
            k = 0.0
            j = 0.0
            i = 0.0
            if dx * dx + dy * dy + dz * dz > r_bond * r_bond:
                k = np.rint(dz / box[2, 2])
                j = np.rint((dy - k * box[2, 1]) / box[1, 1])
                i = np.rint((dx - k * box[2, 0] - j * box[1, 0]) / box[0, 0])
            if k == 0.0 and j == 0.0 and i == 0.0:
                # Atoms that need no shift keep their bits.
                for d in range(3):
                    molecules[m, s, d] = positions[h, d]
            else:
                dx -= k * box[2, 0] + j * box[1, 0] + i * box[0, 0]
                dy -= k * box[2, 1] + j * box[1, 1]
                dz -= k * box[2, 2]
                molecules[m, s, 0] = positions[o, 0] + dx
                molecules[m, s, 1] = positions[o, 1] + dy
                molecules[m, s, 2] = positions[o, 2] + dz
            d2 = dx * dx + dy * dy + dz * dz
            if d2 > longest:
                longest = d2
                worst = m
    return np.sqrt(longest), worst
