"""Plain NumPy twins of the analysis kernels: the specification, slow and obvious."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

__all__ = ["naive_hydrogen_bonds", "naive_pair_histograms", "naive_squared_displacements"]


def _nearest(vectors: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shortest periodic image of each vector, by trying all images around it."""
    fractional = vectors @ np.linalg.inv(box)
    base = (fractional - np.floor(fractional)) @ box
    shifts = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=3))) @ box
    images = base[..., None, :] + shifts
    best = (images**2).sum(axis=-1).argmin(axis=-1)
    nearest: NDArray[np.float64] = np.take_along_axis(images, best[..., None, None], axis=-2)
    return nearest[..., 0, :]


def naive_pair_histograms(
    positions: NDArray[np.float64], box: NDArray[np.float64], r_max: float, n_bins: int
) -> NDArray[np.int64]:
    """Count intermolecular O-O, O-H and H-H distances.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2.
    box : (3, 3) float64
        Rows are the box vectors.
    r_max : float
        Upper edge of the last bin.
    n_bins : int
        Number of bins.

    Returns
    -------
    (3, n_bins) int64
        Counts of unordered pairs.
    """
    counts = np.zeros((3, n_bins), dtype=np.int64)
    first, second = np.triu_indices(positions.shape[0], k=1)
    for a, b in itertools.product(range(3), repeat=2):
        vectors = _nearest(positions[second, b] - positions[first, a], box)
        r = np.sqrt((vectors**2).sum(axis=-1))
        kind = int(a > 0) + int(b > 0)
        counts[kind] += np.histogram(r, bins=n_bins, range=(0.0, r_max))[0]
    return counts


def naive_hydrogen_bonds(
    positions: NDArray[np.float64], box: NDArray[np.float64], r_oo: float, angle_deg: float
) -> NDArray[np.int64]:
    """Count hydrogen bonds donated and accepted by each molecule.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2 of whole molecules.
    box : (3, 3) float64
        Rows are the box vectors.
    r_oo : float
        Largest O-O distance.
    angle_deg : float
        Largest angle H-O…O.

    Returns
    -------
    (n, 2) int64
        Donated and accepted.
    """
    n = positions.shape[0]
    counts = np.zeros((n, 2), dtype=np.int64)
    for donor, acceptor in itertools.permutations(range(n), 2):
        oo = _nearest(positions[acceptor, 0] - positions[donor, 0], box)
        r = np.linalg.norm(oo)
        if r >= r_oo:
            continue
        for h in (1, 2):
            oh = positions[donor, h] - positions[donor, 0]
            angle = np.degrees(np.arccos(np.clip(oh @ oo / (r * np.linalg.norm(oh)), -1, 1)))
            if angle < angle_deg:
                counts[donor, 0] += 1
                counts[acceptor, 1] += 1
    return counts


def naive_squared_displacements(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Average squared displacements over all origins and particles, lag by lag.

    Parameters
    ----------
    positions : (t, n, 3) float64
        Unwrapped positions.

    Returns
    -------
    (t,) float64
        One value for each lag.
    """
    steps = positions.shape[0]
    lags = [((positions[m:] - positions[: steps - m]) ** 2).sum(axis=2) for m in range(steps)]
    return np.array([values.mean() for values in lags])
