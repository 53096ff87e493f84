"""Rigid water: analytic constraints of positions and velocities for a block of molecules.

The blocks are rows of `LANES` molecules in one flat scratch array with a literal row stride, the
form that LLVM turns into vector code. No sum runs over lanes, so the width of the vectors does not
change a bit.

References
----------
Miyamoto and Kollman, J. Comput. Chem. 13, 952 (1992), DOI 10.1002/jcc.540130805.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit
from mdpipe.kernels.matrix import inverse3

__all__ = ["LANES", "constants", "settle_positions", "settle_velocities"]

LANES: Final = 64
"""Molecules in a block; also the grain of the parallel loops."""

BOND: Final = 0
"""Rows 0-5 of the scratch: O→H1 and O→H2 of the reference geometry."""

PLACE: Final = 6 * LANES
"""Rows 6-14: positions of O, H1, H2 relative to the reference O."""

SPEED: Final = 15 * LANES
"""Rows 15-23: velocities of O, H1, H2."""

MASS_O: Final = 0
MASS_H: Final = 1
R_A: Final = 2
R_B: Final = 3
R_C: Final = 4
INVERSE: Final = 5
RIGID: Final = 11
N_CONSTANTS: Final = 12


def constants(
    mass_o: float, mass_h: float, r_oh: float, r_hh: float, *, rigid: bool
) -> NDArray[np.float64]:
    """Return what the constraint kernels need to know of a water molecule.

    Parameters
    ----------
    mass_o, mass_h : float
        Masses, M.
    r_oh, r_hh : float
        Bond lengths of the rigid geometry, L.
    rigid : bool
        Whether the molecule is constrained at all.

    Returns
    -------
    (12,) float64
        Masses, the canonical triangle of Miyamoto and Kollman (r_a, r_b, r_c), the inverse of the
        symmetric matrix that couples the three velocity constraints (11, 22, 33, 12, 13, 23).

    Notes
    -----
    The matrix depends on bond lengths and masses alone, so its inverse is made once: with
    d1 = O→H1, d2 = O→H2, d3 = H1→H2 the multipliers solve ``A λ = (d_i · Δv_i)``.
    """
    r_c = 0.5 * r_hh
    height = math.sqrt(r_oh * r_oh - r_c * r_c)
    r_a = height * 2.0 * mass_h / (mass_o + 2.0 * mass_h)
    d11 = r_oh * r_oh
    d12 = d11 - 0.5 * r_hh * r_hh
    d13 = d12 - d11
    matrix = np.array(
        [
            [d11 / mass_h + d11 / mass_o, d12 / mass_o, -d13 / mass_h],
            [d12 / mass_o, d11 / mass_h + d11 / mass_o, -d13 / mass_h],
            [-d13 / mass_h, -d13 / mass_h, 2.0 * r_hh * r_hh / mass_h],
        ]
    )
    inv = inverse3(matrix)
    return np.array(
        [
            *(mass_o, mass_h, r_a, height - r_a, r_c),
            *(inv[0, 0], inv[1, 1], inv[2, 2], inv[0, 1], inv[0, 2], inv[1, 2]),
            float(rigid),
        ]
    )


@jit()
def settle_positions(s: Any, water: Any) -> None:
    """Put the molecules of a block back on the rigid triangle.

    Parameters
    ----------
    s : (24 LANES,) float64
        Scratch: rows 0-5 hold the reference bonds, rows 6-14 the displaced positions, overwritten.
    water : (12,) float64
        From `constants`.

    Notes
    -----
    Centres of mass stay; the displacement lies along the reference bonds divided by the masses.
    A displacement of the order of a bond length has no solution and yields NaN.

    ============ =====================================================
    equation     variable
    ============ =====================================================
    a, b, c      positions of O, H1, H2 relative to the centre of mass
    X', Y', Z'   e1, e2, e3
    φ, ψ, θ      sin_phi, sin_psi, sin_theta
    α, β, γ      alpha, beta, gamma
    ============ =====================================================
    """
    w_h = water[MASS_H] / (water[MASS_O] + 2.0 * water[MASS_H])
    w_o = 1.0 - 2.0 * w_h
    r_a = water[R_A]
    r_b = water[R_B]
    r_c = water[R_C]
    inv_r_a = 1.0 / r_a
    for k in range(LANES):
        d1x, d1y, d1z = s[k], s[LANES + k], s[2 * LANES + k]
        d2x, d2y, d2z = s[3 * LANES + k], s[4 * LANES + k], s[5 * LANES + k]
        ax, ay, az = s[PLACE + k], s[PLACE + LANES + k], s[PLACE + 2 * LANES + k]
        bx, by, bz = (
            s[PLACE + 3 * LANES + k],
            s[PLACE + 4 * LANES + k],
            s[PLACE + 5 * LANES + k],
        )
        cx, cy, cz = (
            s[PLACE + 6 * LANES + k],
            s[PLACE + 7 * LANES + k],
            s[PLACE + 8 * LANES + k],
        )
        mx = w_o * ax + w_h * (bx + cx)
        my = w_o * ay + w_h * (by + cy)
        mz = w_o * az + w_h * (bz + cz)
        ax, ay, az = ax - mx, ay - my, az - mz
        bx, by, bz = bx - mx, by - my, bz - mz
        cx, cy, cz = cx - mx, cy - my, cz - mz

        e3x = d1y * d2z - d1z * d2y
        e3y = d1z * d2x - d1x * d2z
        e3z = d1x * d2y - d1y * d2x
        e1x = ay * e3z - az * e3y
        e1y = az * e3x - ax * e3z
        e1z = ax * e3y - ay * e3x
        e2x = e3y * e1z - e3z * e1y
        e2y = e3z * e1x - e3x * e1z
        e2z = e3x * e1y - e3y * e1x
        n1 = 1.0 / math.sqrt(e1x * e1x + e1y * e1y + e1z * e1z)
        n2 = 1.0 / math.sqrt(e2x * e2x + e2y * e2y + e2z * e2z)
        n3 = 1.0 / math.sqrt(e3x * e3x + e3y * e3y + e3z * e3z)
        e1x, e1y, e1z = e1x * n1, e1y * n1, e1z * n1
        e2x, e2y, e2z = e2x * n2, e2y * n2, e2z * n2
        e3x, e3y, e3z = e3x * n3, e3y * n3, e3z * n3

        xb0 = e1x * d1x + e1y * d1y + e1z * d1z
        yb0 = e2x * d1x + e2y * d1y + e2z * d1z
        xc0 = e1x * d2x + e1y * d2y + e1z * d2z
        yc0 = e2x * d2x + e2y * d2y + e2z * d2z
        za1 = e3x * ax + e3y * ay + e3z * az
        xb1 = e1x * bx + e1y * by + e1z * bz
        yb1 = e2x * bx + e2y * by + e2z * bz
        zb1 = e3x * bx + e3y * by + e3z * bz
        xc1 = e1x * cx + e1y * cy + e1z * cz
        yc1 = e2x * cx + e2y * cy + e2z * cz
        zc1 = e3x * cx + e3y * cy + e3z * cz

        sin_phi = za1 * inv_r_a
        cos_phi = math.sqrt(1.0 - sin_phi * sin_phi)
        sin_psi = (zb1 - zc1) / (2.0 * r_c * cos_phi)
        cos_psi = math.sqrt(1.0 - sin_psi * sin_psi)
        ya2 = r_a * cos_phi
        xb2 = -r_c * cos_psi
        yb2 = -r_b * cos_phi - r_c * sin_psi * sin_phi
        yc2 = -r_b * cos_phi + r_c * sin_psi * sin_phi

        alpha = xb2 * (xb0 - xc0) + yb0 * yb2 + yc0 * yc2
        beta = xb2 * (yc0 - yb0) + xb0 * yb2 + xc0 * yc2
        gamma = xb0 * yb1 - xb1 * yb0 + xc0 * yc1 - xc1 * yc0
        norm = alpha * alpha + beta * beta
        sin_theta = (alpha * gamma - beta * math.sqrt(norm - gamma * gamma)) / norm
        cos_theta = math.sqrt(1.0 - sin_theta * sin_theta)

        xa = -ya2 * sin_theta
        ya = ya2 * cos_theta
        xb = xb2 * cos_theta - yb2 * sin_theta
        yb = xb2 * sin_theta + yb2 * cos_theta
        xc = -xb2 * cos_theta - yc2 * sin_theta
        yc = -xb2 * sin_theta + yc2 * cos_theta
        s[PLACE + k] = mx + (e1x * xa + e2x * ya + e3x * za1)
        s[PLACE + LANES + k] = my + (e1y * xa + e2y * ya + e3y * za1)
        s[PLACE + 2 * LANES + k] = mz + (e1z * xa + e2z * ya + e3z * za1)
        s[PLACE + 3 * LANES + k] = mx + (e1x * xb + e2x * yb + e3x * zb1)
        s[PLACE + 4 * LANES + k] = my + (e1y * xb + e2y * yb + e3y * zb1)
        s[PLACE + 5 * LANES + k] = mz + (e1z * xb + e2z * yb + e3z * zb1)
        s[PLACE + 6 * LANES + k] = mx + (e1x * xc + e2x * yc + e3x * zc1)
        s[PLACE + 7 * LANES + k] = my + (e1y * xc + e2y * yc + e3y * zc1)
        s[PLACE + 8 * LANES + k] = mz + (e1z * xc + e2z * yc + e3z * zc1)


@jit()
def settle_velocities(s: Any, water: Any) -> None:
    """Take out of the velocities of a block what would change a bond length.

    Parameters
    ----------
    s : (24 LANES,) float64
        Scratch: rows 0-5 hold the bonds, rows 15-23 the velocities, overwritten.
    water : (12,) float64
        From `constants`; its matrix holds for the rigid geometry only.
    """
    inv_o = 1.0 / water[MASS_O]
    inv_h = 1.0 / water[MASS_H]
    i11, i22, i33 = water[INVERSE], water[INVERSE + 1], water[INVERSE + 2]
    i12, i13, i23 = water[INVERSE + 3], water[INVERSE + 4], water[INVERSE + 5]
    for k in range(LANES):
        d1x, d1y, d1z = s[k], s[LANES + k], s[2 * LANES + k]
        d2x, d2y, d2z = s[3 * LANES + k], s[4 * LANES + k], s[5 * LANES + k]
        d3x, d3y, d3z = d2x - d1x, d2y - d1y, d2z - d1z
        ox, oy, oz = s[SPEED + k], s[SPEED + LANES + k], s[SPEED + 2 * LANES + k]
        px, py, pz = (
            s[SPEED + 3 * LANES + k],
            s[SPEED + 4 * LANES + k],
            s[SPEED + 5 * LANES + k],
        )
        qx, qy, qz = (
            s[SPEED + 6 * LANES + k],
            s[SPEED + 7 * LANES + k],
            s[SPEED + 8 * LANES + k],
        )
        g1 = d1x * (px - ox) + d1y * (py - oy) + d1z * (pz - oz)
        g2 = d2x * (qx - ox) + d2y * (qy - oy) + d2z * (qz - oz)
        g3 = d3x * (qx - px) + d3y * (qy - py) + d3z * (qz - pz)
        l1 = i11 * g1 + i12 * g2 + i13 * g3
        l2 = i12 * g1 + i22 * g2 + i23 * g3
        l3 = i13 * g1 + i23 * g2 + i33 * g3
        s[SPEED + k] = ox + inv_o * (l1 * d1x + l2 * d2x)
        s[SPEED + LANES + k] = oy + inv_o * (l1 * d1y + l2 * d2y)
        s[SPEED + 2 * LANES + k] = oz + inv_o * (l1 * d1z + l2 * d2z)
        s[SPEED + 3 * LANES + k] = px + inv_h * (l3 * d3x - l1 * d1x)
        s[SPEED + 4 * LANES + k] = py + inv_h * (l3 * d3y - l1 * d1y)
        s[SPEED + 5 * LANES + k] = pz + inv_h * (l3 * d3z - l1 * d1z)
        s[SPEED + 6 * LANES + k] = qx - inv_h * (l3 * d3x + l2 * d2x)
        s[SPEED + 7 * LANES + k] = qy - inv_h * (l3 * d3y + l2 * d2y)
        s[SPEED + 8 * LANES + k] = qz - inv_h * (l3 * d3z + l2 * d2z)
