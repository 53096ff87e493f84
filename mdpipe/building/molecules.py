"""Placing and replicating whole water molecules."""

from __future__ import annotations

import itertools
import math

import numpy as np

from mdpipe.failures import UsageError
from mdpipe.models import WaterModel
from mdpipe.state import Array, State
from mdpipe.units import density_g_cm3 as density_in


def place_molecules(oxygens: Array, first: Array, second: Array, model: WaterModel) -> Array:
    """Put rigid molecules on oxygen sites so that they point their hydrogens two given ways.

    Parameters
    ----------
    oxygens : (n, 3) float64
        Oxygen positions, nm.
    first, second : (n, 3) float64
        Directions that the hydrogens point to; where the angle between them is not the model's,
        bisector and plane are kept.
    model : WaterModel
        Bond length and angle.

    Returns
    -------
    (n, 3, 3) float64
        O, H1, H2 of each molecule, nm.
    """
    first = first / np.linalg.norm(first, axis=1, keepdims=True)
    second = second / np.linalg.norm(second, axis=1, keepdims=True)
    bisector = first + second
    bisector /= np.linalg.norm(bisector, axis=1, keepdims=True)
    across = first - second
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    half = math.radians(model.angle_hoh_deg) / 2.0
    along = model.r_oh_nm * math.cos(half) * bisector
    aside = model.r_oh_nm * math.sin(half) * across
    return np.stack([oxygens, oxygens + along + aside, oxygens + along - aside], axis=1)


def random_directions(n: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Draw pairs of perpendicular unit vectors, uniform over all orientations.

    Parameters
    ----------
    n : int
        How many.
    random : numpy.random.Generator
        Seeded by the caller.

    Returns
    -------
    first, second : (n, 3) float64
        Perpendicular unit vectors.
    """
    first = random.normal(size=(n, 3))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(first, random.normal(size=(n, 3)))
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    return first, second


def at_rest(positions: Array, box: Array) -> State:
    """Return a state without velocities.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        Whole molecules, nm.
    box : (3, 3) float64
        Rows, nm.

    Returns
    -------
    State
        At time 0.
    """
    return State(np.ascontiguousarray(positions), np.zeros_like(positions), np.array(box, float))


def supercell(state: State, repeats: tuple[int, int, int]) -> State:
    """Repeat a box along its three vectors.

    Parameters
    ----------
    state : State
        The box to repeat.
    repeats : (int, int, int)
        How often along a, b and c.

    Returns
    -------
    State
        Image after image; velocities are repeated too.

    Raises
    ------
    UsageError
        If a repeat is below 1.
    """
    if min(repeats) < 1:
        raise UsageError(f"a supercell repeats at least once each way, got {repeats}")
    shifts = np.array(list(itertools.product(*(range(k) for k in repeats))), float) @ state.box
    positions = (state.positions[None] + shifts[:, None, None, :]).reshape(-1, 3, 3)
    velocities = np.tile(state.velocities, (len(shifts), 1, 1))
    box = state.box * np.array(repeats, float)[:, None]
    return State(positions, velocities, box, state.time_ps, state.step)


def volume_nm3(n_molecules: int, density_g_cm3: float) -> float:
    """Return the volume that a number of water molecules fills at a density.

    Parameters
    ----------
    n_molecules : int
        Number of molecules.
    density_g_cm3 : float
        Mass density, g/cm³.

    Returns
    -------
    float
        Volume, nm³.

    Raises
    ------
    UsageError
        If there are no molecules, or the density is no density of water.
    """
    if n_molecules < 1:
        raise UsageError(f"a box needs at least 1 molecule, got {n_molecules}")
    if not 0.05 <= density_g_cm3 <= 1.6:
        raise UsageError(
            f"density_g_cm3 must be 0.05 to 1.6 g/cm³ for water, got {density_g_cm3}; give g/cm³"
        )
    return density_in(n_molecules, 1.0) / density_g_cm3
