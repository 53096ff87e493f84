"""The reciprocal sum between spreading and gathering: transform, multiply, transform back.

Three sweeps, each within a core's own cache and with the rows' direction z across the lanes:
each pair of x planes is transformed along y as real and imaginary part of one sequence
(`charges_to_waves`), each y wave along x and z, multiplied and transformed back
(`multiply_waves`), and each pair of planes back along y (`waves_to_potential`).

The grid of charges and potentials has planes of `ky + PAD` rows, and rows of `kz + PAD` numbers or
more: what is spread beyond the upper faces is folded back, and the potential is repeated there.
The waves lie as y wave, x, block of z, real and imaginary lanes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.mesh_waves import fill_influence_rows, sum_waves
from mdpipe.kernels.simd import LANES, Pointer, Scalar, Trace, Vector
from mdpipe.kernels.sweeps import shared
from mdpipe.kernels.transform import PLAN, plan_transform, transform

__all__ = [
    "PAD",
    "Layout",
    "charges_to_waves",
    "lay_out",
    "multiply_waves",
    "plan_mesh",
    "scratch_length",
    "waves_to_potential",
]

PAD = 8

_STEP = 2 * LANES


class Layout(NamedTuple):
    """Sizes of the arrays in numbers: a row, a plane, … of the grid and of the waves."""

    kx: int
    ky: int
    kz: int
    row: int
    plane: int
    wave_row: int
    wave_plane: int
    blocks_x: int
    blocks_z: int

    @property
    def planes(self) -> int:
        """Planes of the grid: an even number."""
        return self.kx + self.kx % 2

    @property
    def waves_y(self) -> int:
        """Independent waves along y."""
        return self.ky // 2 + 1


def _named(layout: list[Any]) -> Any:
    return Layout(*layout)


def lay_out(shape: tuple[int, int, int]) -> Layout:
    """Choose the strides of a grid.

    Parameters
    ----------
    shape : tuple of 3 int
        (kx, ky, kz).

    Returns
    -------
    Layout
        Rows are whole vectors; the strides of planes and of waves are odd numbers of vectors, so
        that sequences across them spread over the whole cache.
    """
    kx, ky, kz = shape
    blocks_x, blocks_z = -(-kx // LANES), -(-kz // LANES)
    row = -(-(kz + PAD) // LANES) * LANES
    plane = ((ky + PAD) * row // LANES | 1) * LANES
    wave_row = (2 * blocks_z + 1) * LANES
    wave_plane = (blocks_x * LANES * wave_row // LANES | 1) * LANES
    return Layout(kx, ky, kz, row, plane, wave_row, wave_plane, blocks_x, blocks_z)


def scratch_length(layout: Layout) -> int:
    """Return the float32 numbers of scratch that one thread needs."""
    longest = max(layout.kx, layout.ky, layout.kz)
    return (6 * longest + 4 * LANES) * LANES


def _turn(rows: list[Vector]) -> list[Vector]:
    """Transpose a square of lanes."""
    n = len(rows)
    step = 1
    while step < n:
        turned: list[Any] = [None] * n
        for i in range(n):
            if i & step:
                continue
            low = [k if not k & step else n + k - step for k in range(n)]
            high = [k + step if not k & step else n + k for k in range(n)]
            turned[i] = rows[i].shuffle(rows[i + step], low)
            turned[i + step] = rows[i].shuffle(rows[i + step], high)
        rows = turned
        step *= 2
    return rows


@shared
def _turn_in(
    trace: Trace,
    waves: Pointer,
    wave_row: Scalar,
    blocks: Scalar,
    scratch: Pointer,
) -> None:
    with trace.loop(0, blocks * 2) as half:
        rows = [waves.load(wave_row * i + half * LANES, LANES) for i in range(LANES)]
        to = (half >> 1) * (2 * LANES * LANES) + (half & 1) * LANES
        for i, row in enumerate(_turn(rows)):
            scratch.store(to + 2 * LANES * i, row)


@shared
def _turn_out(
    trace: Trace,
    waves: Pointer,
    wave_row: Scalar,
    blocks: Scalar,
    scratch: Pointer,
) -> None:
    with trace.loop(0, blocks * 2) as half:
        at = (half >> 1) * (2 * LANES * LANES) + (half & 1) * LANES
        rows = [scratch.load(at + 2 * LANES * i, LANES) for i in range(LANES)]
        for i, row in enumerate(_turn(rows)):
            waves.store(wave_row * i + half * LANES, row)


@shared
def _untangle(
    trace: Trace,
    size: Scalar,
    scratch: Pointer,
    waves: Pointer,
    wave_plane: Scalar,
    wave_row: Scalar,
) -> None:
    """Split the transform of a + i b into twice those of a and of b, for half the waves."""
    end = size * (2 * LANES)
    scratch.store(end, scratch.load(0, LANES))
    scratch.store(end + LANES, scratch.load(LANES, LANES))
    with trace.loop(0, (size >> 1) + 1) as k:
        at, opposite = k * (2 * LANES), end - k * (2 * LANES)
        re, im = scratch.load(at, LANES), scratch.load(at + LANES, LANES)
        other_re, other_im = scratch.load(opposite, LANES), scratch.load(opposite + LANES, LANES)
        to = k * wave_plane
        waves.store(to, re + other_re)
        waves.store(to + LANES, im - other_im)
        waves.store(to + wave_row, im + other_im)
        waves.store(to + wave_row + LANES, other_re - re)


@shared
def _tangle(
    trace: Trace,
    size: Scalar,
    scratch: Pointer,
    waves: Pointer,
    wave_plane: Scalar,
    wave_row: Scalar,
) -> None:
    """Join the waves of two real sequences a and b to those of a + i b."""
    end = size * (2 * LANES)

    def load(k: Scalar) -> list[Vector]:
        at = k * wave_plane
        places = (at, at + LANES, at + wave_row, at + wave_row + LANES)
        return [waves.load(place, LANES) for place in places]

    def alone(k: Scalar) -> None:
        a_re, _, b_re, _ = load(k)
        scratch.store(k * (2 * LANES), a_re)
        scratch.store(k * (2 * LANES) + LANES, b_re)

    alone(trace.index(0))
    with trace.when((size & 1).equals(0)):
        alone(size >> 1)
    with trace.loop(1, (size + 1) >> 1) as k:
        a_re, a_im, b_re, b_im = load(k)
        at, opposite = k * (2 * LANES), end - k * (2 * LANES)
        scratch.store(at, a_re - b_im)
        scratch.store(at + LANES, a_im + b_re)
        scratch.store(opposite, a_re + b_im)
        scratch.store(opposite + LANES, b_re - a_im)


@shared
def _multiply(trace: Trace, size: Scalar, scratch: Pointer, influence: Pointer) -> None:
    with trace.loop(0, size) as z:
        factor = influence.load(z * LANES, LANES)
        at = z * (2 * LANES)
        scratch.store(at, scratch.load(at, LANES) * factor)
        scratch.store(at + LANES, scratch.load(at + LANES, LANES) * factor)


@shared
def _fold(trace: Trace, grid: Pointer, ky: Scalar, kz: Scalar, row: Scalar) -> None:
    """Add what was spread beyond the upper faces of a plane to where it belongs."""
    plane = grid
    width = min(LANES, PAD)
    with trace.loop(0, ky + PAD) as y:
        for part in range(0, PAD, width):
            here = y * row + part
            plane.add(here, plane.load(here + kz, width))
    with trace.loop(0, row * PAD, LANES) as i:
        plane.add(i, plane.load(ky * row + i, LANES))


@shared
def _repeat(trace: Trace, grid: Pointer, ky: Scalar, kz: Scalar, row: Scalar) -> None:
    """Repeat the lower faces of a plane beyond its upper faces."""
    plane = grid
    width = min(LANES, PAD)
    with trace.loop(0, ky) as y:
        for part in range(0, PAD, width):
            here = y * row + part
            plane.store(here + kz, plane.load(here, width))
    with trace.loop(0, row * PAD, LANES) as i:
        plane.store(ky * row + i, plane.load(i, LANES))


@shared
def charges_to_waves(
    trace: Trace,
    pair: Scalar,
    layout: list[Scalar],
    plans: Pointer,
    factors: Pointer,
    grid: Pointer,
    waves: Pointer,
    scratch: Pointer,
) -> None:
    """Fold two planes of charges, 2 pair and 2 pair + 1, and transform them along y.

    What comes out are twice the waves. `grid`, `waves` and `scratch` are of `Layout` and
    `scratch_length`; `plans` and `factors` from `plan_mesh`.
    """
    sizes = _named(layout)
    ky, plane = sizes.ky, sizes.plane
    first = grid.at(pair * 2 * plane)
    for here in (first, first.at(plane)):
        _fold(trace, here, ky, sizes.kz, sizes.row)
    room = scratch.at((ky + 1) * _STEP)
    with trace.loop(0, sizes.blocks_z) as block:
        source = (first.at(block * LANES), sizes.row, plane)
        transform(trace, plans.at(PLAN), factors, source, (scratch, _STEP, LANES), room)
        here = waves.at(pair * 2 * sizes.wave_row + block * _STEP)
        _untangle(trace, ky, scratch, here, sizes.wave_plane, sizes.wave_row)


@shared
def waves_to_potential(
    trace: Trace,
    pair: Scalar,
    layout: list[Scalar],
    plans: Pointer,
    factors: Pointer,
    waves: Pointer,
    grid: Pointer,
    scratch: Pointer,
) -> None:
    """Transform back to two planes of the potential, repeated beyond their upper faces."""
    sizes = _named(layout)
    ky, plane = sizes.ky, sizes.plane
    first = grid.at(pair * 2 * plane)
    room = scratch.at((ky + 1) * _STEP)
    with trace.loop(0, sizes.blocks_z) as block:
        here = waves.at(pair * 2 * sizes.wave_row + block * _STEP)
        _tangle(trace, ky, scratch, here, sizes.wave_plane, sizes.wave_row)
        target = (first.at(plane + block * LANES), sizes.row, -plane)
        transform(trace, plans.at(PLAN), factors, (scratch.at(LANES), _STEP, -LANES), target, room)
    for here in (first, first.at(plane)):
        _repeat(trace, here, ky, sizes.kz, sizes.row)


@shared
def multiply_waves(
    trace: Trace,
    y: Scalar,
    layout: list[Scalar],
    plans: Pointer,
    factors: Pointer,
    waves: Pointer,
    influence: Pointer,
    scratch: Pointer,
    numbers: list[Pointer],
    inverse: Pointer,
    constants: Pointer,
    refill: Scalar,
    wanted: Scalar,
    sums: Pointer,
) -> None:
    """Transform one y wave along x and z, multiply by the influence, transform back.

    `influence` holds half the influence function by y wave, block of x, z, and lane of x; it is
    filled anew first where `refill` is not 0. Where `wanted` is not 0, seven `sums` are
    written: energy, virial xx, xy, xz, yy, yz, zz of this wave. For `numbers`, `inverse` and
    `constants` see `mdpipe.kernels.mesh_waves`.
    """
    sizes = _named(layout)
    kz, blocks_x, wave_row = sizes.kz, sizes.blocks_x, sizes.wave_row
    start = waves.at(y * sizes.wave_plane)
    with trace.loop(0, sizes.blocks_z) as block:
        place = (start.at(block * _STEP), wave_row, LANES)
        transform(trace, plans, factors, place, place, scratch)
    for number in range(7):
        sums[number] = trace.constant(0.0, "f64", 0)
    room = scratch.at(sizes.blocks_z * (_STEP * LANES))
    along_z = plans.at(2 * PLAN)
    with trace.loop(0, blocks_x) as block:
        here = start.at(block * LANES * wave_row)
        own = influence.at((y * blocks_x + block) * kz * LANES)
        _turn_in(trace, here, wave_row, sizes.blocks_z, scratch)
        place = (scratch, _STEP, LANES)
        transform(trace, along_z, factors, place, place, room)
        with trace.when(refill > 0):
            fill_influence_rows(trace, layout, y, block, numbers, inverse, constants, own)
        with trace.when(wanted > 0):
            sum_waves(trace, layout, y, block, numbers, inverse, constants, own, scratch, sums)
        _multiply(trace, kz, scratch, own)
        place = (scratch.at(LANES), _STEP, -LANES)
        transform(trace, along_z, factors, place, place, room)
        _turn_out(trace, here, wave_row, sizes.blocks_z, scratch)
    with trace.loop(0, sizes.blocks_z) as block:
        place = (start.at(block * _STEP + LANES), wave_row, -LANES)
        transform(trace, plans, factors, place, place, scratch)


def plan_mesh(layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Prepare the transforms of the three directions."""
    plans, factors, start = [], [], 0
    for size in layout[:3]:
        plan, values = plan_transform(size, start)
        plans.append(plan)
        factors.append(values)
        start += len(values)
    return np.stack(plans), np.concatenate(factors)
