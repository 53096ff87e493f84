"""Histograms of the site-site distances between different molecules, exact in any periodic box."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.matrix import inverse3, product3

__all__ = ["half_width", "pair_histograms", "to_fractional"]

_PARTS = 16
"""Rows are dealt to so many private histograms, whatever the number of threads."""


def half_width(box: NDArray[np.float64]) -> float:
    """Return half the smallest perpendicular width of a box.

    Parameters
    ----------
    box : (3, 3) float64
        Rows are the box vectors.

    Returns
    -------
    float
        Within this distance a pair has at most one periodic image, the nearest one.
    """
    return float(0.5 / np.sqrt((inverse3(box) ** 2).sum(axis=0)).max())


def to_fractional(positions: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return fractional coordinates, molecules kept whole, with O inside the cell.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2 of whole molecules in any image.
    box : (3, 3) float64
        Rows are the box vectors.

    Returns
    -------
    (n, 3, 3) float64
        C-contiguous.
    """
    fractional = product3(positions, inverse3(box))
    fractional -= np.floor(fractional[:, :1])
    return np.ascontiguousarray(fractional)


@jit(inline="always")
def image_distance2(u: Any, v: Any, w: Any, box: Any) -> Any:
    """Return the squared length of the image of a fractional vector that rounding picks."""
    u -= np.rint(u)
    v -= np.rint(v)
    w -= np.rint(w)
    x = u * box[0, 0] + v * box[1, 0] + w * box[2, 0]
    y = u * box[0, 1] + v * box[1, 1] + w * box[2, 1]
    z = u * box[0, 2] + v * box[1, 2] + w * box[2, 2]
    return x * x + y * y + z * z


@jit()
def _count_row(
    i: int, s: NDArray[np.float64], box: NDArray[np.float64], limits: Any, counts: Any
) -> None:
    r_max2, bins_per_length, cull2 = limits
    for j in range(i + 1, s.shape[0]):
        oo2 = image_distance2(
            s[j, 0, 0] - s[i, 0, 0], s[j, 0, 1] - s[i, 0, 1], s[j, 0, 2] - s[i, 0, 2], box
        )
        if oo2 > cull2:
            continue
        for a in range(3):
            for b in range(3):
                r2 = image_distance2(
                    s[j, b, 0] - s[i, a, 0], s[j, b, 1] - s[i, a, 1], s[j, b, 2] - s[i, a, 2], box
                )
                if r2 < r_max2:
                    kind = (1 if a > 0 else 0) + (1 if b > 0 else 0)
                    counts[kind, min(int(np.sqrt(r2) * bins_per_length), counts.shape[1] - 1)] += 1


@parallel_jit()
def _count_all(
    s: NDArray[np.float64], box: NDArray[np.float64], limits: Any, counts: NDArray[np.int64]
) -> None:
    parts = counts.shape[0]
    for part in numba.prange(parts):
        for i in range(part, s.shape[0], parts):
            _count_row(i, s, box, limits, counts[part])


def pair_histograms(
    fractional: NDArray[np.float64], box: NDArray[np.float64], r_max: float, n_bins: int
) -> NDArray[np.int64]:
    """Count O-O, O-H and H-H pairs of different molecules by their nearest-image distance.

    Parameters
    ----------
    fractional : (n, 3, 3) float64
        From `to_fractional`.
    box : (3, 3) float64
        Rows are the box vectors.
    r_max : float
        Upper edge of the last bin, at most `half_width(box)`.
    n_bins : int
        Number of equal bins from 0.

    Returns
    -------
    (3, n_bins) int64
        Counts of each unordered pair once: O-O, O-H, H-H. Integers: no order of summation,
        so no dependence on the number of threads.

    Notes
    -----
    Rounding fractional coordinates finds the nearest image of every pair nearer than half the
    smallest width, in any box: such a vector has all |fractional components| < 1/2. Pairs of
    molecules are skipped by their O-O distance only where rounding is exact for that as well.
    """
    arms = product3(fractional[:, 1:] - fractional[:, :1], box)
    reach = r_max + 2.0 * float(np.sqrt((arms**2).sum(axis=2).max())) + 1e-9
    rectangular = not np.any(box - np.diag(np.diag(box)))
    cull2 = reach * reach if rectangular or reach < half_width(box) else np.inf
    counts = np.zeros((_PARTS, 3, n_bins), dtype=np.int64)
    _count_all(fractional, box, (r_max * r_max, n_bins / r_max, cull2), counts)
    total: NDArray[np.int64] = counts.sum(axis=0)
    return total
