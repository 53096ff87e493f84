"""Smooth particle-mesh Ewald: charges onto the grid, forces from the grid.

The interface that the force field relies on: `locate_sites`, `spread_charges` and `gather_forces`;
what lies between them is in `mdpipe.kernels.fft` and `mdpipe.kernels.waves`.

Each grid point sums its charges in the order of the sites' planes and then of the sites, however
the planes are dealt out to threads.

References
----------
Essmann et al., J. Chem. Phys. 103, 8577 (1995), DOI 10.1063/1.470117. No net force is removed.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit

__all__ = [
    "PAD",
    "gather_forces",
    "locate_sites",
    "spread_charges",
]

PAD = 8
BLOCKS = 16


@jit(inline="always")
def _spline(w: Any, order: int, one: Any) -> Any:
    """Weigh the five grid points; the last gets 0 for order 4."""
    sixth = one / (one + one + one + one + one + one)
    v = one - w
    three = one + one + one
    a = v * v * v * sixth
    d = w * w * w * sixth
    b = ((three * w - three - three) * w * w + one + three) * sixth
    c = one - a - b - d
    if order == 4:
        return a, b, c, d, one - one
    q = one / (three + one)
    return (
        v * a * q,
        ((w + three) * a + (one + v) * b) * q,
        ((w + one + one) * b + (one + one + v) * c) * q,
        ((w + one) * c + (three + v) * d) * q,
        w * d * q,
    )


@jit(inline="always")
def _spline_slope(w: Any, order: int, one: Any) -> Any:
    """Differentiate the weights with respect to w."""
    half = one / (one + one)
    v = one - w
    if order == 4:
        a = v * v * half
        c = w * w * half
        b = one - a - c
        return -a, a - b, b - c, c, one - one
    a, b, c, d, _ = _spline(w, 4, one)
    return -a, a - b, b - c, c - d, d


@jit()
def _locate_block(
    span: Any, centres: Any, offsets: Any, inverse: Any, shape: Any, base: Any, fraction: Any
) -> None:
    for s in range(span[0], span[1]):
        for j in range(3):
            x = centres[s, 0] + offsets[s, 3 * j]
            y = centres[s, 1] + offsets[s, 3 * j + 1]
            z = centres[s, 2] + offsets[s, 3 * j + 2]
            for a in range(3):
                f = x * inverse[0, a] + y * inverse[1, a] + z * inverse[2, a]
                u = (f - math.floor(f)) * shape[a]
                k = int(u)
                fraction[3 * s + j, a] = u - k
                # f - floor(f) rounds to 1 for a tiny negative f.
                base[3 * s + j, a] = k if k < shape[a] else 0


@parallel_jit()
def locate_sites(
    centres: Any,
    offsets: Any,
    inverse: Any,
    shape: Any,
    base: Any,
    fraction: Any,
    bin_start: Any,
    bins: Any,
) -> None:
    """Find the grid cell of each charged site and sort the sites by their x plane.

    Parameters
    ----------
    centres : (n, 3) float64
        O positions.
    offsets : (n, 9) float32 or float64
        Negative site, H1, H2 relative to O.
    inverse : (3, 3) float64
        Inverse of the box.
    shape : tuple of 3 int
        Grid.
    base : (3n, 3) int32
        Out: lowest corner of the cell.
    fraction : (3n, 3) float32 or float64
        Out: place in the cell, 0 to 1.
    bin_start : (kx + 1,) int32
        Out: first site of each x plane.
    bins : (3n,) int32
        Out: sites sorted by plane, then by number.
    """
    n = centres.shape[0]
    for b in numba.prange(BLOCKS):
        span = (b * n // BLOCKS, (b + 1) * n // BLOCKS)
        _locate_block(span, centres, offsets, inverse, shape, base, fraction)
    _sort_planes(base, bin_start, bins)


@jit()
def _sort_planes(base: Any, bin_start: Any, bins: Any) -> None:
    planes = bin_start.shape[0] - 1
    bin_start[:] = 0
    for i in range(base.shape[0]):
        bin_start[base[i, 0] + 1] += 1
    for k in range(planes):
        bin_start[k + 1] += bin_start[k]
    place = bin_start[:-1].copy()
    for i in range(base.shape[0]):
        k = base[i, 0]
        bins[place[k]] = i
        place[k] += 1


@jit()
def _spread_slab(
    p0: int,
    p1: int,
    order: int,
    shape: Any,
    charges: Any,
    base: Any,
    fraction: Any,
    bin_start: Any,
    bins: Any,
    grid: Any,
    one: Any,
) -> None:
    kx, ky, kz = shape
    rows = np.empty(5, np.int64)
    wx = np.empty(5, fraction.dtype)
    wy = np.empty(5, fraction.dtype)
    row_length = kz + PAD
    for i in range(p0 * ky * row_length, p1 * ky * row_length):
        grid[i] = 0.0
    for plane in range(p0 - order + 1, p1):
        low = max(p0 - plane, 0)
        high = min(p1 - plane, order)
        k = plane % kx
        for p in range(bin_start[k], bin_start[k + 1]):
            site = bins[p]
            z0, z1, z2, z3, z4 = _spline(fraction[site, 2], order, one)
            y0, y1, y2, y3, y4 = _spline(fraction[site, 1], order, one)
            q = charges[site % 3]
            wy[0] = y0 * q
            wy[1] = y1 * q
            wy[2] = y2 * q
            wy[3] = y3 * q
            wy[4] = y4 * q
            x0, x1, x2, x3, x4 = _spline(fraction[site, 0], order, one)
            wx[0] = x0
            wx[1] = x1
            wx[2] = x2
            wx[3] = x3
            wx[4] = x4
            for b in range(order):
                y = base[site, 1] + b
                while y >= ky:
                    y -= ky
                rows[b] = y * row_length + base[site, 2]
            for a in range(low, high):
                start = (plane + a) * ky * row_length
                for b in range(order):
                    w = wx[a] * wy[b]
                    o = start + rows[b]
                    grid[o] += w * z0
                    grid[o + 1] += w * z1
                    grid[o + 2] += w * z2
                    grid[o + 3] += w * z3
                    grid[o + 4] += w * z4
    for row in range(p0 * ky, p1 * ky):
        o = row * row_length
        for z in range(order - 1):
            grid[o + z] += grid[o + kz + z]


@parallel_jit()
def spread_charges(
    slabs: int,
    order: int,
    shape: Any,
    charges: Any,
    base: Any,
    fraction: Any,
    bin_start: Any,
    bins: Any,
    grid: Any,
    one: Any,
) -> None:
    """Spread the charges on the grid with cardinal B-splines.

    Parameters
    ----------
    slabs : int
        Parts that the planes are dealt out in; the result does not depend on it.
    order : int
        4 or 5.
    shape : tuple of 3 int
        Grid, each side at least `order`.
    charges : (3,) float32 or float64
        Reduced charges of the three sites of a molecule.
    base, fraction, bin_start, bins
        From `locate_sites`.
    grid : (kx * ky * (kz + PAD),) float32 or float64
        Out: charges; the padding of a row is scratch.
    one : float32 or float64
        1 in the precision of the grid.
    """
    kx = shape[0]
    for s in numba.prange(slabs):
        _spread_slab(
            s * kx // slabs,
            (s + 1) * kx // slabs,
            order,
            shape,
            charges,
            base,
            fraction,
            bin_start,
            bins,
            grid,
            one,
        )


@jit()
def _gather_block(
    span: Any,
    order: int,
    shape: Any,
    inverse: Any,
    charges: Any,
    base: Any,
    fraction: Any,
    potential: Any,
    forces: Any,
    one: Any,
) -> None:
    kx, ky, kz = shape
    rows = np.empty(5, np.int64)
    wx = np.empty((2, 5), fraction.dtype)
    wy = np.empty((2, 5), fraction.dtype)
    row_length = kz + PAD
    for site in range(span[0], span[1]):
        z0, z1, z2, z3, z4 = _spline(fraction[site, 2], order, one)
        d0, d1, d2, d3, d4 = _spline_slope(fraction[site, 2], order, one)
        wx[0, 0], wx[0, 1], wx[0, 2], wx[0, 3], wx[0, 4] = _spline(fraction[site, 0], order, one)
        wy[0, 0], wy[0, 1], wy[0, 2], wy[0, 3], wy[0, 4] = _spline(fraction[site, 1], order, one)
        wx[1, 0], wx[1, 1], wx[1, 2], wx[1, 3], wx[1, 4] = _spline_slope(
            fraction[site, 0], order, one
        )
        wy[1, 0], wy[1, 1], wy[1, 2], wy[1, 3], wy[1, 4] = _spline_slope(
            fraction[site, 1], order, one
        )
        for b in range(order):
            y = base[site, 1] + b
            while y >= ky:
                y -= ky
            rows[b] = y * row_length + base[site, 2]
        fx = one - one
        fy = fx
        fz = fx
        for a in range(order):
            x = base[site, 0] + a
            while x >= kx:
                x -= kx
            start = x * ky * row_length
            value = one - one
            slope_y = value
            slope_z = value
            for b in range(order):
                o = start + rows[b]
                g0 = potential[o]
                g1 = potential[o + 1]
                g2 = potential[o + 2]
                g3 = potential[o + 3]
                g4 = potential[o + 4]
                v = ((g0 * z0 + g1 * z1) + (g2 * z2 + g3 * z3)) + g4 * z4
                d = ((g0 * d0 + g1 * d1) + (g2 * d2 + g3 * d3)) + g4 * d4
                value += wy[0, b] * v
                slope_y += wy[1, b] * v
                slope_z += wy[0, b] * d
            fx += wx[1, a] * value
            fy += wx[0, a] * slope_y
            fz += wx[0, a] * slope_z
        q = charges[site % 3]
        ux = -q * np.float64(fx) * kx
        uy = -q * np.float64(fy) * ky
        uz = -q * np.float64(fz) * kz
        for a in range(3):
            forces[site, a] = inverse[a, 0] * ux + inverse[a, 1] * uy + inverse[a, 2] * uz


@jit()
def _pad_planes(x0: int, x1: int, order: int, shape: Any, values: Any, padded: Any) -> None:
    _, ky, kz = shape
    for x in range(x0, x1):
        for y in range(ky):
            o = (x * ky + y) * (kz + PAD)
            for z in range(kz):
                padded[o + z] = values[x, y, z]
            for z in range(order):
                padded[o + kz + z] = values[x, y, z]


@parallel_jit()
def gather_forces(
    order: int,
    shape: Any,
    inverse: Any,
    charges: Any,
    base: Any,
    fraction: Any,
    values: Any,
    padded: Any,
    forces: Any,
    one: Any,
) -> None:
    """Interpolate the reciprocal forces on the charged sites.

    Parameters
    ----------
    order, shape, charges, base, fraction, one
        As in `spread_charges`.
    inverse : (3, 3) float64
        Inverse of the box.
    values : (kx, ky, kz) float32 or float64
        Potential on the grid.
    padded : (kx * ky * (kz + PAD),) float32 or float64
        Scratch: the potential with rows padded periodically.
    forces : (3n, 3) float64
        Out: forces on the sites, virtual ones included.
    """
    kx = shape[0]
    for b in numba.prange(BLOCKS):
        _pad_planes(b * kx // BLOCKS, (b + 1) * kx // BLOCKS, order, shape, values, padded)
    n = base.shape[0]
    for b in numba.prange(BLOCKS):
        span = (b * n // BLOCKS, (b + 1) * n // BLOCKS)
        _gather_block(span, order, shape, inverse, charges, base, fraction, padded, forces, one)
