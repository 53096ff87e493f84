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

from mdpipe.kernels.butterflies import RADICES, small_transform
from mdpipe.kernels.simd import LANES, Pointer, Scalar, Trace
from mdpipe.kernels.sweeps import shared

__all__ = ["LANES", "factorise", "plan_transform", "transform"]

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
        step: Scalar,
        gap: Scalar,
        target: Pointer,
        to_step: Scalar,
        to_gap: Scalar,
        twiddles: Pointer,
        inner: Scalar,
        outer: Scalar,
    ) -> None:
        place = (source, step, gap, target, to_step, to_gap)
        with trace.when(inner > 1):
            _butterfly_loop(trace, radix, place, twiddles, (inner, outer))
        with trace.when(inner <= 1):
            _butterfly_loop(trace, radix, place, None, (trace.index(1), outer))

    body.__name__ = f"pass_{radix}"
    return shared(body)


_PASSES = {radix: _make_pass(radix) for radix in RADICES}


def _choose(condition: Scalar, yes: Pointer, no: Pointer) -> Pointer:
    raw = condition.trace.builder.select(condition.raw, yes.raw, no.raw)
    return Pointer(condition.trace, raw, yes.kind)


@shared
def _transform(
    trace: Trace,
    plan: Pointer,
    factors: Pointer,
    source: Pointer,
    step: Scalar,
    gap: Scalar,
    target: Pointer,
    to_step: Scalar,
    to_gap: Scalar,
    scratch: Pointer,
) -> None:
    size, passes = plan[0], plan[1]
    half = size * (2 * LANES)
    with trace.loop(0, passes) as number:
        own = plan.at(number * 4)
        first, last = number.equals(0), number.equals(passes - 1)
        own_half, other_half = (number & 1) * half, (half - (number & 1) * half)
        a = _choose(first, source, scratch.at(other_half))
        b = _choose(last, target, scratch.at(own_half))
        places = (
            a,
            first.select(step, 2 * LANES),
            first.select(gap, LANES),
            b,
            last.select(to_step, 2 * LANES),
            last.select(to_gap, LANES),
        )
        for radix, run in _PASSES.items():
            with trace.when(own[2].equals(radix)):
                run(trace, *places, factors.at(own[5]), own[3], own[4])


def transform(
    trace: Trace,
    plan: Pointer,
    factors: Pointer,
    source: tuple[Pointer, Any, Any],
    target: tuple[Pointer, Any, Any],
    scratch: Pointer,
) -> None:
    """Transform LANES sequences of complex numbers side by side.

    Parameters
    ----------
    trace : Trace
        Where the code is written.
    plan, factors
        From `plan_transform`.
    source : tuple
        The first real parts, and how far it is to the next number of a sequence and to the
        imaginary parts.
    target : tuple
        The same of the result; may be the source.
    scratch : Pointer
        4 LANES size numbers of float32, lost.
    """
    (a, step, gap), (b, to_step, to_gap) = source, target
    steps, to_steps = [
        (trace.index(x), trace.index(y)) for x, y in ((step, gap), (to_step, to_gap))
    ]
    _transform(trace, plan, factors, a, *steps, b, *to_steps, scratch)
