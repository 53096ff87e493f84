"""Pair forces and energies of water in float32: pack, compute, scatter.

The interface that the force field relies on is `add_pair_forces` alone: a faster kernel replaces
this file and nothing around it.

For each molecule the list is packed into rows of a one-dimensional scratch array with a literal
stride, so that LLVM can vectorise the loop over partners; all site pairs are computed in that one
loop, and the forces are scattered in double precision.

| equation | variable |
|---|---|
| Coulomb force over r, q_a q_b (1/r³ - g(r²)) | `_factor`; g is a polynomial (`force_poly`) |
| Coulomb energy q_a q_b (1/r - p(r²)) | `energy_poly` |
| LJ force over r, (12 C12/r⁶ - 6 C6)/r⁸ | `c12`, `c6` |

PME: g and p are the screened parts, erf(αr)/r and its derivative. Reaction field: g = 2 k_rf and
p = c_rf - k_rf r². Both are entire functions of r², so one polynomial kernel does for both.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit

__all__ = ["DEGREE", "add_pair_forces"]

DEGREE = 13
STRIDE = 256
BATCH = 256
LANES = 16
MASK = (1 << 24) - 1


@jit(fastmath=True)
def _polynomial(u: Any, c: Any) -> Any:
    p = c[13]
    p = p * u + c[12]
    p = p * u + c[11]
    p = p * u + c[10]
    p = p * u + c[9]
    p = p * u + c[8]
    p = p * u + c[7]
    p = p * u + c[6]
    p = p * u + c[5]
    p = p * u + c[4]
    p = p * u + c[3]
    p = p * u + c[2]
    p = p * u + c[1]
    return p * u + c[0]


@jit(fastmath=True)
def _factor(x: Any, y: Any, z: Any, qq: Any, k: Any, c: Any) -> Any:
    """Coulomb force over distance, 0 beyond the cutoff."""
    r2 = x * x + y * y + z * z
    inv = np.float32(1.0) / math.sqrt(r2)
    s = qq * (inv * inv * inv - _polynomial(r2 * k[7] + k[8], c))
    return s if r2 < k[0] else np.float32(0.0)


@jit(fastmath=True)
def _energy(x: Any, y: Any, z: Any, qq: Any, k: Any, c: Any) -> Any:
    r2 = x * x + y * y + z * z
    inv = np.float32(1.0) / math.sqrt(r2)
    s = qq * (inv - _polynomial(r2 * k[7] + k[8], c))
    return s if r2 < k[0] else np.float32(0.0)


@jit()
def _pack(
    s: int,
    first: int,
    last: int,
    pairs: Any,
    centres: Any,
    offsets: Any,
    shifts: Any,
    reach: float,
    far: Any,
    scratch: Any,
    index: Any,
) -> int:
    """Gather the partners with O within reach; pad with far ones to whole vectors."""
    xs = centres[s, 0]
    ys = centres[s, 1]
    zs = centres[s, 2]
    n = 0
    for p in range(first, last):
        pair = pairs[p]
        t = pair & MASK
        code = pair >> 24
        # Differences in double precision: single-precision coordinates would lose digits
        # that grow with the box.
        x = (centres[t, 0] - xs) + shifts[code, 0]
        y = (centres[t, 1] - ys) + shifts[code, 1]
        z = (centres[t, 2] - zs) + shifts[code, 2]
        index[n] = t
        scratch[n] = x
        scratch[STRIDE + n] = y
        scratch[2 * STRIDE + n] = z
        n += x * x + y * y + z * z < reach * reach
    for k in range(n):
        t = index[k]
        for a in range(9):
            scratch[(3 + a) * STRIDE + k] = offsets[t, a]
    whole = (n + LANES - 1) // LANES * LANES
    for k in range(n, whole):
        scratch[k] = far
        for a in range(1, 12):
            scratch[a * STRIDE + k] = np.float32(0.0)
    return n


@jit(fastmath=True)
def _force_batch(n: int, own: Any, w: Any, k: Any, c: Any) -> Any:
    """Compute the forces of the packed partners: on them in rows 12 to 20, on the own returned.

    k = (r_cut², q00, q0h, qhh, 6 C6, 12 C12, weight of H, scale, offset of the polynomial).
    """
    q00 = k[1]
    q0h = k[2]
    qhh = k[3]
    wh = k[6]
    wo = np.float32(1.0) - wh - wh
    ax, ay, az, bx, by, bz, cx, cy, cz = own
    zero = np.float32(0.0)
    ox = oy = oz = zero
    sax = say = saz = zero
    sbx = sby = sbz = zero
    scx = scy = scz = zero
    for m in range((n + LANES - 1) // LANES * LANES):
        dx = w[m]
        dy = w[STRIDE + m]
        dz = w[2 * STRIDE + m]
        r2 = dx * dx + dy * dy + dz * dz
        i2 = np.float32(1.0) / r2
        i6 = i2 * i2 * i2
        lj = (k[5] * i6 - k[4]) * i6 * i2
        lj = lj if r2 < k[0] else zero
        lx = lj * dx
        ly = lj * dy
        lz = lj * dz
        ox += lx
        oy += ly
        oz += lz

        px = dx + w[3 * STRIDE + m]
        py = dy + w[4 * STRIDE + m]
        pz = dz + w[5 * STRIDE + m]
        ux = px - ax
        uy = py - ay
        uz = pz - az
        s = _factor(ux, uy, uz, q00, k, c)
        vx = px - bx
        vy = py - by
        vz = pz - bz
        t = _factor(vx, vy, vz, q0h, k, c)
        wx = px - cx
        wy = py - cy
        wz = pz - cz
        u = _factor(wx, wy, wz, q0h, k, c)
        ux = s * ux
        uy = s * uy
        uz = s * uz
        vx = t * vx
        vy = t * vy
        vz = t * vz
        wx = u * wx
        wy = u * wy
        wz = u * wz
        sax += ux
        say += uy
        saz += uz
        sbx += vx
        sby += vy
        sbz += vz
        scx += wx
        scy += wy
        scz += wz
        f0x = ux + vx + wx
        f0y = uy + vy + wy
        f0z = uz + vz + wz
        w[12 * STRIDE + m] = lx + wo * f0x
        w[13 * STRIDE + m] = ly + wo * f0y
        w[14 * STRIDE + m] = lz + wo * f0z

        px = dx + w[6 * STRIDE + m]
        py = dy + w[7 * STRIDE + m]
        pz = dz + w[8 * STRIDE + m]
        ux = px - ax
        uy = py - ay
        uz = pz - az
        s = _factor(ux, uy, uz, q0h, k, c)
        vx = px - bx
        vy = py - by
        vz = pz - bz
        t = _factor(vx, vy, vz, qhh, k, c)
        wx = px - cx
        wy = py - cy
        wz = pz - cz
        u = _factor(wx, wy, wz, qhh, k, c)
        ux = s * ux
        uy = s * uy
        uz = s * uz
        vx = t * vx
        vy = t * vy
        vz = t * vz
        wx = u * wx
        wy = u * wy
        wz = u * wz
        sax += ux
        say += uy
        saz += uz
        sbx += vx
        sby += vy
        sbz += vz
        scx += wx
        scy += wy
        scz += wz
        w[15 * STRIDE + m] = wh * f0x + (ux + vx + wx)
        w[16 * STRIDE + m] = wh * f0y + (uy + vy + wy)
        w[17 * STRIDE + m] = wh * f0z + (uz + vz + wz)

        px = dx + w[9 * STRIDE + m]
        py = dy + w[10 * STRIDE + m]
        pz = dz + w[11 * STRIDE + m]
        ux = px - ax
        uy = py - ay
        uz = pz - az
        s = _factor(ux, uy, uz, q0h, k, c)
        vx = px - bx
        vy = py - by
        vz = pz - bz
        t = _factor(vx, vy, vz, qhh, k, c)
        wx = px - cx
        wy = py - cy
        wz = pz - cz
        u = _factor(wx, wy, wz, qhh, k, c)
        ux = s * ux
        uy = s * uy
        uz = s * uz
        vx = t * vx
        vy = t * vy
        vz = t * vz
        wx = u * wx
        wy = u * wy
        wz = u * wz
        sax += ux
        say += uy
        saz += uz
        sbx += vx
        sby += vy
        sbz += vz
        scx += wx
        scy += wy
        scz += wz
        w[18 * STRIDE + m] = wh * f0x + (ux + vx + wx)
        w[19 * STRIDE + m] = wh * f0y + (uy + vy + wy)
        w[20 * STRIDE + m] = wh * f0z + (uz + vz + wz)
    return (
        ox + wo * sax,
        oy + wo * say,
        oz + wo * saz,
        sbx + wh * sax,
        sby + wh * say,
        sbz + wh * saz,
        scx + wh * sax,
        scy + wh * say,
        scz + wh * saz,
    )


@jit(fastmath=True)
def _energy_batch(n: int, own: Any, w: Any, k: Any, c: Any) -> Any:
    """Sum the Lennard-Jones and the Coulomb energy of the packed partners."""
    ax, ay, az, bx, by, bz, cx, cy, cz = own
    lj_sum = q_sum = np.float32(0.0)
    for m in range((n + LANES - 1) // LANES * LANES):
        dx = w[m]
        dy = w[STRIDE + m]
        dz = w[2 * STRIDE + m]
        r2 = dx * dx + dy * dy + dz * dz
        i2 = np.float32(1.0) / r2
        i6 = i2 * i2 * i2
        e = (k[5] * i6 * np.float32(0.5) - k[4]) * i6 * np.float32(1.0 / 6.0)
        lj_sum += e if r2 < k[0] else np.float32(0.0)
        x = dx + w[3 * STRIDE + m]
        y = dy + w[4 * STRIDE + m]
        z = dz + w[5 * STRIDE + m]
        e = _energy(x - ax, y - ay, z - az, k[1], k, c)
        e += _energy(x - bx, y - by, z - bz, k[2], k, c)
        e += _energy(x - cx, y - cy, z - cz, k[2], k, c)
        x = dx + w[6 * STRIDE + m]
        y = dy + w[7 * STRIDE + m]
        z = dz + w[8 * STRIDE + m]
        e += _energy(x - ax, y - ay, z - az, k[2], k, c)
        e += _energy(x - bx, y - by, z - bz, k[3], k, c)
        e += _energy(x - cx, y - cy, z - cz, k[3], k, c)
        x = dx + w[9 * STRIDE + m]
        y = dy + w[10 * STRIDE + m]
        z = dz + w[11 * STRIDE + m]
        e += _energy(x - ax, y - ay, z - az, k[2], k, c)
        e += _energy(x - bx, y - by, z - bz, k[3], k, c)
        e += _energy(x - cx, y - cy, z - cz, k[3], k, c)
        q_sum += e
    return lj_sum, q_sum


@jit(fastmath=True)
def _virial_batch(n: int, own: Any, mass_h: Any, w: Any) -> Any:
    """Sum R_ij F_ij over the packed partners, with centres of mass and the forces just computed."""
    comx = mass_h * (own[3] + own[6])
    comy = mass_h * (own[4] + own[7])
    comz = mass_h * (own[5] + own[8])
    xx = xy = xz = yx = yy = yz = zx = zy = zz = np.float32(0.0)
    for m in range(n):
        rx = w[m] + mass_h * (w[6 * STRIDE + m] + w[9 * STRIDE + m]) - comx
        ry = w[STRIDE + m] + mass_h * (w[7 * STRIDE + m] + w[10 * STRIDE + m]) - comy
        rz = w[2 * STRIDE + m] + mass_h * (w[8 * STRIDE + m] + w[11 * STRIDE + m]) - comz
        fx = w[12 * STRIDE + m] + w[15 * STRIDE + m] + w[18 * STRIDE + m]
        fy = w[13 * STRIDE + m] + w[16 * STRIDE + m] + w[19 * STRIDE + m]
        fz = w[14 * STRIDE + m] + w[17 * STRIDE + m] + w[20 * STRIDE + m]
        xx += rx * fx
        xy += rx * fy
        xz += rx * fz
        yx += ry * fx
        yy += ry * fy
        yz += ry * fz
        zx += rz * fx
        zy += rz * fy
        zz += rz * fz
    return xx, xy, xz, yx, yy, yz, zx, zy, zz


@jit()
def _own_sites(s: int, offsets: Any) -> Any:
    o = offsets[s]
    return o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7], o[8]


@jit()
def _chunk(
    span: Any,
    pairs: Any,
    starts: Any,
    centres: Any,
    offsets: Any,
    shifts: Any,
    reach: float,
    constants: Any,
    polys: Any,
    window: Any,
    buffer: Any,
    energies: bool,
    sums: Any,
) -> None:
    force_poly = polys[:14]
    energy_poly = polys[14:28]
    mass_h = polys[28]
    n_molecules = centres.shape[0]
    scratch = np.empty(21 * STRIDE, np.float32)
    index = np.empty(BATCH, np.int32)
    far = np.float32(reach + 1.0)
    buffer[window[0] : window[0] + window[2]] = 0.0
    sums[:] = 0.0
    for s in range(span[0], span[1]):
        home = s - window[1]
        home = window[0] + (home if home >= 0 else home + n_molecules)
        own = _own_sites(s, offsets)
        for first in range(starts[s, 0], starts[s, 1], BATCH):
            last = min(first + BATCH, starts[s, 1])
            n = _pack(s, first, last, pairs, centres, offsets, shifts, reach, far, scratch, index)
            reaction = _force_batch(n, own, scratch, constants, force_poly)
            for a in range(9):
                buffer[home, a] -= reaction[a]
            for k in range(n):
                t = index[k] - window[1]
                t = window[0] + (t if t >= 0 else t + n_molecules)
                for a in range(9):
                    buffer[t, a] += scratch[(12 + a) * STRIDE + k]
            if energies:
                lj, coulomb = _energy_batch(n, own, scratch, constants, energy_poly)
                sums[0] += lj
                sums[1] += coulomb
                virial = _virial_batch(n, own, mass_h, scratch)
                for a in range(9):
                    sums[2 + a] += virial[a]


@parallel_jit()
def add_pair_forces(
    chunk_start: Any,
    pairs: Any,
    starts: Any,
    centres: Any,
    offsets: Any,
    shifts: Any,
    reach: float,
    constants: Any,
    polys: Any,
    windows: Any,
    buffer: Any,
    energies: bool,
    sums: Any,
) -> None:
    """Compute the pair forces of each chunk of molecules into its own window of a buffer.

    Parameters
    ----------
    chunk_start : (chunks + 1,) int64
        Bounds of the chunks.
    pairs, starts
        The list (`mdpipe.kernels.pairlist.build_pairs`).
    centres : (n, 3) float64
        O positions in list order.
    offsets : (n, 9) float32
        Negative site, H1, H2 relative to O.
    shifts : (125, 3) float64
        Displacement of each image code.
    reach : float
        O-O distance beyond which no two sites are within the cutoff.
    constants : tuple of 9 float32
        r_cut², q00, q0h, qhh, 6 C6, 12 C12, weight of H in the negative site, scale and offset
        that map r² to the variable of the polynomials.
    polys : tuple of 29 float32
        Coefficients of g and of p, lowest first, 14 each; mass of H over that of the molecule.
    windows : (chunks, 3) int64
        First row of the chunk's part of `buffer`, first molecule of its window, molecules in it
        (in list order, cyclic).
    buffer : (rows, 9) float64
        Out: forces on O, H1, H2; the share of the negative site is spread.
    energies : bool
        Whether `sums` is wanted; the bits of the forces do not depend on it.
    sums : (chunks, 11) float64
        Out: Lennard-Jones energy, Coulomb energy, molecular virial R_ij F_ij row by row.
    """
    for c in numba.prange(chunk_start.shape[0] - 1):
        _chunk(
            (chunk_start[c], chunk_start[c + 1]),
            pairs,
            starts,
            centres,
            offsets,
            shifts,
            reach,
            constants,
            polys,
            (windows[c, 0], windows[c, 1], windows[c, 2]),
            buffer,
            energies,
            sums[c],
        )
