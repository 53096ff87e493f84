"""Steepest descent that keeps rigid molecules rigid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError
from mdpipe.kernels import integrate
from mdpipe.models import WaterModel
from mdpipe.simulation.start import water_constants
from mdpipe.state import State

if TYPE_CHECKING:
    from mdpipe.simulation.forcefield import Evaluation

FIRST_MOVE_NM = 0.005
LONGEST_MOVE_NM = 0.02
"""Largest displacement of an atom in one step: a fifth of a bond, where SETTLE is safe."""

SHORTEST_MOVE_NM = 1e-7


class Energy(Protocol):
    """What the minimiser asks of a force field."""

    def evaluate(
        self,
        positions: NDArray[np.float64],
        box: NDArray[np.float64],
        forces: NDArray[np.float64],
    ) -> Evaluation:
        """Overwrite `forces` and return the energies."""
        ...


def minimise(
    state: State,
    forces: NDArray[np.float64],
    model: WaterModel,
    forcefield: Energy,
    steps: int,
    *,
    tolerance_kj_mol_nm: float = 10.0,
) -> float:
    """Lower the potential energy of a state in place.

    Parameters
    ----------
    state : State
        Positions are changed, velocities are not.
    forces : (n, 3, 3) float64
        Overwritten with the forces at the end, kJ/mol/nm.
    model : WaterModel
        The water model.
    forcefield : Energy
        Gives energies and forces.
    steps : int
        At most so many force evaluations after the first.
    tolerance_kj_mol_nm : float
        Ends when no atom feels a larger force along what the constraints leave free.

    Returns
    -------
    float
        Potential energy at the end, kJ/mol; never above that at the start.

    Raises
    ------
    InputError
        If a force at the start is not finite (atoms on top of each other).

    Notes
    -----
    Every atom moves along its force, the largest by the length of the step; SETTLE with unit
    masses then projects the move, so that it stays a direction of descent. A step that lowers the
    energy makes the next one 1.2 times longer; another is taken back and halved.
    """
    n = state.n_molecules
    water = water_constants(model, unit_masses=True)
    energy = forcefield.evaluate(state.positions, state.box, forces).energies.total
    check_forces(forces)
    best = state.positions.copy()
    best_forces = forces.copy()
    move = FIRST_MOVE_NM
    shift = np.zeros((n, 9))
    sums = np.zeros((integrate.n_blocks(n), integrate.N_SUMS))
    for _ in range(steps):
        largest = math.sqrt(float((best_forces * best_forces).sum(axis=2).max()))
        if largest < tolerance_kj_mol_nm:
            break
        gain = move / largest
        shift[:] = 0.0
        integrate.advance(
            integrate.DRIFT,
            state.positions.reshape(n, 9),
            shift,
            best_forces.reshape(n, 9),
            water,
            1.0,
            gain,
            sums,
        )
        free = math.sqrt(float((shift * shift).reshape(n, 3, 3).sum(axis=2).max())) / gain
        if free < tolerance_kj_mol_nm:
            state.positions[:] = best
            break
        trial = math.inf
        if np.isfinite(state.positions).all():
            trial = forcefield.evaluate(state.positions, state.box, forces).energies.total
        if trial < energy and np.isfinite(forces).all():
            energy = trial
            best[:] = state.positions
            best_forces[:] = forces
            move = min(1.2 * move, LONGEST_MOVE_NM)
        else:
            state.positions[:] = best
            move *= 0.5
            if move < SHORTEST_MOVE_NM:
                break
    forces[:] = best_forces
    return energy


def check_forces(forces: NDArray[np.float64]) -> None:
    """Raise if a force is not finite.

    Parameters
    ----------
    forces : (n, 3, 3) float64
        kJ/mol/nm.

    Raises
    ------
    InputError
        Naming the first molecule and how many there are.
    """
    bad = ~np.isfinite(forces).all(axis=(1, 2))
    if bad.any():
        raise InputError(
            f"the force on molecule {int(np.flatnonzero(bad)[0])} is not finite "
            f"({int(bad.sum())} such): atoms lie on top of each other; separate them in the input"
        )
