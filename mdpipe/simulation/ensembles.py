"""Thermostats and barostats: what they do to a state, and the work they do on it.

References
----------
Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), DOI 10.1063/1.2408420.
Bernetti and Bussi, J. Chem. Phys. 153, 114107 (2020), DOI 10.1063/5.0020514.
Chow and Ferguson, Comput. Phys. Commun. 91, 283 (1995), DOI 10.1016/0010-4655(95)00059-O.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels import rng
from mdpipe.kernels.thermostat import rescaling_factor
from mdpipe.models import WaterModel
from mdpipe.scenes.spec import Scene
from mdpipe.simulation.impulses import round_up
from mdpipe.simulation.start import seed_words
from mdpipe.state import State
from mdpipe.units import BAR_PER_KJ_MOL_NM3, BOLTZMANN

Array = NDArray[np.float64]

STREAM_BUSSI = 3
STREAM_CELL = 5
STREAM_MONTE_CARLO = 6

BUSSI_EVERY = 10
"""Steps between actions of the velocity rescaling (exact for any interval)."""

CELL_EVERY = 10
"""Steps between actions of the stochastic cell rescaling: 1 % of the usual 2 ps."""

MONTE_CARLO_EVERY = 25
"""Steps between trial changes of the volume."""


def thermostat_every(scene: Scene) -> int:
    """Return how many steps lie between actions of the velocity rescaling.

    Parameters
    ----------
    scene : Scene
        The scene.

    Returns
    -------
    int
        A multiple of its `reciprocal_every`.
    """
    return round_up(BUSSI_EVERY, scene)


def barostat_every(scene: Scene) -> int:
    """Return how many steps lie between actions of the barostat.

    Parameters
    ----------
    scene : Scene
        The scene.

    Returns
    -------
    int
        A multiple of its `reciprocal_every`.
    """
    return round_up(MONTE_CARLO_EVERY if scene.barostat == "monte-carlo" else CELL_EVERY, scene)


class EnergyModel(Protocol):
    """What a barostat asks of the simulation: the potential energy of the state as it stands."""

    def potential(self) -> float:
        """Return the potential energy, kJ/mol, and leave the forces that belong to it."""
        ...


@dataclass(slots=True)
class Coupling:
    """What thermostat and barostat carry from step to step; part of every checkpoint.

    Attributes
    ----------
    work_kj_mol : float
        Energy that thermostat, barostat and removal of the centre's motion have put in.
    volume_step_nm3 : float
        Largest trial change of the Monte-Carlo barostat; 0 before the first trial.
    attempts, accepted : int
        Trials of the Monte-Carlo barostat since its step was tuned last.
    """

    work_kj_mol: float = 0.0
    volume_step_nm3: float = 0.0
    attempts: int = 0
    accepted: int = 0

    def as_dict(self) -> dict[str, float]:
        """Return the numbers by name."""
        return asdict(self)


def rescale_velocities(
    kinetic: float, dof: int, *, kT: float, keep: float, seed: int, step: int
) -> float:
    """Return the factor of the stochastic velocity rescaling at a step.

    Parameters
    ----------
    kinetic : float
        Kinetic energy now, kJ/mol.
    dof : int
        Degrees of freedom.
    kT : float
        kJ/mol.
    keep : float
        exp(-Δt/τ).
    seed, step : int
        Name the random numbers.

    Returns
    -------
    float
        Factor for all velocities.
    """
    words = seed_words(seed, STREAM_BUSSI, step)
    return float(rescaling_factor(kinetic, 0.5 * dof * kT, dof, keep, *words))


def scale_molecules(state: State, model: WaterModel, factor: float) -> None:
    """Scale the box and the molecular centres of mass; the molecules keep their shape.

    Parameters
    ----------
    state : State
        Changed in place.
    model : WaterModel
        Gives the masses.
    factor : float
        Of every length.
    """
    shift = (factor - 1.0) * molecular_mean(state.positions, model)
    state.positions += shift[:, None, :]
    state.box *= factor


def scale_centre_velocities(velocities: Array, model: WaterModel, factor: float) -> None:
    """Scale the velocities of the molecular centres of mass, in place.

    Parameters
    ----------
    velocities : (n, 3, 3) float64
        nm/ps.
    model : WaterModel
        Gives the masses.
    factor : float
        Of the centres' velocities; the motion about the centres stays.
    """
    velocities += ((factor - 1.0) * molecular_mean(velocities, model))[:, None, :]


def molecular_mean(values: Array, model: WaterModel) -> Array:
    """Return the mass-weighted mean of each molecule.

    Parameters
    ----------
    values : (n, 3, 3) float64
        Positions or velocities of O, H1, H2.
    model : WaterModel
        Gives the masses.

    Returns
    -------
    (n, 3) float64
        Of the centres of mass.
    """
    w_h = model.mass_h_amu / model.mass_amu
    mean: Array = (1.0 - 2.0 * w_h) * values[:, 0] + w_h * (values[:, 1] + values[:, 2])
    return mean


class CellRescaling:
    """Stochastic cell rescaling, isotropic, of molecular centres.

    Notes
    -----
    With λ = √V the noise does not depend on the volume (equation 9 of the paper, molecular
    pressure): dλ = -(β λ / 2 τ)(P0 - P - kT/2V) dt + √(kT β / 2 τ) dW; centres scale by
    (V'/V)^⅓, their velocities by its inverse. Euler's scheme with the interval between actions.
    """

    def __init__(
        self, model: WaterModel, kT: float, pressure_bar: float, seed: int, *, rate: float
    ) -> None:
        """`rate` is compressibility × interval / τ, in 1/bar."""
        self.model = model
        self.kT = kT
        self.pressure = pressure_bar / BAR_PER_KJ_MOL_NM3
        self.rate = rate * BAR_PER_KJ_MOL_NM3
        self.seed = seed

    def act(self, state: State, pressure_bar: float, step: int) -> float:
        """Scale box and centres of mass; the velocities are left to the caller.

        Parameters
        ----------
        state : State
            Changed in place.
        pressure_bar : float
            Molecular pressure now.
        step : int
            Names the noise.

        Returns
        -------
        float
            Factor of lengths; the centres' velocities need its inverse.
        """
        volume = state.volume_nm3
        root = math.sqrt(volume)
        noise = float(rng.gaussian(*seed_words(self.seed, STREAM_CELL, step), np.uint64(0)))
        drive = self.pressure - pressure_bar / BAR_PER_KJ_MOL_NM3 - 0.5 * self.kT / volume
        change = -0.5 * self.rate * root * drive + math.sqrt(0.5 * self.kT * self.rate) * noise
        factor: float = (1.0 + change / root) ** (2.0 / 3.0)
        scale_molecules(state, self.model, factor)
        return factor


class MonteCarloBarostat:
    """Trial changes of the volume, accepted after Metropolis; molecular centres scale.

    Notes
    -----
    Accepted with min(1, exp(-(ΔU + P0 ΔV - N kT ln(V'/V)) / kT)). The largest trial change starts
    at 1 % of the volume and is tuned every 10 trials (below 25 % accepted: / 1.1, above 75 %:
    × 1.1), as in OpenMM; the tuning soon stands still but is not switched off.
    """

    def __init__(self, model: WaterModel, kT: float, pressure_bar: float, seed: int) -> None:
        self.model = model
        self.kT = kT
        self.pressure = pressure_bar / BAR_PER_KJ_MOL_NM3
        self.seed = seed

    def act(
        self, state: State, forces: Array, energy: EnergyModel, coupling: Coupling, step: int
    ) -> bool:
        """Try one change of the volume.

        Parameters
        ----------
        state : State
            Changed in place if the trial is accepted.
        forces : (n, 3, 3) float64
            Kept in step with the state.
        energy : EnergyModel
            Gives the potential energy before and after.
        coupling : Coupling
            Size of the step and counts, updated.
        step : int
            Names the random numbers.

        Returns
        -------
        bool
            Whether the volume changed.
        """
        words = seed_words(self.seed, STREAM_MONTE_CARLO, step)
        volume = state.volume_nm3
        coupling.volume_step_nm3 = coupling.volume_step_nm3 or 0.01 * volume
        change = coupling.volume_step_nm3 * (2.0 * rng.uniform(*words, np.uint64(0)) - 1.0)
        coupling.attempts += 1
        if volume + change <= 0.0:
            self._tune(coupling, volume)
            return False
        before = energy.potential()
        old = state.positions.copy(), state.box.copy(), forces.copy()
        scale_molecules(state, self.model, ((volume + change) / volume) ** (1.0 / 3.0))
        after = energy.potential()
        weight = (after - before + self.pressure * change) / self.kT
        weight -= state.n_molecules * math.log((volume + change) / volume)
        # `not >` also turns down an energy that is not a number.
        accepted = not weight > 0.0 or rng.uniform(*words, np.uint64(1)) < math.exp(-weight)
        accepted = accepted and math.isfinite(weight)
        if accepted:
            coupling.accepted += 1
            coupling.work_kj_mol += after - before
        else:
            state.positions[:], state.box[:], forces[:] = old
        self._tune(coupling, volume)
        return accepted

    @staticmethod
    def _tune(coupling: Coupling, volume: float) -> None:
        if coupling.attempts < 10:
            return
        if coupling.accepted < 0.25 * coupling.attempts:
            coupling.volume_step_nm3 /= 1.1
        elif coupling.accepted > 0.75 * coupling.attempts:
            coupling.volume_step_nm3 = min(1.1 * coupling.volume_step_nm3, 0.3 * volume)
        coupling.attempts = coupling.accepted = 0


def kinetic_energy_unit(temperature_K: float) -> float:
    """Return kT.

    Parameters
    ----------
    temperature_K : float
        K.

    Returns
    -------
    float
        kJ/mol.
    """
    return BOLTZMANN * temperature_K
