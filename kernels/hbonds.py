"""Hydrogen bonds by distance and angle, donated and accepted by each molecule."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit, parallel_jit

__all__ = ["count_hydrogen_bonds"]


@jit(inline="always")
def _bonds(s: Any, donor: Any, ox: Any, oy: Any, oz: Any, r: Any, box: Any, cosine: Any) -> Any:
    """Count the hydrogens of a donor within the angle of the vector O_donor → O_acceptor."""
    bonds = 0
    for h in range(1, 3):
        u = s[donor, h, 0] - s[donor, 0, 0]
        v = s[donor, h, 1] - s[donor, 0, 1]
        w = s[donor, h, 2] - s[donor, 0, 2]
        x = u * box[0, 0] + v * box[1, 0] + w * box[2, 0]
        y = u * box[0, 1] + v * box[1, 1] + w * box[2, 1]
        z = u * box[0, 2] + v * box[1, 2] + w * box[2, 2]
        if x * ox + y * oy + z * oz > cosine * r * np.sqrt(x * x + y * y + z * z):
            bonds += 1
    return bonds


@jit()
def _bonds_of(
    i: int, s: NDArray[np.float64], box: NDArray[np.float64], r_oo: float, cosine: float
) -> tuple[int, int]:
    donated = 0
    accepted = 0
    for j in range(s.shape[0]):
        u = s[j, 0, 0] - s[i, 0, 0]
        v = s[j, 0, 1] - s[i, 0, 1]
        w = s[j, 0, 2] - s[i, 0, 2]
        u -= np.rint(u)
        v -= np.rint(v)
        w -= np.rint(w)
        x = u * box[0, 0] + v * box[1, 0] + w * box[2, 0]
        y = u * box[0, 1] + v * box[1, 1] + w * box[2, 1]
        z = u * box[0, 2] + v * box[1, 2] + w * box[2, 2]
        r2 = x * x + y * y + z * z
        if r2 < r_oo * r_oo and j != i:
            r = np.sqrt(r2)
            donated += _bonds(s, i, x, y, z, r, box, cosine)
            accepted += _bonds(s, j, -x, -y, -z, r, box, cosine)
    return donated, accepted


@parallel_jit()
def _bonds_of_all(
    s: NDArray[np.float64], box: NDArray[np.float64], r_oo: float, cosine: float, counts: Any
) -> None:
    for i in numba.prange(s.shape[0]):
        donated, accepted = _bonds_of(i, s, box, r_oo, cosine)
        counts[i, 0] = donated
        counts[i, 1] = accepted


def count_hydrogen_bonds(
    fractional: NDArray[np.float64], box: NDArray[np.float64], r_oo: float, angle_deg: float
) -> NDArray[np.int64]:
    """Count the hydrogen bonds that each molecule donates and accepts.

    Parameters
    ----------
    fractional : (n, 3, 3) float64
        O, H1, H2 of whole molecules, from `mdpipe.kernels.rdf.to_fractional`.
    box : (3, 3) float64
        Rows are the box vectors.
    r_oo : float
        Two molecules are bonded only if their O-O distance is below this (at most
        `mdpipe.kernels.rdf.half_width(box)`) …
    angle_deg : float
        … and the angle H-O…O at the donor is below this.

    Returns
    -------
    (n, 2) int64
        Donated and accepted; both columns have the same sum, the number of bonds.

    References
    ----------
    Luzar & Chandler, Nature 379, 55 (1996), DOI 10.1038/379055a0.
    """
    counts = np.zeros((fractional.shape[0], 2), dtype=np.int64)
    _bonds_of_all(fractional, box, float(r_oo), float(np.cos(np.radians(angle_deg))), counts)
    return counts
