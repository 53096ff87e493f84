"""The reciprocal sum of one step in float32: five sweeps over the tasks of the threads."""

from __future__ import annotations

import functools
from typing import Any

import numba

from mdpipe.kernels.mesh import charges_to_waves, multiply_waves, waves_to_potential
from mdpipe.kernels.mesh_sites import gather_block, locate_block, spread_slab
from mdpipe.kernels.simd import LANES, Pointer, Scalar, Trace, traced
from mdpipe.kernels.sweeps import SIGNATURE, Work

__all__ = ["SWEEPS", "WORK", "mesh_sweep_address"]

SWEEPS = 5

WORK = Work(
    order="i64",
    n="i64",
    # A `mdpipe.kernels.mesh.Layout`
    kx="i64",
    ky="i64",
    kz="i64",
    row="i64",
    plane="i64",
    wave_row="i64",
    wave_plane="i64",
    blocks_x="i64",
    blocks_z="i64",
    # Transforms (`mdpipe.kernels.mesh.plan_mesh`)
    plans="i64*",
    factors="f32*",
    # Sites (`mdpipe.kernels.mesh_sites.locate_block`)
    centres="f64*",
    offsets="f32*",
    inverse="f64*",
    charges="f32*",
    fractions="f32*",
    planes="i32*",
    places="i32*",
    reach="i32*",
    # Grid with one plane more for each task, waves, half the influence function
    grid="f32*",
    waves="f32*",
    influence="f32*",
    # Room for each task, and how much of it
    scratch="f32*",
    scratch_length="i64",
    table="i64*",
    table_length="i64",
    # Waves (`mdpipe.kernels.mesh.multiply_waves`)
    numbers_x="f32*",
    numbers_y="f32*",
    numbers_z="f32*",
    constants="f64*",
    refill="i64",
    wanted="i64",
    sums="f64*",
    # Out: (3n, 3)
    forces="f32*",
)
"""What the sweeps work on."""

LENGTH = len(WORK.names)


@traced
def _sweep(trace: Trace, sweep: Scalar, task: Scalar, tasks: Scalar, work: Pointer) -> None:
    own = WORK.read(work)
    names = list(WORK.names)
    layout = [own[name] for name in names[names.index("kx") : names.index("plans")]]
    transforms = (own["plans"], own["factors"])
    cells = [own[name] for name in ("fractions", "planes", "places")]
    order, n, grid, waves = own["order"], own["n"], own["grid"], own["waves"]
    scratch = own["scratch"].at(task * own["scratch_length"])
    blocks = (n + (LANES - 1)) >> (LANES.bit_length() - 1)
    pairs, waves_y = (own["kx"] + 1) >> 1, (own["ky"] >> 1) + 1

    def share(count: Any) -> tuple[Any, Any]:
        return _part(task, tasks, count), _part(task + 1, tasks, count)

    with trace.when(sweep.equals(0)), trace.loop(*share(blocks)) as block:
        sites = (own["centres"], own["offsets"], own["inverse"])
        locate_block(trace, block, n, layout, *sites, *cells, own["reach"])
    with trace.when(sweep.equals(1)):
        first, last = share(pairs)
        slab = [first * 2, last * 2, pairs * 2 + task]
        table = own["table"].at(task * own["table_length"])
        spread_slab(
            trace, order, slab, layout, n, own["charges"], *cells, own["reach"], table, grid
        )
        with trace.loop(first, last) as pair:
            charges_to_waves(trace, pair, layout, *transforms, grid, waves, scratch)
    with trace.when(sweep.equals(2)), trace.loop(*share(waves_y)) as y:
        multiply_waves(
            trace, y, layout, *transforms, waves, own["influence"], scratch,
            [own[f"numbers_{axis}"] for axis in "xyz"], own["inverse"], own["constants"],
            own["refill"], own["wanted"], own["sums"].at(y * 7),
        )  # fmt: skip
    with trace.when(sweep.equals(3)), trace.loop(*share(pairs)) as pair:
        waves_to_potential(trace, pair, layout, *transforms, waves, grid, scratch)
    with trace.when(sweep.equals(4)), trace.loop(*share(blocks)) as block:
        rest = (own["inverse"], own["charges"], *cells, grid, own["forces"])
        gather_block(trace, order, block, n, layout, *rest)


def _part(task: Scalar, tasks: Scalar, count: Scalar) -> Scalar:
    """Return where the part of a task begins."""
    builder = task.trace.builder
    return Scalar(task.trace, builder.sdiv((task * count).raw, tasks.raw), "i64")


def _run(sweep: Any, task: Any, tasks: Any, address: Any) -> None:
    _sweep(sweep, task, tasks, numba.carray(address, (LENGTH,)))  # type: ignore[attr-defined]


@functools.cache
def mesh_sweep_address() -> int:
    """Compile the sweeps or load them from the cache.

    Returns
    -------
    int
        Address for `mdpipe.kernels.sweeps.run_sweeps`; arguments are laid out by `WORK`. The bits
        of the results do not depend on the number of tasks.
    """
    function: Any = numba.cfunc(SIGNATURE, cache=True)(_run)
    _KEPT.append(function)
    return int(function.address)


_KEPT: list[Any] = []
"""Compiled code must not be collected while its address is in use."""
