"""Pair forces by plain Numba kernels: double precision, and float32 where there are no vectors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels import pair, pair_double
from mdpipe.kernels.collect import collect_forces
from mdpipe.kernels.pair_arrays import PairArrays
from mdpipe.models import WaterModel
from mdpipe.simulation import pair_tables
from mdpipe.simulation.neighbours import Neighbours

__all__ = ["PairTerms", "PlainPairs", "Sums", "collect_constants"]

Array = NDArray[np.float64]

BUFFER_NM = 0.1


class PairTerms(NamedTuple):
    """What all pair kernels are made from.

    `table` holds g and p up to `r_table` (`mdpipe.simulation.pair_tables`). With `molecular` the
    cutoff is between the oxygens of two molecules, and all their sites count within it. `accuracy`
    is the relative error that forces have at any rate, by the cutoff.
    """

    model: WaterModel
    charges: Array
    r_cut: float
    table: Array
    r_table: float
    molecular: bool
    accuracy: float

    @property
    def weight_h(self) -> float:
        """Weight of each H in the virtual site; 0: the negative charge sits on O."""
        return self.model.virtual_site_weight_h if self.model.has_virtual_site else 0.0

    @property
    def mass_h(self) -> float:
        """Mass of H over that of the molecule."""
        return self.model.mass_h_amu / self.model.mass_amu


class Sums(NamedTuple):
    """Energies in kJ/mol and terms of the virial, summed over all molecules.

    `virial` is R_ij F_ij of pairs of molecules; `correction` turns the atomic virial of the
    reciprocal sum into the molecular one. Both (9,) float64, row by row.
    """

    lj: float
    coulomb: float
    virial: Array
    exclusion: float
    bond: float
    angle: float
    correction: Array

    @classmethod
    def add_up(cls, pairs: Array, rest: Array, units: tuple[float, float] = (1.0, 1.0)) -> Sums:
        """Add up what the kernels left for each chunk and each block of molecules.

        Parameters
        ----------
        pairs : (chunks, 11) float64 or wider
            Lennard-Jones and Coulomb energy and virial of the pairs of each chunk.
        rest : (blocks, 12) float64
            As `mdpipe.kernels.collect` yields them.
        units : tuple of 2 float
            Units of the energies of pairs, kJ/mol, and of their virial.

        Returns
        -------
        Sums
            Of all molecules.
        """
        own, other = pair_tables.column_sums(pairs), pair_tables.column_sums(rest)
        lj, coulomb = (units[0] * float(x) for x in own[:2])
        exclusion, bond, angle = (float(x) for x in other[:3])
        return cls(lj, coulomb, own[2:11] * units[1], exclusion, bond, angle, other[3:])


def collect_constants(terms: PairTerms) -> tuple[float, ...]:
    """Return the constants that `mdpipe.kernels.collect` asks for.

    Parameters
    ----------
    terms : PairTerms
        Model and tables.

    Returns
    -------
    tuple of 7 float
        As documented there.
    """
    model = terms.model
    return (
        terms.weight_h,
        terms.mass_h,
        len(terms.table) / terms.r_table**2,
        model.r_oh_nm,
        model.k_bond_kj_mol_nm2,
        math.radians(model.angle_hoh_deg),
        model.k_angle_kj_mol_rad2,
    )


class PlainPairs:
    """Neighbour list and pair forces by plain kernels.

    Parameters
    ----------
    terms : PairTerms
        Model, cutoff and tables.
    n_molecules : int
        Number of molecules.
    mixed : bool
        Whether the arithmetic of pairs is float32.
    """

    def __init__(self, terms: PairTerms, n_molecules: int, *, mixed: bool) -> None:
        self.terms = terms
        self.mixed = mixed
        self.kernel = "pair" if mixed else "pair_double"
        self.neighbours = Neighbours(
            n_molecules,
            terms.r_cut,
            BUFFER_NM,
            terms.weight_h,
            np.float32 if mixed else np.float64,
            molecular=terms.molecular,
        )
        self._buffer = np.zeros((0, 9))
        self._pair_sums = np.zeros((len(self.neighbours.windows), 11))
        self._sums = np.zeros((16, 12))
        self._collect_constants = collect_constants(terms)
        self._constants = self._single() if mixed else self._double()
        if mixed:
            force = self._force_polynomial()
            _, energy = pair_tables.fit_polynomials(terms.table, pair.DEGREE)
            self._polys = tuple(np.float32(c) for c in (*force, *energy, terms.mass_h))

    def _double(self) -> tuple[Any, ...]:
        terms = self.terms
        scale = len(terms.table) / terms.r_table**2
        model = terms.model
        return (terms.r_cut**2, model.c6, model.c12, terms.weight_h, terms.mass_h, scale)

    def _single(self) -> tuple[Any, ...]:
        terms, q = self.terms, self.terms.charges
        numbers = (
            # With a cutoff between oxygens all sites of a listed molecule are within the table.
            terms.r_table**2,
            q[0] * q[0],
            q[0] * q[1],
            q[1] * q[1],
            6.0 * terms.model.c6,
            12.0 * terms.model.c12,
            terms.weight_h,
            2.0 / terms.r_table**2,
            -1.0,
        )
        return tuple(np.float32(x) for x in numbers)

    def _force_polynomial(self) -> Array:
        """Fit g; where vectors do the same pairs, as they do, so that forces differ by rounding."""
        terms = self.terms
        if not terms.molecular:
            return pair_tables.fit_polynomials(terms.table, pair.DEGREE)[0]
        degree = pair_tables.force_degree(terms.table, terms.accuracy)
        return np.pad(pair_tables.fit_force(terms.table, degree), (0, pair.DEGREE - degree))

    def update(self, positions: Array, box: Array) -> bool:
        """Bring the list up to date.

        Parameters
        ----------
        positions, box
            As in `mdpipe.simulation.neighbours.Neighbours.update`.

        Returns
        -------
        bool
            True: these kernels take every configuration.
        """
        self.neighbours.update(positions, box)
        if len(self._buffer) < self.neighbours.buffer_rows:
            self._buffer = np.zeros((int(1.1 * self.neighbours.buffer_rows) + 64, 9))
        return True

    def compute(self, *, energies: bool) -> None:
        """Compute the pair forces.

        Parameters
        ----------
        energies : bool
            Whether `sums` will be asked for.
        """
        own, terms = self.neighbours, self.terms
        arrays = PairArrays(
            own.chunk_start,
            own.pairs,
            own.starts,
            own.centres,
            own.offsets,
            own.shifts,
            own.windows,
            self._buffer,
        )
        reach = terms.r_cut if terms.molecular else own.reach
        if self.mixed:
            pair.add_pair_forces(
                arrays, reach, self._constants, self._polys, energies, self._pair_sums
            )
            return
        pair_double.add_pair_forces_double(
            arrays, reach, self._constants, terms.table, terms.charges, self._pair_sums
        )

    def collect(
        self, positions: Array, reciprocal: NDArray[Any], forces: Array, *, times: int
    ) -> None:
        """Sum the forces on each molecule.

        Parameters
        ----------
        positions : (n, 3, 3) float64
            nm.
        reciprocal : (3n, 3) float32 or float64
            Reciprocal forces on the sites, kJ/mol/nm; no rows: no reciprocal sum.
        forces : (n, 3, 3) float64
            Out: kJ/mol/nm.
        times : int
            How many times the reciprocal forces count in `forces`; in `sums` they do once.
        """
        collect_forces(
            positions,
            self.neighbours.order,
            self.neighbours.offsets,
            self.neighbours.windows,
            self._buffer,
            reciprocal,
            self.terms.charges,
            self._collect_constants,
            self.terms.table,
            float(times),
            forces,
            self._sums,
        )

    def sums(self) -> Sums:
        """Return energies and virial of the last `compute` and `collect`."""
        return Sums.add_up(self._pair_sums, self._sums)
