"""Fourier transforms along one direction of a grid, as many side by side as a vector has lanes.

Stockham's self-sorting passes in float32: nothing is transposed but where the lanes' own direction
is transformed (`turn_in`, `turn_out`). The inverse is the same transform with real and imaginary
parts exchanged, on the way in and out. Each lane is computed by itself, so the bits depend on
neither the number of threads nor the neighbours.

References
----------
Temperton, J. Comput. Phys. 52, 1 (1983), DOI 10.1016/0021-9991(83)90013-X.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit
from mdpipe.kernels.butterflies import RADICES, small_transform
from mdpipe.kernels.simd import LANES, Pointer, Scalar, Trace, traced

__all__ = ["LANES", "factorise", "keep_apart", "plan_transform", "transform"]

PLAN = 40
"""Numbers that describe the transform along one direction."""


def factorise(size: int) -> list[int]:
    """Split a length into the fewest passes.

    Parameters
    ----------
    size : int
        At least 2.

    Returns
    -------
    list of int
        Radices, largest first; empty if a prime larger than 7 divides the length.
    """
    best: dict[int, list[int]] = {1: []}
    for n in range(2, size + 1):
        if size % n:
            continue
        found = [[*best[n // r], r] for r in RADICES if n % r == 0 and (n == r or best.get(n // r))]
        best[n] = min(found, key=lambda f: (len(f), sum(f)), default=[])
    return sorted(best[size], reverse=True)


def plan_transform(size: int, start: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Prepare the transform of a length.

    Parameters
    ----------
    size : int
        A product of 2, 3, 5 and 7.
    start : int
        Where in an array of all directions' factors the ones of this one will be.

    Returns
    -------
    plan : (40,) int64
        Length, number of passes, and for each pass the radix, the transforms inside, those
        outside, and where its factors begin.
    factors : (…,) float32
        exp(-2πi …) as re, im for each pass, inner place and leg but the first.
    """
    plan = np.zeros(PLAN, np.int64)
    factors: list[NDArray[np.float32]] = []
    radices = factorise(size)
    plan[:2] = size, len(radices)
    outer = 1
    for number, radix in enumerate(radices):
        inner = size // (outer * radix)
        plan[2 + 4 * number : 6 + 4 * number] = radix, inner, outer, start
        turns = np.outer(np.arange(inner), np.arange(1, radix)) * outer % size
        angles = -2.0 * math.pi * turns / size
        values = np.stack([np.cos(angles), np.sin(angles)], axis=-1).ravel()
        factors.append(values.astype(np.float32))
        start += len(values)
        outer *= radix
    return plan, np.concatenate(factors)


def _butterfly_loop(
    trace: Trace, radix: int, place: Any, twiddles: Pointer | None, sizes: tuple[Scalar, Scalar]
) -> None:
    source, step, gap, target, to_step, to_gap = place
    inner, outer = sizes
    with trace.loop(0, outer) as k, trace.loop(0, inner) as i:
        legs = []
        for j in range(radix):
            at = (i + inner * (j + k * radix)) * step
            legs.append((source.load(at, LANES), source.load(at + gap, LANES)))
        for j, (re, im) in enumerate(small_transform(legs)):
            at = (i + inner * (k + outer * j)) * to_step
            turned = (re, im)
            if twiddles is not None and j > 0:
                w = (i * (radix - 1) + (j - 1)) * 2
                c, s = twiddles[w].spread(LANES), twiddles[w + 1].spread(LANES)
                turned = (re.fma(c, -(im * s)), re.fma(s, im * c))
            target.store(at, turned[0])
            target.store(at + to_gap, turned[1])


def _make_pass(radix: int) -> Any:
    def body(
        trace: Trace,
        source: Pointer,
        first: Scalar,
        step: Scalar,
        gap: Scalar,
        target: Pointer,
        to_first: Scalar,
        to_step: Scalar,
        to_gap: Scalar,
        twiddles: Pointer,
        where: Scalar,
        inner: Scalar,
        outer: Scalar,
    ) -> None:
        place = (source.at(first), step, gap, target.at(to_first), to_step, to_gap)
        with trace.when(inner > 1):
            _butterfly_loop(trace, radix, place, twiddles.at(where), (inner, outer))
        with trace.when(inner <= 1):
            one = trace.index(1)
            _butterfly_loop(trace, radix, place, None, (one, outer))

    body.__name__ = f"pass_{radix}"
    return traced(body)


@traced
def keep_apart(trace: Trace) -> None:
    """Forbid LLVM to copy this function into its callers, which takes it seconds."""
    trace.builder.function.attributes.add("noinline")


_pass_2 = _make_pass(2)
_pass_3 = _make_pass(3)
_pass_4 = _make_pass(4)
_pass_5 = _make_pass(5)
_pass_6 = _make_pass(6)
_pass_7 = _make_pass(7)
_pass_8 = _make_pass(8)


@jit()
def transform(
    plan: Any,
    factors: Any,
    source: Any,
    first: int,
    step: int,
    gap: int,
    target: Any,
    to_first: int,
    to_step: int,
    to_gap: int,
    scratch: Any,
) -> None:
    """Transform LANES sequences of complex numbers side by side.

    Parameters
    ----------
    plan, factors
        From `plan_transform`.
    source : float32 array
        Where the sequences lie.
    first, step, gap : int
        Place of the first real parts, and how far it is to the next number of a sequence and
        to the imaginary parts.
    target, to_first, to_step, to_gap
        The same of the result; may be the source.
    scratch : (4 LANES size,) float32
        Lost.
    """
    keep_apart()
    passes = plan[1]
    half = 2 * LANES * plan[0]
    for number in range(passes):
        radix = plan[2 + 4 * number]
        inner = plan[3 + 4 * number]
        outer = plan[4 + 4 * number]
        where = plan[5 + 4 * number]
        a, a0, ai, ag = source, first, step, gap
        if number > 0:
            a, a0, ai, ag = scratch, (number - 1) % 2 * half, 2 * LANES, LANES
        b, b0, bi, bg = target, to_first, to_step, to_gap
        if number < passes - 1:
            b, b0, bi, bg = scratch, number % 2 * half, 2 * LANES, LANES
        if radix == 8:
            _pass_8(a, a0, ai, ag, b, b0, bi, bg, factors, where, inner, outer)
        elif radix == 7:
            _pass_7(a, a0, ai, ag, b, b0, bi, bg, factors, where, inner, outer)
        elif radix == 6:
            _pass_6(a, a0, ai, ag, b, b0, bi, bg, factors, where, inner, outer)
        elif radix == 5:
            _pass_5(a, a0, ai, ag, b, b0, bi, bg, factors, where, inner, outer)
        elif radix == 4:
            _pass_4(a, a0, ai, ag, b, b0, bi, bg, factors, where, inner, outer)
        elif radix == 3:
            _pass_3(a, a0, ai, ag, b, b0, bi, bg, factors, where, inner, outer)
        else:
            _pass_2(a, a0, ai, ag, b, b0, bi, bg, factors, where, inner, outer)
