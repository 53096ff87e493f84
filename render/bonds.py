"""Hydrogen bonds to draw, by geometry, and the dashes that show them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

R_OO_NM = 0.35
ANGLE_DEGREES = 30.0
DASH_NM = 0.028
BLOCK = 256


def find_hydrogen_bonds(positions: Floats, box: Floats) -> NDArray[np.int64]:
    """Return the hydrogen bonds of a small box: r(O…O) < 0.35 nm, angle H–O…O < 30°.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2 of whole molecules, nm.
    box : (3, 3) float64
        Rows are the box vectors, nm.

    Returns
    -------
    (k, 3) int64
        Donor molecule, its hydrogen (1 or 2), acceptor molecule.

    Notes
    -----
    All pairs are looked at, block by block: meant for the few molecules that a picture of single
    bonds can show.
    """
    oxygens = positions[:, 0]
    found = []
    for first in range(0, len(positions), BLOCK):
        block = positions[first : first + BLOCK]
        between = nearest_image(oxygens[None] - block[:, None, 0], box)
        r2 = np.einsum("ijk,ijk->ij", between, between)
        donor, acceptor = np.nonzero((r2 < R_OO_NM**2) & (r2 > 0.0))
        axis = between[donor, acceptor] / np.sqrt(r2[donor, acceptor])[:, None]
        for hydrogen in (1, 2):
            arm = block[donor, hydrogen] - block[donor, 0]
            cosine = np.einsum("ij,ij->i", arm, axis) / np.linalg.norm(arm, axis=1)
            kept = cosine > np.cos(np.radians(ANGLE_DEGREES))
            bonds = np.stack(
                [donor[kept] + first, np.full(kept.sum(), hydrogen), acceptor[kept]], axis=1
            )
            found.append(bonds)
    return np.concatenate(found) if found else np.empty((0, 3), np.int64)


def nearest_image(vectors: Floats, box: Floats) -> Floats:
    """Return vectors reduced by the box, vector c first.

    Parameters
    ----------
    vectors : (…, 3) float64
        nm.
    box : (3, 3) float64
        Lower triangular, reduced.

    Returns
    -------
    (…, 3) float64
        Exact for vectors shorter than half the smallest width of the box.
    """
    reduced = vectors.copy()
    for row in (2, 1, 0):
        reduced -= np.round(reduced[..., row] / box[row, row])[..., None] * box[row]
    return reduced


def dashes(positions: Floats, box: Floats, bonds: NDArray[np.int64], radius: float) -> Floats:
    """Return the dashes of hydrogen bonds; one that leaves the cell is drawn half from each end.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        Wrapped molecules, nm.
    box : (3, 3) float64
        nm.
    bonds : (k, 3) int64
        Donor molecule, its hydrogen (1 or 2), acceptor molecule.
    radius : float
        Of a dash, nm.

    Returns
    -------
    (m, 7) float64
        Both ends and radius of each dash.
    """
    if len(bonds) == 0:
        return np.empty((0, 7))
    hydrogen = positions[bonds[:, 0], bonds[:, 1]]
    oxygen = positions[bonds[:, 2], 0]
    direct = oxygen - hydrogen
    along = nearest_image(direct, box)
    crossing = np.abs(along - direct).max(axis=1) > 1.0e-6
    whole = _cut(hydrogen[~crossing], along[~crossing], 1.0)
    near = _cut(hydrogen[crossing], along[crossing], 0.5)
    far = _cut(oxygen[crossing], -along[crossing], 0.5)
    ends = np.concatenate([whole, near, far])
    return np.concatenate([ends, np.full((len(ends), 1), radius)], axis=1)


def _cut(start: Floats, along: Floats, share: float) -> Floats:
    """Cut the first `share` of each line into dashes with gaps of the same length."""
    length = np.linalg.norm(along, axis=1) * share
    count = np.maximum(1, np.floor(length / (2 * DASH_NM)).astype(np.int64))
    line = np.repeat(np.arange(len(start)), count)
    number = np.arange(len(line)) - np.repeat(np.cumsum(count) - count, count)
    first = share * (number + 0.25) / count[line]
    last = share * (number + 0.75) / count[line]
    return np.concatenate(
        [start[line] + first[:, None] * along[line], start[line] + last[:, None] * along[line]],
        axis=1,
    )
