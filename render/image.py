"""One frame to one picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.matrix import product3
from mdpipe.render.camera import AZIMUTH_DEGREES, Camera, box_corners, fit_camera, look_from
from mdpipe.render.colours import BOX, PAPER, linear, tone_table
from mdpipe.render.lighting import Maps, axis_bases, depth_maps, spread_axes
from mdpipe.render.raster import draw
from mdpipe.render.scene import Solids, Style, build_solids, check_frame, project_solids
from mdpipe.render.shading import Look

Floats = NDArray[np.float64]

SUN = np.array([-0.42, -0.62, -0.66])
"""Towards the key light for the usual view: right, down, forward."""


def render_image(
    positions: Floats,
    box: Floats,
    *,
    view: Camera | None = None,
    size: tuple[int, int] = (960, 540),
    style: Style | None = None,
    values: Floats | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    h_bonds: NDArray[np.int64] | None = None,
) -> NDArray[np.uint8]:
    """Draw a box of water.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2 of whole molecules in any image, nm.
    box : (3, 3) float64
        Rows are the box vectors, nm.
    view : Camera or None
        The view; none: one that fits the box into `size`.
    size : tuple of int
        Width and height, pixels; the view's own where one is given.
    style : Style or None
        How molecules are drawn; none: the usual.
    values : (n,) float64 or None
        Colours molecules by a scalar instead of by element.
    limits : tuple of float
        Values of the first and the last colour.
    h_bonds : (k, 3) int64 or None
        Donor molecule, its hydrogen (1 or 2), acceptor molecule of each hydrogen bond; drawn with
        balls and sticks only.

    Returns
    -------
    (height, width, 3) uint8
        sRGB.

    Raises
    ------
    InputError
        If positions or box are not finite or of another shape.
    """
    positions, box = np.asarray(positions, np.float64), np.asarray(box, np.float64)
    check_frame(positions, box)
    style = style or Style()
    camera = view or fit_camera(box, size)
    solids = build_solids(positions, box, style, values=values, limits=limits, bonds=h_bonds)
    shapes = project_solids(solids, box, camera)
    sky, sun = _light_maps(solids, box, camera, style)
    return draw(shapes, camera.lens, _look(box, camera, style, sky, sun), sky, sun)


def _light_maps(solids: Solids, box: Floats, camera: Camera, style: Style) -> tuple[Maps, Maps]:
    """Return the maps of the sky and of the key light, in the frame of the camera.

    The directions and the grids stand still in the world while the camera turns.
    """
    centre = box.sum(axis=0) / 2
    reach = np.linalg.norm(box_corners(box) - centre, axis=1).max() + 0.3
    radius = float(np.ceil(reach / 0.25) * 0.25)
    occluders = solids.occluders.copy()
    occluders[:, :3] -= centre
    axes = spread_axes(style.axes if style.ambient_occlusion else 0)
    bases = axis_bases(axes)
    sky_weights = np.stack([1.0 - 0.3 * axes[:, 2], 1.0 + 0.3 * axes[:, 2]], axis=1)
    sky = depth_maps(occluders, bases, radius, max(0.0125, 2 * radius / 512), sky_weights)
    sun_axis = product3(SUN / np.sqrt((SUN**2).sum()), look_from(AZIMUTH_DEGREES))
    sun_basis = axis_bases(sun_axis[None])
    sun = depth_maps(occluders, sun_basis, radius, max(0.005, 2 * radius / 1280), np.ones((1, 2)))
    turn = camera.rotation.T
    return (
        sky._replace(bases=np.ascontiguousarray(product3(bases, turn))),
        sun._replace(bases=np.ascontiguousarray(product3(sun_basis, turn))),
    )


def _look(box: Floats, camera: Camera, style: Style, sky: Maps, sun: Maps) -> Look:
    centre = box.sum(axis=0) / 2
    depths = camera.view(box_corners(box), centre)[:, 2]
    scale = camera.lens.height / 720.0
    # thinner than a sample, a line gets paler instead; small molecules would drown in ink
    thickness = 0.8 * style.samples * scale
    ball = 0.15 * camera.lens.focal / camera.distance
    outline = style.outline * min(1.0, thickness, ball / 7.0)
    reach = max(1, round(thickness))
    sky_texel = 1.0 / sky.scale
    return Look(
        background=linear(PAPER),
        line_colour=linear(BOX),
        centre=np.array([0.0, 0.0, camera.distance]),
        tones=tone_table(),
        ambient=0.57 if style.ambient_occlusion else 0.3,
        key=0.57,
        fill=0.04,
        specular=0.2,
        near=float(depths.min()),
        far=float(depths.max()),
        haze=style.haze,
        outline=outline,
        gap=0.12,
        line_width=max(1.3, 2.0 * scale),
        sky_bias=1.0 * sky_texel,
        sky_softness=2.0 * sky_texel,
        sun_bias=2.0 / sun.scale,
        samples=style.samples,
        reach=reach,
        apron=-(-reach // style.samples),
    )
