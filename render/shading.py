"""Light on what the samples see: key light, sky, depth cue, outlines, and the edges of the box."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit
from mdpipe.render.lighting import sky_light, sun_light

FAST = {"contract", "nsz", "arcp"}


class Look(NamedTuple):
    """How a picture looks; colours are linear light.

    Attributes
    ----------
    background, line_colour : (3,) float64
        Paper, and the edges of the box.
    centre : (3,) float64
        Middle of the depth maps in the frame of the camera, nm.
    tones : (4096,) uint8
        sRGB of linear light.
    ambient, key, fill, specular : float
        Strength of the sky, of the key light, of a lamp at the eye, of highlights.
    near, far, haze : float
        Depths (nm) between which colours fade into the background, and how far they do.
    outline, gap : float
        Darkness of outlines, and the jump of depth (nm) at which they are full.
    line_width : float
        Width of the edges of the box, pixels.
    sky_bias, sky_softness, sun_bias : float
        Tolerances of the depth maps, nm.
    samples, reach, apron : int
        Samples along a pixel, width of outlines in samples, pixels around a tile that they need.
    """

    background: NDArray[np.float64]
    line_colour: NDArray[np.float64]
    centre: NDArray[np.float64]
    tones: NDArray[np.uint8]
    ambient: float
    key: float
    fill: float
    specular: float
    near: float
    far: float
    haze: float
    outline: float
    gap: float
    line_width: float
    sky_bias: float
    sky_softness: float
    sun_bias: float
    samples: int
    reach: int
    apron: int


@jit(fastmath=FAST)
def rim(depth: Any, iy: int, ix: int, reach: int, gap: float) -> float:
    """Return how much the depth jumps away beside a sample: 0 none, 1 by `gap` or more."""
    own = depth[iy, ix]
    above, below = depth[iy - reach, ix], depth[iy + reach, ix]
    before, behind = depth[iy, ix - reach], depth[iy, ix + reach]
    farthest = max(above, below, before, behind)
    return float(min(1.0, max(0.0, (farthest - own) / gap - 0.3)))


@jit(fastmath=FAST)
def gather_points(
    lens: Any, look: Any, depth: Any, owner: Any, corner: Any, marks: Any, points: Any
) -> int:
    """Reduce the samples of each pixel to one point for each shape that they see.

    Parameters
    ----------
    lens, look
        As in `draw`.
    depth, owner : (n, n)
        What the samples see.
    corner : tuple of int
        Left and top pixel of the tile.
    marks : (n, 3) int32
        Overwritten with row and column in the tile and shape of each point.
    points : (n, 5) float64
        Overwritten with x, y (pixels), z, share of the pixel, outline.

    Returns
    -------
    int
        Number of points.
    """
    left, top = corner
    samples, apron = look.samples, look.apron
    size = depth.shape[0] // samples - 2 * apron
    count = 0
    for row in range(min(size, lens.height - top)):
        for column in range(min(size, lens.width - left)):
            first = count
            for sy in range(samples):
                iy = (row + apron) * samples + sy
                for sx in range(samples):
                    ix = (column + apron) * samples + sx
                    item = owner[iy, ix]
                    if item < 0:
                        continue
                    k = first
                    while k < count and marks[k, 2] != item:
                        k += 1
                    if k == count:
                        marks[k, 0], marks[k, 1], marks[k, 2] = row, column, item
                        points[k] = 0.0
                        count += 1
                    points[k, 0] += sx
                    points[k, 1] += sy
                    points[k, 2] += depth[iy, ix]
                    points[k, 3] += 1.0
                    points[k, 4] += rim(depth, iy, ix, look.reach, look.gap)
            for k in range(first, count):
                share = points[k, 3]
                points[k, 0] = left + column + (points[k, 0] / share + 0.5) / samples
                points[k, 1] = top + row + (points[k, 1] / share + 0.5) / samples
                points[k, 2] /= share
                points[k, 4] /= share
                points[k, 3] = share / (samples * samples)
    return count


@jit(fastmath=FAST)
def normal_at(shapes: Any, item: int, x: float, y: float, z: float) -> Any:
    """Return the unit normal of a shape at a point near its surface."""
    spheres = shapes.spheres.shape[0]
    if item < spheres:
        nx = x - shapes.spheres[item, 0]
        ny = y - shapes.spheres[item, 1]
        nz = z - shapes.spheres[item, 2]
    else:
        ends = shapes.cylinders[item - spheres]
        ux, uy, uz = ends[3] - ends[0], ends[4] - ends[1], ends[5] - ends[2]
        nx, ny, nz = x - ends[0], y - ends[1], z - ends[2]
        along = (nx * ux + ny * uy + nz * uz) / (ux * ux + uy * uy + uz * uz)
        nx, ny, nz = nx - along * ux, ny - along * uy, nz - along * uz
    scale = 1.0 / np.sqrt(max(1.0e-12, nx * nx + ny * ny + nz * nz))
    return nx * scale, ny * scale, nz * scale


@jit(fastmath=FAST)
def shade_points(
    shapes: Any,
    lens: Any,
    look: Any,
    sky: Any,
    sun: Any,
    depth: Any,
    owner: Any,
    corner: Any,
    light: Any,
) -> None:
    """Put the light of every visible shape into the pixels of a tile.

    Parameters
    ----------
    shapes, lens, look, sky, sun
        As in `draw`.
    depth, owner : (n, n)
        What the samples see.
    corner : tuple of int
        Left and top pixel of the tile.
    light : (t, t, 3) float64
        Linear light, holding the background; changed where something is seen.
    """
    most = light.shape[0] * light.shape[1] * look.samples * look.samples
    marks = np.empty((most, 3), np.int32)
    points = np.empty((most, 5))
    count = gather_points(lens, look, depth, owner, corner, marks, points)
    places = np.empty((3, count), np.float32)
    normals = np.empty((3, count), np.float32)
    open_sky = np.empty(count, np.float32)
    for k in range(count):
        z = points[k, 2]
        x = (points[k, 0] - lens.cx) / lens.focal * z
        y = (points[k, 1] - lens.cy) / lens.focal * z
        nx, ny, nz = normal_at(shapes, marks[k, 2], x, y, z)
        normals[0, k], normals[1, k], normals[2, k] = nx, ny, nz
        # a little off the surface, so that its own texels do not hide it
        places[0, k] = x - look.centre[0] + look.sun_bias * nx
        places[1, k] = y - look.centre[1] + look.sun_bias * ny
        places[2, k] = z - look.centre[2] + look.sun_bias * nz
    sky_light(places, normals, count, look.sky_bias, look.sky_softness, sky, open_sky)
    sx, sy, sz = sun.bases[0, 2, 0], sun.bases[0, 2, 1], sun.bases[0, 2, 2]
    for k in range(count):
        nx, ny, nz = float(normals[0, k]), float(normals[1, k]), float(normals[2, k])
        px, py, pz = float(places[0, k]), float(places[1, k]), float(places[2, k])
        facing = nx * sx + ny * sy + nz * sz
        lit = 0.0
        if facing > 0.0:
            lit = sun_light(px, py, pz, look.sun_bias * (1.5 - facing), sun)
        vx, vy, vz = px + look.centre[0], py + look.centre[1], pz + look.centre[2]
        away = 1.0 / np.sqrt(vx * vx + vy * vy + vz * vz)
        vx, vy, vz = -vx * away, -vy * away, -vz * away
        hx, hy, hz = sx + vx, sy + vy, sz + vz
        shine = max(0.0, nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz)
        shine = shine * shine
        shine = shine * shine
        shine = shine * shine
        shine = shine * shine
        shine = look.specular * lit * shine * shine
        eye = max(0.0, nx * vx + ny * vy + nz * vz)
        # squared in part: crevices get darker than the share of open sky alone would make them
        open_here = float(open_sky[k]) * (0.4 + 0.6 * float(open_sky[k]))
        diffuse = look.ambient * open_here + look.key * lit * max(0.0, facing)
        diffuse += look.fill * eye * (0.3 + 0.7 * open_here)
        haze = look.haze * min(1.0, max(0.0, (points[k, 2] - look.near) / (look.far - look.near)))
        ink = 1.0 - look.outline * points[k, 4]
        row, column, item = marks[k, 0], marks[k, 1], marks[k, 2]
        if item >= shapes.flat:
            diffuse, shine, ink = 1.0, 0.0, 1.0
        for c in range(3):
            colour = (shapes.colours[item, c] * diffuse + shine) * ink
            colour = min(1.0, colour) * (1.0 - haze) + look.background[c] * haze
            light[row, column, c] += points[k, 3] * (colour - look.background[c])


@jit(fastmath=FAST)
def draw_edges(edges: Any, look: Any, depth: Any, corner: Any, light: Any) -> None:
    """Blend lines over a tile: smooth across, and hidden sample by sample behind what is nearer.

    Parameters
    ----------
    edges : (e, 6) float64
        x, y (pixels) and 1/z of both ends.
    look : Look
        Colour and width.
    depth : (n, n) float32
        What the samples see.
    corner : tuple of int
        Left and top pixel of the tile.
    light : (t, t, 3) float64
        Linear light of the tile; changed.
    """
    size, samples, apron = light.shape[0], look.samples, look.apron
    half = 0.5 * look.line_width + 0.5
    for e in range(edges.shape[0]):
        x0, y0 = edges[e, 0] - corner[0], edges[e, 1] - corner[1]
        dx, dy = edges[e, 3] - edges[e, 0], edges[e, 4] - edges[e, 1]
        length2 = max(1.0e-9, dx * dx + dy * dy)
        top = max(0, int(np.floor(min(y0, y0 + dy) - half)))
        bottom = min(size, int(np.ceil(max(y0, y0 + dy) + half)))
        left = max(0, int(np.floor(min(x0, x0 + dx) - half)))
        right = min(size, int(np.ceil(max(x0, x0 + dx) + half)))
        for row in range(top, bottom):
            for column in range(left, right):
                ax, ay = column + 0.5 - x0, row + 0.5 - y0
                t = min(1.0, max(0.0, (ax * dx + ay * dy) / length2))
                cover = half - np.sqrt((ax - t * dx) ** 2 + (ay - t * dy) ** 2)
                if cover <= 0.0:
                    continue
                z = 1.0 / (edges[e, 2] + t * (edges[e, 5] - edges[e, 2]))
                seen = 0
                for iy in range((row + apron) * samples, (row + apron + 1) * samples):
                    for ix in range((column + apron) * samples, (column + apron + 1) * samples):
                        seen += depth[iy, ix] > z
                haze = look.haze * min(1.0, max(0.0, (z - look.near) / (look.far - look.near)))
                cover = min(1.0, cover) * (1.0 - haze) * seen / (samples * samples)
                for c in range(3):
                    light[row, column, c] += cover * (look.line_colour[c] - light[row, column, c])


@jit(fastmath=FAST)
def resolve(light: Any, tones: Any, pixels: Any) -> None:
    """Turn linear light into sRGB bytes.

    Parameters
    ----------
    light : (t, t, 3) float64
        Linear light, 0 … 1.
    tones : (k,) uint8
        sRGB of 0 … 1.
    pixels : (≤ t, ≤ t, 3) uint8
        Overwritten.
    """
    top = tones.shape[0] - 1
    for row in range(pixels.shape[0]):
        for column in range(pixels.shape[1]):
            for c in range(3):
                value = min(1.0, max(0.0, light[row, column, c]))
                pixels[row, column, c] = tones[int(value * top + 0.5)]
