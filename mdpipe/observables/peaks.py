"""Extrema of a radial distribution function, by local polynomial fits."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FIRST_WINDOW_NM = 0.025
SECOND_WINDOW_NM = 0.035
MINIMUM_WINDOW_NM = 0.03


class Extremum(NamedTuple):
    """Position (nm) and height of an extremum; NaN where there is none."""

    position: float
    height: float


def _fit(
    r: NDArray[np.float64], g: NDArray[np.float64], centre: float, half: float, degree: int
) -> Extremum:
    """Fit a polynomial around a first guess and return its extremum nearest to the guess."""
    near = np.abs(r - centre) <= half
    if near.sum() <= degree + 1:
        return Extremum(float("nan"), float("nan"))
    x = (r[near] - centre) / half
    polynomial = np.polynomial.Polynomial.fit(x, g[near], degree, domain=[-1, 1], window=[-1, 1])
    roots = polynomial.deriv().roots()
    real = roots[np.abs(roots.imag) < 1e-9].real
    inside = real[np.abs(real) <= 1.0]
    if len(inside) == 0:
        return Extremum(float("nan"), float("nan"))
    best = float(inside[np.abs(inside).argmin()])
    return Extremum(centre + half * best, float(polynomial(best)))


def _smooth(g: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    return np.convolve(g, np.ones(width) / width, mode="same")


def find_extrema(
    r: NDArray[np.float64], g: NDArray[np.float64]
) -> tuple[Extremum, Extremum, Extremum]:
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
