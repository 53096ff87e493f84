"""What lies beyond the cutoff, on average: of dispersion, and of Coulomb between molecules."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mdpipe.models import WaterModel

__all__ = ["coulomb_tail", "dispersion_tail"]

POINTS = 20
"""Points on a diameter in the mean over orientations: 0.5 % of the tail."""


def dispersion_tail(model: WaterModel, r_cut: float) -> tuple[float, float]:
    """Integrate Lennard-Jones beyond the cutoff, without structure.

    Parameters
    ----------
    model : WaterModel
        C6 and C12.
    r_cut : float
        nm.

    Returns
    -------
    energy, virial : float
        Energy and each diagonal element of the virial, times V/N², kJ/mol nm³.
    """
    r3 = r_cut**3
    energy = 2.0 * math.pi * (model.c12 / (9.0 * r3**3) - model.c6 / (3.0 * r3))
    virial = 2.0 / 3.0 * math.pi * (12.0 * model.c12 / (9.0 * r3**3) - 6.0 * model.c6 / (3.0 * r3))
    return energy, virial


def coulomb_tail(
    alpha: float, r_cut: float, charges: Sequence[float], arms: Sequence[float]
) -> tuple[float, float]:
    """Integrate the screened Coulomb energy beyond a cutoff between oxygens, without structure.

    Parameters
    ----------
    alpha : float
        Splitting, 1/nm.
    r_cut : float
        Cutoff between oxygens, nm.
    charges : sequence of float
        Reduced charges of the sites of a molecule.
    arms : sequence of float
        Their distances from O, nm.

    Returns
    -------
    energy, virial : float
        Energy and each diagonal element of the virial, times V/N², kJ/mol nm³.

    Notes
    -----
    The mean of erfc(αr)/r over all orientations of both molecules, times r, is the mean of
    erfc(α(r + s + t)) over s within the arm of one site and t within that of the other; the
    integrals over r are closed expressions. All of it would vanish for a bare Coulomb potential.
    """
    energy: list[float] = []
    at_cutoff: list[float] = []
    for q, a in zip(charges, arms, strict=True):
        for p, b in zip(charges, arms, strict=True):
            for s in _points(a):
                for t in _points(b):
                    z = r_cut + s + t
                    weight = q * p / POINTS**2
                    energy.append(weight * _integral(alpha, z, s + t))
                    at_cutoff.append(weight * math.erfc(alpha * z))
    whole = 2.0 * math.pi * math.fsum(energy)
    surface = 2.0 * math.pi * r_cut**2 * math.fsum(at_cutoff)
    return whole, whole + surface / 3.0


def _points(arm: float) -> list[float]:
    return [arm * ((2 * k + 1) / POINTS - 1.0) for k in range(POINTS)]


def _integral(alpha: float, z: float, shift: float) -> float:
    """Return the integral of (x - shift) erfc(αx) from z to infinity."""
    erfc = math.erfc(alpha * z)
    gauss = math.exp(-((alpha * z) ** 2)) / (alpha * math.sqrt(math.pi))
    first = 0.5 * z * (gauss - z * erfc) + 0.25 * erfc / alpha**2
    return first - shift * (gauss - z * erfc)
