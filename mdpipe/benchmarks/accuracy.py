"""Force error and energy drift: the same measures for every program."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from mdpipe.benchmarks.case import Case
from mdpipe.benchmarks.own import scene_of
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import load_state
from mdpipe.units import BOLTZMANN

DRIFT_EVERY: Final = 50


class ForceError(NamedTuple):
    """RMS deviation of the forces on the atoms: relative, and in kJ/mol/nm."""

    relative: float
    rms_kj_mol_nm: float


def converged(case: Case) -> Nonbonded:
    """Return the settings of the reference forces: PME converged to 1e-6.

    Parameters
    ----------
    case : Case
        What the programs run.

    Returns
    -------
    Nonbonded
        Same cutoff. In double precision these forces agree to 2e-6 with those of GROMACS in
        double precision at rtol 1e-9, order 8 and 0.02 nm, and to 1e-6 with our own at twice as
        fine a grid and larger alpha.
    """
    return Nonbonded(r_cut_nm=case.r_cut_nm, pme_tolerance=1e-6, pme_order=5)


def force_error(values: Any, reference: Any) -> ForceError:
    """Compare forces.

    Parameters
    ----------
    values, reference : (..., 3) array
        Forces on atoms, kJ/mol/nm.

    Returns
    -------
    ForceError
        Root of Σ(values - reference)² over Σ reference², and over the number of atoms.
    """
    squares = float(((values - reference) ** 2).sum())
    atoms = reference.size / 3
    return ForceError(
        float(np.sqrt(squares / float((reference**2).sum()))), float(np.sqrt(squares / atoms))
    )


def drift(case: Case, length_ps: float) -> float:
    """Return mdpipe's NVE energy drift.

    Parameters
    ----------
    case : Case
        What to run.
    length_ps : float
        Length of the run.

    Returns
    -------
    float
        Slope of a straight line through the total energy, kT/ns per atom.
    """
    simulation = Simulation(
        scene_of(case, "mixed", "nve"), load_state(case.start), threads=case.threads
    )
    times, totals = [], []
    for _ in range(round(length_ps / case.dt_ps) // DRIFT_EVERY):
        simulation.step(DRIFT_EVERY, evaluate_last=True)
        row = simulation.energies()
        times.append(row.time_ps)
        totals.append(row.total_kj_mol)
    slope = np.polyfit(times, totals, 1)[0]
    return float(slope * 1000.0 / (case.atoms * BOLTZMANN * case.temperature_K))
