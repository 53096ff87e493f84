"""Spheres and cylinders to pixels: exact ray hits for each sample, tile by tile.

The frame of the kernels is the camera's: x right, y down, z away from the eye, nm; the eye is the
origin. A pixel (px, py) looks along ((px - cx) / focal, (py - cy) / focal, 1). A tile is a task and
writes only its own pixels, so the picture does not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.render.lighting import Maps
from mdpipe.render.shading import Look, draw_edges, resolve, shade_points

Floats = NDArray[np.float64]

TILE = 32
FAST = {"contract", "nsz", "arcp"}


class Lens(NamedTuple):
    """Perspective of the camera: focal length and principal point, pixels; size of the picture."""

    focal: float
    cx: float
    cy: float
    width: int
    height: int


class Shapes(NamedTuple):
    """What is drawn, in the frame of the camera.

    `spheres` (m, 4) float64: centre, radius. `cylinders` (k, 7) float64: both ends, radius.
    `colours` (m + k, 3) float64: linear light, 0 … 1. `bounds` (m + k, 4) float64: left, top,
    right, bottom, pixels. Shapes from number `flat` on are signs, not things: no light, no outline.
    `edges` (e, 6) float64: x, y (pixels) and 1/z of both ends of each line.
    """

    spheres: Floats
    cylinders: Floats
    colours: Floats
    bounds: Floats
    flat: int
    edges: Floats


def sphere_bounds(spheres: Floats, lens: Lens) -> Floats:
    """Return the rectangles that the spheres' pictures lie in, exactly.

    Parameters
    ----------
    spheres : (m, 4) float64
        Centre and radius, nm, in front of the eye (z > radius).
    lens : Lens
        Perspective.

    Returns
    -------
    (m, 4) float64
        Left, top, right, bottom, pixels.

    Notes
    -----
    The tangents from the eye to a circle at (x, z) of radius r have the slopes
    (x z ± r sqrt(x² + z² - r²)) / (z² - r²).
    """
    z, r = spheres[:, 2], spheres[:, 3]
    slopes = []
    for axis, centre in ((0, lens.cx), (1, lens.cy)):
        x = spheres[:, axis]
        root = r * np.sqrt(x * x + z * z - r * r)
        below = z * z - r * r
        slopes.append(
            (
                centre + lens.focal * (x * z - root) / below,
                centre + lens.focal * (x * z + root) / below,
            )
        )
    (left, right), (top, bottom) = slopes
    return np.stack([left, top, right, bottom], axis=1)


def cylinder_bounds(cylinders: Floats, lens: Lens) -> Floats:
    """Return rectangles around the cylinders' pictures: those of the spheres at both ends.

    Parameters
    ----------
    cylinders : (k, 7) float64
        Both ends and radius, nm.
    lens : Lens
        Perspective.

    Returns
    -------
    (k, 4) float64
        Left, top, right, bottom, pixels.
    """
    first = sphere_bounds(cylinders[:, [0, 1, 2, 6]], lens)
    last = sphere_bounds(cylinders[:, [3, 4, 5, 6]], lens)
    return np.concatenate(
        [np.minimum(first[:, :2], last[:, :2]), np.maximum(first[:, 2:], last[:, 2:])], axis=1
    )


def draw(shapes: Shapes, lens: Lens, look: Look, sky: Maps, sun: Maps) -> NDArray[np.uint8]:
    """Draw shapes with light and shadow.

    Parameters
    ----------
    shapes : Shapes
        What is drawn, nearest first where speed matters.
    lens : Lens
        Perspective.
    look : Look
        Lights, lines, background.
    sky, sun : Maps
        Depth maps of ambient occlusion and of the key light.

    Returns
    -------
    (height, width, 3) uint8
        The picture, sRGB.
    """
    columns, rows = -(-lens.width // TILE), -(-lens.height // TILE)
    starts, items = bin_shapes(shapes.bounds, columns, rows, look.apron)
    image = np.empty((lens.height, lens.width, 3), np.uint8)
    draw_tiles(shapes, lens, look, sky, sun, starts, items, image)
    return image


@jit()
def bin_shapes(bounds: Any, columns: int, rows: int, apron: int) -> Any:
    """List for each tile the shapes whose rectangles touch it.

    Parameters
    ----------
    bounds : (n, 4) float64
        Left, top, right, bottom, pixels.
    columns, rows : int
        Number of tiles.
    apron : int
        Pixels beyond the tile that belong to it for outlines.

    Returns
    -------
    starts : (columns · rows + 1,) int64
        Where the list of each tile begins.
    items : (…,) int32
        Numbers of shapes, in their order.
    """
    n = bounds.shape[0]
    spans = np.empty((n, 4), np.int32)
    starts = np.zeros(columns * rows + 1, np.int64)
    for i in range(n):
        spans[i, 0] = max(0.0, np.floor((bounds[i, 0] - apron) / TILE))
        spans[i, 1] = max(0.0, np.floor((bounds[i, 1] - apron) / TILE))
        spans[i, 2] = min(columns - 1.0, np.floor((bounds[i, 2] + apron) / TILE))
        spans[i, 3] = min(rows - 1.0, np.floor((bounds[i, 3] + apron) / TILE))
        for row in range(spans[i, 1], spans[i, 3] + 1):
            for column in range(spans[i, 0], spans[i, 2] + 1):
                starts[row * columns + column + 1] += 1
    for tile in range(columns * rows):
        starts[tile + 1] += starts[tile]
    items = np.empty(starts[-1], np.int32)
    used = starts[:-1].copy()
    for i in range(n):
        for row in range(spans[i, 1], spans[i, 3] + 1):
            for column in range(spans[i, 0], spans[i, 2] + 1):
                tile = row * columns + column
                items[used[tile]] = i
                used[tile] += 1
    return starts, items


@jit(fastmath=FAST)
def hit_sphere(dx: float, dy: float, sphere: Any) -> float:
    """Return the depth z at which the ray (dx, dy, 1) enters a sphere, 0 where it misses.

    Written around the point of the ray at the depth of the centre: no large numbers cancel.
    """
    ex = sphere[0] - dx * sphere[2]
    ey = sphere[1] - dy * sphere[2]
    a = dx * dx + dy * dy + 1.0
    b = dx * ex + dy * ey
    inside = b * b - a * (ex * ex + ey * ey - sphere[3] * sphere[3])
    if inside < 0.0:
        return 0.0
    return float(sphere[2] + (b - np.sqrt(inside)) / a)


@jit(fastmath=FAST)
def hit_cylinder(dx: float, dy: float, cylinder: Any) -> float:
    """Return the depth z at which the ray (dx, dy, 1) enters an open cylinder, 0 for a miss."""
    px, py, pz = cylinder[0], cylinder[1], cylinder[2]
    ux, uy, uz = cylinder[3] - px, cylinder[4] - py, cylinder[5] - pz
    length = np.sqrt(ux * ux + uy * uy + uz * uz)
    ux, uy, uz = ux / length, uy / length, uz / length
    mx, my = dx * pz - px, dy * pz - py
    du = dx * ux + dy * uy + uz
    mu = mx * ux + my * uy
    ax, ay, az = dx - du * ux, dy - du * uy, 1.0 - du * uz
    cx, cy, cz = mx - mu * ux, my - mu * uy, -mu * uz
    a = ax * ax + ay * ay + az * az
    b = ax * cx + ay * cy + az * cz
    inside = b * b - a * (cx * cx + cy * cy + cz * cz - cylinder[6] * cylinder[6])
    if inside < 0.0 or a < 1.0e-12:
        return 0.0
    t = (-b - np.sqrt(inside)) / a
    along = mu + t * du
    if along < 0.0 or along > length:
        return 0.0
    return float(pz + t)


@jit(fastmath=FAST)
def cast(
    shapes: Any, lens: Any, items: Any, left: float, top: float, step: float, depth: Any, owner: Any
) -> None:
    """Find what each sample of a square sees.

    Parameters
    ----------
    shapes : Shapes
        What is drawn.
    lens : Lens
        Perspective.
    items : (k,) int32
        The shapes that may be seen.
    left, top, step : float
        Corner of the square and distance of the samples, pixels.
    depth : (n, n) float32
        Overwritten with z of the nearest hit, `inf` for none.
    owner : (n, n) int32
        Overwritten with the number of the shape, -1 for none.
    """
    n = depth.shape[0]
    depth[:] = np.inf
    owner[:] = -1
    spheres = shapes.spheres.shape[0]
    for item in items:
        bounds = shapes.bounds[item]
        x0 = max(0, int(np.ceil((bounds[0] - left) / step - 0.5)))
        y0 = max(0, int(np.ceil((bounds[1] - top) / step - 0.5)))
        x1 = min(n, int(np.floor((bounds[2] - left) / step - 0.5)) + 1)
        y1 = min(n, int(np.floor((bounds[3] - top) / step - 0.5)) + 1)
        for iy in range(y0, y1):
            dy = (top + (iy + 0.5) * step - lens.cy) / lens.focal
            for ix in range(x0, x1):
                dx = (left + (ix + 0.5) * step - lens.cx) / lens.focal
                if item < spheres:
                    nearest = shapes.spheres[item, 2] - shapes.spheres[item, 3]
                    if nearest > depth[iy, ix]:
                        continue
                    z = hit_sphere(dx, dy, shapes.spheres[item])
                else:
                    z = hit_cylinder(dx, dy, shapes.cylinders[item - spheres])
                if 0.0 < z < depth[iy, ix]:
                    depth[iy, ix] = z
                    owner[iy, ix] = item


@jit(fastmath=FAST)
def draw_tile(
    shapes: Any, lens: Any, look: Any, sky: Any, sun: Any, items: Any, corner: Any, image: Any
) -> None:
    """Draw one tile: cast its samples, shade each visible shape once per pixel, average.

    Parameters
    ----------
    shapes, lens, look, sky, sun
        As in `draw`.
    items : (k,) int32
        Shapes that touch the tile.
    corner : tuple of int
        Left and top pixel.
    image : (height, width, 3) uint8
        Overwritten in the tile.
    """
    left, top = corner
    samples, apron = look.samples, look.apron
    step = 1.0 / samples
    n = (TILE + 2 * apron) * samples
    depth = np.empty((n, n), np.float32)
    owner = np.empty((n, n), np.int32)
    cast(shapes, lens, items, left - apron, top - apron, step, depth, owner)
    light = np.empty((TILE, TILE, 3))
    light[:] = look.background
    if items.shape[0] > 0:
        shade_points(shapes, lens, look, sky, sun, depth, owner, (left, top), light)
    draw_edges(shapes.edges, look, depth, (left, top), light)
    resolve(light, look.tones, image[top : top + TILE, left : left + TILE])


@parallel_jit()
def draw_tiles(
    shapes: Any, lens: Any, look: Any, sky: Any, sun: Any, starts: Any, items: Any, image: Any
) -> None:
    """Draw all tiles, each as a task of its own.

    Parameters
    ----------
    shapes, lens, look, sky, sun
        As in `draw`.
    starts, items
        The shapes of each tile.
    image : (height, width, 3) uint8
        Overwritten.
    """
    columns = -(-image.shape[1] // TILE)
    for tile in numba.prange(starts.shape[0] - 1):
        corner = (tile % columns * TILE, tile // columns * TILE)
        draw_tile(
            shapes, lens, look, sky, sun, items[starts[tile] : starts[tile + 1]], corner, image
        )
