"""Inner loops over packed partners in float32: forces, energies, virial of water pairs.

Partners lie in rows of a one-dimensional scratch array with the literal stride `STRIDE`: rows 0 to
2 hold O_j - O_i, rows 3 to 11 the negative site, H1 and H2 of j relative to O_j. `force_batch`
writes the forces on O, H1, H2 of j to rows 12 to 20. Only so does LLVM vectorise the loops. The
number of partners is rounded up to whole vectors; the padding lies beyond the cutoff.

| equation | variable |
|---|---|
| Coulomb force over r, q_a q_b (1/r³ - g(r²)) | `_factor`; g is a polynomial (`force_poly`) |
| Coulomb energy q_a q_b (1/r - p(r²)) | `energy_poly` |
| LJ force over r, (12 C12/r⁶ - 6 C6)/r⁸ | `c12`, `c6` |

PME: g and p are the screened parts, erf(αr)/r and its derivative; all sites of the packed partners
count. Reaction field: g = 2 k_rf and p = c_rf - k_rf r², and sites beyond the cutoff are masked.
Both are entire functions of r², so one polynomial kernel does for both: the cutoff of PME lies
beyond the sites of any partner.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdpipe.kernels._jit import jit

__all__ = ["DEGREE", "LANES", "STRIDE", "energy_batch", "force_batch", "virial_batch"]

DEGREE = 17
STRIDE = 256
LANES = 8


@jit(fastmath=True)
def _polynomial(u: Any, c: Any) -> Any:
    p = c[17]
    p = p * u + c[16]
    p = p * u + c[15]
    p = p * u + c[14]
    p = p * u + c[13]
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


@jit(fastmath=True)
def force_batch(n: int, own: Any, w: Any, k: Any, c: Any) -> Any:
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
def energy_batch(n: int, own: Any, w: Any, k: Any, c: Any) -> Any:
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
def virial_batch(n: int, own: Any, mass_h: Any, w: Any) -> Any:
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
