"""Depth maps along fixed directions: the shadow of the key light and ambient occlusion.

All water in a picture is a set of spheres here (sticks are rows of small ones). Along each axis a
parallel projection keeps the nearest and the farthest surface, so that one map answers for both
directions of the axis. The axes are fixed in the world, not random: a film does not flicker.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit, parallel_jit

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

FAR = np.float32(1.0e9)
BANDS = 8


class Maps(NamedTuple):
    """Depth maps along `axes`, and what is needed to look points up in them.

    `surfaces` (2, k, size, size) float32 holds for each axis the lowest (0) and highest (1) depth,
    nm along the axis; `bases` (k, 3, 3) float64 has rows u, v, axis; `half` is half the width, nm,
    `scale` the texels per nm. `weights` (k, 2) float64 is the brightness of the sky in the
    direction against and along the axis.
    """

    surfaces: Singles
    bases: Floats
    half: float
    scale: float
    weights: Floats


def spread_axes(count: int) -> Floats:
    """Return axes that cover a half sphere evenly (a Fibonacci spiral).

    Parameters
    ----------
    count : int
        How many axes; each stands for two directions.

    Returns
    -------
    (count, 3) float64
        Unit vectors with positive z.
    """
    i = np.arange(count) + 0.5
    z = 1.0 - i / count
    angle = np.pi * (1.0 + np.sqrt(5.0)) * i
    rho = np.sqrt(1.0 - z * z)
    return np.stack([rho * np.cos(angle), rho * np.sin(angle), z], axis=1)


def axis_bases(axes: Floats) -> Floats:
    """Return a right-handed frame for each axis.

    Parameters
    ----------
    axes : (k, 3) float64
        Unit vectors.

    Returns
    -------
    (k, 3, 3) float64
        Rows u, v, axis.
    """
    helper = np.where(np.abs(axes[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    u = np.cross(helper, axes)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    return np.stack([u, np.cross(axes, u), axes], axis=1)


def depth_maps(
    occluders: Floats, bases: Floats, radius: float, texel: float, weights: Floats
) -> Maps:
    """Project all occluders along each axis.

    Parameters
    ----------
    occluders : (m, 4) float64
        Centre and radius of each sphere, nm, relative to the middle of the maps.
    bases : (k, 3, 3) float64
        Rows u, v, axis of each map, in the frame of the occluders.
    radius : float
        Half the width of the maps, nm; what lies outside casts no shadow.
    texel : float
        Wanted width of a texel, nm.
    weights : (k, 2) float64
        Brightness of the sky against and along each axis.

    Returns
    -------
    Maps
        The maps; rows of a map are v, columns u.
    """
    size = min(2048, max(16, int(np.ceil(2.0 * radius / texel))))
    surfaces = np.empty((2, len(bases), size, size), np.float32)
    bands = BANDS if len(bases) < BANDS else 1
    rows = np.linspace(0, size, bands + 1).astype(np.int64)
    project_all(
        np.ascontiguousarray(occluders, np.float64),
        np.ascontiguousarray(bases, np.float64),
        radius,
        rows,
        surfaces,
    )
    return Maps(surfaces, np.ascontiguousarray(bases), radius, size / (2.0 * radius), weights)


@jit(fastmath={"contract", "nsz", "arcp"})
def project_spheres(
    occluders: Any, basis: Any, half: float, first: int, last: int, low: Any, high: Any
) -> None:
    """Fill rows first … last of the lowest and highest surface along one axis.

    Parameters
    ----------
    occluders : (m, 4) float64
        Spheres.
    basis : (3, 3) float64
        Rows u, v, axis.
    half : float
        Half the width of the map.
    first, last : int
        The rows.
    low, high : (size, size) float32
        Overwritten there.
    """
    size = low.shape[0]
    scale = size / (2.0 * half)
    low[first:last] = FAR
    high[first:last] = -FAR
    for i in range(occluders.shape[0]):
        x, y, z, r = occluders[i, 0], occluders[i, 1], occluders[i, 2], occluders[i, 3]
        u = (basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z + half) * scale - 0.5
        v = (basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z + half) * scale - 0.5
        w = np.float32(basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z)
        reach = r * scale
        texel = np.float32(1.0 / scale)
        for row in range(max(first, int(np.ceil(v - reach))), min(last, int(v + reach) + 1)):
            chord2 = reach * reach - (row - v) * (row - v)
            if chord2 <= 0.0:
                continue
            chord = np.sqrt(chord2)
            left, right = max(0, int(np.ceil(u - chord))), min(size, int(u + chord) + 1)
            u32, chord32 = np.float32(u), np.float32(chord2)
            for column in range(left, right):
                offset = np.float32(column) - u32
                height = texel * np.sqrt(max(np.float32(0.0), chord32 - offset * offset))
                high[row, column] = max(high[row, column], w + height)
                low[row, column] = min(low[row, column], w - height)


@parallel_jit()
def project_all(occluders: Any, bases: Any, half: float, rows: Any, surfaces: Any) -> None:
    """Fill all maps; a task is one band of rows of one map.

    Parameters
    ----------
    occluders : (m, 4) float64
        Spheres.
    bases : (k, 3, 3) float64
        Rows u, v, axis of each map.
    half : float
        Half the width of the maps.
    rows : (bands + 1,) int64
        Where the bands begin and end.
    surfaces : (2, k, size, size) float32
        Overwritten.
    """
    bands = rows.shape[0] - 1
    for task in numba.prange(bases.shape[0] * bands):
        k, band = task // bands, task % bands
        project_spheres(
            occluders,
            bases[k],
            half,
            rows[band],
            rows[band + 1],
            surfaces[0, k],
            surfaces[1, k],
        )


@jit(fastmath={"contract", "nsz", "arcp"})
def sky_light(
    points: Any, normals: Any, count: int, bias: float, softness: float, maps: Any, light: Any
) -> None:
    """Add up the sky that each point sees: Σ max(0, n·d) L(d) visible(d) / Σ max(0, n·d).

    Parameters
    ----------
    points, normals : (3, n) float32
        Where, relative to the middle of the maps, and unit normals.
    count : int
        How many of the n are used.
    bias, softness : float
        A surface nearer than `bias` does not hide a point; over `softness` it hides it fully.
    maps : Maps
        Depth maps.
    light : (n,) float32
        Overwritten; 1 for an open sky of brightness 1.
    """
    size = maps.surfaces.shape[2]
    scale = np.float32(maps.scale)
    shift = np.float32(maps.half * maps.scale)
    fade = np.float32(1.0 / softness)
    start = np.float32(1.0 + bias / softness)
    zero, one = np.float32(0.0), np.float32(1.0)
    total = np.zeros(count, np.float32)
    light[:count] = zero
    for k in range(maps.bases.shape[0]):
        basis = maps.bases[k]
        ux, uy, uz = np.float32(basis[0, 0]), np.float32(basis[0, 1]), np.float32(basis[0, 2])
        vx, vy, vz = np.float32(basis[1, 0]), np.float32(basis[1, 1]), np.float32(basis[1, 2])
        wx, wy, wz = np.float32(basis[2, 0]), np.float32(basis[2, 1]), np.float32(basis[2, 2])
        against, along = np.float32(maps.weights[k, 0]), np.float32(maps.weights[k, 1])
        low, high = maps.surfaces[0, k], maps.surfaces[1, k]
        for i in range(count):
            x, y, z = points[0, i], points[1, i], points[2, i]
            facing = normals[0, i] * wx + normals[1, i] * wy + normals[2, i] * wz
            column = min(max(int((ux * x + uy * y + uz * z) * scale + shift), 0), size - 1)
            row = min(max(int((vx * x + vy * y + vz * z) * scale + shift), 0), size - 1)
            depth = wx * x + wy * y + wz * z
            if facing > zero:
                gap, weight = high[row, column] - depth, facing * along
            else:
                gap, weight = depth - low[row, column], -facing * against
            total[i] += abs(facing)
            light[i] += weight * min(one, max(zero, start - gap * fade))
    for i in range(count):
        light[i] = light[i] / total[i] if total[i] > zero else one


@jit(fastmath={"contract", "nsz", "arcp"})
def sun_light(x: float, y: float, z: float, bias: float, maps: Any) -> float:
    """Return how much of the key light reaches a point: 2 x 2 texels, bilinear, soft edge.

    Parameters
    ----------
    x, y, z : float
        The point, relative to the middle of the map.
    bias : float
        A surface nearer than this casts no shadow.
    maps : Maps
        One map; light comes along its axis from the positive side.

    Returns
    -------
    float
        0 in shadow … 1.
    """
    size = maps.surfaces.shape[2]
    basis = maps.bases[0]
    u = (basis[0, 0] * x + basis[0, 1] * y + basis[0, 2] * z + maps.half) * maps.scale - 0.5
    v = (basis[1, 0] * x + basis[1, 1] * y + basis[1, 2] * z + maps.half) * maps.scale - 0.5
    depth = basis[2, 0] * x + basis[2, 1] * y + basis[2, 2] * z + bias
    column, row = int(np.floor(u)), int(np.floor(v))
    fu, fv = u - column, v - row
    seen = 0.0
    # 3 x 3 bilinear taps: a penumbra of some texels hides the steps of the map
    for dy in range(-1, 3):
        wy = (1.0 - fv) if dy == -1 else (fv if dy == 2 else 1.0)
        for dx in range(-1, 3):
            wx = (1.0 - fu) if dx == -1 else (fu if dx == 2 else 1.0)
            r = min(max(row + dy, 0), size - 1)
            c = min(max(column + dx, 0), size - 1)
            if maps.surfaces[1, 0, r, c] <= depth:
                seen += wx * wy
    return seen / 9.0
