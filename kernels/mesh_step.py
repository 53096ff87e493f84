"""The reciprocal sum of one step in float32: five sweeps over the tasks of the threads."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.mesh import charges_to_waves, multiply_waves, waves_to_potential
from mdpipe.kernels.mesh_sites import gather_block, locate_block, spread_slab
from mdpipe.kernels.simd import LANES
from mdpipe.kernels.transform import keep_apart

__all__ = ["solve_mesh"]

SWEEPS = 5


@jit()
def _task(
    sweep: int,
    task: int,
    tasks: int,
    order: int,
    layout: Any,
    plan: Any,
    sites: Any,
    cells: Any,
    grids: Any,
    rooms: Any,
    numbers: Any,
    constants: Any,
    wanted: Any,
    sums: Any,
    forces: Any,
) -> None:
    keep_apart()
    plans, factors = plan
    centres, offsets, inverse, charges = sites
    fractions, planes, places, reach = cells
    grid, waves, influence = grids
    scratch, table = rooms[0][task], rooms[1][task]
    n = centres.shape[0]
    blocks = (n + LANES - 1) // LANES
    pairs = (layout[0] + 1) // 2
    waves_y = layout[1] // 2 + 1
    if sweep == 0:
        for block in range(task * blocks // tasks, (task + 1) * blocks // tasks):
            locate_block(block, layout, centres, offsets, inverse, fractions, planes, places, reach)
    elif sweep == 1:
        first, last = task * pairs // tasks, (task + 1) * pairs // tasks
        slab = (2 * first, 2 * last, 2 * pairs + task)
        spread_slab(order, slab, layout, n, charges, fractions, planes, places, reach, table, grid)
        for pair in range(first, last):
            charges_to_waves(pair, layout, plans, factors, grid, waves, scratch)
    elif sweep == 2:
        for y in range(task * waves_y // tasks, (task + 1) * waves_y // tasks):
            multiply_waves(
                y, layout, plans, factors, waves, influence, scratch,
                numbers, inverse, constants, wanted, sums[y],
            )  # fmt: skip
    elif sweep == 3:
        for pair in range(task * pairs // tasks, (task + 1) * pairs // tasks):
            waves_to_potential(pair, layout, plans, factors, waves, grid, scratch)
    else:
        for block in range(task * blocks // tasks, (task + 1) * blocks // tasks):
            gather_block(
                order, block, layout, n, inverse, charges,
                fractions, planes, places, grid, forces,
            )  # fmt: skip


@parallel_jit()
def solve_mesh(
    tasks: int,
    order: int,
    layout: Any,
    plan: Any,
    sites: Any,
    cells: Any,
    grids: Any,
    rooms: Any,
    numbers: Any,
    constants: Any,
    wanted: Any,
    sums: Any,
    forces: Any,
) -> None:
    """Compute the reciprocal forces on the sites; the bits do not depend on the tasks.

    Parameters
    ----------
    tasks : int
        Parts that the work of each sweep is dealt out in.
    order : int
        4 or 5.
    layout : tuple of int
        A `mdpipe.kernels.mesh.Layout`.
    plan : tuple of 2 arrays
        Plans and factors of the transforms (`mdpipe.kernels.mesh.plan_mesh`).
    sites : tuple of 4 arrays
        Centres, offsets, inverse of the box (`mdpipe.kernels.mesh_sites.locate_block`), charges
        (3,) float32.
    cells : tuple of 4 arrays
        Lost: fractions, planes, places and reach of the sites.
    grids : tuple of 3 float32 arrays
        Grid with one plane more for each task and waves, which are lost, and the influence.
    rooms : tuple of 2 arrays
        Scratch of each task: float32 and int64.
    numbers, constants, wanted
        As in `mdpipe.kernels.mesh.multiply_waves`.
    sums : (waves_y, 7) float64
        Out if wanted: energy, virial xx, xy, xz, yy, yz, zz.
    forces : (3n, 3) float32
        Out.
    """
    for sweep in range(SWEEPS):
        for task in numba.prange(tasks):
            _task(
                sweep, np.int64(task), tasks, order, layout, plan, sites, cells, grids, rooms,
                numbers, constants, wanted, sums, forces,
            )  # fmt: skip
