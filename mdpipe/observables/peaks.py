"""Extrema of a radial distribution function, by local polynomial fits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial.polynomial import polyder, polyval
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FIRST_WINDOW_NM = 0.025
SECOND_WINDOW_NM = 0.035
MINIMUM_WINDOW_NM = 0.03
GRID_POINTS = 201
"""Where the slope is looked at for changes of sign: a hundredth of the window apart."""
BISECTIONS = 50
"""From a hundredth down to the last bit."""


class Extremum(NamedTuple):
    """Position (nm) and height of an extremum; NaN where there is none."""

    position: float
    height: float


def _fit(r: Floats, g: Floats, centre: float, half: float, degree: int) -> Extremum:
    """Fit a polynomial around a first guess and return its extremum nearest to the guess."""
    near = np.abs(r - centre) <= half
    if near.sum() <= degree + 1:
        return Extremum(float("nan"), float("nan"))
    polynomial = _fitted((r[near] - centre) / half, g[near], degree)
    at = _root_nearest_to_zero(polyder(polynomial).astype(np.float64))
    if at is None:
        return Extremum(float("nan"), float("nan"))
    return Extremum(centre + half * at, float(polyval(at, polynomial)))


def _fitted(x: Floats, y: Floats, degree: int) -> Floats:
    """Return the coefficients, lowest first, of the polynomial with the least squared residues.

    It is built of polynomials that are orthogonal on the points (G. E. Forsythe, J. Soc. Indust.
    Appl. Math. 5, 74 (1957), doi:10.1137/0105007): a solver of LAPACK rounds otherwise on another
    processor, and these numbers are printed.
    """
    total, before, now = np.zeros((3, degree + 1))
    now[0], norm_before = 1.0, 1.0
    for _ in range(degree + 1):
        values = polyval(x, now)
        norm = float((values * values).sum())
        total += now * (float((values * y).sum()) / norm)
        middle = float((x * values * values).sum()) / norm
        # the highest coefficient, which rolls to the front, is zero until the last round
        following = np.roll(now, 1) - middle * now - norm / norm_before * before
        before, now, norm_before = now, following, norm
    return total


def _root_nearest_to_zero(polynomial: Floats) -> float | None:
    """Return the root in [-1, 1] that is nearest to 0, None if there is none."""
    grid = np.linspace(-1.0, 1.0, GRID_POINTS)
    positive = polyval(grid, polynomial) > 0.0
    changes = np.flatnonzero(positive[1:] != positive[:-1])
    if len(changes) == 0:
        return None
    first = changes[np.abs(grid[changes] + grid[changes + 1]).argmin()]
    low, high = float(grid[first]), float(grid[first + 1])
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if (polyval(middle, polynomial) > 0.0) == positive[first]:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _smooth(g: Floats, width: int) -> Floats:
    """Return a running mean; beyond the ends the values count as zero."""
    padded = np.pad(g, (width // 2, (width - 1) // 2))
    mean: Floats = sliding_window_view(padded, width).sum(axis=1) / width
    return mean


def find_extrema(r: Floats, g: Floats) -> tuple[Extremum, Extremum, Extremum]:
    """Return first peak, first minimum and second peak of g_OO of water.

    Parameters
    ----------
    r : (n,) float64
        Centres of the bins, nm, equally spaced.
    g : (n,) float64
        The distribution function.

    Returns
    -------
    tuple of Extremum
        First peak (sixth degree over ± 0.025 nm around the highest bin), first minimum and second
        peak (cubic over ± 0.03 and ± 0.035 nm around the extreme of a mean over 0.02 nm).
    """
    none = Extremum(float("nan"), float("nan"))
    window = (r > 0.2) & (r < 0.36)
    if not window.any() or g[window].max() <= 0.0:
        return none, none, none
    width = max(1, round(0.02 / (r[1] - r[0])))
    start = float(r[window][_smooth(g, max(1, width // 4))[window].argmax()])
    first = _fit(r, g, start, FIRST_WINDOW_NM, 6)
    smooth = _smooth(g, width)
    valley = (r > start + 0.02) & (r < start + 0.14)
    hill = (r > 0.38) & (r < min(0.56, float(r[-1]) - 0.02))
    if not valley.any() or not hill.any():
        return first, none, none
    minimum = _fit(r, g, float(r[valley][smooth[valley].argmin()]), MINIMUM_WINDOW_NM, 3)
    second = _fit(r, g, float(r[hill][smooth[hill].argmax()]), SECOND_WINDOW_NM, 3)
    return first, minimum, second
