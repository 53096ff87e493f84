"""Plain NumPy twins of the rasteriser's kernels: every ray against every shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.render.raster import Lens

Floats = NDArray[np.float64]


def sphere_depths(rays: Floats, sphere: Floats) -> Floats:
    """Return where rays from the origin enter a sphere.

    Parameters
    ----------
    rays : (…, 3) float64
        Directions with z = 1.
    sphere : (4,) float64
        Centre and radius, nm.

    Returns
    -------
    (…) float64
        Depth z, nm; infinity for a miss.
    """
    a = (rays**2).sum(-1)
    b = rays @ sphere[:3]
    inside = b * b - a * (sphere[:3] @ sphere[:3] - sphere[3] ** 2)
    return np.where(inside >= 0.0, (b - np.sqrt(np.maximum(inside, 0.0))) / a, np.inf)


def cylinder_depths(rays: Floats, cylinder: Floats) -> Floats:
    """Return where rays from the origin enter an open cylinder.

    Parameters
    ----------
    rays : (…, 3) float64
        Directions with z = 1.
    cylinder : (7,) float64
        Both ends and radius, nm.

    Returns
    -------
    (…) float64
        Depth z, nm; infinity for a miss.
    """
    first, radius = cylinder[:3], cylinder[6]
    axis = cylinder[3:6] - first
    length = np.linalg.norm(axis)
    axis = axis / length
    across = rays - (rays @ axis)[..., None] * axis
    origin = -first + (first @ axis) * axis
    a = (across**2).sum(-1)
    b = across @ origin
    inside = b * b - a * (origin @ origin - radius**2)
    t = (-b - np.sqrt(np.maximum(inside, 0.0))) / a
    along = t * (rays @ axis) - first @ axis
    return np.where((inside >= 0.0) & (along >= 0.0) & (along <= length), t, np.inf)


def cast_all(
    spheres: Floats, cylinders: Floats, lens: Lens, samples: int
) -> tuple[Floats, NDArray[np.int64]]:
    """Return what every sample of a picture sees.

    Parameters
    ----------
    spheres : (m, 4) float64
        Centre and radius, nm.
    cylinders : (k, 7) float64
        Both ends and radius, nm.
    lens : Lens
        Perspective.
    samples : int
        Samples along a pixel.

    Returns
    -------
    depth : (height · samples, width · samples) float64
        z of the nearest hit, infinity for none.
    owner : (height · samples, width · samples) int64
        Number of the shape, -1 for none.
    """
    x = ((np.arange(lens.width * samples) + 0.5) / samples - lens.cx) / lens.focal
    y = ((np.arange(lens.height * samples) + 0.5) / samples - lens.cy) / lens.focal
    rays = np.stack([*np.broadcast_arrays(x[None, :], y[:, None]), np.ones((len(y), len(x)))], -1)
    depth = np.full(rays.shape[:2], np.inf)
    owner = np.full(rays.shape[:2], -1)
    hits = [sphere_depths(rays, s) for s in spheres] + [cylinder_depths(rays, c) for c in cylinders]
    for number, hit in enumerate(hits):
        nearer = hit < depth
        depth[nearer], owner[nearer] = hit[nearer], number
    return depth, owner


def open_sky(
    points: Floats, normals: Floats, spheres: Floats, directions: Floats, weights: Floats
) -> Floats:
    """Return the sky that points see, by rays against all spheres.

    Parameters
    ----------
    points, normals : (n, 3) float64
        Where, and unit normals.
    spheres : (m, 4) float64
        What hides the sky.
    directions : (k, 3) float64
        Unit vectors to the sky.
    weights : (k,) float64
        Its brightness there.

    Returns
    -------
    (n,) float64
        Σ max(0, n·d) L(d) visible(d) / Σ max(0, n·d).
    """
    light = np.empty(len(points))
    for i, (point, normal) in enumerate(zip(points, normals, strict=True)):
        facing = np.maximum(0.0, directions @ normal)
        to_centre = spheres[:, :3] - point
        along = directions @ to_centre.T
        miss2 = (to_centre**2).sum(1) - along**2
        hidden = ((along > 0.0) & (miss2 < spheres[:, 3] ** 2)).any(axis=1)
        light[i] = (facing * weights * ~hidden).sum() / facing.sum()
    return light
