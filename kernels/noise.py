"""Nine standard normal deviates for each molecule of a block, in rows that LLVM vectorises.

The words are those of `mdpipe.kernels.rng.philox4x32`; logarithm, sine and cosine are written out,
for calls of libm would keep the loops scalar (and round differently from one libm to the next).

References
----------
Salmon et al., SC'11, 16 (2011), DOI 10.1145/2063384.2063405 (Philox4x32-10).
Box and Muller, Ann. Math. Stat. 29, 610 (1958), DOI 10.1214/aoms/1177706645.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from mdpipe.kernels._jit import jit
from mdpipe.kernels.rng import MASK, SHIFT, philox4x32
from mdpipe.kernels.settle import LANES

__all__ = ["N_ROWS", "fill_normal_rows"]

N_ROWS: Final = 12
"""Rows of words, four of each call; nine of them become the deviates."""

PART_SHIFT: Final = np.uint64(28)
MANTISSA: Final = np.int64(0x000FFFFFFFFFFFFF)
EXPONENT_OF_ONE: Final = np.int64(0x3FF0000000000000)
EXPONENT_SHIFT: Final = np.int64(52)
BIAS: Final = np.int64(1023)
WORD_BITS: Final = 32.0
LN_2: Final = math.log(2.0)
ROOT_2: Final = math.sqrt(2.0)
HALF_PI: Final = 0.5 * math.pi
QUARTER_TURN: Final = 2.0**-30
ROUNDING: Final = 1.5 * 2.0**52
"""Added to a small number and taken off again it leaves the nearest integer."""


@jit()
def _fill_words(a: Any, b: Any, c: Any, d: Any, first: int, call: int, keys: Any) -> None:
    """Fill four rows with the words, each + 1/2, of one call of Philox for each molecule."""
    seed, step = keys[0], keys[2]
    part = keys[1] | (np.uint64(call) << PART_SHIFT)
    low, high = step & MASK, step >> SHIFT
    for k in range(LANES):
        w0, w1, w2, w3 = philox4x32(np.uint64(first + k), low, high, part, seed)
        a[k] = float(w0) + 0.5
        b[k] = float(w1) + 0.5
        c[k] = float(w2) + 0.5
        d[k] = float(w3) + 0.5


@jit()
def _radius(words: Any, powers: Any) -> None:
    """Replace words by sqrt(-2 ln(w / 2**32)): ln m = 2 atanh((m - 1)/(m + 1)) of the mantissa."""
    bits = words.view(np.int64)
    for k in range(LANES):
        powers[k] = float((bits[k] >> EXPONENT_SHIFT) - BIAS) - WORD_BITS
        bits[k] = (bits[k] & MANTISSA) | EXPONENT_OF_ONE
    for k in range(LANES):
        m = words[k]
        large = m > ROOT_2
        m = 0.5 * m if large else m
        e = powers[k] + 1.0 if large else powers[k]
        f = (m - 1.0) / (m + 1.0)
        g = f * f
        series = 1.0 / 21.0
        series = series * g + 1.0 / 19.0
        series = series * g + 1.0 / 17.0
        series = series * g + 1.0 / 15.0
        series = series * g + 1.0 / 13.0
        series = series * g + 1.0 / 11.0
        series = series * g + 1.0 / 9.0
        series = series * g + 1.0 / 7.0
        series = series * g + 1.0 / 5.0
        series = series * g + 1.0 / 3.0
        logarithm = e * LN_2 + 2.0 * (f + f * g * series)
        words[k] = math.sqrt(-2.0 * logarithm)


@jit()
def _turn(words: Any, angles: Any) -> None:
    """Replace radii and angles by radii times cosine and sine."""
    for k in range(LANES):
        quarters = angles[k] * QUARTER_TURN
        whole = (quarters + ROUNDING) - ROUNDING
        r = (quarters - whole) * HALF_PI
        g = r * r
        s = -1.0 / 1307674368000.0
        s = s * g + 1.0 / 6227020800.0
        s = s * g - 1.0 / 39916800.0
        s = s * g + 1.0 / 362880.0
        s = s * g - 1.0 / 5040.0
        s = s * g + 1.0 / 120.0
        s = s * g - 1.0 / 6.0
        sine = r + r * g * s
        c = 1.0 / 20922789888000.0
        c = c * g - 1.0 / 87178291200.0
        c = c * g + 1.0 / 479001600.0
        c = c * g - 1.0 / 3628800.0
        c = c * g + 1.0 / 40320.0
        c = c * g - 1.0 / 720.0
        c = c * g + 1.0 / 24.0
        cosine = 1.0 - 0.5 * g + g * g * c
        odd = (whole == 1.0) | (whole == 3.0)
        back = (whole == 2.0) | (whole == 3.0)
        x = sine if odd else cosine
        y = cosine if odd else sine
        away = (whole == 1.0) | (whole == 2.0)
        x = -x if away else x
        y = -y if back else y
        radius = words[k]
        words[k] = radius * x
        angles[k] = radius * y


@jit()
def fill_normal_rows(rows: Any, powers: Any, first: int, keys: Any) -> None:
    """Fill rows with standard normal deviates, one for each lane.

    Parameters
    ----------
    rows : (N_ROWS LANES,) float64
        Out: row c holds deviate c of the molecules of the block; 0-8 are for use.
    powers : (LANES,) float64
        Scratch.
    first : int
        Number of the first molecule, which names its deviates.
    keys : (3,) uint64
        Seed, stream (below 2**28) and step.

    Notes
    -----
    The deviates are those of `mdpipe.kernels.rng.two_normals` but for rounding (5e-15).
    """
    for call in range(3):
        r = 4 * call * LANES
        _fill_words(
            rows[r : r + LANES],
            rows[r + LANES : r + 2 * LANES],
            rows[r + 2 * LANES : r + 3 * LANES],
            rows[r + 3 * LANES : r + 4 * LANES],
            first,
            call,
            keys,
        )
    for pair in range(5):
        # Slices, for an index that may be negative keeps a loop scalar.
        radii = rows[2 * pair * LANES : (2 * pair + 1) * LANES]
        _radius(radii, powers)
        _turn(radii, rows[(2 * pair + 1) * LANES : (2 * pair + 2) * LANES])
