"""Sites of different molecules that are too close, and molecules out of shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit
from mdpipe.kernels.recognise import bin_points, square_distance

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@jit()
def close_contacts(
    positions: Floats, per_molecule: int, box: Floats, r_min: float
) -> tuple[int, float, int, int]:
    """Count pairs of sites of different molecules that are closer than `r_min`.

    Parameters
    ----------
    positions : (n, 3) float64
        Sites, `per_molecule` to each molecule, finite, in any image.
    per_molecule : int
        Sites of a molecule.
    box : (3, 3) float64
        Lower triangular reduced, each diagonal element above 2 `r_min`.
    r_min : float
        Distance.

    Returns
    -------
    count : int
        Number of pairs.
    shortest : float
        Their shortest distance, infinite where there is none.
    i, j : int
        The molecules of that pair, i < j; -1 where there is none.
    """
    shape = np.empty(3, np.int64)
    cells, first, following = bin_points(positions, box, r_min, shape)
    count = 0
    best = np.inf
    best_i = -1
    best_j = -1
    limit = r_min * r_min
    for a in range(positions.shape[0]):
        molecule = a // per_molecule
        for p in range(-1, 2):
            if (shape[0] == 1 and p != 0) or (shape[0] == 2 and p == 1):
                continue
            c0 = cells[a, 0] + p
            c0 = c0 + shape[0] if c0 < 0 else (c0 - shape[0] if c0 >= shape[0] else c0)
            for q in range(-1, 2):
                if (shape[1] == 1 and q != 0) or (shape[1] == 2 and q == 1):
                    continue
                c1 = cells[a, 1] + q
                c1 = c1 + shape[1] if c1 < 0 else (c1 - shape[1] if c1 >= shape[1] else c1)
                for r in range(-1, 2):
                    if (shape[2] == 1 and r != 0) or (shape[2] == 2 and r == 1):
                        continue
                    c2 = cells[a, 2] + r
                    c2 = c2 + shape[2] if c2 < 0 else (c2 - shape[2] if c2 >= shape[2] else c2)
                    b = first[(c0 * shape[1] + c1) * shape[2] + c2]
                    while b >= 0:
                        if b < a and b // per_molecule != molecule:
                            d2 = square_distance(positions, a, positions, b, box)
                            if d2 < limit:
                                count += 1
                                if d2 < best:
                                    best = d2
                                    best_i = b // per_molecule
                                    best_j = molecule
                        b = following[b]
    return count, np.sqrt(best), best_i, best_j


@jit()
def misshapen(
    positions: Floats, r_min: float, r_max: float, cos_min: float, cos_max: float
) -> tuple[int, int]:
    """Count molecules whose O-H lengths or HOH angle lie outside a range.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        Whole molecules O, H1, H2.
    r_min, r_max : float
        Range of the O-H lengths.
    cos_min, cos_max : float
        Range of the cosine of the angle.

    Returns
    -------
    count : int
        Number of molecules; a NaN counts as out of range.
    first : int
        The first of them, -1 where there is none.
    """
    count = 0
    first = -1
    for m in range(positions.shape[0]):
        a2 = 0.0
        b2 = 0.0
        ab = 0.0
        for d in range(3):
            u = positions[m, 1, d] - positions[m, 0, d]
            v = positions[m, 2, d] - positions[m, 0, d]
            a2 += u * u
            b2 += v * v
            ab += u * v
        a = np.sqrt(a2)
        b = np.sqrt(b2)
        cosine = ab / (a * b)
        if not (r_min <= a <= r_max and r_min <= b <= r_max and cos_min <= cosine <= cos_max):
            count += 1
            if first < 0:
                first = m
    return count, first
