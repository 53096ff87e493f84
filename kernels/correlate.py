"""Mean squared displacements over all time origins, by fast Fourier transform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["squared_displacements"]

_CHUNK = 64
"""Molecules transformed at once: bounds the memory, and fixes the order of summation."""


def squared_displacements(
    positions: NDArray[np.float32] | NDArray[np.float64], n_groups: int = 1
) -> NDArray[np.float64]:
    """Return the mean squared displacement for every lag, averaged over groups of particles.

    Parameters
    ----------
    positions : (t, n, 3) float32 or float64
        Unwrapped positions at equal intervals of time.
    n_groups : int
        Particle i belongs to group i mod n_groups.

    Returns
    -------
    (n_groups, t) float64
        <|r(t0 + lag) - r(t0)|²> over all origins t0 and all particles of the group.

    Notes
    -----
    MSD(m) = S1(m) - 2 S2(m), with S2(m) = <r(t0) · r(t0 + m)> by the Wiener-Khinchin theorem and
    S1(m) = <r²(t0) + r²(t0 + m)>, a running sum. Exact: every origin counts, no windowing.

    References
    ----------
    Calandrini, Pellegrini, Calligari, Hinsen & Kneller, Collection SFN 12, 201 (2011),
    DOI 10.1051/sfn/201112010.
    """
    steps = positions.shape[0]
    origins = np.arange(steps, 0, -1.0)
    result = np.zeros((n_groups, steps))
    for group in range(n_groups):
        members = np.arange(group, positions.shape[1], n_groups)
        for first in range(0, len(members), _CHUNK):
            part = members[first : first + _CHUNK]
            result[group] += _summed(positions[:, part].astype(np.float64))
        result[group] /= origins * max(len(members), 1)
    return result


def _summed(r: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared displacements of a few particles summed over particles and origins."""
    steps = r.shape[0]
    # Displacements do not care for the origin; small numbers lose fewer digits.
    r -= r.mean(axis=0)
    spectrum = np.fft.rfft(r, n=2 * steps, axis=0)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=(1, 2))
    s2 = np.fft.irfft(power, n=2 * steps)[:steps]
    running = np.concatenate([[0.0], np.cumsum((r * r).sum(axis=(1, 2)))])
    lags = np.arange(steps)
    s1 = running[steps - lags] + running[steps] - running[lags]
    summed: NDArray[np.float64] = np.maximum(s1 - 2.0 * s2, 0.0)
    summed[0] = 0.0
    return summed
