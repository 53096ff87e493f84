"""Pair forces by explicit float32 vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels import simd_target
from mdpipe.kernels.collect import add_rest
from mdpipe.kernels.collect_simd import collect_rows
from mdpipe.kernels.pair_arrays import RowArrays
from mdpipe.kernels.pair_simd import add_pair_forces_simd
from mdpipe.simulation import pair_tables
from mdpipe.simulation.plain_pairs import PairTerms, Sums, collect_constants
from mdpipe.simulation.vector_neighbours import VectorNeighbours, aligned_rows

__all__ = ["STRETCH", "VectorPairs"]

Array = NDArray[np.float64]

STRETCH = 1.25
"""Bonds may be longer than the model's by this factor before the plain kernels are asked."""

ENERGY_DEGREE = 17
EXCLUSION_DEGREE = 7


def _singles(values: Any) -> tuple[np.float32, ...]:
    return tuple(np.float32(value) for value in values)


class VectorPairs:
    """Dual neighbour list and pair forces by explicit vectors.

    Parameters
    ----------
    terms : PairTerms
        Model, cutoff and tables.
    n_molecules : int
        Number of molecules.
    """

    def __init__(self, terms: PairTerms, n_molecules: int) -> None:
        self.terms = terms
        self.kernel = f"pair_simd ({simd_target.NAME}, {simd_target.LANES} lanes)"
        self.neighbours = VectorNeighbours(
            n_molecules, terms.r_cut, terms.weight_h, molecular=terms.molecular
        )
        self._longest = STRETCH * terms.model.r_oh_nm
        self._buffer = aligned_rows(0, np.float32)
        self._totals = aligned_rows(n_molecules, np.float32)
        self._pair_sums = np.zeros((len(self.neighbours.windows), 12))
        self._rest = np.zeros((16, 12))
        self._flexible = terms.model.k_bond_kj_mol_nm2 > 0.0
        self._energies = False
        self._collect_constants = collect_constants(terms)
        self._unit = float(terms.charges[1]) ** 2 / 8.0
        self._set_polynomials()

    def _set_polynomials(self) -> None:
        terms, unit = self.terms, self._unit
        if terms.molecular:
            degree = pair_tables.force_degree(terms.table, terms.accuracy)
            force = pair_tables.fit_force(terms.table, degree)
            _, energy = pair_tables.fit_polynomials(terms.table, ENERGY_DEGREE)
            shape = (2.0 / terms.r_table**2, -1.0)
            short = 2.0 * self._longest
            near = pair_tables.fit_start(
                terms.table, (short / terms.r_table) ** 2, EXCLUSION_DEGREE
            )
            collect = (8.0 * unit * near, 2.0 / short**2)
        else:
            # A reaction field: g is constant, p linear in r².
            force, energy = terms.table[0, :1], terms.table[0, 6:8] / (1.0, terms.r_table**2)
            shape = (1.0, 0.0)
            collect = (np.zeros(1), 0.0)
        self._force = _singles(8.0 * force)
        self._energy = _singles(2.0 * energy)
        lj = (6.0 * terms.model.c6 / (256.0 * unit), 12.0 * terms.model.c12 / (16384.0 * unit))
        weight = (terms.weight_h,) if terms.weight_h else ()
        self._numbers = _singles((terms.r_cut**2, *shape, *lj, terms.mass_h, *weight))
        self._exclusion = _singles(collect[0])
        self._collect_numbers = _singles((unit, terms.weight_h, collect[1]))

    def update(self, positions: Array, box: Array) -> bool:
        """Bring the lists up to date, if these kernels take the configuration.

        Parameters
        ----------
        positions, box
            As in `mdpipe.simulation.neighbours.Neighbours.update`.

        Returns
        -------
        bool
            Whether they do: the box is large enough and no bond is far too long.
        """
        own = self.neighbours
        if not own.fits(box, self._longest):
            return False
        own.update(positions, box)
        if len(self._buffer) < own.buffer_rows:
            self._buffer = aligned_rows(int(1.1 * own.buffer_rows) + 64, np.float32)
        return own.longest <= self._longest

    def compute(self, *, energies: bool) -> None:
        """Compute the pair forces.

        Parameters
        ----------
        energies : bool
            Whether `sums` will be asked for; the bits of the forces do not depend on it.
        """
        own = self.neighbours
        arrays = RowArrays(
            own.chunk_start, own.starts, own.partners, own.rows, own.windows, self._buffer
        )
        self._energies = energies
        add_pair_forces_simd(
            arrays,
            own.scaled_box + self._numbers,
            self._force,
            self._energy if energies else (),
            self._pair_sums,
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
        own = self.neighbours
        collect_rows(
            own.order,
            own.windows,
            self._buffer,
            self._totals,
            own.offsets,
            reciprocal,
            (*self._collect_numbers, np.float32(times)),
            self._exclusion,
            forces,
        )
        if self._energies or self._flexible:
            add_rest(
                positions,
                own.order,
                own.offsets,
                reciprocal,
                self.terms.charges,
                self._collect_constants,
                self.terms.table,
                forces,
                self._rest,
            )

    def sums(self) -> Sums:
        """Return energies and virial of the last `compute` with energies and `collect`."""
        return Sums.add_up(self._pair_sums, self._rest, (4.0 * self._unit, self._unit))
