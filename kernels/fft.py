"""The one door to the fast Fourier transform of a library.

It is opened late: the library takes a fifth of a scene's start and 20 MB, and where the reciprocal
sum has its own transforms it is not used.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["backward", "forward"]


def forward(grid: NDArray[np.floating], threads: int) -> NDArray[np.complexfloating]:
    """Transform a real grid, unnormalised.

    Parameters
    ----------
    grid : (kx, ky, kz) float32 or float64
        Any strides; the precision stays.
    threads : int
        Threads; the bits do not depend on them.

    Returns
    -------
    (kx, ky, kz // 2 + 1) complex64 or complex128
        Sum of grid times exp(-2πi …).
    """
    import scipy.fft

    spectrum: NDArray[np.complexfloating] = scipy.fft.rfftn(grid, workers=threads)
    return spectrum


def backward(
    spectrum: NDArray[np.complexfloating], shape: tuple[int, int, int], threads: int
) -> NDArray[np.floating]:
    """Transform back to a real grid, unnormalised; the spectrum is overwritten.

    Parameters
    ----------
    spectrum : (kx, ky, kz // 2 + 1) complex64 or complex128
        Lost.
    shape : tuple of 3 int
        (kx, ky, kz).
    threads : int
        Threads; the bits do not depend on them.

    Returns
    -------
    (kx, ky, kz) float32 or float64
        Sum of spectrum times exp(+2πi …).
    """
    import scipy.fft

    grid: NDArray[np.floating] = scipy.fft.irfftn(
        spectrum, s=shape, norm="forward", overwrite_x=True, workers=threads
    )
    return grid
