"""Make a start state fit a water model: exact geometry, velocities on the constraints."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError
from mdpipe.kernels import integrate, rng, settle
from mdpipe.models import WaterModel
from mdpipe.state import State
from mdpipe.units import BOLTZMANN

STREAM_VELOCITIES = 1

GEOMETRY_TOLERANCE = 1e-10
"""Relative bond error below which positions are taken as they are, bit for bit."""

FLATTEST = 1e-3
"""Length of the sum or difference of the unit bond vectors below which there is no plane."""


def water_constants(model: WaterModel, *, unit_masses: bool = False) -> NDArray[np.float64]:
    """Return the constants of the constraint kernels for a model.

    Parameters
    ----------
    model : WaterModel
        The water model.
    unit_masses : bool
        Constrain as if all atoms weighed the same, as steepest descent needs it.

    Returns
    -------
    (12,) float64
        See `mdpipe.kernels.settle.constants`.
    """
    mass_o, mass_h = (1.0, 1.0) if unit_masses else (model.mass_o_amu, model.mass_h_amu)
    return settle.constants(mass_o, mass_h, model.r_oh_nm, model.r_hh_nm, rigid=model.rigid)


def geometry_error(positions: NDArray[np.float64], model: WaterModel) -> float:
    """Return the largest relative error of a bond length or of the H-H distance.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2, nm.
    model : WaterModel
        The water model.

    Returns
    -------
    float
        max |r/r0 - 1|.
    """
    worst = 0.0
    for i, j, length in ((0, 1, model.r_oh_nm), (0, 2, model.r_oh_nm), (1, 2, model.r_hh_nm)):
        distance = np.linalg.norm(positions[:, j] - positions[:, i], axis=1)
        worst = max(worst, float(np.abs(distance / length - 1.0).max()))
    return worst


def rebuild_geometry(positions: NDArray[np.float64], model: WaterModel) -> NDArray[np.float64]:
    """Give each molecule the model's geometry: same O, same bisector, same plane.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2, nm.
    model : WaterModel
        A rigid model.

    Returns
    -------
    (n, 3, 3) float64
        New positions, nm.

    Raises
    ------
    InputError
        If H-O-H of some molecule is straight or folded, so that it has no plane.
    """
    bond_1 = positions[:, 1] - positions[:, 0]
    bond_2 = positions[:, 2] - positions[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        unit_1 = bond_1 / np.linalg.norm(bond_1, axis=1, keepdims=True)
        unit_2 = bond_2 / np.linalg.norm(bond_2, axis=1, keepdims=True)
        along, across = unit_1 + unit_2, unit_1 - unit_2
        lengths = np.linalg.norm([along, across], axis=2)
        along /= lengths[0][:, None]
        across /= lengths[1][:, None]
    bad = ~(lengths > FLATTEST).all(axis=0)
    if bad.any():
        raise InputError(
            f"molecule {int(np.flatnonzero(bad)[0])} of the start state has no plane "
            f"(H-O-H straight or folded, {int(bad.sum())} such); give whole, bent water molecules"
        )
    half = math.radians(model.angle_hoh_deg) / 2.0
    up = model.r_oh_nm * math.cos(half) * along
    side = model.r_oh_nm * math.sin(half) * across
    oxygen = positions[:, 0]
    return np.stack([oxygen, oxygen + up + side, oxygen + up - side], axis=1)


def remove_centre_motion(velocities: NDArray[np.float64], model: WaterModel) -> None:
    """Take the velocity of the centre of mass from every atom, in place.

    Parameters
    ----------
    velocities : (n, 3, 3) float64
        nm/ps.
    model : WaterModel
        Gives the masses.
    """
    momentum = model.mass_o_amu * velocities[:, 0].sum(axis=0) + model.mass_h_amu * velocities[
        :, 1:
    ].sum(axis=(0, 1))
    velocities -= momentum / (model.mass_amu * velocities.shape[0])


def project_velocities(
    positions: NDArray[np.float64], velocities: NDArray[np.float64], model: WaterModel
) -> None:
    """Take from the velocities what would stretch a bond, in place (rigid models).

    Parameters
    ----------
    positions, velocities : (n, 3, 3) float64
        nm and nm/ps, C-contiguous.
    model : WaterModel
        The water model.
    """
    n = positions.shape[0]
    flat = velocities.reshape(n, 9)
    integrate.advance(
        integrate.KICK,
        positions.reshape(n, 9),
        flat,
        np.zeros((n, 9)),
        water_constants(model),
        1.0,
        0.0,
        np.zeros((integrate.n_blocks(n), integrate.N_SUMS)),
    )


def draw_velocities(
    positions: NDArray[np.float64], model: WaterModel, temperature: float, seed: int
) -> NDArray[np.float64]:
    """Draw velocities from the Maxwell-Boltzmann distribution on the constraints.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        nm.
    model : WaterModel
        The water model.
    temperature : float
        K.
    seed : int
        Names the random numbers.

    Returns
    -------
    (n, 3, 3) float64
        nm/ps, without motion of the centre of mass; the kinetic energy is sampled, not set.
    """
    velocities = np.empty(positions.shape)
    rng.fill_normals(velocities.reshape(-1), *seed_words(seed, STREAM_VELOCITIES, 0))
    kT = BOLTZMANN * temperature
    velocities[:, 0] *= math.sqrt(kT / model.mass_o_amu)
    velocities[:, 1:] *= math.sqrt(kT / model.mass_h_amu)
    if model.rigid:
        project_velocities(positions, velocities, model)
    remove_centre_motion(velocities, model)
    return velocities


def seed_words(seed: int, stream: int, step: int) -> tuple[np.uint64, np.uint64, np.uint64]:
    """Return seed, stream and step as the random-number kernels want them.

    Parameters
    ----------
    seed, stream, step : int
        Any integers; steps of the equilibration are negative and wrap to large counters.

    Returns
    -------
    tuple of three uint64
        Modulo 2**64.
    """
    return np.uint64(seed % 2**64), np.uint64(stream), np.uint64(step % 2**64)


def prepare_start(state: State, model: WaterModel, temperature: float, seed: int) -> State:
    """Return a copy of a state that fits the model.

    Parameters
    ----------
    state : State
        Whole molecules; all velocities zero means that they shall be drawn.
    model : WaterModel
        The water model.
    temperature : float
        Temperature of drawn velocities, K.
    seed : int
        Names the random numbers.

    Returns
    -------
    State
        Exact geometry (rigid models); velocities on the constraints.

    Raises
    ------
    InputError
        If a position, velocity or box is not finite, or a molecule has no plane.
    """
    fit = state.copy()
    fit.positions = np.ascontiguousarray(fit.positions, np.float64)
    fit.velocities = np.ascontiguousarray(fit.velocities, np.float64)
    fit.box = np.ascontiguousarray(fit.box, np.float64)
    for name in ("positions", "velocities", "box"):
        if not np.isfinite(getattr(fit, name)).all():
            raise InputError(f"{name} of the start state must be finite, got NaN or infinity")
    if fit.n_molecules < 2:
        raise InputError(f"a scene needs at least 2 molecules, got {fit.n_molecules}")
    if model.rigid and geometry_error(fit.positions, model) > GEOMETRY_TOLERANCE:
        fit.positions = rebuild_geometry(fit.positions, model)
    if not fit.velocities.any():
        fit.velocities = draw_velocities(fit.positions, model, temperature, seed)
    elif model.rigid:
        project_velocities(fit.positions, fit.velocities, model)
    return fit
