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
    "column_sums",
    "fit_force",
    "fit_polynomials",
    "fit_start",
    "force_degree",
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


def _look_up(table: Array, column: int, u: Array) -> Array:
    """Evaluate a tabulated function at u = 2 r²/r_table² - 1."""
    intervals = table.shape[0]
    place = 0.5 * (u + 1.0) * intervals
    k = np.minimum(place.astype(int), intervals - 1)
    rows = table[k, column : column + 6]
    return np.asarray((rows * (place - k)[:, None] ** np.arange(6)).sum(axis=1))


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
        Coefficients in u = 2 r²/r_table² - 1, lowest first.
    """
    return _interpolate(partial(_look_up, table, 0), degree), _interpolate(
        partial(_look_up, table, 6), degree
    )


def _interpolate(function: Callable[[Array], Array], degree: int) -> Array:
    power = np.polynomial.chebyshev.cheb2poly(_chebyshev(function, degree))
    coefficients = np.zeros(degree + 1)
    coefficients[: len(power)] = power
    return coefficients


def fit_start(table: Array, part: float, degree: int) -> Array:
    """Fit a polynomial to the tabulated g at short distances.

    Parameters
    ----------
    table : (intervals, 12) float64
        From `tabulate`.
    part : float
        The fit reaches over this part of r_table².
    degree : int
        Degree.

    Returns
    -------
    (degree + 1,) float64
        Coefficients in u = 2 r²/(part r_table²) - 1, lowest first.
    """
    return _interpolate(lambda u: _look_up(table, 0, (u + 1.0) * part - 1.0), degree)


NODES = 600
"""Points at which the least-squares fit looks."""

FORCE_DEGREES = range(10, 17)
"""Degrees that the vector kernels are compiled for."""


def force_degree(table: Array, accuracy: float) -> int:
    """Choose the degree of the polynomial for g.

    Parameters
    ----------
    table : (intervals, 12) float64
        From `tabulate`.
    accuracy : float
        Relative error that forces have at any rate.

    Returns
    -------
    int
        The lowest that adds less than a quarter to it: the error of g in 1/nm³, weighted as in
        `fit_force`, makes 0.3 of it in forces (measured in liquid water, alpha 3 to 4 per nm).
    """
    u, weights = _force_nodes()
    values = _look_up(table, 0, u)
    # Below this the rounding of float32 counts.
    limit = 0.25 / 0.3 * max(accuracy, 2e-5)
    for degree in FORCE_DEGREES:
        error = np.polynomial.polynomial.polyval(u, fit_force(table, degree)) - values
        if math.sqrt(math.fsum(weights * error**2) / math.fsum(weights)) < limit:
            break
    return degree


def _force_nodes() -> tuple[Array, Array]:
    u = np.array([math.cos(math.pi * (k + 0.5) / NODES) for k in range(NODES)])
    x = 0.5 * (u + 1.0)
    # r⁴ dr, as pairs grow with r² and their force errors with r; few reach the end of the table.
    return u, np.sqrt(1.0 - u * u) * x * np.sqrt(x) * (1.0 - x)


def fit_force(table: Array, degree: int) -> Array:
    """Fit a polynomial to the tabulated g for the least RMS error of forces.

    Parameters
    ----------
    table : (intervals, 12) float64
        From `tabulate`.
    degree : int
        Degree.

    Returns
    -------
    (degree + 1,) float64
        Coefficients in u = 2 r²/r_table² - 1, lowest first.

    Notes
    -----
    Least squares with the number of pairs at a distance times r² as the weight, by polynomials
    that are orthogonal on the nodes (Forsythe, J. Soc. Ind. Appl. Math. 5, 74 (1957),
    DOI 10.1137/0105007). The fit is loose where r is so small that no two sites ever are.
    """
    u, weights = _force_nodes()
    values = _look_up(table, 0, u)
    before, now = np.zeros(NODES), np.ones(NODES)
    powers_before, powers = np.zeros(degree + 1), np.eye(degree + 1)[0]
    answer = np.zeros(degree + 1)
    norm_before = 1.0
    for k in range(degree + 1):
        norm = math.fsum(weights * now * now)
        answer = answer + math.fsum(weights * now * values) / norm * powers
        a = math.fsum(weights * u * now * now) / norm
        b = norm / norm_before if k else 0.0
        now, before = (u - a) * now - b * before, now
        raised = np.concatenate([[0.0], powers[:-1]])
        powers, powers_before = raised - a * powers - b * powers_before, powers
        norm_before = norm
    return answer


def column_sums(rows: Array) -> Array:
    """Add rows one after the other: a fixed order, whatever the shape.

    Parameters
    ----------
    rows : (k, m) float64
        Rows.

    Returns
    -------
    (m,) float64
        Their sum.
    """
    total = np.zeros(rows.shape[1])
    for row in rows:
        total = total + row
    return total
