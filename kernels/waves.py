"""Smooth particle-mesh Ewald in reciprocal space: influence function, energy, virial.

References
----------
Essmann et al., J. Chem. Phys. 103, 8577 (1995), DOI 10.1063/1.470117.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit

__all__ = ["convolve", "fill_influence", "sum_reciprocal"]


@jit()
def _wave(k: int, size: int) -> int:
    return k if k < (size + 1) // 2 else k - size


@jit()
def _green(mx: int, my: int, mz: int, inverse: Any, factor: float, volume: float) -> float:
    # Row i of the inverse holds component i of the three reciprocal vectors.
    hx = inverse[0, 0] * mx + inverse[0, 1] * my + inverse[0, 2] * mz
    hy = inverse[1, 0] * mx + inverse[1, 1] * my + inverse[1, 2] * mz
    hz = inverse[2, 0] * mx + inverse[2, 1] * my + inverse[2, 2] * mz
    m2 = hx * hx + hy * hy + hz * hz
    value: float = math.exp(-factor * m2) / (math.pi * volume * m2)
    return value


@jit()
def _influence_plane(
    x: int, inverse: Any, shape: Any, alpha: float, volume: float, moduli: Any, influence: Any
) -> None:
    kx, ky, kz = shape
    factor = math.pi * math.pi / (alpha * alpha)
    mx = _wave(x, kx)
    for y in range(ky):
        my = _wave(y, ky)
        for z in range(influence.shape[2]):
            mz = _wave(z, kz)
            if mx == 0 and my == 0 and mz == 0:
                influence[x, y, z] = 0.0
                continue
            value = _green(mx, my, mz, inverse, factor, volume)
            if 2 * x == kx or 2 * y == ky or 2 * z == kz:
                # The opposite wave has the same index where k/2 is its own opposite; in a
                # triclinic box its length differs, and the real part of the sum is the mean.
                ox = mx if 2 * x == kx else -mx
                oy = my if 2 * y == ky else -my
                oz = mz if 2 * z == kz else -mz
                value = 0.5 * (value + _green(ox, oy, oz, inverse, factor, volume))
            b = moduli[x] * moduli[kx + y] * moduli[kx + ky + z]
            influence[x, y, z] = value / b


@parallel_jit()
def fill_influence(
    inverse: Any, shape: Any, alpha: float, volume: float, moduli: Any, influence: Any
) -> None:
    """Tabulate exp(-π²m²/α²) B(m) / (π V m²).

    Parameters
    ----------
    inverse : (3, 3) float64
        Inverse of the box.
    shape : tuple of 3 int
        Grid.
    alpha : float
        Ewald splitting, 1/length.
    volume : float
        Of the box.
    moduli : (kx + ky + kz,) float64
        1/|b(m)|² of the three directions (`mdpipe.simulation.pme_plan.spline_moduli`).
    influence : (kx, ky, kz // 2 + 1) float32 or float64
        Out.
    """
    for x in numba.prange(shape[0]):
        _influence_plane(x, inverse, shape, alpha, volume, moduli, influence)


@parallel_jit()
def convolve(spectrum: Any, influence: Any) -> None:
    """Multiply the spectrum by the influence function in place.

    Parameters
    ----------
    spectrum : (kx, ky, kz // 2 + 1) complex64 or complex128
        Transformed charges, then transformed potential.
    influence : (kx, ky, kz // 2 + 1) float32 or float64
        From `fill_influence`.
    """
    for x in numba.prange(spectrum.shape[0]):
        _convolve_plane(spectrum[x], influence[x])


@jit()
def _convolve_plane(spectrum: Any, influence: Any) -> None:
    for y in range(spectrum.shape[0]):
        for z in range(spectrum.shape[1]):
            spectrum[y, z] *= influence[y, z]


@jit()
def _reciprocal_plane(
    x: int, spectrum: Any, influence: Any, inverse: Any, shape: Any, alpha: float, sums: Any
) -> None:
    kx, ky, kz = shape
    factor = math.pi * math.pi / (alpha * alpha)
    mx = _wave(x, kx)
    sums[:] = 0.0
    for y in range(ky):
        my = _wave(y, ky)
        for z in range(influence.shape[2]):
            mz = _wave(z, kz)
            hx = inverse[0, 0] * mx + inverse[0, 1] * my + inverse[0, 2] * mz
            hy = inverse[1, 0] * mx + inverse[1, 1] * my + inverse[1, 2] * mz
            hz = inverse[2, 0] * mx + inverse[2, 1] * my + inverse[2, 2] * mz
            m2 = hx * hx + hy * hy + hz * hz
            if m2 > 0.0:
                # A plane without a partner of opposite sign in the half spectrum counts once.
                weight = 0.5 if z == 0 or 2 * z == kz else 1.0
                re = np.float64(spectrum[x, y, z].real)
                im = np.float64(spectrum[x, y, z].imag)
                energy = weight * influence[x, y, z] * (re * re + im * im)
                v = 2.0 * energy * (1.0 / m2 + factor)
                sums[0] += energy
                sums[1] += energy - v * hx * hx
                sums[2] -= v * hx * hy
                sums[3] -= v * hx * hz
                sums[4] += energy - v * hy * hy
                sums[5] -= v * hy * hz
                sums[6] += energy - v * hz * hz


@parallel_jit()
def sum_reciprocal(
    spectrum: Any, influence: Any, inverse: Any, shape: Any, alpha: float, sums: Any
) -> None:
    """Sum the reciprocal energy and the atomic virial of each plane of the spectrum.

    Parameters
    ----------
    spectrum : (kx, ky, kz // 2 + 1) complex64 or complex128
        Transformed charges, before `convolve`.
    influence, inverse, shape, alpha
        As in `fill_influence`.
    sums : (kx, 7) float64
        Out: energy, virial xx, xy, xz, yy, yz, zz.
    """
    for x in numba.prange(shape[0]):
        _reciprocal_plane(x, spectrum, influence, inverse, shape, alpha, sums[x])
