"""Hydrogen bonds by distance and angle, donated and accepted by each molecule."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit
from mdpipe.kernels.neighbours import Neighbours

__all__ = ["count_hydrogen_bonds"]


@jit()
def _count(
    offsets: NDArray[np.int64],
    indices: NDArray[np.int64],
    vectors: NDArray[np.float64],
    arms: NDArray[np.float64],
    cosine: float,
    counts: NDArray[np.int64],
) -> None:
    for donor in range(counts.shape[0]):
        for k in range(offsets[donor], offsets[donor + 1]):
            x, y, z = vectors[k, 0], vectors[k, 1], vectors[k, 2]
            r2 = x * x + y * y + z * z
            for h in range(2):
                u, v, w = arms[donor, h, 0], arms[donor, h, 1], arms[donor, h, 2]
                if x * u + y * v + z * w > cosine * np.sqrt(r2 * (u * u + v * v + w * w)):
                    counts[donor, 0] += 1
                    counts[indices[k], 1] += 1


def count_hydrogen_bonds(
    neighbours: Neighbours, positions: NDArray[np.float64], angle_deg: float
) -> NDArray[np.int64]:
    """Count the hydrogen bonds that each molecule donates and accepts.

    Parameters
    ----------
    neighbours : Neighbours
        Oxygens near enough for a bond, from `mdpipe.kernels.neighbours.neighbour_list`.
    positions : (n, 3, 3) float64
        O, H1, H2 of whole molecules.
    angle_deg : float
        A pair is bonded if the angle H-O…O at the donor is below this.

    Returns
    -------
    (n, 2) int64
        Donated and accepted; both columns have the same sum, the number of bonds.

    References
    ----------
    Luzar & Chandler, Nature 379, 55 (1996), DOI 10.1038/379055a0.
    """
    arms = np.ascontiguousarray(positions[:, 1:] - positions[:, :1])
    counts = np.zeros((positions.shape[0], 2), dtype=np.int64)
    cosine = float(np.cos(np.radians(angle_deg)))
    _count(neighbours.offsets, neighbours.indices, neighbours.vectors, arms, cosine, counts)
    return counts
