"""The reciprocal sum of smooth particle-mesh Ewald.

In float32 explicit vectors do it where they can (`mdpipe.simulation.mesh_reciprocal`), elsewhere
and in float64 plain kernels around SciPy's transforms.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels import fft, pme, waves
from mdpipe.kernels.matrix import inverse3
from mdpipe.simulation.mesh_reciprocal import MeshReciprocal, can_transform
from mdpipe.simulation.neighbours import Neighbours
from mdpipe.simulation.pme_plan import PmePlan, spline_moduli

__all__ = ["Reciprocal", "choose_reciprocal"]

Array = NDArray[np.float64]


def choose_reciprocal(
    plan: PmePlan, charges: Array, n_molecules: int, dtype: Any
) -> MeshReciprocal | Reciprocal:
    """Choose the fastest code that there is for a plan, a precision and this machine.

    Parameters
    ----------
    plan, charges, n_molecules, dtype
        As of `Reciprocal`.

    Returns
    -------
    MeshReciprocal or Reciprocal
        The same results to float32 rounding.
    """
    if dtype == np.float32 and can_transform(plan.grid):
        return MeshReciprocal(plan, charges, n_molecules)
    return Reciprocal(plan, charges, n_molecules, dtype)


class Reciprocal:
    """The reciprocal sum: grids, and the forces on the sites in list order.

    Parameters
    ----------
    plan : PmePlan
        Alpha, grid and order.
    charges : (3,) float64
        Reduced charges of the sites of a molecule.
    n_molecules : int
        Number of molecules.
    dtype : type
        float32 or float64: precision of the grid.

    Attributes
    ----------
    forces : (3n, 3) float64
        Forces on the sites, virtual ones included, after `compute`.
    sums : (kx, 7) float64
        Energy and atomic virial (xx, xy, xz, yy, yz, zz) of each plane, if they were asked for.
    fft : str
        What transforms.
    """

    fft = "scipy.fft"

    def __init__(self, plan: PmePlan, charges: Array, n_molecules: int, dtype: Any) -> None:
        kx, ky, kz = plan.grid
        self.plan = plan
        self.one = dtype(1)
        self.charges: NDArray[Any] = charges.astype(dtype)
        self.moduli = spline_moduli(plan.grid, plan.order)
        self.influence: NDArray[Any] = np.zeros((kx, ky, kz // 2 + 1), dtype)
        self.grid: NDArray[Any] = np.zeros(kx * ky * (kz + pme.PAD), dtype)
        self.base = np.zeros((3 * n_molecules, 3), np.int32)
        self.fraction: NDArray[Any] = np.zeros((3 * n_molecules, 3), dtype)
        self.bin_start = np.zeros(kx + 1, np.int32)
        self.bins = np.zeros(3 * n_molecules, np.int32)
        self.sums = np.zeros((kx, 7))
        self.forces = np.zeros((3 * n_molecules, 3))
        self._box = np.zeros((3, 3))
        self._inverse: NDArray[Any] = np.eye(3)

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
        plan = self.plan
        threads = numba.get_num_threads()
        if not np.array_equal(box, self._box):
            self._box = box.copy()
            self._inverse = inverse3(box)
            volume = float(box[0, 0] * box[1, 1] * box[2, 2])
            waves.fill_influence(
                self._inverse, plan.grid, plan.alpha, volume, self.moduli, self.influence
            )
        sites = (self.base, self.fraction)
        pme.locate_sites(
            neighbours.centres,
            neighbours.offsets,
            self._inverse,
            plan.grid,
            *sites,
            self.bin_start,
            self.bins,
        )
        slabs = 1 if threads == 1 else min(2 * threads, plan.grid[0])
        pme.spread_charges(
            slabs,
            plan.order,
            plan.grid,
            self.charges,
            *sites,
            self.bin_start,
            self.bins,
            self.grid,
            self.one,
        )
        kx, ky, kz = plan.grid
        charges = self.grid.reshape(kx, ky, kz + pme.PAD)[:, :, :kz]
        spectrum = fft.forward(charges, threads)
        if energies:
            waves.sum_reciprocal(
                spectrum, self.influence, self._inverse, plan.grid, plan.alpha, self.sums
            )
        waves.convolve(spectrum, self.influence)
        values = fft.backward(spectrum, plan.grid, threads)
        pme.gather_forces(
            plan.order,
            plan.grid,
            self._inverse,
            self.charges,
            *sites,
            values,
            self.grid,
            self.forces,
            self.one,
        )
