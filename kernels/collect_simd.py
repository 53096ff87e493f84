"""Sum of the forces on each molecule, by explicit vectors."""

from __future__ import annotations

from typing import Any

import numba

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.pair_simd import CHARGES, ROW, polynomial, square
from mdpipe.kernels.simd import LANES, Pointer, Trace, Vector, traced
from mdpipe.kernels.simd_rows import gather_columns, turn

__all__ = ["collect_rows"]

BLOCKS = 16


@traced
def _add_flat(trace: Trace, target: Any, at: Any, source: Any, begin: Any, count: Any) -> None:
    """Add whole rows to whole rows."""
    length = count * ROW
    most = length & -LANES
    with trace.loop(0, most, LANES) as k:
        target.add(at * ROW + k, source.load(begin * ROW + k, LANES))
    with trace.loop(most, length, 4) as k:
        target.add(at * ROW + k, source.load(begin * ROW + k, 4))


def _excluded(sites: Any, scale: Any, poly: Any) -> list[list[Any]]:
    """Yield the forces that take the screened part between a molecule's own sites out again."""
    forces = [[None] * 3 for _ in range(3)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        d = [x - y for x, y in zip(sites[j], sites[i], strict=True)]
        factor = polynomial(square(d).fma(scale, -1.0), poly) * (-CHARGES[i] * CHARGES[j])
        for a in range(3):
            f = factor * d[a]
            forces[j][a] = f if forces[j][a] is None else forces[j][a] + f
            forces[i][a] = -f if forces[i][a] is None else forces[i][a] - f
    return forces


def _spread(forces: Any, weight: Vector) -> list[Any]:
    """Spread the force on the negative site onto O, H1 and H2."""
    negative, first, second = forces
    shared = [weight * f for f in negative]
    oxygen = [f - (s + s) for f, s in zip(negative, shared, strict=True)]
    hydrogens = [f + s for h in (first, second) for f, s in zip(h, shared, strict=True)]
    return [*oxygen, *hydrogens]


def _columns(array: Pointer, places: Any) -> list[Any]:
    last = gather_columns(array, places, 5)[3]
    return [*gather_columns(array, places), *gather_columns(array, places, 4), last]


@traced
def _finish(
    trace: Trace,
    first: Any,
    last: Any,
    order: Any,
    totals: Any,
    offsets: Any,
    reciprocal: Any,
    numbers: Any,
    poly: Any,
    forces: Any,
) -> None:
    unit, weight, scale, times = (x.spread(LANES) for x in numbers)
    coefficients = [c.spread(LANES) for c in poly]
    with trace.loop(first, last, LANES) as begin:
        # The last vector repeats the last molecule.
        places = [(begin + k < last).select(begin + k, last - 1) for k in range(LANES)]
        nines = [s * 9 for s in places]
        rows = [s * ROW for s in places]
        total = [unit * f for q in (0, 4, 8) for f in gather_columns(totals, rows, q)[:3]]
        if len(coefficients) > 1:
            flat = _columns(offsets, nines)
            sites = [flat[:3], flat[3:6], flat[6:]]
            flat = [f.to("f32") for f in _columns(reciprocal, nines)]
            own = _excluded(sites, scale, coefficients)
            on_sites = [
                [f + e for f, e in zip(flat[3 * j : 3 * j + 3], own[j], strict=True)]
                for j in range(3)
            ]
            added = _spread(on_sites, weight)
            total = [f.fma(times, t) for t, f in zip(total, added, strict=True)]
        halves = [turn(total[:4]), turn(total[4:8])]
        for lane, s in enumerate(places):
            place = order[s].to("i64") * 9
            for half, turned in enumerate(halves):
                part = turned[lane % 4].part(lane // 4 * 4, 4)
                forces.store(place + 4 * half, part.to("f64"))
            forces[place + 8] = total[8][lane].to("f64")


@jit()
def _collect_block(
    span: Any,
    order: Any,
    windows: Any,
    buffer: Any,
    totals: Any,
    offsets: Any,
    reciprocal: Any,
    numbers: Any,
    poly: Any,
    forces: Any,
) -> None:
    n = order.shape[0]
    totals[span[0] : span[1]] = 0.0
    for c in range(windows.shape[0]):
        for turn_round in range(2):
            ahead = turn_round * n
            begin = max(span[0] + ahead, windows[c, 1])
            end = min(span[1] + ahead, windows[c, 1] + windows[c, 2])
            if begin < end:
                source = windows[c, 0] + begin - windows[c, 1]
                _add_flat(totals, begin - ahead, buffer, source, end - begin)
    _finish(span[0], span[1], order, totals, offsets, reciprocal, numbers, poly, forces)


@parallel_jit()
def collect_rows(
    order: Any,
    windows: Any,
    buffer: Any,
    totals: Any,
    offsets: Any,
    reciprocal: Any,
    numbers: Any,
    poly: Any,
    forces: Any,
) -> None:
    """Sum the forces on each molecule in a fixed order and put them where the atoms are.

    Parameters
    ----------
    order : (n,) int32
        Molecule at each place of the list order.
    windows : (chunks, 3) int64
        First row of the chunk's part of `buffer`, first molecule of its window, molecules in it
        (in list order, which goes on past its end with the first molecules again).
    buffer : (rows, ROW) float32
        Pair forces on O, H1, H2 in their unit.
    totals : (n, ROW) float32
        Out: their sums.
    offsets : (n, 9) float32
        Negative site, H1, H2 relative to O, in list order.
    reciprocal : (3n, 3) float32 or float64
        Reciprocal forces on the sites in list order.
    numbers : tuple of 4 float32
        Unit of the pair forces; weight of H in the negative site; scale that makes r² scale - 1 the
        variable of `poly`; how many times the reciprocal forces count, less those of the pairs
        within a molecule.
    poly : tuple of float32
        Coefficients of q_H² g, lowest first; a single one: no reciprocal sum, and nothing is done
        about the pairs within a molecule.
    forces : (n, 3, 3) float64
        Out.
    """
    n = order.shape[0]
    for b in numba.prange(BLOCKS):
        _collect_block(
            (b * n // BLOCKS, (b + 1) * n // BLOCKS),
            order,
            windows,
            buffer,
            totals,
            offsets,
            reciprocal,
            numbers,
            poly,
            forces,
        )
