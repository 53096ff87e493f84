"""Small matrices with their sums written out.

The bits of BLAS and LAPACK depend on the processor that they find, or that the environment names
to them (``OPENBLAS_CORETYPE``); what enters products is computed here instead.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["determinant3", "inverse3", "least_stretch", "product3", "solve3"]

Floats = NDArray[np.float64]


def inverse3(matrix: Floats) -> Floats:
    """Return the inverse of a 3 x 3 matrix by its adjugate.

    Parameters
    ----------
    matrix : (3, 3) float64
        Not singular.

    Returns
    -------
    (3, 3) float64
        The inverse.
    """
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    rows = np.array(
        [
            [e * i - f * h, c * h - b * i, b * f - c * e],
            [f * g - d * i, a * i - c * g, c * d - a * f],
            [d * h - e * g, b * g - a * h, a * e - b * d],
        ]
    )
    determinant = a * rows[0, 0] + b * rows[1, 0] + c * rows[2, 0]
    inverse: Floats = rows / determinant
    return inverse


def product3(left: Floats, right: Floats) -> Floats:
    """Return rows times a 3 x 3 matrix.

    Parameters
    ----------
    left : (..., 3) float64
        Any rows.
    right : (3, 3) float64
        Any matrix.

    Returns
    -------
    (..., 3) float64
        left @ right.
    """
    product: Floats = (
        left[..., 0:1] * right[0] + left[..., 1:2] * right[1] + left[..., 2:3] * right[2]
    )
    return product


def determinant3(matrix: Floats) -> float:
    """Return the determinant of a 3 x 3 matrix.

    Parameters
    ----------
    matrix : (3, 3) float64
        Any matrix.

    Returns
    -------
    float
        The determinant.
    """
    (a, b, c), (d, e, f), (g, h, i) = matrix.tolist()
    return float(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g))


def solve3(matrices: Floats, vectors: Floats) -> Floats:
    """Solve systems of three linear equations by Cramer's rule.

    Parameters
    ----------
    matrices : (n, 3, 3) float64
        Not singular.
    vectors : (n, 3) float64
        Right-hand sides.

    Returns
    -------
    (n, 3) float64
        x with ``matrices[i] @ x[i] = vectors[i]``.
    """
    first, second, third = (matrices[:, i] for i in range(3))
    normals = np.cross(second, third)
    volumes = (first * normals).sum(axis=1, keepdims=True)
    solved: Floats = (
        normals * vectors[:, 0:1]
        + np.cross(third, first) * vectors[:, 1:2]
        + np.cross(first, second) * vectors[:, 2:3]
    ) / volumes
    return solved


def least_stretch(matrix: Floats) -> float:
    """Return the smallest singular value of a 3 x 3 matrix.

    Parameters
    ----------
    matrix : (3, 3) float64
        Any matrix.

    Returns
    -------
    float
        By how much it shortens a vector at the most.

    Notes
    -----
    The root of the least eigenvalue of M M^T, from the characteristic polynomial in its
    trigonometric form (O. K. Smith, Commun. ACM 4, 168 (1961), doi:10.1145/355578.366316).
    Its square is exact to about 1e-16 of the largest, which is enough for strains near 1.
    """
    square = product3(matrix, matrix.T)
    mean = float(square[0, 0] + square[1, 1] + square[2, 2]) / 3.0
    rest = square - mean * np.eye(3)
    spread = math.sqrt(float((rest * rest).sum()) / 6.0)
    if spread == 0.0:
        return math.sqrt(mean)
    cosine = min(max(determinant3(rest / spread) / 2.0, -1.0), 1.0)
    least = mean + 2.0 * spread * math.cos((math.acos(cosine) + 2.0 * math.pi) / 3.0)
    return math.sqrt(max(least, 0.0))
