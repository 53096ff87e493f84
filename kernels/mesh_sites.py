"""Charges onto the grid and forces from it, with the molecules across the lanes.

The sites stay in list order, where neighbours share cache lines. A task owns a slab of planes: it
goes through all blocks of molecules, skips those that do not touch the slab, and sends what the
others give to foreign planes to a plane of its own that nobody reads. So each grid point sums its
charges in list order, however the planes are dealt out to threads.
"""

from __future__ import annotations

from typing import Any

from mdpipe.kernels.mesh import PAD
from mdpipe.kernels.simd import LANES, Pointer, Scalar, Trace, Vector
from mdpipe.kernels.splines import interleave, spline, spline_slope, sum_each
from mdpipe.kernels.sweeps import shared

__all__ = ["gather_block", "locate_block", "spread_slab"]

AXES = range(3)
ORDERS = (4, 5)
SITES = range(3)


def _row_width(order: int) -> int:
    """Return the lanes of a row of weights: a power of two."""
    return 4 if order == 4 else 8


def _blocks(n: Scalar) -> Scalar:
    blocks: Scalar = (n + (LANES - 1)) >> (LANES.bit_length() - 1)
    return blocks


def _count(n: Scalar, block: Scalar) -> Scalar:
    """Count the molecules of a block."""
    rest = n - block * LANES
    count: Scalar = (rest < LANES).select(rest, LANES)
    return count


def _collect(pointer: Pointer, places: list[Any]) -> Vector:
    """Load a vector from places anywhere."""
    trace = pointer.trace
    vector: Vector = trace.constant(0, pointer.kind, len(places))
    for lane, place in enumerate(places):
        element = trace.builder.insert_element(
            vector.raw, pointer[place].raw, trace.constant(lane, "i32", 0).raw
        )
        vector = Vector(trace, element, pointer.kind, len(places))
    return vector


@shared
def locate_block(
    trace: Trace,  # noqa: ARG001
    block: Scalar,
    n: Scalar,
    layout: list[Scalar],
    centres: Pointer,
    offsets: Pointer,
    inverse: Pointer,
    fractions: Pointer,
    planes: Pointer,
    places: Pointer,
    reach: Pointer,
) -> None:
    """Find the grid cells of the charged sites of LANES molecules.

    Of `centres` (n, 3) and `offsets` (n, 9) come, for each block, site and lane, `fractions`
    (places in the cell, 0 to 1, x, y and z), `planes` (the cell's lowest plane) and `places` (its
    lowest place within a plane), and for each block its lowest and highest plane as `reach`.
    """
    sizes, row = layout[:3], layout[3]
    first, last = block * LANES, n - 1
    molecules = []
    for lane in range(LANES):
        m = first + lane
        # The lanes beyond the last molecule repeat it; nobody reads them.
        molecules.append((m <= last).select(m, last))
    r = [_collect(centres, [m * 3 + a for m in molecules]) for a in AXES]
    d = [_collect(offsets, [m * 9 + c for m in molecules]).to("f32") for c in range(9)]
    cell: list[list[Any]] = [[None] * 3 for _ in SITES]
    for a in AXES:
        scale = sizes[a].to("f64")
        column = [inverse[3 * b + a] for b in AXES]
        u = r[0] * column[0] + r[1] * column[1] + r[2] * column[2]
        u = (u - u.call("llvm.floor")) * scale
        whole = u.call("llvm.floor")
        part = (u - whole).to("f32")
        whole = whole.to("f32")
        slope = [(c * scale).to("f32") for c in column]
        size = sizes[a].to("f32")
        for j in SITES:
            x, y, z = d[3 * j : 3 * j + 3]
            t = z.fma(slope[2].spread(LANES), y.fma(slope[1].spread(LANES), x * slope[0])) + part
            floor = t.call("llvm.floor")
            fractions.store((block * 9 + 3 * j + a) * LANES, t - floor)
            k = whole + floor
            k = k - (k * (1.0 / size)).call("llvm.floor") * size
            # The quotient may have been rounded to the next whole number, up or down.
            k = (k < 0.0).select(k + size, k)
            k = (size.spread(LANES) <= k).select(k - size, k)
            # What is not a number must not become an address.
            cell[j][a] = ((k > -1.0) & (k < size.spread(LANES))).select(k, 0.0).to("i32")
    lowest: Any = cell[0][0]
    highest: Any = cell[0][0]
    for j in SITES:
        x, y, z = cell[j]
        at = (block * 3 + j) * LANES
        planes.store(at, x)
        places.store(at, y * row.to("i32") + z)
        lowest = (x < lowest).select(x, lowest)
        highest = (highest < x).select(x, highest)
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        low, high = lowest.part(0, lanes), lowest.part(lanes, lanes)
        lowest = (low < high).select(low, high)
        low, high = highest.part(0, lanes), highest.part(lanes, lanes)
        highest = (low < high).select(high, low)
    reach[block * 2] = lowest[0]
    reach[block * 2 + 1] = highest[0]


def _store_rows(scratch: Pointer, weights: list[Any], width: int) -> None:
    """Store weights site by site, filled up with zeros."""
    trace = weights[0].trace
    rows = weights + [trace.constant(0.0)] * (width - len(weights))
    for i, row in enumerate(interleave(rows)):
        scratch.store(i * LANES, row)


def _rows_after_zeros(trace: Trace, width: int, count: int) -> Pointer:
    """Reserve rows of weights that zeros precede."""
    scratch = trace.scratch("f32", width + count * width * LANES)
    scratch.store(0, trace.constant(0.0, "f32", width))
    return scratch.at(width)


def _aligned(place: Scalar, width: int) -> tuple[Scalar, Any]:
    """Begin a row of eight places at a multiple of four: fewer rows straddle cache lines.

    Five weights among eight lanes leave room for three zeros, which end the row of the site before.
    """
    skip = place & 3 if width == 8 else place.trace.index(0)
    return place - skip, skip


def _make_spread(order: int) -> Any:
    width = _row_width(order)

    def body(
        trace: Trace,
        n: Scalar,
        row: Scalar,
        charges: Pointer,
        fractions: Pointer,
        planes: Pointer,
        places: Pointer,
        reach: Pointer,
        below: Pointer,
        starts: Pointer,
        grid: Pointer,
    ) -> None:
        across = trace.scratch("f32", order * LANES)
        up = trace.scratch("f32", order * LANES)
        along = _rows_after_zeros(trace, width, 1)

        def add_site(at: Scalar, lane: Scalar, plane: Scalar) -> None:
            place, skip = _aligned(places[at + lane].to("i64"), width)
            weights = along.load(lane * width - skip, width)
            rows = [weights * up[lane + b * LANES] for b in range(order)]
            for a in range(order):
                w = across[lane + a * LANES].spread(width)
                corner = grid.at(starts[plane + a] + place)
                for b in range(order):
                    corner.store(row * b, rows[b].fma(w, corner.load(row * b, width)))

        with trace.loop(0, _blocks(n)) as block:
            low, high = reach[block * 2].to("i64"), reach[block * 2 + 1].to("i64")
            with trace.when(below[low] < below[high + 1]):
                count = _count(n, block)
                # All first sites, then all second ones: those of one molecule would wait for
                # each other's rows.
                for j in SITES:
                    x, y, z = (fractions.load((block * 9 + 3 * j + a) * LANES, LANES) for a in AXES)
                    for b, (p, q) in enumerate(
                        zip(spline(x, order), spline(y, order), strict=True)
                    ):
                        across.store(b * LANES, p)
                        up.store(b * LANES, q)
                    charge = charges[j]
                    _store_rows(along, [w * charge for w in spline(z, order)], width)
                    at = (block * 3 + j) * LANES
                    with trace.loop(0, count) as lane:
                        plane = planes[at + lane].to("i64")
                        with trace.when(below[plane] < below[plane + 1]):
                            add_site(at, lane, plane)

    body.__name__ = f"spread_{order}"
    return shared(body)


_SPREAD = {order: _make_spread(order) for order in ORDERS}


def _deal_planes(
    trace: Trace, order: Scalar, slab: list[Scalar], layout: list[Scalar], table: Pointer
) -> tuple[Pointer, Pointer]:
    """Tabulate where each plane begins, foreign ones elsewhere, and how many cells below touch."""
    first, last, other = slab
    kx, plane = layout[0], layout[4]
    starts, below = table, table.at(kx + PAD)
    with trace.loop(0, kx + PAD) as x:
        own = (x < kx).select(x, x - kx)
        inside = (first <= own) & (own < last)
        starts[x] = inside.select(own, other) * plane
    below[0] = trace.index(0)
    with trace.loop(0, kx) as x:
        touched = trace.variable(trace.index(0))
        with trace.loop(x, x + order) as place:
            own = (place < kx).select(place, place - kx)
            inside = (first <= own) & (own < last)
            touched.value = inside.select(trace.index(1), touched.value)
        below[x + 1] = below[x] + touched.value
    return starts, below


@shared
def spread_slab(
    trace: Trace,
    order: Scalar,
    slab: list[Scalar],
    layout: list[Scalar],
    n: Scalar,
    charges: Pointer,
    fractions: Pointer,
    planes: Pointer,
    places: Pointer,
    reach: Pointer,
    table: Pointer,
    grid: Pointer,
) -> None:
    """Spread the charges on some planes of the grid.

    `slab` is the first plane, the one after the last, and the one that takes what belongs to
    others; `table` is room for 2 (kx + PAD) + 1 int64. What is spread beyond the upper faces is
    still to be folded.
    """
    first, last, other = slab
    row, plane = layout[3], layout[4]
    starts, below = _deal_planes(trace, order, slab, layout, table)
    nothing = trace.constant(0.0)
    for begin, end in ((first, last), (other, other + 1)):
        with trace.loop(begin * plane, end * plane, LANES) as i:
            grid.store(i, nothing)
    for known, spread in _SPREAD.items():
        with trace.when(order.equals(known)):
            spread(trace, n, row, charges, fractions, planes, places, reach, below, starts, grid)


def _make_gather(order: int) -> Any:
    width = _row_width(order)
    # Rows of one x plane side by side in a vector, as far as they fit.
    lanes = max(LANES, width)
    side = lanes // width
    packs = [range(first, min(first + side, order)) for first in range(0, order, side)]

    def pack(weights: Vector, rows: range) -> Vector:
        """Repeat the weight of each row of a pack."""
        return weights.shuffle(weights, [r for r in rows for _ in range(width)])

    def widen(term: Vector) -> Vector:
        """Fill a pack of fewer rows up with zeros."""
        zeros = term.trace.constant(0.0, "f32", term.lanes)
        return term if term.lanes == lanes else term.beside(zeros)

    def body(
        trace: Trace,
        block: Scalar,
        n: Scalar,
        sizes: list[Scalar],
        row: Scalar,
        plane: Scalar,
        inverse: Pointer,
        charges: Pointer,
        fractions: Pointer,
        planes: Pointer,
        places: Pointer,
        potential: Pointer,
        forces: Pointer,
    ) -> None:
        across = trace.scratch("f32", 2 * order * LANES)
        up = trace.scratch("f32", 2 * width * LANES)
        along = _rows_after_zeros(trace, width, 2)
        terms = trace.scratch("f32", 3 * LANES * lanes)
        answer = trace.scratch("f32", 9 * LANES)
        count = _count(n, block)

        def add_site(at: Scalar, lane: Scalar) -> None:
            x = planes[at + lane].to("i64")
            place, skip = _aligned(places[at + lane].to("i64"), width)
            values: list[Any] = [None] * len(packs)
            slopes: list[Any] = [None] * len(packs)
            for a in range(order):
                here = x + a
                here = (here < sizes[0]).select(here, here - sizes[0])
                corner = potential.at(here * plane + place)
                w = across[lane + a * LANES].spread(lanes)
                d = across[lane + (order + a) * LANES].spread(lanes)
                for p, rows in enumerate(packs):
                    parts = [corner.load(row * r, width) for r in rows]
                    while len(parts) > 1:
                        parts = [u.beside(v) for u, v in zip(parts[0::2], parts[1::2], strict=True)]
                    g = parts[0]
                    own_w, own_d = w.part(0, g.lanes), d.part(0, g.lanes)
                    values[p] = g * own_w if a == 0 else g.fma(own_w, values[p])
                    slopes[p] = g * own_d if a == 0 else g.fma(own_d, slopes[p])
            wy = up.load(lane * width, width)
            dy = up.load(lane * width + width * LANES, width)
            wz = along.load(lane * width - skip, width)
            dz = along.load(lane * width + width * LANES - skip, width)
            repeat = [k % width for k in range(lanes)]
            wz, dz = wz.shuffle(wz, repeat), dz.shuffle(dz, repeat)
            fx = fy = fz = None
            for p, rows in enumerate(packs):
                wyz = pack(wy, rows)
                x_term, z_term = widen(slopes[p] * wyz), widen(values[p] * wyz)
                y_term = widen(values[p] * pack(dy, rows))
                fx = x_term if fx is None else fx + x_term
                fy = y_term if fy is None else fy + y_term
                fz = z_term if fz is None else fz + z_term
            at_lane = lane * lanes
            terms.store(at_lane, fx * wz)
            terms.store(at_lane + LANES * lanes, fy * wz)
            terms.store(at_lane + 2 * LANES * lanes, fz * dz)

        for j in SITES:
            x, y, z = (fractions.load((block * 9 + 3 * j + a) * LANES, LANES) for a in AXES)
            for b, w in enumerate(spline(x, order) + spline_slope(x, order)):
                across.store(b * LANES, w)
            _store_rows(up, spline(y, order), width)
            _store_rows(up.at(width * LANES), spline_slope(y, order), width)
            _store_rows(along, spline(z, order), width)
            _store_rows(along.at(width * LANES), spline_slope(z, order), width)
            at = (block * 3 + j) * LANES
            with trace.loop(0, count) as lane:
                add_site(at, lane)
            u = []
            for a in AXES:
                parts = [terms.load((a * LANES + i) * lanes, lanes) for i in range(LANES)]
                if lanes > LANES:
                    parts = [r.part(0, LANES) + r.part(LANES, LANES) for r in parts]
                u.append(sum_each(parts) * -(charges[j] * sizes[a].to("f32")))
            for a in AXES:
                c = [inverse[3 * a + b].to("f32").spread(LANES) for b in AXES]
                answer.store((3 * j + a) * LANES, u[2].fma(c[2], u[1].fma(c[1], u[0] * c[0])))
        with trace.loop(0, count) as lane:
            for number in range(9):
                forces[(block * LANES + lane) * 9 + number] = answer[lane + number * LANES]

    body.__name__ = f"gather_{order}"
    return shared(body)


_GATHER = {order: _make_gather(order) for order in ORDERS}


def gather_block(
    trace: Trace,
    order: Scalar,
    block: Scalar,
    n: Scalar,
    layout: list[Scalar],
    *rest: Pointer,
) -> None:
    """Interpolate the reciprocal forces on the charged sites of LANES molecules.

    `rest` are the inverse of the box, charges, fractions, planes and places as of `locate_block`,
    the potential on the grid, repeated beyond the upper faces, and the forces (3n, 3).
    """
    for known, gather in _GATHER.items():
        with trace.when(order.equals(known)):
            gather(trace, block, n, layout[:3], layout[3], layout[4], *rest)
