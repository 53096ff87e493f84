"""Small matrices with their sums written out: LAPACK's bits depend on its environment."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["inverse3", "product3"]

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
    """Return the product of two 3 x 3 matrices.

    Parameters
    ----------
    left, right : (3, 3) float64
        Any matrices.

    Returns
    -------
    (3, 3) float64
        left @ right.
    """
    product: Floats = left[:, 0:1] * right[0] + left[:, 1:2] * right[1] + left[:, 2:3] * right[2]
    return product
