"""Counter-based random numbers: the same (seed, stream, step, index) gives the same number, always.

Nothing is carried from one call to the next, so neither restarts nor threads change a number.

References
----------
Salmon et al., SC'11, 16 (2011), DOI 10.1145/2063384.2063405 (Philox4x32-10).
Box and Muller, Ann. Math. Stat. 29, 610 (1958), DOI 10.1214/aoms/1177706645.
Marsaglia and Tsang, ACM Trans. Math. Softw. 26, 363 (2000), DOI 10.1145/358407.358414.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from mdpipe.kernels._jit import jit

__all__ = ["fill_normals", "gamma", "gaussian", "philox4x32", "two_normals", "uniform"]

MASK: Final = np.uint64(0xFFFFFFFF)
SHIFT: Final = np.uint64(32)
MULTIPLIER_0: Final = np.uint64(0xD2511F53)
MULTIPLIER_1: Final = np.uint64(0xCD9E8D57)
WEYL_0: Final = np.uint64(0x9E3779B9)
WEYL_1: Final = np.uint64(0xBB67AE85)
TWO_PI: Final = 2.0 * math.pi
UNIT: Final = 2.0**-32


# Inlined, so that a loop over many counters becomes vector code.
@jit(forceinline=True)
def philox4x32(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, key: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Yield the four 32-bit words of Philox4x32-10.

    Parameters
    ----------
    c0, c1, c2, c3 : uint64
        The four 32-bit words of the counter.
    key : uint64
        Both words of the key, the first in the low half.

    Returns
    -------
    tuple of four uint64
        Each below 2**32.
    """
    k0 = key & MASK
    k1 = key >> SHIFT
    for _ in range(10):
        p0 = MULTIPLIER_0 * c0
        p1 = MULTIPLIER_1 * c2
        c0 = (p1 >> SHIFT) ^ c1 ^ k0
        c1 = p1 & MASK
        c2 = (p0 >> SHIFT) ^ c3 ^ k1
        c3 = p0 & MASK
        k0 = (k0 + WEYL_0) & MASK
        k1 = (k1 + WEYL_1) & MASK
    return c0, c1, c2, c3


@jit()
def two_normals(a: np.uint64, b: np.uint64) -> tuple[float, float]:
    """Yield two independent standard normal deviates from two 32-bit words (Box-Muller).

    Parameters
    ----------
    a, b : uint64
        Each below 2**32.

    Returns
    -------
    tuple of two float
        At most 6.7 in magnitude, for the words have 32 bits.
    """
    radius = math.sqrt(-2.0 * math.log((float(a) + 0.5) * UNIT))
    angle = TWO_PI * ((float(b) + 0.5) * UNIT)
    return radius * math.cos(angle), radius * math.sin(angle)


@jit()
def uniform(seed: np.uint64, stream: np.uint64, step: np.uint64, index: np.uint64) -> float:
    """Yield one uniform deviate in (0, 1).

    Parameters
    ----------
    seed, stream, step, index : uint64
        What names the number; `stream` and `index` below 2**32.

    Returns
    -------
    float
        Neither 0 nor 1.
    """
    a, _b, _c, _d = philox4x32(index, step & MASK, step >> SHIFT, stream, seed)
    return (float(a) + 0.5) * UNIT


@jit()
def gaussian(seed: np.uint64, stream: np.uint64, step: np.uint64, index: np.uint64) -> float:
    """Yield one standard normal deviate.

    Parameters
    ----------
    seed, stream, step, index : uint64
        What names the number; `stream` and `index` below 2**32.

    Returns
    -------
    float
        The deviate.
    """
    a, b, _c, _d = philox4x32(index, step & MASK, step >> SHIFT, stream, seed)
    deviates: tuple[float, float] = two_normals(a, b)
    return deviates[0]


@jit()
def fill_normals(out: Any, seed: np.uint64, stream: np.uint64, step: np.uint64) -> None:
    """Fill an array with standard normal deviates, numbered by their place.

    Parameters
    ----------
    out : (n,) float64
        Overwritten; n below 2**32.
    seed, stream, step : uint64
        What names the numbers.
    """
    for index in range(out.shape[0]):
        out[index] = gaussian(seed, stream, step, np.uint64(index))


@jit()
def gamma(shape: float, seed: np.uint64, stream: np.uint64, step: np.uint64) -> float:
    """Yield one Gamma(shape, 1) deviate by the rejection of Marsaglia and Tsang.

    Parameters
    ----------
    shape : float
        At least 1.
    seed, stream, step : uint64
        What names the number; each attempt counts up the index.

    Returns
    -------
    float
        The deviate.
    """
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    attempt = np.uint64(0)
    while True:
        w0, w1, w2, _w3 = philox4x32(attempt, step & MASK, step >> SHIFT, stream, seed)
        x, _y = two_normals(w0, w1)
        attempt += np.uint64(1)
        root = 1.0 + c * x
        if root <= 0.0:
            continue
        cube = root * root * root
        u = (float(w2) + 0.5) * UNIT
        if math.log(u) < 0.5 * x * x + d - d * cube + d * math.log(cube):
            deviate: float = d * cube
            return deviate
