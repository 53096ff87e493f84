"""Lists of partners for the vector kernels: an outer one by cells, an inner one pruned from it.

A partner is named by the first word of its row (`mdpipe.kernels.pair_simd.ROW` words each).
Molecules are sorted by cell; partners lie ahead in that order, which goes on past its end with the
first molecules again, so that a run of molecules touches only a window of rows. Each molecule's
partners are filled up to whole vectors with itself.
"""

from __future__ import annotations

from typing import Any

import numba

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.pair_simd import ROW, separation, square
from mdpipe.kernels.simd import LANES, Scalar, Trace, traced
from mdpipe.kernels.simd_rows import gather_columns

__all__ = ["list_partners", "prune_partners"]


@traced
def _scan(
    trace: Trace,
    own: Any,
    first: Any,
    last: Any,
    points: Any,
    length: Any,
    box: Any,
    radius2: Any,
    partners: Any,
    end: Any,
) -> Scalar:
    """Append those of a run of molecules that lie within the radius."""
    here = [points[length * a + own].spread(LANES) for a in range(3)]
    metric = [b.spread(LANES) for b in box]
    lanes = trace.constant(range(LANES), "i32")
    found: Any = trace.variable(end)
    with trace.loop(first, last, LANES) as t:
        there = [points.load(length * a + t, LANES) for a in range(3)]
        near = square(separation(here, there, metric)) < radius2.spread(LANES)
        near = near & (lanes < (last - t).to("i32").spread(LANES))
        names = (lanes + t.to("i32").spread(LANES)) * ROW
        found.value = names.pack(near, partners, found.value)
    answer: Scalar = found.value
    return answer


@traced
def _fill_up(trace: Trace, name: Any, partners: Any, first: Any, end: Any) -> Scalar:
    """Fill a molecule's part up to whole vectors; yield where the next one starts."""
    partners.store(end, name.to("i32").spread(LANES))
    whole: Scalar = first + ((end - first + trace.index(LANES - 1)) & -LANES)
    return whole


@traced
def _prune(
    trace: Trace,
    first: Any,
    last: Any,
    starts: Any,
    partners: Any,
    rows: Any,
    box: Any,
    radius2: Any,
    begin: Any,
    inner_starts: Any,
    inner: Any,
) -> None:
    metric = [b.spread(LANES) for b in box]
    lanes = trace.constant(range(LANES), "i32")
    found = trace.variable(begin)
    with trace.loop(first, last) as s:
        here = [rows[s * ROW + a].spread(LANES) for a in range(3)]
        start = found.value
        stop = starts[s * 2 + 1]
        with trace.loop(starts[s * 2], stop, LANES) as p:
            places = [partners[p + lane].to("i64") for lane in range(LANES)]
            there = gather_columns(rows, places)[:3]
            near = square(separation(here, there, metric)) < radius2.spread(LANES)
            near = near & (lanes < (stop - p).to("i32").spread(LANES))
            found.value = partners.load(p, LANES).pack(near, inner, found.value)
        inner_starts[s * 2] = start
        inner_starts[s * 2 + 1] = found.value
        inner.store(found.value, (s * ROW).to("i32").spread(LANES))
        found.value = start + ((found.value - start + trace.index(LANES - 1)) & -LANES)


@jit()
def _ahead(
    s: int,
    cell: Any,
    shape: Any,
    reach: Any,
    cell_start: Any,
    points: Any,
    box: Any,
    radius2: Any,
    limit: int,
    partners: Any,
    n: int,
) -> int:
    """List the partners of a molecule: all in the slabs ahead, those behind it in its own."""
    nx, ny, nz = shape
    molecules = cell_start[nx * ny * nz]
    whole_x = 2 * reach[0] + 1 > nx
    y_first, y_count = cell[1] - reach[1], 2 * reach[1] + 1
    if y_count > ny:
        y_first, y_count = 0, ny
    z_first, z_count = cell[2] - reach[2], 2 * reach[2] + 1
    if z_count > nz:
        z_first, z_count = 0, nz
    for x in range(cell[0], nx if whole_x else cell[0] + reach[0] + 1):
        ahead = molecules if x >= nx else 0
        for y in range(y_first, y_first + y_count):
            row = (x % nx * ny + y % ny) * nz
            # A run of cells along z, in two parts where it crosses the border.
            for part in range(3):
                low = max(z_first, (part - 1) * nz) - (part - 1) * nz
                high = min(z_first + z_count, part * nz) - (part - 1) * nz
                if low >= high:
                    continue
                first = cell_start[row + low] + ahead
                last = cell_start[row + high] + ahead
                first = max(first, s + 1)
                if n + last - first + 2 * LANES > limit:
                    return -2
                n = _scan(s, first, last, points, points.shape[1], box, radius2, partners, n)
    return n


@jit()
def _list_chunk(
    span: Any,
    shape: Any,
    reach: Any,
    cell_start: Any,
    points: Any,
    box: Any,
    radius2: Any,
    part: Any,
    partners: Any,
    starts: Any,
) -> int:
    n: int = part[0]
    k = 0
    for s in range(span[0], span[1]):
        while cell_start[k + 1] <= s:
            k += 1
        cell = (k // (shape[1] * shape[2]), k // shape[2] % shape[1], k % shape[2])
        starts[s, 0] = n
        end: int = _ahead(
            s, cell, shape, reach, cell_start, points, box, radius2, part[1], partners, n
        )
        if end < 0:
            return end
        starts[s, 1] = end
        n = _fill_up(s * ROW, partners, n, end)
    used: int = n - part[0]
    return used


@parallel_jit()
def list_partners(
    chunk_start: Any,
    shape: Any,
    reach: Any,
    cell_start: Any,
    points: Any,
    box: Any,
    radius2: Any,
    capacity: int,
    partners: Any,
    starts: Any,
    status: Any,
) -> None:
    """List the partners of each molecule within a radius.

    Parameters
    ----------
    chunk_start : (chunks + 1,) int64
        Bounds of the chunks of molecules; each is listed in its own part of `partners`.
    shape, reach : tuple of 3 int
        Number of cells along each box vector, and how many cells the radius spans.
    cell_start : (cells + 1,) int32
        First molecule of each cell.
    points : (3, m) int32
        Coordinates in units of 2^-32 box vectors, the first molecules again behind the last,
        and a vector to spare.
    box : tuple of 6 float32
        Lower triangle of the box over 2^32, row by row.
    radius2 : float32
        Square of the radius; infinite: all molecules of all cells that the radius spans.
    capacity : int
        Length of the part of a chunk.
    partners : (chunks * capacity,) int32
        Out: first word of the row of each partner.
    starts : (n, 2) int64
        Out: first and past-the-last partner of each molecule.
    status : (chunks,) int64
        Out: length of the part that is in use; -2 where `capacity` is too small.
    """
    for c in numba.prange(chunk_start.shape[0] - 1):
        status[c] = _list_chunk(
            (chunk_start[c], chunk_start[c + 1]),
            shape,
            reach,
            cell_start,
            points,
            box,
            radius2,
            (c * capacity, (c + 1) * capacity),
            partners,
            starts,
        )


@parallel_jit()
def prune_partners(
    chunk_start: Any,
    starts: Any,
    partners: Any,
    rows: Any,
    box: Any,
    radius2: Any,
    capacity: int,
    inner_starts: Any,
    inner: Any,
) -> None:
    """Keep the partners that are within a smaller radius now, in the same order.

    Parameters
    ----------
    chunk_start, starts, partners, box, radius2, capacity
        As in `list_partners`.
    rows : (m, ROW) int32
        Molecules.
    inner_starts, inner
        Out: as `starts` and `partners`.
    """
    for c in numba.prange(chunk_start.shape[0] - 1):
        _prune(
            chunk_start[c],
            chunk_start[c + 1],
            starts,
            partners,
            rows,
            box,
            radius2,
            c * capacity,
            inner_starts,
            inner,
        )
