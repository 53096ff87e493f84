"""The functions of r² that the pair kernels read: screened Coulomb and reaction field.

The Coulomb energy of a pair is q_a q_b (1/r - p(r²)), its force over r is q_a q_b (1/r³ - g(r²)).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

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
    basis = _lagrange_basis([float(node) for node in nodes])
    both = []
    for function in (g, p):
        values = function.reshape(intervals, 6)
        # The solution amplifies rounding by 1e3; the differences within an interval are small.
        differences = values - values[:, :1]
        coefficients = (differences[:, None, :] * basis[None, :, :]).sum(axis=2)
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


def _lagrange_basis(nodes: Sequence[float]) -> Array:
    """Return the coefficients (row: power) of the polynomials that are 1 at one node (column).

    Written out, as all sums of this module: BLAS and LAPACK round otherwise in another
    environment on the same processor, and with the tables every bit of a scene would change.
    """
    basis = np.zeros((len(nodes), len(nodes)))
    for k, own in enumerate(nodes):
        powers = [1.0]
        for other in (node for j, node in enumerate(nodes) if j != k):
            raised = zip([0.0, *powers], [*powers, 0.0], strict=True)
            powers = [(high - other * low) / (own - other) for high, low in raised]
        basis[:, k] = powers
    return basis


def _chebyshev(function: Callable[[Array], Array], degree: int) -> Array:
    """Interpolate at the Chebyshev points of the first kind; coefficients, lowest first."""
    n = degree + 1
    angles = [math.pi * (k + 0.5) / n for k in range(n)]
    values = [float(y) for y in function(np.cos(np.array(angles)))]
    sums = [
        math.fsum(y * math.cos(j * angle) for y, angle in zip(values, angles, strict=True))
        for j in range(n)
    ]
    return np.array([sums[0] / n, *(2.0 * s / n for s in sums[1:])])


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

    def function(column: int, u: Array) -> Array:
        place = 0.5 * (u + 1.0) * intervals
        k = np.minimum(place.astype(int), intervals - 1)
        rows = table[k, column : column + 6]
        return np.asarray((rows * (place - k)[:, None] ** np.arange(6)).sum(axis=1))

    fits = []
    for column in (0, 6):
        power = np.polynomial.chebyshev.cheb2poly(_chebyshev(partial(function, column), degree))
        coefficients = np.zeros(degree + 1)
        coefficients[: len(power)] = power
        fits.append(coefficients)
    return fits[0], fits[1]
