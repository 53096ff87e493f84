"""Standard errors of correlated series by block averaging."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIN_BLOCKS = 5
"""Fewer blocks than this say nothing about an error; then none is given."""


class BlockEstimate(NamedTuple):
    """Mean of a series, its standard error (None: too few independent samples), the blocks."""

    mean: float
    error: float | None
    n_blocks: int
    block_length: int


def block_error(series: NDArray[np.float64]) -> BlockEstimate:
    """Return the mean of a stationary series and the standard error of that mean.

    Parameters
    ----------
    series : (n,) float64
        Samples at equal intervals.

    Returns
    -------
    BlockEstimate
        The error is None where no block length on the plateau leaves `MIN_BLOCKS` blocks.

    Notes
    -----
    The series is cut into longer and longer blocks (Flyvbjerg & Petersen, who double the length;
    here by √2). The plateau is taken at the shortest block length B that satisfies
    B³ > 2 n (e_B / e_1)⁴ with e_B the error for blocks of B samples: beyond it the bias left is
    below the noise of e_B (Lee et al.).

    References
    ----------
    Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989), DOI 10.1063/1.457480;
    Lee, Conduit, Nemec, López Ríos & Drummond, Phys. Rev. E 83, 066706 (2011),
    DOI 10.1103/PhysRevE.83.066706.
    """
    values = np.asarray(series, dtype=np.float64)
    n = len(values)
    if n == 0:
        return BlockEstimate(float("nan"), None, 0, 0)
    mean = float(values.mean())
    # Rounding of the mean must not turn a constant into a noisy series.
    if n >= MIN_BLOCKS and np.ptp(values) <= 1e-12 * max(abs(mean), 1e-300):
        return BlockEstimate(mean, 0.0, n, 1)
    first = float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else np.inf
    for length in _lengths(n // MIN_BLOCKS):
        n_blocks = n // length
        means = values[: n_blocks * length].reshape(n_blocks, length).mean(axis=1)
        error = float(means.std(ddof=1) / np.sqrt(n_blocks))
        if length**3 > 2.0 * n * (error / first) ** 4:
            return BlockEstimate(mean, error, n_blocks, length)
    return BlockEstimate(mean, None, min(n, MIN_BLOCKS), max(1, n // MIN_BLOCKS))


def _lengths(longest: int) -> list[int]:
    """Return the block lengths tried: 1, 2, 3, 4, 6, 8, 11, …, each √2 times the one before."""
    exponents = range(2 * max(longest, 1).bit_length())
    return sorted({length for k in exponents if (length := round(2 ** (k / 2))) <= longest})


def jackknife(
    blocks: NDArray[np.float64], estimate: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return standard errors of a function of block means, leaving out one block at a time.

    Parameters
    ----------
    blocks : (n_blocks, …) float64
        Independent block means of equal weight.
    estimate : callable
        From the mean over blocks to the (k,) quantities wanted.

    Returns
    -------
    (k,) float64
        Standard errors.

    References
    ----------
    Efron & Stein, Ann. Stat. 9, 586 (1981), DOI 10.1214/aos/1176345462.
    """
    n = len(blocks)
    total = blocks.sum(axis=0)
    without = np.array([estimate((total - block) / (n - 1)) for block in blocks])
    spread: NDArray[np.float64] = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    return np.sqrt((n - 1) / n * spread)


class ChunkedMean:
    """The running mean of an array over frames, kept as at most `limit` means of equal weight.

    Memory does not grow with the number of frames: when the chunks are full, neighbours are
    merged and each chunk from then on takes twice as many frames.
    """

    def __init__(self, limit: int = 64) -> None:
        self.limit = limit
        self.length = 1
        self.frames = 0
        self._sum: NDArray[np.float64] | None = None
        self._filled = 0
        self._chunks: list[NDArray[np.float64]] = []
        self._partial: NDArray[np.float64] | None = None

    def add(self, values: NDArray[np.float64]) -> None:
        """Add the values of one frame.

        Parameters
        ----------
        values : ndarray
            Of the same shape each time.
        """
        self.frames += 1
        self._sum = values.copy() if self._sum is None else self._sum + values
        self._partial = values.copy() if self._partial is None else self._partial + values
        self._filled += 1
        if self._filled < self.length:
            return
        self._chunks.append(self._partial / self.length)
        self._partial, self._filled = None, 0
        if len(self._chunks) == self.limit:
            pairs = zip(self._chunks[0::2], self._chunks[1::2], strict=True)
            self._chunks = [0.5 * (a + b) for a, b in pairs]
            self.length *= 2

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over all frames added."""
        if self._sum is None:
            raise ValueError("no frame was added")
        return self._sum / self.frames

    @property
    def chunks(self) -> NDArray[np.float64]:
        """Means of the full chunks, (n_chunks, …); the frames of a half-filled one are left out."""
        return np.array(self._chunks)
