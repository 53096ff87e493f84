"""Choice of alpha, grid and order of PME."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import StudyError
from mdpipe.kernels.matrix import determinant3
from mdpipe.models import WaterModel
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation.pme_cost import cheapest_grid, friendly_sizes, reciprocal_cost
from mdpipe.units import COULOMB

__all__ = ["PmePlan", "plan_pme", "spline_moduli"]

Array = NDArray[np.float64]

TYPICAL_FORCE = 1100.0
"""RMS force on an atom of liquid water, kJ/mol/nm; the tolerance is relative to it."""

# Fitted to the reference configurations (five models, liquid and ice, alpha 2.8 to 4.5 per nm,
# spacing 0.05 to 0.14 nm): within a factor 1.5 of the errors found there.
_REAL = 0.75
_REAL_MOLECULAR = (0.075, 0.64)
_RECIPROCAL = {4: (0.033, 1.5), 5: (0.016, 3.5)}

_REAL_SHARE = 0.3
"""Part of the error that a cutoff between oxygens may leave in real space.

What it cuts off does not average out in the virial: without `mdpipe.simulation.tails` the pressure
of liquid water would be 30 bar too low with half of an error of 3.6e-4 there. With the tails and
this part of 1.7e-4 it is within 2 bar, interpolation included.
"""

STEEPEST = 4.2
"""Largest alpha r_cut whose screening float32 polynomials follow."""

HUGE = 300.0
"""Exponents are cut here: grids so coarse are only passed by in the search."""


class PmePlan(NamedTuple):
    """Parameters of PME: splitting 1/nm, grid, spline order, estimated RMS force errors.

    The errors are relative to the typical force on an atom of liquid water.
    """

    alpha: float
    grid: tuple[int, int, int]
    order: int
    real_error: float
    reciprocal_error: float


def real_error(
    alpha: float,
    r_cut: float,
    charge2: float,
    n_sites: int,
    volume: float,
    *,
    molecular: bool = False,
) -> float:
    """Estimate the RMS force error of the real-space cutoff.

    Parameters
    ----------
    alpha, r_cut : float
        Splitting in 1/nm, cutoff in nm.
    charge2 : float
        k_e times the sum of the squared charges, kJ/mol nm.
    n_sites : int
        Number of charged sites.
    volume : float
        nm³.
    molecular : bool
        Whether the cutoff is between oxygens and whole molecules count within it.

    Returns
    -------
    float
        kJ/mol/nm.

    Notes
    -----
    Kolafa and Perram, Mol. Simul. 9, 351 (1992), DOI 10.1080/08927029208049126, times 0.75, which
    the pair correlations in water leave of it (measured on the reference configurations). With a
    cutoff between oxygens sites of up to two bond lengths less are cut off, but never part of a
    molecule: both numbers are fitted to the same configurations, alpha 2.8 to 4.0 per nm.
    """
    bare = 2.0 * charge2 / math.sqrt(n_sites * r_cut * volume)
    factor, decay = _REAL_MOLECULAR if molecular else (_REAL, 1.0)
    return factor * bare * math.exp(-decay * (alpha * r_cut) ** 2)


def reciprocal_error(alpha: float, spacing: float, order: int, charge2_molecule: float) -> float:
    """Estimate the RMS force error of the B-spline interpolation.

    Parameters
    ----------
    alpha, spacing : float
        Splitting in 1/nm, grid spacing along a box vector in nm.
    order : int
        4 or 5.
    charge2_molecule : float
        k_e times the sum of the squared charges of one molecule, kJ/mol nm.

    Returns
    -------
    float
        kJ/mol/nm.

    Notes
    -----
    The leading term (alpha h)^order of Essmann et al., J. Chem. Phys. 103, 8577 (1995),
    DOI 10.1063/1.470117; the prefactor, the power of alpha and the growth at large alpha h are
    fitted to the reference configurations.
    """
    prefactor, growth = _RECIPROCAL[order]
    x = alpha * spacing
    growing = math.exp(min(growth * x * x, HUGE))
    return float(prefactor * charge2_molecule * alpha**1.25 * x**order * growing)


def plan_pme(
    model: WaterModel, nonbonded: Nonbonded, box: Array, n_molecules: int, *, mixed: bool
) -> PmePlan:
    """Choose what the settings leave open.

    Parameters
    ----------
    model : WaterModel
        Charges.
    nonbonded : Nonbonded
        Cutoff, tolerance, and what is given of alpha, grid and order.
    box : (3, 3) float64
        Rows in nm.
    n_molecules : int
        Number of molecules.
    mixed : bool
        Whether the arithmetic is float32, which bounds alpha.

    Returns
    -------
    PmePlan
        The cheapest plan whose estimated error stays below the tolerance.
    """
    charge2_molecule = COULOMB * 6.0 * model.charge_h_e**2
    volume = abs(determinant3(box))
    aim = nonbonded.pme_tolerance * TYPICAL_FORCE
    r_cut = nonbonded.r_cut_nm
    charge2 = charge2_molecule * n_molecules

    def real(alpha: float) -> float:
        return real_error(alpha, r_cut, charge2, 3 * n_molecules, volume, molecular=mixed)

    lengths = np.linalg.norm(box, axis=1)
    orders = (nonbonded.pme_order,) if nonbonded.pme_order else (4, 5)
    balance = mixed and nonbonded.pme_alpha_per_nm is None and nonbonded.pme_grid is None
    plans = []
    for order in orders:

        def reciprocal(alpha: float, spacing: float, order: int = order) -> float:
            return reciprocal_error(alpha, spacing, order, charge2_molecule)

        if balance:
            alpha, grid = _balance(real, reciprocal, 0.97 * aim, r_cut, lengths, order, n_molecules)
        else:
            alpha = nonbonded.pme_alpha_per_nm or _steepness(real, 0.35 * aim, r_cut)
            grid = nonbonded.pme_grid or _least_grid(alpha, order, 0.9 * aim, reciprocal, lengths)
        worst = max(
            reciprocal(alpha, float(length) / k) for length, k in zip(lengths, grid, strict=True)
        )
        if balance:
            cost = reciprocal_cost(grid, order, n_molecules)
        else:
            points = math.prod(grid)
            # Relative costs of one grid point of the two transforms, and of one site and point.
            cost = points * math.log2(points) * 0.35 + 3 * n_molecules * 2.0 * order**3
        errors = (real(alpha) / TYPICAL_FORCE, worst / TYPICAL_FORCE)
        plans.append((cost, PmePlan(alpha, grid, order, *errors)))
    plan = min(plans, key=lambda item: item[0])[1]
    if min(plan.grid) < 2 * plan.order:
        raise StudyError(
            f"nonbonded.pme_grid must be at least {2 * plan.order} in each direction, got "
            f"{plan.grid}; use a finer grid"
        )
    if mixed:
        _check_steepness(plan.alpha, r_cut)
    return plan


def _check_steepness(alpha: float, r_cut: float) -> None:
    if alpha * r_cut > STEEPEST:
        raise StudyError(
            f"precision = 'mixed' needs pme_alpha_per_nm x r_cut_nm <= {STEEPEST}, got "
            f"{alpha * r_cut:.3g}; use precision = 'double' or a larger pme_tolerance"
        )


def _steepness(real: Callable[[float], float], aim: float, r_cut: float) -> float:
    """Return the alpha that leaves an error in real space, which falls as a Gaussian of alpha.

    A third of the error there costs little.
    """
    decay = math.log(real(0.0) / real(1.0 / r_cut))
    return math.sqrt(max(math.log(real(0.0) / aim) / decay, 1.0)) / r_cut


def _balance(
    real: Callable[[float], float],
    reciprocal: Callable[[float, float], float],
    aim: float,
    r_cut: float,
    lengths: Array,
    order: int,
    n_molecules: int,
) -> tuple[float, tuple[int, int, int]]:
    """Choose the coarsest grid that keeps the error, then the alpha that is best for it."""
    _check_steepness(_steepness(real, 0.8 * aim, r_cut), r_cut)

    least_alpha = min(_steepness(real, _REAL_SHARE * aim, r_cut), STEEPEST / r_cut)

    def best_alpha(spacing: float) -> float:
        # The real error falls with alpha, the other one rises: one minimum.
        low, high = least_alpha, STEEPEST / r_cut
        for _ in range(50):
            a, b = low + 0.4 * (high - low), low + 0.6 * (high - low)
            errors = [math.hypot(real(x), reciprocal(x, spacing)) for x in (a, b)]
            low, high = (low, b) if errors[0] < errors[1] else (a, high)
        return 0.5 * (low + high)

    fine, coarse = 0.0, float(lengths.min())
    for _ in range(40):
        middle = 0.5 * (fine + coarse)
        alpha = best_alpha(middle)
        if math.hypot(real(alpha), reciprocal(alpha, middle)) > aim:
            coarse = middle
        else:
            fine = middle
    kx, ky, kz = (max(2 * order, math.ceil(length / coarse)) for length in lengths)
    grid = cheapest_grid((kx, ky, kz), order, n_molecules)
    return best_alpha(max(float(length) / k for length, k in zip(lengths, grid, strict=True))), grid


def _least_grid(
    alpha: float,
    order: int,
    aim: float,
    reciprocal: Callable[[float, float], float],
    lengths: Array,
) -> tuple[int, int, int]:
    low, spacing = 0.0, float(lengths.min())
    for _ in range(60):
        middle = 0.5 * (low + spacing)
        if reciprocal(alpha, middle) > aim:
            spacing = middle
        else:
            low = middle
    kx, ky, kz = (
        next(friendly_sizes(max(2 * order, math.ceil(length / spacing)))) for length in lengths
    )
    return kx, ky, kz


def spline_moduli(grid: tuple[int, int, int], order: int) -> Array:
    """Tabulate 1/|b(m)|² of the three directions, one after the other.

    Parameters
    ----------
    grid : tuple of 3 int
        Sizes.
    order : int
        Spline order.

    Returns
    -------
    (kx + ky + kz,) float64
        Where it vanishes (odd orders, m = k/2), the mean of the neighbours, as usual.
    """
    values = np.zeros(order)
    values[0] = 1.0
    # Cardinal spline M_n at the integers 1 ... n-1, by the recursion in n.
    for n in range(2, order + 1):
        shifted = np.concatenate([[0.0], values[:-1]])
        k = np.arange(1, order + 1)
        values = (k * values + (n - k) * shifted) / (n - 1) if n > 2 else values
    knots = values[: order - 1]
    parts = []
    for size in grid:
        phase = np.exp(2j * np.pi * np.outer(np.arange(size), np.arange(order - 1)) / size)
        moduli = np.abs((phase * knots).sum(axis=1)) ** 2
        for m in np.flatnonzero(moduli < 1e-7):
            moduli[m] = 0.5 * (moduli[m - 1] + moduli[(m + 1) % size])
        parts.append(moduli)
    return np.concatenate(parts)
