"""Sum of all forces of a molecule: pairs, reciprocal sum, excluded pairs, bonds and angle."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.pair_double import look_up

__all__ = ["add_rest", "collect_forces"]

BLOCKS = 16
K_BOND = 4
"""Place of the bond constant among the constants."""


@jit()
def _exclude(offsets: Any, s: int, charges: Any, scale: float, table: Any, f: Any) -> float:
    """Take the screened Coulomb part of the pairs within a molecule out again."""
    energy = 0.0
    for i in range(2):
        for j in range(i + 1, 3):
            x = np.float64(offsets[s, 3 * j]) - offsets[s, 3 * i]
            y = np.float64(offsets[s, 3 * j + 1]) - offsets[s, 3 * i + 1]
            z = np.float64(offsets[s, 3 * j + 2]) - offsets[s, 3 * i + 2]
            r2 = x * x + y * y + z * z
            qq = charges[i] * charges[j]
            energy -= qq * look_up(r2, scale, table, 6)
            g = -qq * look_up(r2, scale, table, 0)
            f[3 * j] += g * x
            f[3 * j + 1] += g * y
            f[3 * j + 2] += g * z
            f[3 * i] -= g * x
            f[3 * i + 1] -= g * y
            f[3 * i + 2] -= g * z
    return energy


@jit()
def _bond(positions: Any, m: int, h: int, r0: float, k: float, f: Any) -> float:
    x = positions[m, h, 0] - positions[m, 0, 0]
    y = positions[m, h, 1] - positions[m, 0, 1]
    z = positions[m, h, 2] - positions[m, 0, 2]
    r = math.sqrt(x * x + y * y + z * z)
    g = -k * (r - r0) / r
    f[3 * h] += g * x
    f[3 * h + 1] += g * y
    f[3 * h + 2] += g * z
    f[0] -= g * x
    f[1] -= g * y
    f[2] -= g * z
    return 0.5 * k * (r - r0) * (r - r0)


@jit()
def _angle(positions: Any, m: int, theta0: float, k: float, f: Any) -> float:
    ax = positions[m, 1, 0] - positions[m, 0, 0]
    ay = positions[m, 1, 1] - positions[m, 0, 1]
    az = positions[m, 1, 2] - positions[m, 0, 2]
    bx = positions[m, 2, 0] - positions[m, 0, 0]
    by = positions[m, 2, 1] - positions[m, 0, 1]
    bz = positions[m, 2, 2] - positions[m, 0, 2]
    a2 = ax * ax + ay * ay + az * az
    b2 = bx * bx + by * by + bz * bz
    ab = ax * bx + ay * by + az * bz
    norm = math.sqrt(a2 * b2)
    cosine = min(1.0, max(-1.0, ab / norm))
    theta = math.acos(cosine)
    sine = max(math.sqrt(1.0 - cosine * cosine), 1e-8)
    # dU/dtheta / sin(theta) times d cos(theta)/dr
    g = k * (theta - theta0) / sine
    fa = (g / norm, g * cosine / a2)
    fb = (g / norm, g * cosine / b2)
    x1 = fa[0] * bx - fa[1] * ax
    y1 = fa[0] * by - fa[1] * ay
    z1 = fa[0] * bz - fa[1] * az
    x2 = fb[0] * ax - fb[1] * bx
    y2 = fb[0] * ay - fb[1] * by
    z2 = fb[0] * az - fb[1] * bz
    f[3] += x1
    f[4] += y1
    f[5] += z1
    f[6] += x2
    f[7] += y2
    f[8] += z2
    f[0] -= x1 + x2
    f[1] -= y1 + y2
    f[2] -= z1 + z2
    return 0.5 * k * (theta - theta0) * (theta - theta0)


@jit()
def _move_to_centres(offsets: Any, s: int, mass_h: float, site: Any, sums: Any) -> None:
    """Turn the atomic virial into the molecular one: take (r_site - R_centre) F off."""
    for j in range(3):
        for a in range(3):
            centre = mass_h * (np.float64(offsets[s, 3 + a]) + offsets[s, 6 + a])
            arm = offsets[s, 3 * j + a] - centre
            for b in range(3):
                sums[3 + 3 * a + b] -= arm * site[3 * j + b]


@jit()
def _take_sites(
    reciprocal: Any,
    offsets: Any,
    s: int,
    charges: Any,
    constants: Any,
    table: Any,
    site: Any,
    sums: Any,
) -> None:
    """Fill in the reciprocal forces on the sites of a molecule, less the pairs within it."""
    for j in range(3):
        for a in range(3):
            site[3 * j + a] = reciprocal[3 * s + j, a]
    _move_to_centres(offsets, s, constants[1], site, sums)
    sums[0] += _exclude(offsets, s, charges, constants[2], table, site)


@jit()
def _add_bonded(positions: Any, m: int, constants: Any, f: Any, sums: Any) -> None:
    """Add the forces and the energies of the bonds and the angle of a molecule."""
    _, _, _, r0, k_bond, theta0, k_angle = constants
    sums[1] += _bond(positions, m, 1, r0, k_bond, f)
    sums[1] += _bond(positions, m, 2, r0, k_bond, f)
    sums[2] += _angle(positions, m, theta0, k_angle, f)


@jit()
def _collect_block(
    span: Any,
    positions: Any,
    order: Any,
    offsets: Any,
    windows: Any,
    buffer: Any,
    reciprocal: Any,
    charges: Any,
    constants: Any,
    table: Any,
    times: float,
    forces: Any,
    sums: Any,
) -> None:
    weight_h = constants[0]
    weight_o = 1.0 - 2.0 * weight_h
    n = order.shape[0]
    f = np.empty(9)
    site = np.empty(9)
    sums[:] = 0.0
    for s in range(span[0], span[1]):
        f[:] = 0.0
        for c in range(windows.shape[0]):
            row = s - windows[c, 1]
            if row < 0:
                row += n
            if row < windows[c, 2]:
                for a in range(9):
                    f[a] += buffer[windows[c, 0] + row, a]
        m = order[s]
        if reciprocal.shape[0] > 0:
            _take_sites(reciprocal, offsets, s, charges, constants, table, site, sums)
            for a in range(9):
                site[a] *= times
            for a in range(3):
                f[a] += weight_o * site[a]
                f[3 + a] += site[3 + a] + weight_h * site[a]
                f[6 + a] += site[6 + a] + weight_h * site[a]
        if constants[K_BOND] > 0.0:
            _add_bonded(positions, m, constants, f, sums)
        for j in range(3):
            for a in range(3):
                forces[m, j, a] = f[3 * j + a]


@jit()
def _rest_block(
    span: Any,
    positions: Any,
    order: Any,
    offsets: Any,
    reciprocal: Any,
    charges: Any,
    constants: Any,
    table: Any,
    forces: Any,
    sums: Any,
) -> None:
    f = np.empty(9)
    sums[:] = 0.0
    for s in range(span[0], span[1]):
        if reciprocal.shape[0] > 0:
            _take_sites(reciprocal, offsets, s, charges, constants, table, f, sums)
        if constants[K_BOND] > 0.0:
            m = order[s]
            f[:] = 0.0
            _add_bonded(positions, m, constants, f, sums)
            for j in range(3):
                for a in range(3):
                    forces[m, j, a] += f[3 * j + a]


@parallel_jit()
def collect_forces(
    positions: Any,
    order: Any,
    offsets: Any,
    windows: Any,
    buffer: Any,
    reciprocal: Any,
    charges: Any,
    constants: Any,
    table: Any,
    times: float,
    forces: Any,
    sums: Any,
) -> None:
    """Sum the forces on each molecule in a fixed order and put them where the atoms are.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2.
    order : (n,) int32
        Molecule at each place of the list order.
    offsets : (n, 9) float32 or float64
        Negative site, H1, H2 relative to O, in list order.
    windows, buffer
        Pair forces (`mdpipe.kernels.pair.add_pair_forces`).
    reciprocal : (3n, 3) float64
        Reciprocal forces on the sites in list order; no rows: no reciprocal sum, and nothing is
        done about the pairs within a molecule.
    charges : (3,) float64
        Reduced charges.
    constants : tuple of 7 float
        Weight of H in the negative site, mass of H over that of the molecule, intervals of the
        table per unit of r², bond length and constant, angle (radians) and constant; a bond
        constant of 0 marks a rigid model.
    table : (intervals, 12) float64
        Screened Coulomb functions (`mdpipe.kernels.pair_double.look_up`).
    times : float
        How many times `forces` has the reciprocal forces, less those of the pairs within a
        molecule; `sums` has them once.
    forces : (n, 3, 3) float64
        Out.
    sums : (16, 12) float64
        Out, for each block: energies of the excluded pairs, bonds and angles, and the 9 terms
        that turn the atomic reciprocal virial into the molecular one.
    """
    n = order.shape[0]
    for b in numba.prange(BLOCKS):
        span = (b * n // BLOCKS, (b + 1) * n // BLOCKS)
        _collect_block(
            span,
            positions,
            order,
            offsets,
            windows,
            buffer,
            reciprocal,
            charges,
            constants,
            table,
            times,
            forces,
            sums[b],
        )


@parallel_jit()
def add_rest(
    positions: Any,
    order: Any,
    offsets: Any,
    reciprocal: Any,
    charges: Any,
    constants: Any,
    table: Any,
    forces: Any,
    sums: Any,
) -> None:
    """Add what `mdpipe.kernels.collect_simd` leaves out: bonded forces, energies, virial terms.

    Parameters
    ----------
    positions, order, offsets, reciprocal, charges, constants, table
        As in `collect_forces`.
    forces : (n, 3, 3) float64
        Forces of bonds and angles are added.
    sums : (16, 12) float64
        Out, as in `collect_forces`.
    """
    n = order.shape[0]
    for b in numba.prange(BLOCKS):
        span = (b * n // BLOCKS, (b + 1) * n // BLOCKS)
        _rest_block(
            span,
            positions,
            order,
            offsets,
            reciprocal,
            charges,
            constants,
            table,
            forces,
            sums[b],
        )
