"""The functions of r² that the pair kernels read: screened Coulomb and reaction field.

The Coulomb energy of a pair is q_a q_b (1/r - p(r²)), its force over r is q_a q_b (1/r³ - g(r²)).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "fit_polynomials",
    "reaction_field",
    "screened_coulomb",
    "tabulate",
    "tabulate_reaction_field",
]

Array = NDArray[np.float64]


def screened_coulomb(r2: Array, alpha: float) -> tuple[Array, Array]:
    """Return g and p of PME: minus the force over distance, and the energy, of erf(αr)/r.

    Parameters
    ----------
    r2 : (n,) float64
        Squared distances, nm².
    alpha : float
        1/nm.

    Returns
    -------
    tuple of (n,) float64
        g = [erf(αr) - 2αr/√π exp(-α²r²)]/r³ and p = erf(αr)/r, by a series of positive terms
        that loses no digits at small r.
    """
    t = alpha * alpha * r2
    term = np.full_like(t, 2.0 / math.sqrt(math.pi)) * np.exp(-t)
    p = term.copy()
    g = np.zeros_like(t)
    for n in range(1, 400):
        g_term = term * 2.0 / (2 * n + 1)
        g += g_term
        term = g_term * t
        p += term
    return alpha**3 * g, alpha * p


def tabulate(alpha: float, r_cut: float, intervals: int = 1024) -> Array:
    """Tabulate g and p as polynomials of degree 5 on equal intervals of r².

    Parameters
    ----------
    alpha : float
        1/nm.
    r_cut : float
        End of the table, nm.
    intervals : int
        Number of intervals.

    Returns
    -------
    (intervals, 12) float64
        Coefficients in the fraction of the interval, lowest first: g, then p.
    """
    nodes = 0.5 - 0.5 * np.cos(np.pi * (np.arange(6) + 0.5) / 6)
    r2 = (np.arange(intervals)[:, None] + nodes[None, :]) * (r_cut**2 / intervals)
    g, p = screened_coulomb(r2.ravel(), alpha)
    solve = np.linalg.inv(np.vander(nodes, 6, increasing=True))
    both = []
    for function in (g, p):
        values = function.reshape(intervals, 6)
        # The solution amplifies rounding by 1e3; the differences within an interval are small.
        coefficients = (values - values[:, :1]) @ solve.T
        coefficients[:, 0] += values[:, 0]
        both.append(coefficients)
    return np.ascontiguousarray(np.hstack(both))


def tabulate_reaction_field(epsilon: float | None, r_cut: float) -> Array:
    """Tabulate g = 2 k_rf and p = c_rf - k_rf r² in the form of `tabulate`, in one interval.

    Parameters
    ----------
    epsilon : float or None
        Relative permittivity beyond the cutoff; None is a conductor.
    r_cut : float
        nm.

    Returns
    -------
    (1, 12) float64
        Coefficients.
    """
    k_rf, c_rf = reaction_field(epsilon, r_cut)
    table = np.zeros((1, 12))
    table[0, 0] = 2.0 * k_rf
    table[0, 6] = c_rf
    table[0, 7] = -k_rf * r_cut**2
    return table


def reaction_field(epsilon: float | None, r_cut: float) -> tuple[float, float]:
    """Return k_rf (1/nm³) and c_rf (1/nm).

    Parameters
    ----------
    epsilon : float or None
        Relative permittivity beyond the cutoff; None is a conductor.
    r_cut : float
        nm.

    Returns
    -------
    tuple of 2 float
        (ε-1)/((2ε+1) r_cut³) and 3ε/((2ε+1) r_cut).
    """
    if epsilon is None:
        return 0.5 / r_cut**3, 1.5 / r_cut
    return (epsilon - 1.0) / ((2.0 * epsilon + 1.0) * r_cut**3), 3.0 * epsilon / (
        (2.0 * epsilon + 1.0) * r_cut
    )


def fit_polynomials(table: Array, degree: int) -> tuple[Array, Array]:
    """Fit one polynomial each to the tabulated g and p.

    Parameters
    ----------
    table : (intervals, 12) float64
        From `tabulate` or `tabulate_reaction_field`.
    degree : int
        Degree.

    Returns
    -------
    tuple of (degree + 1,) float64
        Coefficients in u = 2 r²/r_cut² - 1, lowest first.
    """
    intervals = table.shape[0]

    def function(u: Array, column: int) -> Array:
        place = 0.5 * (u + 1.0) * intervals
        k = np.minimum(place.astype(int), intervals - 1)
        rows = table[k, column : column + 6]
        return np.asarray((rows * (place - k)[:, None] ** np.arange(6)).sum(axis=1))

    fits = []
    for column in (0, 6):
        chebyshev = np.polynomial.Chebyshev.interpolate(function, degree, args=(column,))
        coefficients = np.zeros(degree + 1)
        power = chebyshev.convert(kind=np.polynomial.Polynomial).coef
        coefficients[: len(power)] = power
        fits.append(coefficients)
    return fits[0], fits[1]
