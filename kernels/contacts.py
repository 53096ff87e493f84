"""Sites of different molecules that are too close, and molecules out of shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit
from mdpipe.kernels.recognise import grid_shape

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

    Notes
    -----
    Cells are at least 2 `r_min` wide, so a site looks into two of them along each axis only, on
    its own side. Sites are looked up before they are put in: each pair is seen once.
    """
    n = positions.shape[0]
    shape = np.empty(3, np.int64)
    grid_shape(box, 2.0 * r_min, shape)
    first = np.full(shape[0] * shape[1] * shape[2], -1, np.int32)
    following = np.empty(n, np.int32)
    inside = np.empty((n, 3), np.float64)
    low = np.empty(3, np.int64)
    near = np.empty(3, np.int64)
    wide = np.empty(3, np.int64)
    ax, bx, by = box[0, 0], box[1, 0], box[1, 1]
    cx, cy, cz = box[2, 0], box[2, 1], box[2, 2]
    inverse_a, inverse_b, inverse_c = 1.0 / ax, 1.0 / by, 1.0 / cz
    count = 0
    best = np.inf
    best_i = -1
    best_j = -1
    limit = r_min * r_min
    begin = 0
    for a in range(n):
        if a == begin + per_molecule:
            begin = a
        s2 = positions[a, 2] * inverse_c
        s1 = (positions[a, 1] - s2 * cy) * inverse_b
        s0 = (positions[a, 0] - s1 * bx - s2 * cx) * inverse_a
        inside[a, 0], inside[a, 1], inside[a, 2] = s0, s1, s2
        for d in range(3):
            inside[a, d] -= np.floor(inside[a, d])
            place = inside[a, d] * shape[d]
            low[d] = min(int(place), shape[d] - 1)
            step = -1 if place - low[d] < 0.5 else 1
            other = low[d] + step
            if other < 0:
                other += shape[d]
            elif other >= shape[d]:
                other -= shape[d]
            near[d] = other
            wide[d] = 2 if shape[d] > 1 else 1
        for p in range(wide[0]):
            c0 = (low[0] if p == 0 else near[0]) * shape[1]
            for q in range(wide[1]):
                c1 = (c0 + (low[1] if q == 0 else near[1])) * shape[2]
                for r in range(wide[2]):
                    b = first[c1 + (low[2] if r == 0 else near[2])]
                    while b >= 0:
                        if b < begin:
                            u = inside[a, 0] - inside[b, 0]
                            v = inside[a, 1] - inside[b, 1]
                            w = inside[a, 2] - inside[b, 2]
                            u -= np.rint(u)
                            v -= np.rint(v)
                            w -= np.rint(w)
                            dx = u * ax + v * bx + w * cx
                            dy = v * by + w * cy
                            dz = w * cz
                            d2 = dx * dx + dy * dy + dz * dz
                            if d2 < limit:
                                count += 1
                                if d2 < best:
                                    best = d2
                                    best_i = b // per_molecule
                                    best_j = a // per_molecule
                        b = following[b]
        cell = (low[0] * shape[1] + low[1]) * shape[2] + low[2]
        following[a] = first[cell]
        first[cell] = a
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
