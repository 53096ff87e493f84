"""Pair forces, energies and virial of water in double precision: the reference path.

g(r²) and p(r²) (see `mdpipe.kernels.pair`) are piecewise polynomials of degree 5 on equal
intervals of r², exact to the last few bits.
"""

from __future__ import annotations

import math
from typing import Any

import numba

from mdpipe.kernels._jit import jit, parallel_jit

__all__ = ["add_pair_forces_double", "look_up"]

MASK = (1 << 24) - 1


@jit()
def look_up(r2: float, scale: float, table: Any, column: int) -> float:
    """Evaluate a tabulated function of r².

    Parameters
    ----------
    r2 : float
        Squared distance inside the table.
    scale : float
        Intervals per unit of r².
    table : (intervals, 12) float64
        Two polynomials of degree 5 for each interval, lowest coefficient first.
    column : int
        0 for g, 6 for p.

    Returns
    -------
    float
        The value.
    """
    u = r2 * scale
    k = min(int(u), table.shape[0] - 1)
    u -= k
    t = table[k]
    value: float = t[column + 5]
    for d in range(4, -1, -1):
        value = value * u + t[column + d]
    return value


@jit()
def _molecule_pair(
    s: int,
    t: int,
    shift: Any,
    centres: Any,
    offsets: Any,
    constants: Any,
    table: Any,
    charges: Any,
    fs: Any,
    ft: Any,
    sums: Any,
) -> None:
    """Add the forces on O, H1, H2 of both molecules, the energies and the virial."""
    cut2, c6, c12, wh, mass_h, scale = constants
    dx = (centres[t, 0] - centres[s, 0]) + shift[0]
    dy = (centres[t, 1] - centres[s, 1]) + shift[1]
    dz = (centres[t, 2] - centres[s, 2]) + shift[2]
    r2 = dx * dx + dy * dy + dz * dz
    total_x = 0.0
    total_y = 0.0
    total_z = 0.0
    if r2 < cut2:
        i2 = 1.0 / r2
        i6 = i2 * i2 * i2
        sums[0] += (c12 * i6 - c6) * i6
        lj = (12.0 * c12 * i6 - 6.0 * c6) * i6 * i2
        total_x = lj * dx
        total_y = lj * dy
        total_z = lj * dz
        ft[0] += total_x
        ft[1] += total_y
        ft[2] += total_z
        fs[0] -= total_x
        fs[1] -= total_y
        fs[2] -= total_z
    for i in range(3):
        for j in range(3):
            x = dx + offsets[t, 3 * j] - offsets[s, 3 * i]
            y = dy + offsets[t, 3 * j + 1] - offsets[s, 3 * i + 1]
            z = dz + offsets[t, 3 * j + 2] - offsets[s, 3 * i + 2]
            r2 = x * x + y * y + z * z
            if r2 < cut2:
                qq = charges[i] * charges[j]
                inv = 1.0 / math.sqrt(r2)
                f = qq * (inv * inv * inv - look_up(r2, scale, table, 0))
                sums[1] += qq * (inv - look_up(r2, scale, table, 6))
                x *= f
                y *= f
                z *= f
                total_x += x
                total_y += y
                total_z += z
                _spread(j, wh, x, y, z, ft)
                _spread(i, wh, -x, -y, -z, fs)
    hx = offsets[t, 3] + offsets[t, 6] - offsets[s, 3] - offsets[s, 6]
    hy = offsets[t, 4] + offsets[t, 7] - offsets[s, 4] - offsets[s, 7]
    hz = offsets[t, 5] + offsets[t, 8] - offsets[s, 5] - offsets[s, 8]
    dx += mass_h * hx
    dy += mass_h * hy
    dz += mass_h * hz
    sums[2] += dx * total_x
    sums[3] += dx * total_y
    sums[4] += dx * total_z
    sums[5] += dy * total_x
    sums[6] += dy * total_y
    sums[7] += dy * total_z
    sums[8] += dz * total_x
    sums[9] += dz * total_y
    sums[10] += dz * total_z


@jit()
def _spread(site: int, wh: float, x: float, y: float, z: float, f: Any) -> None:
    if site > 0:
        f[3 * site] += x
        f[3 * site + 1] += y
        f[3 * site + 2] += z
        return
    wo = 1.0 - 2.0 * wh
    f[0] += wo * x
    f[1] += wo * y
    f[2] += wo * z
    if wh > 0.0:
        for h in (3, 6):
            f[h] += wh * x
            f[h + 1] += wh * y
            f[h + 2] += wh * z


@jit()
def _chunk(
    c: int, arrays: Any, reach: float, constants: Any, table: Any, charges: Any, sums: Any
) -> None:
    starts, buffer = arrays.starts, arrays.buffer
    centres, offsets = arrays.centres, arrays.offsets
    first_row, molecule, rows = arrays.windows[c, 0], arrays.windows[c, 1], arrays.windows[c, 2]
    n_molecules = centres.shape[0]
    buffer[first_row : first_row + rows] = 0.0
    sums[:] = 0.0
    for s in range(arrays.chunk_start[c], arrays.chunk_start[c + 1]):
        home = s - molecule
        home = first_row + (home if home >= 0 else home + n_molecules)
        for p in range(starts[s, 0], starts[s, 1]):
            t = arrays.pairs[p] & MASK
            shift = arrays.shifts[arrays.pairs[p] >> 24]
            x = (centres[t, 0] - centres[s, 0]) + shift[0]
            y = (centres[t, 1] - centres[s, 1]) + shift[1]
            z = (centres[t, 2] - centres[s, 2]) + shift[2]
            if x * x + y * y + z * z < reach * reach:
                row = t - molecule
                row = first_row + (row if row >= 0 else row + n_molecules)
                _molecule_pair(
                    s,
                    t,
                    shift,
                    centres,
                    offsets,
                    constants,
                    table,
                    charges,
                    buffer[home],
                    buffer[row],
                    sums,
                )


@parallel_jit()
def add_pair_forces_double(
    arrays: Any, reach: float, constants: Any, table: Any, charges: Any, sums: Any
) -> None:
    """Compute pair forces, energies and the molecular virial of each chunk of molecules.

    Parameters
    ----------
    arrays : PairArrays
        List, molecules, windows and the buffer (`mdpipe.kernels.pair_arrays`); offsets in float64.
    reach : float
        O-O distance beyond which no two sites are within the cutoff.
    constants : tuple of 6 float
        r_cut², C6, C12, weight of H in the negative site, mass of H over that of the molecule,
        intervals of the table per unit of r².
    table : (intervals, 12) float64
        g and p (`look_up`).
    charges : (3,) float64
        Reduced charges of the negative site and the hydrogens.
    sums : (chunks, 11) float64
        Out: Lennard-Jones energy, Coulomb energy, virial row by row.
    """
    for c in numba.prange(arrays.chunk_start.shape[0] - 1):
        _chunk(c, arrays, reach, constants, table, charges, sums[c])
