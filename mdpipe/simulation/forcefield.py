"""Forces, energies and virial of a box of water."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError
from mdpipe.kernels.simd_target import LANES
from mdpipe.models import WaterModel
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation import pair_tables, pme_plan, tails
from mdpipe.simulation.mesh_reciprocal import MeshReciprocal
from mdpipe.simulation.plain_pairs import PairTerms, PlainPairs
from mdpipe.simulation.reciprocal import Reciprocal, choose_reciprocal
from mdpipe.simulation.vector_pairs import STRETCH, VectorPairs
from mdpipe.units import COULOMB

__all__ = ["Energies", "Evaluation", "ForceField"]

Array = NDArray[np.float64]


class Energies(NamedTuple):
    """Components of the potential energy, kJ/mol.

    With a reaction field all of Coulomb is in `coulomb_real`. Where the cutoff of PME is between
    oxygens `coulomb_real` holds the mean of what lies beyond it (`mdpipe.simulation.tails`).
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
        r_cut = r_table = nonbonded.r_cut_nm
        q = math.sqrt(COULOMB) * model.charge_h_e
        self._charges = np.array([-2.0 * q, q, q])
        self._reciprocal: MeshReciprocal | Reciprocal | None = None
        accuracy = 0.0
        pme = nonbonded.electrostatics == "pme"
        if pme:
            plan = pme_plan.plan_pme(model, nonbonded, box, n_molecules, mixed=self._mixed)
            self._reciprocal = choose_reciprocal(plan, self._charges, n_molecules, dtype)
            if self._mixed:
                # The cutoff is between oxygens; sites may be further apart.
                r_table += 2.0 * STRETCH * model.r_oh_nm
            table = pair_tables.tabulate(plan.alpha, r_table)
            half = 0.5 * math.hypot(plan.real_error, plan.reciprocal_error)
            # A grid that was asked for may be as coarse as it likes.
            accuracy = max(plan.real_error, min(half, 1e-4))
        else:
            table = pair_tables.tabulate_reaction_field(nonbonded.rf_epsilon, r_cut)
        molecular = pme and self._mixed
        terms = PairTerms(model, self._charges, r_cut, table, r_table, molecular, accuracy)
        self._plain = PlainPairs(terms, n_molecules, mixed=self._mixed)
        self._plain.neighbours.check_box(box)
        # Vectors count forces in units of the squared charge.
        suitable = self._mixed and LANES > 0 and q > 0.0
        self._vector = VectorPairs(terms, n_molecules) if suitable else None
        self._pairs: PlainPairs | VectorPairs = self._vector or self._plain
        self._tails = [(0.0, 0.0), (0.0, 0.0)]
        if nonbonded.dispersion_correction:
            self._tails[0] = tails.dispersion_tail(model, r_cut)
        if self._reciprocal is not None and molecular:
            arms = (model.r_om_nm, model.r_oh_nm, model.r_oh_nm)
            alpha = self._reciprocal.plan.alpha
            self._tails[1] = tails.coulomb_tail(alpha, r_cut, self._charges.tolist(), arms)
        self._no_sites = np.zeros((0, 3), dtype)
        # Where the reciprocal forces do not count: those that were computed last may be anything.
        self._no_forces = np.zeros((3 * n_molecules if pme else 0, 3), dtype)

    @property
    def rebuilds(self) -> int:
        """How often the neighbour list has been built."""
        vector = self._vector.neighbours.rebuilds if self._vector else 0
        return self._plain.neighbours.rebuilds + vector

    def invalidate(self) -> None:
        """Have the next call build the neighbour list again."""
        self._plain.neighbours.stale = True
        if self._vector is not None:
            self._vector.neighbours.stale = True

    def compute(
        self, positions: Array, box: Array, forces: Array, *, reciprocal_times: int = 1
    ) -> None:
        """Compute the forces.

        Parameters
        ----------
        positions : (n, 3, 3) float64
            O, H1, H2 of whole molecules in any image, nm.
        box : (3, 3) float64
            Rows, nm.
        forces : (n, 3, 3) float64
            Out: kJ/mol/nm; those on virtual sites are spread onto O, H1, H2.
        reciprocal_times : int
            How many times the reciprocal forces of PME, less those of the pairs within a molecule,
            count in `forces`; with 0 they are not computed.

        Raises
        ------
        InputError
            If the box is too small, a position is not finite or a molecule is broken.
        """
        self._run(positions, box, forces, reciprocal_times, energies=False)

    def evaluate(
        self, positions: Array, box: Array, forces: Array, *, reciprocal_times: int = 1
    ) -> Evaluation:
        """Compute the forces, with the same bits as `compute`, the energies and the virial.

        Parameters
        ----------
        positions, box, forces, reciprocal_times
            As in `compute`; energies and virial are whole whatever counts in `forces`.

        Returns
        -------
        Evaluation
            Energies and molecular virial, the tails included.
        """
        self._run(positions, box, forces, reciprocal_times, energies=True)
        sums = self._pairs.sums()
        virial = sums.virial.reshape(3, 3)
        reciprocal = own = 0.0
        if self._reciprocal is not None:
            planes = pair_tables.column_sums(self._reciprocal.sums)
            reciprocal = float(planes[0])
            xx, xy, xz, yy, yz, zz = planes[1:]
            virial = virial + np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
            virial = virial + sums.correction.reshape(3, 3)
            alpha = self._reciprocal.plan.alpha
            own = -alpha / math.sqrt(math.pi) * self.n_molecules * float((self._charges**2).sum())
        # Per V/N²: the tails are means over all pairs of molecules.
        density = self.n_molecules**2 / float(box[0, 0] * box[1, 1] * box[2, 2])
        dispersion, virial_tail = self._tails[0]
        coulomb, coulomb_virial = self._tails[1]
        tail = density * (virial_tail + coulomb_virial)
        energies = Energies(
            lj=sums.lj,
            coulomb_real=sums.coulomb + density * coulomb,
            coulomb_reciprocal=reciprocal,
            coulomb_self=own,
            coulomb_exclusion=sums.exclusion,
            bond=sums.bond,
            angle=sums.angle,
            dispersion=density * dispersion,
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
            "cutoff_between": "oxygens" if self._pairs.terms.molecular else "sites",
            "buffer_nm": self._pairs.neighbours.buffer,
            "r_list_nm": self._pairs.neighbours.r_list,
            "pair_kernel": self._pairs.kernel,
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

    def _run(
        self, positions: Array, box: Array, forces: Array, times: int, *, energies: bool
    ) -> None:
        for name, array in (("positions", positions), ("forces", forces)):
            if array.shape != (self.n_molecules, 3, 3):
                raise InputError(
                    f"{name} must have the shape ({self.n_molecules}, 3, 3), got {array.shape}; "
                    "build the force field for this number of molecules"
                )
        box = np.ascontiguousarray(box, np.float64)
        pairs = self._pairs = self._choose(positions, box)
        pairs.compute(energies=energies)
        reciprocal: NDArray[Any] = self._no_sites
        if self._reciprocal is not None and (times or energies):
            self._reciprocal.compute(pairs.neighbours, box, energies=energies)
            reciprocal = self._reciprocal.forces
        elif self._reciprocal is not None:
            reciprocal = self._no_forces
        pairs.collect(positions, reciprocal, forces, times=times)

    def _choose(self, positions: Array, box: Array) -> PlainPairs | VectorPairs:
        """Bring the list up to date; the choice depends on positions and box alone."""
        if self._vector is not None and self._vector.update(positions, box):
            return self._vector
        self._plain.update(positions, box)
        return self._plain


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
