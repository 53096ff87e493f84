"""Box matrices: lower triangular reduced form, lengths and angles, perpendicular widths."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.matrix import product3

Array = NDArray[np.float64]


def box_from_cell(cell: Array) -> Array:
    """Return the lower triangular box of three lengths and three angles.

    Parameters
    ----------
    cell : (6,) float64
        a, b, c in any unit of length and alpha, beta, gamma in degrees.

    Returns
    -------
    (3, 3) float64
        Rows a, b, c in the unit of the lengths; exact zeros where an angle is 90 degrees.
    """
    a, b, c = (float(x) for x in cell[:3])
    cos_a, cos_b, cos_g = (
        0.0 if angle == 90.0 else float(np.cos(np.radians(angle))) for angle in cell[3:]
    )
    sin_g = float(np.sqrt(1.0 - cos_g * cos_g))
    cx, cy = c * cos_b, c * (cos_a - cos_b * cos_g) / sin_g
    cz = float(np.sqrt(max(c * c - cx * cx - cy * cy, 0.0)))
    return np.array([[a, 0.0, 0.0], [b * cos_g, b * sin_g, 0.0], [cx, cy, cz]])


def cell_from_box(box: Array) -> Array:
    """Return three lengths and three angles of a box.

    Parameters
    ----------
    box : (3, 3) float64
        Rows a, b, c.

    Returns
    -------
    (6,) float64
        a, b, c in the unit of `box` and alpha, beta, gamma in degrees.
    """
    lengths = np.linalg.norm(box, axis=1)
    cosines = [
        float((box[i] * box[j]).sum() / (lengths[i] * lengths[j]))
        for i, j in ((1, 2), (0, 2), (0, 1))
    ]
    angles = [90.0 if c == 0.0 else float(np.degrees(np.arccos(c))) for c in cosines]
    return np.array([*lengths, *angles])


def is_degenerate(box: Array) -> bool:
    """Say whether a box encloses no volume or holds a number that is not finite.

    Parameters
    ----------
    box : (3, 3) float64
        Rows a, b, c, nm.

    Returns
    -------
    bool
        True for a box that no periodic system can have; the 1 Å cube that PDB writers put down
        for "no box" is one of them.
    """
    if not np.isfinite(box).all():
        return True
    return bool(perpendicular_widths(box).min() < 0.15)


def perpendicular_widths(box: Array) -> Array:
    """Return the distances between opposite faces.

    Parameters
    ----------
    box : (3, 3) float64
        Rows a, b, c.

    Returns
    -------
    (3,) float64
        Widths in the unit of `box`; zeros for a flat box.
    """
    # Plain arithmetic: NumPy's calls cost ten times as much for so few numbers, at each frame.
    rows = box.tolist()
    normals = [_cross(rows[i - 2], rows[i - 1]) for i in range(3)]
    volume = abs(sum(x * y for x, y in zip(rows[0], normals[0], strict=True)))
    areas = [math.sqrt(sum(x * x for x in normal)) for normal in normals]
    if volume == 0.0 or min(areas) == 0.0:
        return np.zeros(3)
    return np.array([volume / area for area in areas])


def _cross(u: list[float], v: list[float]) -> list[float]:
    return [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]]


def _axes_along(box: Array) -> Array:
    """Return orthonormal rows: the first along a, the second in the plane of a and b."""
    axes = np.zeros((3, 3))
    for axis, row in zip(axes, box, strict=True):
        rest = row
        for _ in range(2):  # what rounding left of the other axes goes the second time
            rest = rest - product3(product3(rest, axes.T), axes)
        axis[:] = rest / np.sqrt((rest * rest).sum())
    return axes


def standard_box(box: Array) -> tuple[Array, Array | None]:
    """Bring a box to the lower triangular reduced form.

    Parameters
    ----------
    box : (3, 3) float64
        Rows a, b, c, in any orientation and handedness.

    Returns
    -------
    box : (3, 3) float64
        Lower triangular with a positive diagonal; |b_x|, |c_x| ≤ a_x/2 and |c_y| ≤ b_y/2.
    turn : (3, 3) float64 or None
        Orthogonal matrix T that takes positions along, ``positions @ T``; None where the box
        was lower triangular already. A left-handed box gives the mirror image, which for water
        has the same physics.
    """
    turn: Array | None = None
    lower = np.array(box, dtype=np.float64)
    if abs(lower[0, 1]) + abs(lower[0, 2]) + abs(lower[1, 2]) > 0.0 or np.diag(lower).min() <= 0.0:
        turn = _axes_along(lower).T
        lower = np.tril(product3(lower, turn))
    for row, axis in ((2, 1), (2, 0), (1, 0)):
        # The slack keeps boxes that sit on the boundary (truncated octahedra) as they are.
        ratio = lower[row, axis] / lower[axis, axis]
        if abs(ratio) > 0.5 + 1e-3:
            lower[row] -= lower[axis] * np.round(ratio)
    return lower, turn
