"""Pair forces and energies of water in float32: pack, compute, scatter.

The interface that the force field relies on is `add_pair_forces` and `sum_pair_energies`; both
take the same `Pairs`-like arguments, and a faster kernel replaces this file alone.

For each molecule the list is packed into rows of a one-dimensional scratch array with a literal
stride, so that LLVM can vectorise the loop over partners; all site pairs are computed in that one
loop, and the forces are scattered in double precision.

| equation | variable |
|---|---|
| Coulomb force over r, q_a q_b (1/r³ - g(r²)) | `_factor`; g is a polynomial (`force_poly`) |
| Coulomb energy q_a q_b (1/r - p(r²)) | `energy_poly` |
| LJ force over r, (12 C12/r⁶ - 6 C6)/r⁸ | `c12`, `c6` |

PME: g and p are the screened parts, erf(αr)/r and its derivative. Reaction field: p = c_rf - k_rf r²,
g = 2 k_rf. Both are entire functions of r², so one polynomial kernel does for both.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit

__all__ = ["DEGREE", "add_pair_forces", "sum_pair_energies"]

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
    reach2: float,
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
        n += x * x + y * y + z * z < reach2
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
    """Forces of up to `BATCH` packed partners: on them in rows 12 to 20, on the own sites returned.

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


@jit()
def _own_sites(s: int, offsets: Any) -> Any:
    o = offsets[s]
    return o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7], o[8]


@jit()
def _force_chunk(
    span: Any,
    pairs: Any,
    starts: Any,
    centres: Any,
    offsets: Any,
    shifts: Any,
    reach: float,
    constants: Any,
    poly: Any,
    window: Any,
    buffer: Any,
) -> None:
    n_molecules = centres.shape[0]
    scratch = np.empty(21 * STRIDE, np.float32)
    index = np.empty(BATCH, np.int32)
    far = np.float32(reach + 1.0)
    buffer[window[0] : window[0] + window[2]] = 0.0
    for s in range(span[0], span[1]):
        home = s - window[1]
        home = window[0] + (home if home >= 0 else home + n_molecules)
        for first in range(starts[s, 0], starts[s, 1], BATCH):
            last = min(first + BATCH, starts[s, 1])
            n = _pack(
                s,
                first,
                last,
                pairs,
                centres,
                offsets,
                shifts,
                reach * reach,
                far,
                scratch,
                index,
            )
            own = _force_batch(n, _own_sites(s, offsets), scratch, constants, poly)
            for a in range(9):
                buffer[home, a] -= own[a]
            for k in range(n):
                t = index[k] - window[1]
                t = window[0] + (t if t >= 0 else t + n_molecules)
                for a in range(9):
                    buffer[t, a] += scratch[(12 + a) * STRIDE + k]


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
    poly: Any,
    windows: Any,
    buffer: Any,
) -> None:
    """Compute the pair forces of each chunk of molecules into its own window of a buffer.

    Parameters
    ----------
    chunk_start : (chunks + 1,) int64
        Bounds of the chunks.
    pairs, starts
        The list (`build_pairs`).
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
        that map r² to the variable of the polynomial.
    poly : tuple of 14 float32
        Coefficients of g, lowest first.
    windows : (chunks, 3) int64
        First row of the chunk's part of `buffer`, first molecule of its window, molecules in it
        (in list order, cyclic).
    buffer : (rows, 9) float64
        Out: forces on O, H1, H2; the share of the negative site is spread.
    """
    for c in numba.prange(chunk_start.shape[0] - 1):
        _force_chunk(
            (chunk_start[c], chunk_start[c + 1]),
            pairs,
            starts,
            centres,
            offsets,
            shifts,
            reach,
            constants,
            poly,
            (windows[c, 0], windows[c, 1], windows[c, 2]),
            buffer,
        )


@jit(fastmath=True)
def _energy_batch(n: int, own: Any, mass_h: Any, w: Any, k: Any, c: Any, e: Any) -> Any:
    """Energies and the virial on centres of mass of the packed partners."""
    ax, ay, az, bx, by, bz, cx, cy, cz = own
    zero = np.float32(0.0)
    comx = mass_h * (bx + cx)
    comy = mass_h * (by + cy)
    comz = mass_h * (bz + cz)
    lj_sum = q_sum = zero
    xx = xy = xz = yx = yy = yz = zx = zy = zz = zero
    for m in range((n + LANES - 1) // LANES * LANES):
        dx = w[m]
        dy = w[STRIDE + m]
        dz = w[2 * STRIDE + m]
        r2 = dx * dx + dy * dy + dz * dz
        i2 = np.float32(1.0) / r2
        i6 = i2 * i2 * i2
        lj = (k[5] * i6 - k[4]) * i6 * i2
        lj = lj if r2 < k[0] else zero
        energy = (k[5] * i6 * np.float32(0.5) - k[4]) * i6 * np.float32(1.0 / 6.0)
        lj_sum += energy if r2 < k[0] else zero
        fx = lj * dx
        fy = lj * dy
        fz = lj * dz
        for j in range(3):
            px = dx + w[(3 + 3 * j) * STRIDE + m]
            py = dy + w[(4 + 3 * j) * STRIDE + m]
            pz = dz + w[(5 + 3 * j) * STRIDE + m]
            qa = k[1] if j == 0 else k[2]
            qb = k[2] if j == 0 else k[3]
            s = _factor(px - ax, py - ay, pz - az, qa, k, c)
            t = _factor(px - bx, py - by, pz - bz, qb, k, c)
            u = _factor(px - cx, py - cy, pz - cz, qb, k, c)
            fx += s * (px - ax) + t * (px - bx) + u * (px - cx)
            fy += s * (py - ay) + t * (py - by) + u * (py - cy)
            fz += s * (pz - az) + t * (pz - bz) + u * (pz - cz)
            q_sum += _energy(px - ax, py - ay, pz - az, qa, k, e)
            q_sum += _energy(px - bx, py - by, pz - bz, qb, k, e)
            q_sum += _energy(px - cx, py - cy, pz - cz, qb, k, e)
        rx = dx + mass_h * (w[6 * STRIDE + m] + w[9 * STRIDE + m]) - comx
        ry = dy + mass_h * (w[7 * STRIDE + m] + w[10 * STRIDE + m]) - comy
        rz = dz + mass_h * (w[8 * STRIDE + m] + w[11 * STRIDE + m]) - comz
        xx += rx * fx
        xy += rx * fy
        xz += rx * fz
        yx += ry * fx
        yy += ry * fy
        yz += ry * fz
        zx += rz * fx
        zy += rz * fy
        zz += rz * fz
    return lj_sum, q_sum, xx, xy, xz, yx, yy, yz, zx, zy, zz


@jit()
def _energy_chunk(
    span: Any,
    pairs: Any,
    starts: Any,
    centres: Any,
    offsets: Any,
    shifts: Any,
    reach: float,
    constants: Any,
    poly: Any,
    energy_poly: Any,
    mass_h: Any,
    sums: Any,
) -> None:
    scratch = np.empty(12 * STRIDE, np.float32)
    index = np.empty(BATCH, np.int32)
    far = np.float32(reach + 1.0)
    sums[:] = 0.0
    for s in range(span[0], span[1]):
        for first in range(starts[s, 0], starts[s, 1], BATCH):
            last = min(first + BATCH, starts[s, 1])
            n = _pack(
                s,
                first,
                last,
                pairs,
                centres,
                offsets,
                shifts,
                reach * reach,
                far,
                scratch,
                index,
            )
            part = _energy_batch(
                n, _own_sites(s, offsets), mass_h, scratch, constants, poly, energy_poly
            )
            for a in range(11):
                sums[a] += part[a]


@parallel_jit()
def sum_pair_energies(
    chunk_start: Any,
    pairs: Any,
    starts: Any,
    centres: Any,
    offsets: Any,
    shifts: Any,
    reach: float,
    constants: Any,
    poly: Any,
    energy_poly: Any,
    mass_h: Any,
    sums: Any,
) -> None:
    """Sum the pair energies and the molecular pair virial of each chunk of molecules.

    Parameters
    ----------
    chunk_start, pairs, starts, centres, offsets, shifts, reach, constants, poly
        As in `add_pair_forces`.
    energy_poly : tuple of 14 float32
        Coefficients of p.
    mass_h : float32
        Mass of H over the mass of the molecule.
    sums : (chunks, 11) float64
        Out: Lennard-Jones energy, Coulomb energy, virial row by row (R_ij F_ij).
    """
    for c in numba.prange(chunk_start.shape[0] - 1):
        _energy_chunk(
            (chunk_start[c], chunk_start[c + 1]),
            pairs,
            starts,
            centres,
            offsets,
            shifts,
            reach,
            constants,
            poly,
            energy_poly,
            mass_h,
            sums[c],
        )
