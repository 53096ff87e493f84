"""The reciprocal sum of smooth particle-mesh Ewald in float32, in explicit vectors."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels import mesh, simd_target
from mdpipe.kernels.matrix import inverse3
from mdpipe.kernels.mesh_step import SWEEPS, WORK, mesh_sweep_address
from mdpipe.kernels.sweeps import run_sweeps
from mdpipe.kernels.transform import factorise
from mdpipe.simulation.neighbours import Neighbours
from mdpipe.simulation.pme_plan import PmePlan, spline_moduli

__all__ = ["MeshReciprocal", "can_transform"]

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

LANES = simd_target.LANES

SMALL = 2_000
"""Fewer molecules are not worth waking a second thread for."""


def can_transform(grid: tuple[int, int, int]) -> bool:
    """Say whether this machine has vectors and the transforms know the sizes of a grid.

    Parameters
    ----------
    grid : tuple of 3 int
        Sizes.

    Returns
    -------
    bool
        If not, `mdpipe.simulation.reciprocal.Reciprocal` does the work.
    """
    compiled = not numba.config.DISABLE_JIT  # type: ignore[attr-defined]
    return bool(compiled and LANES and all(factorise(size) for size in grid))


def _aligned(length: int) -> Floats:
    """Return zeros that begin with a cache line, for speed alone."""
    room = np.zeros(length + 16, np.float32)
    first = -room.ctypes.data // 4 % 16
    return room[first : first + length]


def _tabulate_waves(moduli: Array, length: int) -> Floats:
    """Return the `numbers` of a direction (`mdpipe.kernels.mesh_waves`), filled up with zeros."""
    size = len(moduli)
    index = np.arange(size)
    wave = np.where(2 * index < size, index, index - size)
    rows = np.zeros((3, length), np.float32)
    rows[:, :size] = wave, np.where(2 * index == size, wave, -wave), 1.0 / moduli
    return rows.reshape(-1)


class MeshReciprocal:
    """The reciprocal sum in float32: grids, and the forces on the sites in list order.

    Parameters
    ----------
    plan : PmePlan
        Alpha, grid and order.
    charges : (3,) float64
        Reduced charges of the sites of a molecule.
    n_molecules : int
        Number of molecules.

    Attributes
    ----------
    forces : (3n, 3) float32
        Forces on the sites, virtual ones included, after `compute`.
    sums : (ky // 2 + 1, 7) float64
        Energy and atomic virial (xx, xy, xz, yy, yz, zz) of each y wave, if they were asked for.
    fft : str
        What transforms.
    """

    fft = "vectors"

    def __init__(self, plan: PmePlan, charges: Array, n_molecules: int) -> None:
        layout = mesh.lay_out(plan.grid)
        blocks = -(-n_molecules // LANES)
        self.plan = plan
        self.layout = layout
        self.sums = np.zeros((layout.waves_y, 7))
        self.forces: Floats = np.zeros((3 * n_molecules, 3), np.float32)
        self._small = n_molecules < SMALL
        self._tasks = 0
        self._box = np.zeros((3, 3))
        self._work = np.zeros(len(WORK.names), np.int64)
        self._sites: tuple[Any, Any] = (None, None)
        plans, factors = mesh.plan_mesh(layout)
        moduli = np.split(spline_moduli(plan.grid, plan.order), np.cumsum(plan.grid)[:2])
        numbers = [
            _tabulate_waves(values, length)
            for values, length in zip(
                moduli, (layout.blocks_x * LANES, layout.ky, layout.kz), strict=True
            )
        ]
        self._arrays: dict[str, Any] = {
            "plans": plans,
            "factors": factors,
            "inverse": np.eye(3),
            "charges": charges.astype(np.float32),
            "fractions": _aligned(9 * blocks * LANES),
            "planes": np.zeros(3 * blocks * LANES, np.int32),
            "places": np.zeros(3 * blocks * LANES, np.int32),
            "reach": np.zeros(2 * blocks, np.int32),
            "waves": _aligned(layout.waves_y * layout.wave_plane),
            "influence": _aligned(layout.waves_y * layout.blocks_x * layout.kz * LANES),
            "numbers_x": numbers[0],
            "numbers_y": numbers[1],
            "numbers_z": numbers[2],
            "constants": np.array([(math.pi / plan.alpha) ** 2, 0.0]),
            "sums": self.sums,
            "forces": self.forces,
        }
        WORK.fill(self._work, order=plan.order, n=n_molecules, **layout._asdict(), **self._arrays)

    def _deal(self, tasks: int) -> None:
        """Make room for a number of tasks."""
        layout = self.layout
        self._tasks = tasks
        length, table_length = mesh.scratch_length(layout), 2 * (layout.kx + mesh.PAD) + 1
        room = {
            "grid": _aligned((layout.planes + tasks) * layout.plane),
            "scratch": _aligned(tasks * length),
            "table": np.zeros(tasks * table_length, np.int64),
        }
        self._arrays |= room
        WORK.fill(self._work, scratch_length=length, table_length=table_length, **room)

    def compute(self, neighbours: Neighbours, box: Array, *, energies: bool) -> None:
        """Compute the forces on the sites.

        Parameters
        ----------
        neighbours : Neighbours
            The sites.
        box : (3, 3) float64
            Rows, nm.
        energies : bool
            Whether `sums` is wanted.
        """
        threads = numba.get_num_threads()
        tasks = 1 if self._small else threads
        if tasks != self._tasks:
            self._deal(tasks)
        sites = (neighbours.centres, neighbours.offsets)
        if sites[0] is not self._sites[0] or sites[1] is not self._sites[1]:
            self._sites = sites
            WORK.fill(self._work, centres=sites[0], offsets=sites[1])
        moved = not np.array_equal(box, self._box)
        if moved:
            self._box = box.copy()
            self._arrays["inverse"][:] = inverse3(box)
            volume = float(box[0, 0] * box[1, 1] * box[2, 2])
            self._arrays["constants"][1] = 1.0 / (2.0 * math.pi * volume)
        WORK.fill(self._work, refill=moved, wanted=energies)
        if tasks < threads:
            numba.set_num_threads(tasks)
        run_sweeps(mesh_sweep_address(), 0, SWEEPS, tasks, self._work)
        if tasks < threads:
            numba.set_num_threads(threads)
