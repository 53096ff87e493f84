"""Order parameters of the oxygen network: tetrahedral q, Steinhardt q6 and CHILL+.

| equation | variable |
|---|---|
| q_i = 1 - 3/8 Σ_{j<k} (cos ψ_jk + 1/3)², the 4 nearest | `tetrahedral_q` |
| q_lm(i) = <Y_lm(r_ij)> over neighbours j | rows of `moments` |
| q_l(i) = (4π/(2l+1) Σ_m abs(q_lm(i))²)^½ | first result of `steinhardt_q6` |
| the same of <q_lm> over i and its neighbours | second result of `steinhardt_q6` |
| c(i,j) = q_3(i)·q_3(j) / (abs(q_3(i)) abs(q_3(j))) | `c` in `_bond_counts` |

Spherical harmonics are real and Racah-normalised (Σ_m Y_lm² = 1), so the factor 4π/(2l+1) is in.

References
----------
Chau & Hardwick, Mol. Phys. 93, 511 (1998), DOI 10.1080/002689798169195; Errington & Debenedetti,
Nature 409, 318 (2001), DOI 10.1038/35053024; Lechner & Dellago, J. Chem. Phys. 129, 114707 (2008),
DOI 10.1063/1.2977970; Nguyen & Molinero, J. Phys. Chem. B 119, 9369 (2015), DOI 10.1021/jp510289t.
"""

from __future__ import annotations

import math

import numpy as np

from mdpipe.kernels._jit import jit
from mdpipe.kernels.neighbours import Floats, Ints, Neighbours

__all__ = [
    "CHILL_RADIUS_NM",
    "CUBIC",
    "HEXAGONAL",
    "HYDRATE",
    "INTERFACIAL_HYDRATE",
    "INTERFACIAL_ICE",
    "OTHER",
    "chill_plus",
    "largest_cluster",
    "steinhardt_q6",
    "tetrahedral_q",
]

OTHER, HEXAGONAL, CUBIC, INTERFACIAL_ICE, HYDRATE, INTERFACIAL_HYDRATE = range(6)

CHILL_RADIUS_NM = 0.35
STAGGERED_MAX = -0.8
ECLIPSED_MIN = -0.35
ECLIPSED_MAX = 0.25


def _norms(degree: int) -> tuple[float, ...]:
    return (1.0, *(
        math.sqrt(2.0 * math.factorial(degree - m) / math.factorial(degree + m))
        for m in range(1, degree + 1)
    ))  # fmt: skip


_N3 = np.array(_norms(3))
_N6 = np.array(_norms(6))


def tetrahedral_q(vectors: Floats) -> Floats:
    """Return the tetrahedral order of every molecule: 1 in ice, 0 on average in a gas.

    Parameters
    ----------
    vectors : (n, 4, 3) float64
        Vectors to the four nearest oxygens, as `nearest4` gives them.

    Returns
    -------
    (n,) float64
        q, from -3 to 1.
    """
    q = np.empty(vectors.shape[0])
    _tetrahedral(vectors, q)
    return q


def steinhardt_q6(indices: Ints, vectors: Floats) -> tuple[Floats, Floats]:
    """Return q6 and averaged q6 over the four nearest neighbours.

    Parameters
    ----------
    indices : (n, 4) int64
        Neighbours, as `nearest4` gives them.
    vectors : (n, 4, 3) float64
        Vectors to them.

    Returns
    -------
    q6 : (n,) float64
        Steinhardt's, of the molecule alone.
    averaged : (n,) float64
        Lechner and Dellago's: q_6m averaged over the molecule and its neighbours first.
    """
    n = vectors.shape[0]
    q6 = np.empty(n)
    averaged = np.empty(n)
    _q6(indices, vectors, _N6, q6, averaged)
    return q6, averaged


def chill_plus(neighbours: Neighbours) -> Ints:
    """Label every molecule by CHILL+.

    Parameters
    ----------
    neighbours : Neighbours
        Oxygens nearer than 0.35 nm, as `neighbour_list(oxygens, box, CHILL_RADIUS_NM)` gives them.

    Returns
    -------
    (n,) int64
        `OTHER`, `HEXAGONAL`, `CUBIC`, `INTERFACIAL_ICE`, `HYDRATE` or `INTERFACIAL_HYDRATE`.

    Notes
    -----
    With S staggered (c ≤ -0.8) and E eclipsed (-0.35 ≤ c ≤ 0.25) bonds, and exactly 4 neighbours:
    4S cubic, 3S 1E hexagonal, 4E hydrate, 3E interfacial hydrate. With any number of neighbours:
    2S beside a molecule with more than 2S, or 3S 0E beside one with 2S, interfacial ice.
    """
    n = neighbours.offsets.size - 1
    labels = np.empty(n, np.int64)
    _label(
        neighbours.offsets, neighbours.indices,
        _bond_counts(neighbours.offsets, neighbours.indices, neighbours.vectors, _N3), labels,
    )  # fmt: skip
    return labels


def largest_cluster(neighbours: Neighbours, chosen: Ints) -> int:
    """Return the size of the largest connected set of the chosen molecules.

    Parameters
    ----------
    neighbours : Neighbours
        What connects two molecules.
    chosen : (n,) int64
        Non-zero for the molecules to look at.

    Returns
    -------
    int
        Number of molecules in the largest set; 0 if none is chosen.
    """
    return int(_largest_cluster(neighbours.offsets, neighbours.indices, chosen))


@jit()
def _tetrahedral(vectors: Floats, q: Floats) -> None:
    for i in range(vectors.shape[0]):
        total = 0.0
        for j in range(3):
            xj, yj, zj = vectors[i, j, 0], vectors[i, j, 1], vectors[i, j, 2]
            for k in range(j + 1, 4):
                xk, yk, zk = vectors[i, k, 0], vectors[i, k, 1], vectors[i, k, 2]
                product = xj * xk + yj * yk + zj * zk
                lengths = (xj * xj + yj * yj + zj * zj) * (xk * xk + yk * yk + zk * zk)
                total += (product / math.sqrt(lengths) + 1.0 / 3.0) ** 2
        q[i] = 1.0 - 0.375 * total


@jit()
def _add_harmonics6(x: float, y: float, z: float, norms: Floats, row: Floats) -> None:
    """Add the 13 real harmonics of degree 6 in the direction (x, y, z), a unit vector."""
    z2 = z * z
    row[0] += ((231.0 * z2 - 315.0) * z2 + 105.0) * z2 / 16.0 - 5.0 / 16.0
    legendre = (
        2.625 * z * ((33.0 * z2 - 30.0) * z2 + 5.0),
        13.125 * ((33.0 * z2 - 18.0) * z2 + 1.0),
        157.5 * z * (11.0 * z2 - 3.0),
        472.5 * (11.0 * z2 - 1.0),
        10395.0 * z,
        10395.0,
    )
    real, imaginary = 1.0, 0.0
    for m in range(6):
        real, imaginary = real * x - imaginary * y, real * y + imaginary * x
        factor = norms[m + 1] * legendre[m]
        row[2 * m + 1] += factor * real
        row[2 * m + 2] += factor * imaginary


@jit()
def _q6(indices: Ints, vectors: Floats, norms: Floats, q6: Floats, averaged: Floats) -> None:
    n = vectors.shape[0]
    moments = np.zeros((n, 13))
    for i in range(n):
        for j in range(4):
            x, y, z = vectors[i, j, 0], vectors[i, j, 1], vectors[i, j, 2]
            inverse = 1.0 / math.sqrt(x * x + y * y + z * z)
            _add_harmonics6(x * inverse, y * inverse, z * inverse, norms, moments[i])
        total = 0.0
        for m in range(13):
            moments[i, m] *= 0.25
            total += moments[i, m] * moments[i, m]
        q6[i] = math.sqrt(total)
    for i in range(n):
        total = 0.0
        for m in range(13):
            mean = moments[i, m]
            for j in range(4):
                mean += moments[indices[i, j], m]
            total += mean * mean
        averaged[i] = math.sqrt(total) / 5.0


@jit()
def _bond_counts(offsets: Ints, indices: Ints, vectors: Floats, norms: Floats) -> Ints:
    """Count staggered (column 0) and eclipsed (column 1) bonds of every molecule."""
    n = offsets.size - 1
    moments = np.zeros((n, 7))
    for i in range(n):
        for k in range(offsets[i], offsets[i + 1]):
            x, y, z = vectors[k, 0], vectors[k, 1], vectors[k, 2]
            inverse = 1.0 / math.sqrt(x * x + y * y + z * z)
            x, y, z = x * inverse, y * inverse, z * inverse
            one, two = norms[1] * (7.5 * z * z - 1.5), norms[2] * 15.0 * z
            three = norms[3] * 15.0
            moments[i, 0] += z * (2.5 * z * z - 1.5)
            moments[i, 1] += one * x
            moments[i, 2] += one * y
            moments[i, 3] += two * (x * x - y * y)
            moments[i, 4] += two * (2.0 * x * y)
            moments[i, 5] += three * x * (x * x - 3.0 * y * y)
            moments[i, 6] += three * y * (3.0 * x * x - y * y)
        square = 0.0
        for m in range(7):
            square += moments[i, m] * moments[i, m]
        if square > 0.0:
            for m in range(7):
                moments[i, m] /= math.sqrt(square)
    counts = np.zeros((n, 2), np.int64)
    for i in range(n):
        for k in range(offsets[i], offsets[i + 1]):
            c = 0.0
            for m in range(7):
                c += moments[i, m] * moments[indices[k], m]
            if c <= STAGGERED_MAX:
                counts[i, 0] += 1
            elif ECLIPSED_MIN <= c <= ECLIPSED_MAX:
                counts[i, 1] += 1
    return counts


@jit()
def _label(offsets: Ints, indices: Ints, counts: Ints, labels: Ints) -> None:
    for i in range(labels.size):
        staggered, eclipsed = counts[i, 0], counts[i, 1]
        label = OTHER
        if offsets[i + 1] - offsets[i] == 4:
            if staggered == 4:
                label = CUBIC
            elif staggered == 3 and eclipsed == 1:
                label = HEXAGONAL
            elif eclipsed == 4:
                label = HYDRATE
            elif eclipsed == 3:
                label = INTERFACIAL_HYDRATE
        if label == OTHER and (staggered == 2 or (staggered == 3 and eclipsed == 0)):
            for k in range(offsets[i], offsets[i + 1]):
                beside = counts[indices[k], 0]
                if (staggered == 2 and beside > 2) or (staggered == 3 and beside == 2):
                    label = INTERFACIAL_ICE
                    break
        labels[i] = label


@jit()
def _largest_cluster(offsets: Ints, indices: Ints, chosen: Ints) -> int:
    n = chosen.size
    seen = np.zeros(n, np.int64)
    stack = np.empty(n, np.int64)
    largest = 0
    for start in range(n):
        if chosen[start] == 0 or seen[start] != 0:
            continue
        seen[start] = 1
        stack[0] = start
        waiting, size = 1, 0
        while waiting > 0:
            waiting -= 1
            i = stack[waiting]
            size += 1
            for k in range(offsets[i], offsets[i + 1]):
                j = indices[k]
                if chosen[j] != 0 and seen[j] == 0:
                    seen[j] = 1
                    stack[waiting] = j
                    waiting += 1
        largest = max(largest, size)
    return largest
