"""Tell a change of state from thermal noise, and put state points into bins.

A small box fluctuates: the kinetic temperature of 216 molecules at 298 K by 12 K, its density at
constant pressure by 2 %. Binned as they come, the frames of one simulation would fall into several
groups. So every frame is judged by averages over frames of its own file that noise alone can
explain, and bins are cut where there are gaps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.state import Array
from mdpipe.units import BAR_PER_KJ_MOL_NM3, BOLTZMANN, G_CM3_PER_AMU_NM3, WATER_MASS

DENSITY, TEMPERATURE, Q, Q6, HEXAGONAL, CUBIC, INTERFACIAL, CLUSTER = range(8)
"""Columns of a table of features; a frame without temperature has NaN there."""

SIGMAS = 4.5
"""Differences up to so many standard deviations count as noise: one frame in 100 000 differs by
more, so that a long stationary file stays whole."""

QUARTER_SIGMAS = 0.75
QUARTER_FRAMES = 8
"""A slow drift hides in the noise of single frames but not in means: of at least 8 frames they
differ by less than 0.75 standard deviations of a frame unless the frames drift by more than two."""

SHORT_SPREAD = 1.5
"""Largest standard deviation, in units of noise, of a file too short for that."""

HALF_WINDOW = 10
"""Frames on each side that a running mean spans where a file is not stationary as a whole."""

_COMPRESSIBILITY_PER_BAR = 5e-5
# Standard deviations for one molecule, from SPC/E at 298 and 340 K (216 molecules, 20 frames each:
# 0.28, 0.08, 0.3), rounded up.
_SIGMA_Q, _SIGMA_Q6, _SIGMA_ICE = 0.3, 0.1, 0.5


def steady_features(table: Array, n_molecules: int) -> Array:
    """Replace the features of the frames of one file by averages that noise allows.

    Parameters
    ----------
    table : (n_frames, 8) float64
        Features of the frames of one file in order; columns as named in this module.
    n_molecules : int
        Number of molecules of all of them.

    Returns
    -------
    (n_frames, 8) float64
        The mean of the file in each row if it is stationary: all frames lie within `SIGMAS` of it,
        and no part of the file lies off by more than noise allows. Else the mean of those of
        the `HALF_WINDOW` frames before and after that lie within `SIGMAS` of the frame.
    """
    noise = _noise(table, n_molecules)
    mean = table.mean(axis=0)
    if _stationary(table, mean, noise):
        return np.broadcast_to(mean, table.shape).copy()
    total = table.copy()
    count = np.ones(len(table))
    for offset in range(1, min(HALF_WINDOW, len(table) - 1) + 1):
        near = _alike(table[offset:], table[:-offset], noise, SIGMAS)
        late, early = slice(offset, None), slice(None, -offset)
        for target, other in ((late, early), (early, late)):
            total[target] += np.where(near[:, None], table[other], 0.0)
            count[target] += near
    return np.asarray(total / count[:, None], np.float64)


def _stationary(table: Array, mean: Array, noise: Array) -> bool:
    """Tell whether all frames, and the means of the quarters of the file, lie near the mean."""
    if not _alike(table, mean, noise, SIGMAS).all():
        return False
    if len(table) < 4 * QUARTER_FRAMES:
        spread = np.sqrt(((_columns(table) - _columns(mean)) ** 2).mean(axis=0))
        return not bool((spread > SHORT_SPREAD * noise).any())
    quarters = np.array([part.mean(axis=0) for part in np.array_split(table, 4)])
    return bool(_alike(quarters, mean, noise, QUARTER_SIGMAS).all())


def _noise(table: Array, n_molecules: int) -> Array:
    """Return the thermal standard deviations of density, temperature, q, q6 and ice fraction."""
    density = float(table[:, DENSITY].mean())
    known = table[np.isfinite(table[:, TEMPERATURE]), TEMPERATURE]
    temperature = float(known.mean()) if known.size else np.nan
    kT = BOLTZMANN * (temperature if np.isfinite(temperature) else 300.0)
    volume = n_molecules * WATER_MASS * G_CM3_PER_AMU_NM3 / density
    relative = np.sqrt(kT * BAR_PER_KJ_MOL_NM3 * _COMPRESSIBILITY_PER_BAR / volume)
    root = np.sqrt(n_molecules)
    return np.array(
        [
            density * relative,
            temperature * np.sqrt(2.0 / 6.0) / root,
            _SIGMA_Q / root,
            _SIGMA_Q6 / root,
            _SIGMA_ICE / root,
        ]
    )


def _columns(table: Array) -> Array:
    """Return density, temperature, q, q6 and ice fraction of rows."""
    ice = table[..., HEXAGONAL : INTERFACIAL + 1].sum(axis=-1, keepdims=True)
    return np.concatenate([table[..., [DENSITY, TEMPERATURE, Q, Q6]], ice], axis=-1)


def _alike(table: Array, other: Array, noise: Array, sigmas: float) -> NDArray[np.bool_]:
    """Tell which rows differ by no more than noise; NaN is like NaN."""
    off = np.abs(_columns(table) - _columns(other)) > sigmas * noise
    mixed = np.isnan(table[:, TEMPERATURE]) != np.isnan(other[..., TEMPERATURE])
    return np.asarray(~(off.any(axis=1) | mixed))


def bin_values(values: Array, width: float) -> NDArray[np.int64]:
    """Put numbers into bins that are cut at gaps.

    Parameters
    ----------
    values : (n,) float64
        Any order.
    width : float
        Widest span of a bin, same unit.

    Returns
    -------
    (n,) int64
        Bin of each value, rising with it.

    Notes
    -----
    Values less than a quarter of the width apart are chained; a chain longer than the width is
    cut into the fewest equal pieces that are not. So two simulations at 249.5 K and 250.5 K share
    a bin of 20 K wherever it would have been cut, and a ramp from 240 K to 340 K gives five.
    """
    distinct, inverse = np.unique(values, return_inverse=True)
    chain = np.concatenate([[0], np.cumsum(np.diff(distinct) > width / 4)])
    bins = np.zeros(len(distinct), np.int64)
    first = 0
    for link in range(int(chain[-1]) + 1):
        inside = chain == link
        low, span = distinct[inside][0], float(np.ptp(distinct[inside]))
        pieces = max(1, int(np.ceil(span / width - 1e-9)))
        piece = np.zeros(int(inside.sum()), np.int64)
        if span > 0:
            piece = np.minimum(((distinct[inside] - low) / span * pieces).astype(int), pieces - 1)
        bins[inside] = first + piece
        first += pieces
    return bins[inverse]
