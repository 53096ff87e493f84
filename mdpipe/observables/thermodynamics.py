"""Temperature, pressure, density, energy and drift from the energy table of a scene."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mdpipe.observables.blocks import block_error
from mdpipe.observables.results import Measurements, Scalar, scalar_from_series
from mdpipe.scenes.spec import Scene
from mdpipe.units import BOLTZMANN

Table = Mapping[str, NDArray[np.float64]]

SERIES_POINTS = 1000
"""The report draws at most so many points of a series; longer ones are averaged in blocks."""
SERIES = (
    "temperature_K",
    "pressure_bar",
    "density_g_cm3",
    "potential_kj_mol",
    "conserved_kj_mol",
)


def measure_energies(into: Measurements, energies: Table, scene: Scene, n_molecules: int) -> None:
    """Write the scalars and thinned series that the energy table holds.

    Parameters
    ----------
    into : Measurements
        Gets `temperature, pressure, density, potential_energy`, for an nve scene `energy_drift`,
        and the curves `energy_…`.
    energies : mapping of str to (rows,) float64
        Columns of `energies.npz`; a column that is missing is passed over.
    scene : Scene
        For the ensemble.
    n_molecules : int
        Number of molecules.
    """
    fixed = {"npt": "", "nvt": "fixed by the ensemble", "nve": "fixed by the ensemble"}
    wanted = (
        ("temperature", "temperature_K", "K", 1.0, ""),
        ("pressure", "pressure_bar", "bar", 1.0, ""),
        ("density", "density_g_cm3", "g/cm³", 1.0, fixed[scene.ensemble]),
        ("potential_energy", "potential_kj_mol", "kJ/mol", 1.0 / n_molecules, ""),
    )
    for name, column, unit, factor, note in wanted:
        if column in energies and len(energies[column]):
            into.scalars[name] = scalar_from_series(factor * energies[column], unit, note)
    if "time_ps" not in energies:
        return
    if scene.ensemble == "nve" and "conserved_kj_mol" in energies:
        temperature = into.scalars["temperature"].value if "temperature" in into.scalars else None
        into.scalars["energy_drift"] = energy_drift(
            energies["time_ps"],
            energies["conserved_kj_mol"],
            3 * n_molecules,
            temperature or scene.temperature_K,
        )
    for column in ("time_ps", *(name for name in SERIES if name in energies)):
        into.curves[f"energy_{column}"] = thin(energies[column], SERIES_POINTS)
    if "energy_potential_kj_mol" in into.curves:
        into.curves["energy_potential_kj_mol"] /= n_molecules
    if "energy_conserved_kj_mol" in into.curves:
        into.curves["energy_conserved_kj_mol"] /= n_molecules


def energy_drift(
    time_ps: NDArray[np.float64],
    conserved_kj_mol: NDArray[np.float64],
    n_atoms: int,
    temperature_K: float,
) -> Scalar:
    """Return the slope of the conserved energy in kT/ns per atom.

    Parameters
    ----------
    time_ps, conserved_kj_mol : (rows,) float64
        Time and energy of the whole box.
    n_atoms : int
        Number of atoms (virtual sites do not count).
    temperature_K : float
        For kT.

    Returns
    -------
    Scalar
        Slope of the least-squares line; its error is √12 / length times the block-averaged error
        of the mean of the residuals (equal intervals).
    """
    unit = "kT/ns per atom"
    if len(time_ps) < 3:
        return Scalar(None, None, unit, 0, "run too short: needs 3 rows of energies")
    x = time_ps - time_ps.mean()
    y = conserved_kj_mol - conserved_kj_mol.mean()
    slope = float((x * y).sum() / (x * x).sum())
    factor = 1000.0 / (n_atoms * BOLTZMANN * temperature_K)
    residual = block_error(y - slope * x)
    if residual.error is None:
        return Scalar(factor * slope, None, unit, 0, "too few independent samples for an error")
    error = float(np.sqrt(12.0)) * residual.error / float(np.ptp(time_ps))
    return Scalar(factor * slope, factor * error, unit, residual.n_blocks)


def thin(series: NDArray[np.float64], points: int) -> NDArray[np.float64]:
    """Return a series of at most `points` values, by averaging neighbours.

    Parameters
    ----------
    series : (n,) float64
        Any series.
    points : int
        The most to return.

    Returns
    -------
    (m,) float64
        m ≤ points; the last n mod length samples are left out.
    """
    length = max(1, -(-len(series) // points))
    whole = len(series) // length * length
    thinned: NDArray[np.float64] = series[:whole].reshape(-1, length).mean(axis=1)
    return thinned
