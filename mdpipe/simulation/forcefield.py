"""Forces, energies and virial of a box of water."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError
from mdpipe.kernels import pair, pair_double
from mdpipe.kernels.collect import collect_forces
from mdpipe.models import WaterModel
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation import pair_tables, pme_plan
from mdpipe.simulation.mesh_reciprocal import MeshReciprocal
from mdpipe.simulation.neighbours import Neighbours
from mdpipe.simulation.reciprocal import Reciprocal, choose_reciprocal
from mdpipe.units import COULOMB

__all__ = ["Energies", "Evaluation", "ForceField"]

Array = NDArray[np.float64]

BUFFER_NM = 0.1


class Energies(NamedTuple):
    """Components of the potential energy, kJ/mol.

    With a reaction field all of Coulomb is in `coulomb_real`.
    """

    lj: float
    coulomb_real: float
    coulomb_reciprocal: float
    coulomb_self: float
    coulomb_exclusion: float
    bond: float
    angle: float
    dispersion: float

    @property
    def coulomb(self) -> float:
        """All of the electrostatic energy, kJ/mol."""
        return (
            self.coulomb_real + self.coulomb_reciprocal + self.coulomb_self + self.coulomb_exclusion
        )

    @property
    def total(self) -> float:
        """The potential energy, kJ/mol."""
        return self.lj + self.coulomb + self.bond + self.angle + self.dispersion


class Evaluation(NamedTuple):
    """Energies in kJ/mol and the molecular virial W_ab = sum R_a F_b, (3, 3) float64 in kJ/mol."""

    energies: Energies
    virial: Array


class ForceField:
    """The forces of one water model in a periodic box.

    Alpha, grid and order are chosen once, for the box at construction; the box may change a
    little afterwards. The bits of the results depend on the positions and the box now and at the
    last rebuild of the neighbour list alone.

    Parameters
    ----------
    model : WaterModel
        Parameters.
    nonbonded : Nonbonded
        Cutoffs and electrostatics.
    box : (3, 3) float64
        Rows, lower triangular, nm.
    n_molecules : int
        Number of molecules.
    precision : "double" or "mixed"
        Everything in float64, or pairs and grid in float32 with sums in float64.

    Raises
    ------
    InputError
        If the box is smaller than 2 r_cut between opposite faces.
    """

    def __init__(
        self,
        model: WaterModel,
        nonbonded: Nonbonded,
        box: Array,
        n_molecules: int,
        *,
        precision: Literal["double", "mixed"],
    ) -> None:
        box = _checked_box(box)
        self.model = model
        self.nonbonded = nonbonded
        self.n_molecules = n_molecules
        self.precision = precision
        self._mixed = precision == "mixed"
        dtype = np.float32 if self._mixed else np.float64
        r_cut = nonbonded.r_cut_nm
        weight_h = model.virtual_site_weight_h if model.has_virtual_site else 0.0
        self._neighbours = Neighbours(n_molecules, r_cut, BUFFER_NM, weight_h, dtype)
        self._neighbours.check_box(box)
        q = math.sqrt(COULOMB) * model.charge_h_e
        self._charges = np.array([-2.0 * q, q, q])
        self._reciprocal: MeshReciprocal | Reciprocal | None = None
        if nonbonded.electrostatics == "pme":
            plan = pme_plan.plan_pme(model, nonbonded, box, n_molecules, mixed=self._mixed)
            self._reciprocal = choose_reciprocal(plan, self._charges, n_molecules, dtype)
            self._table = pair_tables.tabulate(plan.alpha, r_cut)
        else:
            self._table = pair_tables.tabulate_reaction_field(nonbonded.rf_epsilon, r_cut)
        self._buffer = np.zeros((0, 9))
        self._pair_sums = np.zeros((len(self._neighbours.windows), 11))
        self._sums = np.zeros((16, 12))
        self._no_sites = np.zeros((0, 3))
        self._set_constants(weight_h)

    def _set_constants(self, weight_h: float) -> None:
        model, r_cut = self.model, self.nonbonded.r_cut_nm
        mass_h = model.mass_h_amu / model.mass_amu
        scale = len(self._table) / r_cut**2
        self._collect_constants = (
            weight_h,
            mass_h,
            scale,
            model.r_oh_nm,
            model.k_bond_kj_mol_nm2,
            math.radians(model.angle_hoh_deg),
            model.k_angle_kj_mol_rad2,
        )
        if not self._mixed:
            self._constants: tuple[Any, ...] = (
                r_cut**2,
                model.c6,
                model.c12,
                weight_h,
                mass_h,
                scale,
            )
            return
        q = self._charges
        self._constants = tuple(
            np.float32(value)
            for value in (
                r_cut**2,
                q[0] * q[0],
                q[0] * q[1],
                q[1] * q[1],
                6.0 * model.c6,
                12.0 * model.c12,
                weight_h,
                2.0 / r_cut**2,
                -1.0,
            )
        )
        force, energy = pair_tables.fit_polynomials(self._table, pair.DEGREE)
        self._polys = tuple(np.float32(c) for c in (*force, *energy, mass_h))

    @property
    def rebuilds(self) -> int:
        """How often the neighbour list has been built."""
        return self._neighbours.rebuilds

    def invalidate(self) -> None:
        """Have the next call build the neighbour list again."""
        self._neighbours.stale = True

    def compute(self, positions: Array, box: Array, forces: Array) -> None:
        """Compute the forces.

        Parameters
        ----------
        positions : (n, 3, 3) float64
            O, H1, H2 of whole molecules in any image, nm.
        box : (3, 3) float64
            Rows, nm.
        forces : (n, 3, 3) float64
            Out: kJ/mol/nm; those on virtual sites are spread onto O, H1, H2.

        Raises
        ------
        InputError
            If the box is too small, a position is not finite or a molecule is broken.
        """
        self._run(positions, box, forces, energies=False)

    def evaluate(self, positions: Array, box: Array, forces: Array) -> Evaluation:
        """Compute the forces, with the same bits as `compute`, the energies and the virial.

        Parameters
        ----------
        positions, box, forces
            As in `compute`.

        Returns
        -------
        Evaluation
            Energies and molecular virial, the dispersion tail included.
        """
        self._run(positions, box, forces, energies=True)
        pairs = _column_sums(self._pair_sums)
        rest = _column_sums(self._sums)
        virial = pairs[2:].reshape(3, 3)
        reciprocal = own = 0.0
        if self._reciprocal is not None:
            planes = _column_sums(self._reciprocal.sums)
            reciprocal = float(planes[0])
            xx, xy, xz, yy, yz, zz = planes[1:]
            virial = virial + np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            virial = virial + rest[3:].reshape(3, 3)
            alpha = self._reciprocal.plan.alpha
            own = -alpha / math.sqrt(math.pi) * self.n_molecules * float((self._charges**2).sum())
        dispersion = tail = 0.0
        if self.nonbonded.dispersion_correction:
            volume = float(box[0, 0] * box[1, 1] * box[2, 2])
            dispersion, tail = _dispersion(
                self.model, self.n_molecules, volume, self.nonbonded.r_cut_nm
            )
        energies = Energies(
            lj=float(pairs[0]),
            coulomb_real=float(pairs[1]),
            coulomb_reciprocal=reciprocal,
            coulomb_self=own,
            coulomb_exclusion=float(rest[0]),
            bond=float(rest[1]),
            angle=float(rest[2]),
            dispersion=dispersion,
        )
        return Evaluation(energies, virial + tail * np.eye(3))

    def describe(self) -> dict[str, object]:
        """Say what was chosen.

        Returns
        -------
        dict
            Precision, electrostatics, cutoffs in nm, kernels, and for PME alpha in 1/nm, grid,
            order and the estimated relative errors.
        """
        answer: dict[str, object] = {
            "precision": self.precision,
            "electrostatics": self.nonbonded.electrostatics,
            "r_cut_nm": self.nonbonded.r_cut_nm,
            "buffer_nm": self._neighbours.buffer,
            "r_list_nm": self._neighbours.r_list,
            "pair_kernel": "pair" if self._mixed else "pair_double",
        }
        if self._reciprocal is not None:
            plan = self._reciprocal.plan
            answer |= {
                "pme_alpha_per_nm": plan.alpha,
                "pme_grid": list(plan.grid),
                "pme_order": plan.order,
                "estimated_real_error": plan.real_error,
                "estimated_reciprocal_error": plan.reciprocal_error,
                "fft": self._reciprocal.fft,
            }
        return answer

    def _run(self, positions: Array, box: Array, forces: Array, *, energies: bool) -> None:
        for name, array in (("positions", positions), ("forces", forces)):
            if array.shape != (self.n_molecules, 3, 3):
                raise InputError(
                    f"{name} must have the shape ({self.n_molecules}, 3, 3), got {array.shape}; "
                    "build the force field for this number of molecules"
                )
        box = np.ascontiguousarray(box, np.float64)
        neighbours = self._neighbours
        neighbours.update(positions, box)
        if len(self._buffer) < neighbours.buffer_rows:
            self._buffer = np.zeros((int(1.1 * neighbours.buffer_rows) + 64, 9))
        self._add_pairs(energies=energies)
        reciprocal: NDArray[Any] = self._no_sites
        if self._reciprocal is not None:
            self._reciprocal.compute(neighbours, box, energies=energies)
            reciprocal = self._reciprocal.forces
        collect_forces(
            positions,
            neighbours.order,
            neighbours.offsets,
            neighbours.windows,
            self._buffer,
            reciprocal,
            self._charges,
            self._collect_constants,
            self._table,
            forces,
            self._sums,
        )

    def _add_pairs(self, *, energies: bool) -> None:
        own = self._neighbours
        common = (
            own.chunk_start,
            own.pairs,
            own.starts,
            own.centres,
            own.offsets,
            own.shifts,
            own.reach,
            self._constants,
        )
        if not self._mixed:
            pair_double.add_pair_forces_double(
                *common, self._table, self._charges, own.windows, self._buffer, self._pair_sums
            )
            return
        pair.add_pair_forces(
            *common, self._polys, own.windows, self._buffer, energies, self._pair_sums
        )


def _checked_box(box: Array) -> Array:
    box = np.ascontiguousarray(box, np.float64)
    if box.shape != (3, 3) or not np.isfinite(box).all() or np.any(np.diag(box) <= 0.0):
        raise InputError(
            f"box must be three finite rows of a lower triangular matrix, got {box.tolist()}; "
            "give the structure a box"
        )
    if box[0, 1] != 0.0 or box[0, 2] != 0.0 or box[1, 2] != 0.0:
        raise InputError(
            f"box must be lower triangular, got {box.tolist()}; rotate the system into that form"
        )
    return box


def _column_sums(rows: Array) -> Array:
    """Add rows one after the other: a fixed order, whatever the shape."""
    total = np.zeros(rows.shape[1])
    for row in rows:
        total = total + row
    return total


def _dispersion(
    model: WaterModel, n_molecules: int, volume: float, r_cut: float
) -> tuple[float, float]:
    """Return the standard energy correction and the diagonal of its virial, kJ/mol."""
    density = n_molecules / volume
    r3 = r_cut**3
    energy = 2.0 * math.pi * n_molecules * density * (model.c12 / (9 * r3**3) - model.c6 / (3 * r3))
    pressure = (
        2.0 / 3.0 * math.pi * density**2 * (12 * model.c12 / (9 * r3**3) - 6 * model.c6 / (3 * r3))
    )
    return energy, pressure * volume
