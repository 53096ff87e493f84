"""Discrete Fourier transforms of a few complex vectors, written for `mdpipe.kernels.simd`.

A complex vector is a pair (re, im); all transforms are forward, exp(-2πi jk/n), unnormalised.
"""

from __future__ import annotations

import math
from typing import Any

from mdpipe.kernels.simd import Vector

__all__ = ["RADICES", "Complex", "small_transform"]

Complex = tuple[Vector, Vector]

RADICES = (8, 7, 6, 5, 4, 3, 2)
"""The lengths that `small_transform` knows."""


def _add(a: Complex, b: Complex) -> Complex:
    return a[0] + b[0], a[1] + b[1]


def _subtract(a: Complex, b: Complex) -> Complex:
    return a[0] - b[0], a[1] - b[1]


def _turn(a: Complex) -> tuple[Any, Any]:
    """Multiply by -i."""
    return a[1], -a[0]


def _two(a: Complex, b: Complex) -> list[Complex]:
    return [_add(a, b), _subtract(a, b)]


def _four(x: list[Complex]) -> list[Complex]:
    a, b = _two(x[0], x[2])
    c, d = _two(x[1], x[3])
    # b -+ i d
    return [
        _add(a, c),
        (b[0] + d[1], b[1] - d[0]),
        _subtract(a, c),
        (b[0] - d[1], b[1] + d[0]),
    ]


def _eight(x: list[Complex]) -> list[Complex]:
    even = _four(x[0::2])
    odd = _four(x[1::2])
    half = math.sqrt(0.5)
    p, q = odd[1], odd[3]
    odd[1] = ((p[0] + p[1]) * half, (p[1] - p[0]) * half)
    odd[3] = ((q[1] - q[0]) * half, (q[0] + q[1]) * -half)
    answer: list[Any] = [_add(e, o) for e, o in zip(even, odd, strict=True)]
    answer += [_subtract(e, o) for e, o in zip(even, odd, strict=True)]
    # odd[2] is still to be turned by -i
    e, o = even[2], odd[2]
    answer[2] = (e[0] + o[1], e[1] - o[0])
    answer[6] = (e[0] - o[1], e[1] + o[0])
    return answer


def _odd(x: list[Complex]) -> list[Complex]:
    """Transform an odd prime number of vectors: sums and differences of opposite ones."""
    n = len(x)
    half = n // 2
    sums = [_add(x[j], x[n - j]) for j in range(1, half + 1)]
    rests = [_subtract(x[j], x[n - j]) for j in range(1, half + 1)]
    answer: list[Any] = [None] * n
    total = x[0]
    for pair in sums:
        total = _add(total, pair)
    answer[0] = total
    for k in range(1, half + 1):
        re, im = x[0]
        turned: Any = None
        for j in range(1, half + 1):
            angle = 2.0 * math.pi * (j * k % n) / n
            c, s = math.cos(angle), math.sin(angle)
            trace = re.trace
            cosine = trace.constant(c, re.kind, re.lanes)
            sine = trace.constant(s, re.kind, re.lanes)
            re = sums[j - 1][0].fma(cosine, re)
            im = sums[j - 1][1].fma(cosine, im)
            p, q = rests[j - 1]
            if turned is None:
                turned = (q * sine, p * sine)
            else:
                turned = (q.fma(sine, turned[0]), p.fma(sine, turned[1]))
        # e -+ i s of the differences
        answer[k] = (re + turned[0], im - turned[1])
        answer[n - k] = (re - turned[0], im + turned[1])
    return answer


def _six(x: list[Complex]) -> list[Complex]:
    """Transform 2 x 3 vectors; coprime factors need no twiddles."""
    first = _odd([x[0], x[2], x[4]])
    second = _odd([x[3], x[5], x[1]])
    answer: list[Any] = [None] * 6
    for k in range(3):
        both = _two(first[k], second[k])
        # Index k mod 3 and parity together name the wave.
        answer[k if k % 2 == 0 else k + 3] = both[0]
        answer[(k + 3) % 6 if k % 2 == 0 else k] = both[1]
    return answer


def small_transform(x: list[Complex]) -> list[Complex]:
    """Transform a few complex vectors, lane by lane.

    Parameters
    ----------
    x : list of Complex
        As many as one of `RADICES`.

    Returns
    -------
    list of Complex
        Sum over j of x[j] exp(-2πi jk/n), for k = 0, 1, …
    """
    n = len(x)
    if n == 2:
        return _two(x[0], x[1])
    if n == 4:
        return _four(x)
    if n == 6:
        return _six(x)
    if n == 8:
        return _eight(x)
    return _odd(x)
