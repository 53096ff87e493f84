"""Colours of elements, scalars and paper; linear light and sRGB."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PAPER = "#fbfbfc"
INK = "#22262b"
MUTED = "#6b7280"
FAINT = "#cfd4da"
ACCENT = "#1f6fb4"
OXYGEN = "#e3140f"
HYDROGEN = "#f0f0f0"
BOND = "#2f7de0"
BOX = "#3a3f45"


def rgb(colour: str) -> tuple[int, int, int]:
    """Return the sRGB bytes of `#rrggbb`.

    Parameters
    ----------
    colour : str
        Hexadecimal colour.

    Returns
    -------
    tuple of int
        Red, green, blue, 0 … 255.
    """
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def to_linear(colours: Floats) -> Floats:
    """Return linear light of sRGB values.

    Parameters
    ----------
    colours : (…) float64
        sRGB, 0 … 1.

    Returns
    -------
    (…) float64
        Linear light, 0 … 1.
    """
    linear: Floats = np.where(
        colours <= 0.04045, colours / 12.92, ((np.maximum(colours, 0.0) + 0.055) / 1.055) ** 2.4
    )
    return linear


def linear(colour: str) -> Floats:
    """Return the linear light of `#rrggbb`.

    Parameters
    ----------
    colour : str
        Hexadecimal colour.

    Returns
    -------
    (3,) float64
        0 … 1.
    """
    return to_linear(np.array(rgb(colour)) / 255.0)


@cache
def tone_table() -> NDArray[np.uint8]:
    """Return the sRGB bytes of 4096 steps of linear light.

    Returns
    -------
    (4096,) uint8
        From black to white.
    """
    light = np.linspace(0.0, 1.0, 4096)
    tones = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255.0 * tones).astype(np.uint8)


@cache
def viridis() -> Floats:
    """Return the viridis colours as sRGB.

    Returns
    -------
    (256, 3) float64
        0 … 1.
    """
    from matplotlib import colormaps

    return np.asarray(colormaps["viridis"](np.linspace(0.0, 1.0, 256)))[:, :3]


def scalar_colours(values: Floats, low: float, high: float) -> Floats:
    """Return the linear light of the viridis colours of scalars.

    Parameters
    ----------
    values : (n,) float64
        Any unit; what is not finite becomes grey.
    low, high : float
        Values of the first and last colour; what lies beyond is cut.

    Returns
    -------
    (n, 3) float64
        Linear light.
    """
    known = np.isfinite(values)
    share = np.clip((np.where(known, values, low) - low) / max(high - low, 1.0e-300), 0.0, 1.0)
    colours = to_linear(viridis())[np.round(255 * share).astype(np.int64)]
    colours[~known] = 0.35
    return colours
