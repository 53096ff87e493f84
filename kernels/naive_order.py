"""Plain NumPy twins of `neighbours` and `order`: all images, all pairs, no grid."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.neighbours import Floats, Ints
from mdpipe.kernels.order import (
    CUBIC,
    ECLIPSED_MAX,
    ECLIPSED_MIN,
    HEXAGONAL,
    HYDRATE,
    INTERFACIAL_HYDRATE,
    INTERFACIAL_ICE,
    OTHER,
    STAGGERED_MAX,
)

__all__ = ["chill_plus", "nearest4", "neighbour_pairs", "steinhardt_q6", "tetrahedral_q"]


def neighbour_pairs(points: Floats, box: Floats, r_max: float) -> list[list[tuple[int, Floats]]]:
    """List the neighbours of every point within a radius, by brute force over images.

    Parameters
    ----------
    points : (n, 3) float64
        Positions in any image, length.
    box : (3, 3) float64
        Rows are the cell vectors, length.
    r_max : float
        Radius, length.

    Returns
    -------
    list of list of (int, (3,) float64)
        For each point, index of and vector to each neighbour, nearest first.
    """
    inverse = np.linalg.inv(box)
    fractional = points @ inverse
    wrapped = (fractional - np.floor(fractional)) @ box
    widths = 1.0 / np.sqrt((inverse**2).sum(axis=0))
    ranges = [range(-int(r_max / w) - 2, int(r_max / w) + 3) for w in widths]
    result: list[list[tuple[int, Floats]]] = [[] for _ in points]
    for shift in itertools.product(*ranges):
        vectors = wrapped[None, :, :] - wrapped[:, None, :] + np.array(shift) @ box
        near = np.einsum("ijk,ijk->ij", vectors, vectors) < r_max * r_max
        if shift == (0, 0, 0):
            np.fill_diagonal(near, val=False)
        for i, j in np.argwhere(near):
            result[i].append((int(j), vectors[i, j]))
    for row in result:
        row.sort(key=lambda entry: float(np.linalg.norm(entry[1])))
    return result


def nearest4(points: Floats, box: Floats) -> tuple[Ints, Floats]:
    """Find the four nearest neighbours by widening a brute-force search.

    Parameters
    ----------
    points : (n, 3) float64
        Positions in any image, length.
    box : (3, 3) float64
        Rows are the cell vectors, length.

    Returns
    -------
    indices : (n, 4) int64
        Neighbours, nearest first.
    vectors : (n, 4, 3) float64
        Vectors to them.
    """
    radius = (abs(float(np.linalg.det(box))) / len(points)) ** (1 / 3)
    rows = neighbour_pairs(points, box, radius)
    while min(len(row) for row in rows) < 4:
        radius *= 1.5
        rows = neighbour_pairs(points, box, radius)
    indices = np.array([[j for j, _ in row[:4]] for row in rows], np.int64)
    return indices, np.array([[v for _, v in row[:4]] for row in rows])


def tetrahedral_q(vectors: Floats) -> Floats:
    """Return the tetrahedral order of every molecule.

    Parameters
    ----------
    vectors : (n, 4, 3) float64
        Vectors to the four nearest oxygens.

    Returns
    -------
    (n,) float64
        q.
    """
    unit = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
    cosines = np.einsum("nik,njk->nij", unit, unit)
    i, j = np.triu_indices(4, 1)
    return np.asarray(1.0 - 0.375 * ((cosines[:, i, j] + 1.0 / 3.0) ** 2).sum(axis=1), np.float64)


def _legendre(degree: int, x: NDArray[np.float64]) -> Floats:
    return np.asarray(np.polynomial.legendre.legval(x, [0.0] * degree + [1.0]), np.float64)


def _unit(vectors: Floats) -> Floats:
    unit: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def steinhardt_q6(indices: Ints, vectors: Floats) -> tuple[Floats, Floats]:
    """Return q6 and averaged q6 through the addition theorem, without spherical harmonics.

    Parameters
    ----------
    indices : (n, 4) int64
        Neighbours.
    vectors : (n, 4, 3) float64
        Vectors to them.

    Returns
    -------
    q6 : (n,) float64
        Σ_m abs(q_6m)² = <P6(u_j · u_k)> over the pairs of bonds.
    averaged : (n,) float64
        The same over all 20 bonds of a molecule and its neighbours.
    """
    unit = _unit(vectors)
    q6 = np.sqrt(_legendre(6, np.einsum("njx,nkx->njk", unit, unit)).mean(axis=(1, 2)))
    around = np.concatenate([np.arange(len(indices))[:, None], indices], axis=1)
    bonds = unit[around].reshape(len(indices), 20, 3)
    squares = _legendre(6, np.einsum("njx,nkx->njk", bonds, bonds)).mean(axis=(1, 2))
    return q6, np.sqrt(np.maximum(squares, 0.0))


def chill_plus(rows: list[list[tuple[int, Floats]]]) -> Ints:
    """Label every molecule by CHILL+, with c(i,j) through the addition theorem.

    Parameters
    ----------
    rows : list of list of (int, (3,) float64)
        Neighbours nearer than 0.35 nm, as `neighbour_pairs` gives them.

    Returns
    -------
    (n,) int64
        Labels as in `order.chill_plus`.
    """
    units = [_unit(np.array([v for _, v in row]).reshape(-1, 3)) for row in rows]
    norms = [math.sqrt(abs(_legendre(3, u @ u.T).sum())) for u in units]
    counts = np.zeros((len(rows), 2), np.int64)
    for i, row in enumerate(rows):
        for j, _ in row:
            scale = norms[i] * norms[j]
            c = _legendre(3, units[i] @ units[j].T).sum() / scale if scale else 0.0
            counts[i, 0] += c <= STAGGERED_MAX
            counts[i, 1] += ECLIPSED_MIN <= c <= ECLIPSED_MAX
    labels = np.full(len(rows), OTHER, np.int64)
    table = {(4, 0): CUBIC, (3, 1): HEXAGONAL, (0, 4): HYDRATE}
    for i, row in enumerate(rows):
        s, e = int(counts[i, 0]), int(counts[i, 1])
        beside = [int(counts[j, 0]) for j, _ in row]
        if len(row) == 4 and (s, e) in table:
            labels[i] = table[s, e]
        elif len(row) == 4 and e == 3:
            labels[i] = INTERFACIAL_HYDRATE
        elif (s == 2 and max(beside) > 2) or (s == 3 and e == 0 and 2 in beside):
            labels[i] = INTERFACIAL_ICE
    return labels
