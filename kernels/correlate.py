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
        members = positions[:, group::n_groups]
        for first in range(0, members.shape[1], _CHUNK):
            result[group] += _summed(members[:, first : first + _CHUNK])
        result[group] /= origins * max(members.shape[1], 1)
    return result


def _summed(positions: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared displacements of a few particles summed over particles and origins."""
    steps = positions.shape[0]
    # Each coordinate a row: transforms of strided columns are slow.
    r = np.array(positions.reshape(steps, -1).T, dtype=np.float64, order="C")
    # Displacements do not care for the origin; small numbers lose fewer digits.
    r -= r.mean(axis=1)[:, None]
    import scipy.fft  # late: 15 MB that a process which only simulates does without

    length = scipy.fft.next_fast_len(2 * steps - 1, real=True)
    squares: NDArray[np.float64] = scipy.fft.rfft(r, n=length).view(np.float64)
    squares *= squares
    power = squares.sum(axis=0).reshape(-1, 2).sum(axis=1)
    s2 = scipy.fft.irfft(power, n=length)[:steps]
    r *= r
    running = np.concatenate([[0.0], np.cumsum(r.sum(axis=0))])
    lags = np.arange(steps)
    s1 = running[steps - lags] + running[steps] - running[lags]
    summed: NDArray[np.float64] = np.maximum(s1 - 2.0 * s2, 0.0)
    summed[0] = 0.0
    return summed
