"""Pair forces, energies and virial of water in float32: pack, compute, scatter.

This runs where `mdpipe.kernels.pair_simd` cannot: on machines without known vectors, in boxes that
are too small for it, for molecules torn too long. For each molecule the partners within reach are
packed into rows (`mdpipe.kernels.pair_loops`), and the forces are scattered in double precision.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.pair_loops import (
    DEGREE,
    LANES,
    STRIDE,
    energy_batch,
    force_batch,
    virial_batch,
)

__all__ = ["DEGREE", "add_pair_forces"]

BATCH = STRIDE
MASK = (1 << 24) - 1


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


@jit()
def _own_sites(s: int, offsets: Any) -> Any:
    o = offsets[s]
    return o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7], o[8]


@jit()
def _chunk(
    c: int, arrays: Any, reach: float, constants: Any, polys: Any, energies: bool, sums: Any
) -> None:
    pairs, starts, buffer = arrays.pairs, arrays.starts, arrays.buffer
    centres, offsets, shifts = arrays.centres, arrays.offsets, arrays.shifts
    row, molecule, rows = arrays.windows[c, 0], arrays.windows[c, 1], arrays.windows[c, 2]
    force_poly = polys[:18]
    energy_poly = polys[18:36]
    mass_h = polys[36]
    n_molecules = centres.shape[0]
    scratch = np.empty(21 * STRIDE, np.float32)
    index = np.empty(BATCH, np.int32)
    far = np.float32(reach + 1.0)
    buffer[row : row + rows] = 0.0
    sums[:] = 0.0
    for s in range(arrays.chunk_start[c], arrays.chunk_start[c + 1]):
        home = s - molecule
        home = row + (home if home >= 0 else home + n_molecules)
        own = _own_sites(s, offsets)
        for first in range(starts[s, 0], starts[s, 1], BATCH):
            last = min(first + BATCH, starts[s, 1])
            n = _pack(s, first, last, pairs, centres, offsets, shifts, reach, far, scratch, index)
            reaction = force_batch(n, own, scratch, constants, force_poly)
            for a in range(9):
                buffer[home, a] -= reaction[a]
            for k in range(n):
                t = index[k] - molecule
                t = row + (t if t >= 0 else t + n_molecules)
                for a in range(9):
                    buffer[t, a] += scratch[(12 + a) * STRIDE + k]
            if energies:
                lj, coulomb = energy_batch(n, own, scratch, constants, energy_poly)
                sums[0] += lj
                sums[1] += coulomb
                virial = virial_batch(n, own, mass_h, scratch)
                for a in range(9):
                    sums[2 + a] += virial[a]


@parallel_jit()
def add_pair_forces(
    arrays: Any, reach: float, constants: Any, polys: Any, energies: bool, sums: Any
) -> None:
    """Compute the pair forces of each chunk of molecules into its own window of a buffer.

    Parameters
    ----------
    arrays : PairArrays
        List, molecules, windows and the buffer (`mdpipe.kernels.pair_arrays`); offsets in float32.
    reach : float
        O-O distance beyond which no two sites are within the cutoff.
    constants : tuple of 9 float32
        r_cut², q00, q0h, qhh, 6 C6, 12 C12, weight of H in the negative site, scale and offset
        that map r² to the variable of the polynomials.
    polys : tuple of 37 float32
        Coefficients of g and of p, lowest first, 18 each; mass of H over that of the molecule.
    energies : bool
        Whether `sums` is wanted; the bits of the forces do not depend on it.
    sums : (chunks, 11) float64
        Out: Lennard-Jones energy, Coulomb energy, molecular virial R_ij F_ij row by row.
    """
    for c in numba.prange(arrays.chunk_start.shape[0] - 1):
        _chunk(c, arrays, reach, constants, polys, energies, sums[c])
