"""The reciprocal sum of smooth particle-mesh Ewald in float32, in explicit vectors."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels import mesh, mesh_step, simd_target
from mdpipe.kernels.matrix import inverse3
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
        self.charges: Floats = charges.astype(np.float32)
        self.sums = np.zeros((layout.waves_y, 7))
        self.forces: Floats = np.zeros((3 * n_molecules, 3), np.float32)
        self._small = n_molecules < SMALL
        self._sizes = tuple(layout)
        self._transforms = mesh.plan_mesh(layout)
        self._cells = (
            _aligned(9 * blocks * LANES),
            np.zeros(3 * blocks * LANES, np.int32),
            np.zeros(3 * blocks * LANES, np.int32),
            np.zeros(2 * blocks, np.int32),
        )
        self._influence = _aligned(layout.waves_y * layout.blocks_x * layout.kz * LANES)
        self._waves = _aligned(layout.waves_y * layout.wave_plane)
        self._tasks = 0
        self._box = np.zeros((3, 3))
        self._inverse: Array = np.eye(3)
        moduli = np.split(spline_moduli(plan.grid, plan.order), np.cumsum(plan.grid)[:2])
        lengths = (layout.blocks_x * LANES, layout.ky, layout.kz)
        self._numbers = tuple(
            _tabulate_waves(values, length) for values, length in zip(moduli, lengths, strict=True)
        )
        self._constants = np.array([(math.pi / plan.alpha) ** 2, 0.0])

    def _deal(self, tasks: int) -> None:
        """Make room for a number of tasks."""
        layout = self.layout
        self._tasks = tasks
        self._grids = (
            _aligned((layout.planes + tasks) * layout.plane),
            self._waves,
            self._influence,
        )
        length = mesh.scratch_length(layout)
        self._rooms = (
            _aligned(tasks * length).reshape(tasks, length),
            np.zeros((tasks, 2 * (layout.kx + mesh.PAD)), np.int64),
        )

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
        tasks = 1 if self._small else numba.get_num_threads()
        if tasks != self._tasks:
            self._deal(tasks)
        moved = not np.array_equal(box, self._box)
        if moved:
            self._box = box.copy()
            self._inverse = inverse3(box)
            volume = float(box[0, 0] * box[1, 1] * box[2, 2])
            self._constants[1] = 1.0 / (2.0 * math.pi * volume)
        threads = numba.get_num_threads()
        if tasks < threads:
            numba.set_num_threads(tasks)
        mesh_step.solve_mesh(
            tasks,
            self.plan.order,
            self._sizes,
            self._transforms,
            (neighbours.centres, neighbours.offsets, self._inverse, self.charges),
            self._cells,
            self._grids,
            self._rooms,
            self._numbers,
            self._constants,
            (moved, energies),
            self.sums,
            self.forces,
        )
        if tasks < threads:
            numba.set_num_threads(threads)
