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

from mdpipe.kernels._jit import jit
from mdpipe.kernels.mesh_waves import fill_influence_rows, sum_waves
from mdpipe.kernels.simd import LANES, Pointer, Scalar, Trace, Vector, traced
from mdpipe.kernels.transform import plan_transform, transform

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

# Numba would compile a function anew for each literal that it is called with; these are none.
_START = np.int64(0)
_GAP = np.int64(LANES)
_STEP = np.int64(2 * LANES)


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


@traced
def _turn_in(
    trace: Trace,
    waves: Pointer,
    first: Scalar,
    wave_row: Scalar,
    blocks: Scalar,
    scratch: Pointer,
) -> None:
    source = waves.at(first)
    with trace.loop(0, blocks * 2) as half:
        rows = [source.load(wave_row * i + half * LANES, LANES) for i in range(LANES)]
        to = (half >> 1) * (2 * LANES * LANES) + (half & 1) * LANES
        for i, row in enumerate(_turn(rows)):
            scratch.store(to + 2 * LANES * i, row)


@traced
def _turn_out(
    trace: Trace,
    waves: Pointer,
    first: Scalar,
    wave_row: Scalar,
    blocks: Scalar,
    scratch: Pointer,
) -> None:
    target = waves.at(first)
    with trace.loop(0, blocks * 2) as half:
        at = (half >> 1) * (2 * LANES * LANES) + (half & 1) * LANES
        rows = [scratch.load(at + 2 * LANES * i, LANES) for i in range(LANES)]
        for i, row in enumerate(_turn(rows)):
            target.store(wave_row * i + half * LANES, row)


@traced
def _untangle(
    trace: Trace,
    size: Scalar,
    scratch: Pointer,
    waves: Pointer,
    first: Scalar,
    wave_plane: Scalar,
    wave_row: Scalar,
) -> None:
    """Split the transform of a + i b into twice those of a and of b, for half the waves."""
    target = waves.at(first)
    end = size * (2 * LANES)
    scratch.store(end, scratch.load(0, LANES))
    scratch.store(end + LANES, scratch.load(LANES, LANES))
    with trace.loop(0, (size >> 1) + 1) as k:
        at, opposite = k * (2 * LANES), end - k * (2 * LANES)
        re, im = scratch.load(at, LANES), scratch.load(at + LANES, LANES)
        other_re, other_im = scratch.load(opposite, LANES), scratch.load(opposite + LANES, LANES)
        to = k * wave_plane
        target.store(to, re + other_re)
        target.store(to + LANES, im - other_im)
        target.store(to + wave_row, im + other_im)
        target.store(to + wave_row + LANES, other_re - re)


@traced
def _tangle(
    trace: Trace,
    size: Scalar,
    scratch: Pointer,
    waves: Pointer,
    first: Scalar,
    wave_plane: Scalar,
    wave_row: Scalar,
) -> None:
    """Join the waves of two real sequences a and b to those of a + i b."""
    source = waves.at(first)
    end = size * (2 * LANES)

    def load(k: Scalar) -> list[Vector]:
        at = k * wave_plane
        places = (at, at + LANES, at + wave_row, at + wave_row + LANES)
        return [source.load(place, LANES) for place in places]

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


@traced
def _multiply(
    trace: Trace, size: Scalar, scratch: Pointer, influence: Pointer, first: Scalar
) -> None:
    factors = influence.at(first)
    with trace.loop(0, size) as z:
        factor = factors.load(z * LANES, LANES)
        at = z * (2 * LANES)
        scratch.store(at, scratch.load(at, LANES) * factor)
        scratch.store(at + LANES, scratch.load(at + LANES, LANES) * factor)


@traced
def _fold(trace: Trace, grid: Pointer, first: Scalar, ky: Scalar, kz: Scalar, row: Scalar) -> None:
    """Add what was spread beyond the upper faces of a plane to where it belongs."""
    plane = grid.at(first)
    width = min(LANES, PAD)
    with trace.loop(0, ky + PAD) as y:
        for part in range(0, PAD, width):
            here = y * row + part
            plane.add(here, plane.load(here + kz, width))
    with trace.loop(0, row * PAD, LANES) as i:
        plane.add(i, plane.load(ky * row + i, LANES))


@traced
def _repeat(
    trace: Trace, grid: Pointer, first: Scalar, ky: Scalar, kz: Scalar, row: Scalar
) -> None:
    """Repeat the lower faces of a plane beyond its upper faces."""
    plane = grid.at(first)
    width = min(LANES, PAD)
    with trace.loop(0, ky) as y:
        for part in range(0, PAD, width):
            here = y * row + part
            plane.store(here + kz, plane.load(here, width))
    with trace.loop(0, row * PAD, LANES) as i:
        plane.store(ky * row + i, plane.load(i, LANES))


@jit(inline="always")
def charges_to_waves(
    pair: int, layout: Any, plans: Any, factors: Any, grid: Any, waves: Any, scratch: Any
) -> None:
    """Fold two planes of charges and transform them along y.

    Parameters
    ----------
    pair : int
        Planes 2 pair and 2 pair + 1.
    layout : tuple of int
        A `Layout`.
    plans, factors
        Of the three directions (`mdpipe.kernels.transform.plan_transform`).
    grid : (planes * plane,) float32
        Charges.
    waves : (waves_y * wave_plane,) float32
        Out: twice the waves along y of these two planes.
    scratch : (scratch_length,) float32
        Lost.
    """
    _, ky, kz, row, plane, wave_row, wave_plane, _, blocks_z = layout
    start = 2 * pair * plane
    _fold(grid, start, ky, kz, row)
    _fold(grid, start + plane, ky, kz, row)
    room = scratch[2 * LANES * (ky + 1) :]
    for block in range(blocks_z):
        transform(
            plans[1], factors,
            grid, start + block * LANES, row, plane,
            scratch, _START, _STEP, _GAP, room,
        )  # fmt: skip
        first = 2 * pair * wave_row + 2 * block * LANES
        _untangle(ky, scratch, waves, first, wave_plane, wave_row)


@jit(inline="always")
def waves_to_potential(
    pair: int, layout: Any, plans: Any, factors: Any, waves: Any, grid: Any, scratch: Any
) -> None:
    """Transform back along y to two planes of the potential, repeated beyond their upper faces.

    Parameters
    ----------
    pair, layout, plans, factors, waves, grid, scratch
        As in `charges_to_waves`, the other way round.
    """
    _, ky, kz, row, plane, wave_row, wave_plane, _, blocks_z = layout
    start = 2 * pair * plane
    room = scratch[2 * LANES * (ky + 1) :]
    for block in range(blocks_z):
        first = 2 * pair * wave_row + 2 * block * LANES
        _tangle(ky, scratch, waves, first, wave_plane, wave_row)
        transform(
            plans[1], factors,
            scratch, _GAP, _STEP, -_GAP,
            grid, start + plane + block * LANES, row, -plane, room,
        )  # fmt: skip
    _repeat(grid, start, ky, kz, row)
    _repeat(grid, start + plane, ky, kz, row)


@jit(inline="always")
def multiply_waves(
    y: int,
    layout: Any,
    plans: Any,
    factors: Any,
    waves: Any,
    influence: Any,
    scratch: Any,
    numbers: Any,
    inverse: Any,
    constants: Any,
    wanted: Any,
    sums: Any,
) -> None:
    """Transform one y wave along x and z, multiply by the influence, transform back.

    Parameters
    ----------
    y : int
        Which wave along y.
    layout, plans, factors, scratch
        As in `charges_to_waves`.
    waves : (waves_y * wave_plane,) float32
        Transformed along y, before and after.
    influence : (waves_y * blocks_x * kz * LANES,) float32
        Half the influence function: y wave, block of x, z, lane of x.
    numbers : tuple of 3 float32 arrays
        Of the directions (`mdpipe.kernels.mesh_waves`).
    inverse : (3, 3) float64
        Inverse of the box.
    constants : (2,) float64
        π²/α² and 1/(2 π V).
    wanted : tuple of 2 bool
        Whether `influence` must be filled anew first, and whether `sums` is wanted.
    sums : (7,) float64
        Out: energy, virial xx, xy, xz, yy, yz, zz of this wave.
    """
    _, ky, kz, _, _, wave_row, wave_plane, blocks_x, blocks_z = layout
    start = y * wave_plane
    for block in range(blocks_z):
        here = start + block * _STEP
        transform(
            plans[0], factors,
            waves, here, wave_row, _GAP, waves, here, wave_row, _GAP, scratch,
        )  # fmt: skip
    # The waves are twice too large, the influence half; all but the first and the last y wave
    # stand for their opposites too.
    weight = 0.25 if y == 0 or 2 * y == ky else 0.5
    sums[:] = 0.0
    room = scratch[_STEP * LANES * blocks_z :]
    for block in range(blocks_x):
        here = start + block * LANES * wave_row
        _turn_in(waves, here, wave_row, blocks_z, scratch)
        transform(
            plans[2], factors,
            scratch, _START, _STEP, _GAP, scratch, _START, _STEP, _GAP, room,
        )  # fmt: skip
        here_influence = (y * blocks_x + block) * kz * LANES
        if wanted[0]:
            fill_influence_rows(
                layout, y, block, *numbers, inverse, constants, influence, here_influence
            )
        if wanted[1]:
            sum_waves(
                kz, scratch, influence, here_influence, numbers[0][block * LANES :],
                numbers[1][y], numbers[2], inverse, constants[0], weight, sums,
            )  # fmt: skip
        _multiply(kz, scratch, influence, here_influence)
        transform(
            plans[2], factors,
            scratch, _GAP, _STEP, -_GAP, scratch, _GAP, _STEP, -_GAP, room,
        )  # fmt: skip
        _turn_out(waves, here, wave_row, blocks_z, scratch)
    for block in range(blocks_z):
        here = start + block * _STEP + _GAP
        transform(
            plans[0], factors,
            waves, here, wave_row, -_GAP, waves, here, wave_row, -_GAP, scratch,
        )  # fmt: skip


def plan_mesh(layout: Layout) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Prepare the transforms of the three directions."""
    plans, factors, start = [], [], 0
    for size in layout[:3]:
        plan, values = plan_transform(size, start)
        plans.append(plan)
        factors.append(values)
        start += len(values)
    return np.stack(plans), np.concatenate(factors)
