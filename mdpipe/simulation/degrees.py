"""Degrees of freedom, temperature and pressure of a box of water."""

from __future__ import annotations

from mdpipe.models import WaterModel
from mdpipe.units import BAR_PER_KJ_MOL_NM3, BOLTZMANN


def degrees_of_freedom(model: WaterModel, n_molecules: int, *, com_removed: bool) -> int:
    """Count the degrees of freedom that carry kinetic energy.

    Parameters
    ----------
    model : WaterModel
        Rigid molecules have 6, flexible ones 9.
    n_molecules : int
        Number of molecules.
    com_removed : bool
        Whether the motion of the centre of mass is removed (3 fewer).

    Returns
    -------
    int
        The number of degrees of freedom.
    """
    return (6 if model.rigid else 9) * n_molecules - (3 if com_removed else 0)


def kinetic_temperature(kinetic_kj_mol: float, dof: int) -> float:
    """Return the kinetic temperature.

    Parameters
    ----------
    kinetic_kj_mol : float
        Kinetic energy of the degrees of freedom counted, kJ/mol.
    dof : int
        Degrees of freedom.

    Returns
    -------
    float
        2 K / (dof k_B), K.
    """
    return 2.0 * kinetic_kj_mol / (dof * BOLTZMANN)


def molecular_pressure(
    centres_kj_mol: float, virial_trace_kj_mol: float, volume_nm3: float
) -> float:
    """Return the molecular pressure.

    Parameters
    ----------
    centres_kj_mol : float
        Kinetic energy of the molecular centres of mass, kJ/mol.
    virial_trace_kj_mol : float
        Trace of the molecular virial Σ R·F, dispersion tail included, kJ/mol.
    volume_nm3 : float
        Volume, nm³.

    Returns
    -------
    float
        (2 K_centres + tr W) / 3V in bar.
    """
    return (2.0 * centres_kj_mol + virial_trace_kj_mol) / (3.0 * volume_nm3) * BAR_PER_KJ_MOL_NM3
