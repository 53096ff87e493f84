"""Rows of the molecules in list order, by explicit vectors."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.pair_simd import ROW
from mdpipe.kernels.simd import LANES, Pointer, Trace, Vector, traced
from mdpipe.kernels.simd_rows import gather_columns, turn

__all__ = ["place_rows"]

BLOCKS = 16

WIDE = max(4, LANES // 2)
"""Molecules at a time, in float64."""

MAGIC = 1.5 * 2.0**52
"""Added to a float64 it leaves the whole part in the lowest bits, modulo a power of 2."""


def _product(v: Any, m: Any) -> list[Any]:
    """Yield the row vector v times a matrix (9 values, row by row)."""
    return [v[2].fma(m[6 + a], v[1].fma(m[3 + a], v[0] * m[a])) for a in range(3)]


def _minus(a: Any, b: Any) -> list[Any]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _length2(d: Any) -> Vector:
    length2: Vector = d[2].fma(d[2], d[1].fma(d[1], d[0] * d[0]))
    return length2


def _put_row(rows: Pointer, place: Any, words: Any, lane: int) -> None:
    for quad, turned in enumerate(words):
        rows.store(place + 4 * quad, turned[lane % 4].part(lane // 4 * 4, 4))


@traced
def _place(
    trace: Trace,
    first: Any,
    last: Any,
    positions: Any,
    order: Any,
    images: Any,
    reference: Any,
    pruned: Any,
    numbers: Any,
    centres: Any,
    offsets: Any,
    rows: Any,
    extremes: Any,
) -> None:
    wide = [numbers[k].spread(WIDE) for k in range(37)]
    inverse, box, strain, since, weight = wide[:9], wide[9:18], wide[18:27], wide[27:36], wide[36]
    zero = trace.constant(0.0, "f64", WIDE)
    most = [trace.variable(zero) for _ in range(4)]

    def record(k: int, value: Vector) -> None:
        most[k].value = (value < most[k].value).select(most[k].value, value)
        # 0, or for good NaN, which comparisons lose.
        most[3].value = most[3].value + (value - value)

    with trace.loop(first, last, WIDE) as begin:
        # The last vector repeats the last molecule.
        places = [(begin + k < last).select(begin + k, last - 1) for k in range(WIDE)]
        molecules = [order[s].to("i64") * 9 for s in places]
        atoms = gather_columns(positions, molecules) + gather_columns(positions, molecules, 4)
        atoms.append(gather_columns(positions, molecules, 5)[3])
        triples = [s * 3 for s in places]
        centre = _minus(atoms[:3], _product(gather_columns(images, triples)[:3], box))
        for k, (old, change) in enumerate(((reference, strain), (pruned, since))):
            from_there = _product(gather_columns(old, triples)[:3], change)
            record(k, _length2(_minus(centre, from_there)))
        h1, h2 = _minus(atoms[3:6], atoms[:3]), _minus(atoms[6:9], atoms[:3])
        record(2, _length2(h1))
        record(2, _length2(h2))
        fractions = _product(atoms[:3], inverse)
        whole = [f.fma(2.0**32, MAGIC).bits_as("i64").to("i32") for f in fractions]
        narrow = [x.to("f32") for x in (*h1, *h2)]
        bits = [x.bits_as("i32") for x in narrow]
        spare = trace.constant(0, "i32", WIDE)
        words = [turn([*three, spare]) for three in (whole, bits[:3], bits[3:])]
        virtual = [(weight * (x + y)).to("f32") for x, y in zip(h1, h2, strict=True)]
        halves = [turn([*virtual, narrow[0]]), turn(narrow[1:5])]
        middles = turn([*centre, zero])
        for lane, s in enumerate(places):
            _put_row(rows, s * ROW, words, lane)
            _put_row(offsets, s * 9, halves, lane)
            offsets[s * 9 + 8] = narrow[5][lane]
            middle = middles[lane % 4].part(lane // 4 * 4, 4)
            centres.store(s * 3, middle.part(0, 2))
            centres[s * 3 + 2] = middle[2]
    for k, value in enumerate(most):
        extremes.store(k * WIDE, value.value)


@jit()
def _largest(extremes: Any, k: int) -> float:
    most: float = 0.0
    for b in range(BLOCKS):
        for lane in range(WIDE):
            most = max(most, extremes[b, k, lane])
            most += extremes[b, 3, lane]
    return math.sqrt(most)


@parallel_jit()
def place_rows(
    positions: Any,
    order: Any,
    images: Any,
    references: Any,
    numbers: Any,
    copies: int,
    centres: Any,
    offsets: Any,
    rows: Any,
) -> Any:
    """Sort the molecules into list order, apply their images and write their rows.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2 in any image.
    order : (n,) int32
        Molecule at each place of the list order.
    images : (n, 3) float64
        Whole box vectors that are subtracted, in list order; as `references` and `centres` with
        the memory of one more number behind it.
    references : tuple of 2 (n, 3) float64
        O positions at two earlier times, in list order.
    numbers : (37,) float64
        Inverse of the box, the box, what maps each of the references to present positions if the
        box alone had changed (``x_ref @ strain``), all row by row; weight of each H in the virtual
        site.
    copies : int
        How many of the first molecules stand again behind the last.
    centres : (n, 3) float64
        Out: O positions.
    offsets : (n, 9) float32
        Out: negative site, H1, H2 relative to O.
    rows : (m, ROW) int32
        Out: as `mdpipe.kernels.pair_simd` reads them.

    Returns
    -------
    tuple of 3 float
        Largest displacement of O beyond the strain since each of the earlier times, and largest
        O-H distance; NaN if a position is NaN or infinite.
    """
    n = order.shape[0]
    extremes = np.zeros((BLOCKS, 4, WIDE))
    for b in numba.prange(BLOCKS):
        _place(
            b * n // BLOCKS,
            (b + 1) * n // BLOCKS,
            positions,
            order,
            images,
            references[0],
            references[1],
            numbers,
            centres,
            offsets,
            rows,
            extremes[b],
        )
    for s in range(copies):
        for k in range(ROW):
            rows[n + s, k] = rows[s, k]
    return _largest(extremes, 0), _largest(extremes, 1), _largest(extremes, 2)
