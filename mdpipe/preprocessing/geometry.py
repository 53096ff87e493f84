"""Put molecules into the exact geometry of a water model."""

from __future__ import annotations

import math

import numpy as np

from mdpipe.models import WaterModel
from mdpipe.state import Array


def impose_geometry(positions: Array, model: WaterModel) -> Array:
    """Give each molecule the model's O-H length and angle, nothing else changed.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        Whole molecules O, H1, H2, nm.
    model : WaterModel
        Whose lengths and angle are imposed.

    Returns
    -------
    (n, 3, 3) float64
        Same O, same bisector, same plane, H1 on its own side.

    Notes
    -----
    A straight molecule has no bisector or plane; any direction across H1-H2 serves. One whose
    hydrogens coincide opens in any plane through its bisector.
    """
    oxygen = positions[:, 0]
    arms = positions[:, 1:] - oxygen[:, None]
    arms /= np.maximum(np.linalg.norm(arms, axis=2, keepdims=True), 1e-300)
    # Unit vectors to the hydrogens: their sum is the bisector, their difference lies across.
    across = _unit(arms[:, 0] - arms[:, 1], arms[:, 0])
    along = _unit(arms[:, 0] + arms[:, 1], across)
    half = math.radians(model.angle_hoh_deg) / 2.0
    out = np.empty_like(positions)
    out[:, 0] = oxygen
    centre = oxygen + model.r_oh_nm * math.cos(half) * along
    step = model.r_oh_nm * math.sin(half) * across
    out[:, 1], out[:, 2] = centre + step, centre - step
    return out


def _unit(vectors: Array, others: Array) -> Array:
    """Return unit vectors; where one has no length, any direction normal to `others`."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    axis = np.zeros_like(others)
    np.put_along_axis(axis, np.argmin(np.abs(others), axis=1)[:, None], 1.0, axis=1)
    spare = np.cross(others, axis)
    spare /= np.maximum(np.linalg.norm(spare, axis=1, keepdims=True), 1e-300)
    unit: Array = np.where(lengths > 1e-7, vectors / np.maximum(lengths, 1e-300), spare)
    return unit
