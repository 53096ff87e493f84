"""Water in a box to spheres, sticks, dashes and lines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError
from mdpipe.kernels.matrix import determinant3, inverse3, product3
from mdpipe.render.bonds import dashes
from mdpipe.render.camera import Camera, box_corners
from mdpipe.render.colours import BOND, HYDROGEN, OXYGEN, linear, scalar_colours
from mdpipe.render.raster import Shapes, cylinder_bounds, sphere_bounds

Floats = NDArray[np.float64]

BALLS_UP_TO = 300
"""Boxes of so few molecules are shown as balls and sticks by the style `auto`."""


@dataclass(frozen=True)
class Style:
    """How molecules are drawn.

    Attributes
    ----------
    kind : str
        `auto` (by number of molecules), `vdw` or `ball-and-stick`.
    samples : int
        Samples along each pixel: anti-aliasing with samples².
    ambient_occlusion : bool
        Darken crevices.
    axes : int
        Depth maps of the ambient occlusion; each serves two directions.
    outline : float
        Darkness of outlines, 0 … 1.
    haze : float
        How far the farthest corner fades into the paper, 0 … 1.
    """

    kind: Literal["auto", "vdw", "ball-and-stick"] = "auto"
    samples: int = 2
    ambient_occlusion: bool = True
    axes: int = 32
    outline: float = 0.85
    haze: float = 0.12

    def balls(self, n_molecules: int) -> bool:
        """Tell whether so many molecules are drawn as balls and sticks."""
        if self.kind == "auto":
            return n_molecules <= BALLS_UP_TO
        return self.kind == "ball-and-stick"


class Sizes(NamedTuple):
    """Radii of oxygen, hydrogen, sticks and dashes, nm."""

    oxygen: float
    hydrogen: float
    stick: float
    dash: float


BALLS = Sizes(0.054, 0.034, 0.019, 0.0105)
VDW = Sizes(0.150, 0.108, 0.0, 0.0)


class Solids(NamedTuple):
    """Molecules as shapes in the frame of the box, nm.

    `spheres` (m, 4), `cylinders` (k, 7), `colours` (m + k, 3) linear light, of which those from
    `flat` on are dashes, `occluders` (j, 4) spheres that cast shadows.
    """

    spheres: Floats
    cylinders: Floats
    colours: Floats
    flat: int
    occluders: Floats


def check_frame(positions: Floats, box: Floats) -> None:
    """Check what a picture is made of.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        nm.
    box : (3, 3) float64
        nm.

    Raises
    ------
    InputError
        For a wrong shape, a value that is not finite, or a box without volume.
    """
    if positions.ndim != 3 or positions.shape[1:] != (3, 3) or len(positions) == 0:
        raise InputError(
            f"positions must have the shape (n, 3, 3) with n >= 1, got {positions.shape}; "
            "give O, H1, H2 of each molecule"
        )
    if box.shape != (3, 3) or not np.isfinite(box).all() or not abs(determinant3(box)) > 0.0:
        raise InputError(f"box must be (3, 3), finite, of volume > 0, got {box.tolist()}")
    bad = np.asarray(~np.isfinite(positions).all(axis=(1, 2)))
    if bad.any():
        raise InputError(
            f"positions must be finite, got NaN or infinity in {bad.sum()} of {len(bad)} "
            f"molecules (first: {int(bad.argmax())}); leave this frame out"
        )


def wrap_molecules(positions: Floats, box: Floats) -> Floats:
    """Return whole molecules with their O in the cell 0 … 1.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        Whole molecules in any image, nm.
    box : (3, 3) float64
        nm.

    Returns
    -------
    (n, 3, 3) float64
        nm.
    """
    share = product3(positions[:, 0], inverse3(box))
    # not quite 0, so that rounding does not throw a molecule on the face to the other side
    wrapped: Floats = positions - product3(np.floor(share + 1.0e-7), box)[:, None, :]
    return wrapped


def build_solids(
    positions: Floats,
    box: Floats,
    style: Style,
    *,
    values: Floats | None = None,
    limits: tuple[float, float] = (0.0, 1.0),
    bonds: NDArray[np.int64] | None = None,
) -> Solids:
    """Build the shapes of a frame.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        Whole molecules in any image, nm.
    box : (3, 3) float64
        nm.
    style : Style
        How molecules are drawn.
    values : (n,) float64 or None
        Colours molecules by a scalar instead of by element.
    limits : tuple of float
        Values of the first and the last colour.
    bonds : (k, 3) int64 or None
        Hydrogen bonds, as of `find_hydrogen_bonds`; drawn with balls and sticks only.

    Returns
    -------
    Solids
        The shapes.
    """
    n = len(positions)
    balls = style.balls(n)
    sizes = BALLS if balls else VDW
    atoms = wrap_molecules(positions, box)
    radii = np.broadcast_to([sizes.oxygen, sizes.hydrogen, sizes.hydrogen], (n, 3))
    spheres = np.concatenate([atoms, radii[..., None]], axis=2).reshape(-1, 4)
    colours = _atom_colours(n, values, limits)
    if not balls:
        return Solids(spheres, np.empty((0, 7)), colours.reshape(-1, 3), 3 * n, spheres)
    middle = 0.5 * (atoms[:, :1] + atoms[:, 1:])
    half = np.stack(
        [np.broadcast_to(atoms[:, :1], middle.shape), middle, atoms[:, 1:]], axis=2
    )  # O, middle, H of both sticks
    ends = np.concatenate([half[:, :, :2].reshape(-1, 6), half[:, :, 1:].reshape(-1, 6)])
    sticks = np.concatenate([ends, np.full((len(ends), 1), sizes.stick)], axis=1)
    stick_colours = np.concatenate(
        [np.repeat(colours[:, 0], 2, axis=0), colours[:, 1:].reshape(-1, 3)]
    )
    beads = _beads(atoms, sizes)
    lines = dashes(atoms, box, np.empty((0, 3), np.int64) if bonds is None else bonds, sizes.dash)
    return Solids(
        spheres,
        np.concatenate([sticks, lines]),
        np.concatenate(
            [colours.reshape(-1, 3), stick_colours, np.broadcast_to(linear(BOND), (len(lines), 3))]
        ),
        len(spheres) + len(sticks),
        np.concatenate([spheres, beads]),
    )


def _atom_colours(n: int, values: Floats | None, limits: tuple[float, float]) -> Floats:
    """Return (n, 3, 3) linear colours of O, H, H."""
    colours = np.empty((n, 3, 3))
    if values is None:
        colours[:, 0] = linear(OXYGEN)
        colours[:, 1:] = linear(HYDROGEN)
    else:
        if values.shape != (n,):
            raise InputError(
                f"colour values must be one for each molecule ({n}), got {values.shape}"
            )
        colours[:, 0] = scalar_colours(values, *limits)
        colours[:, 1:] = 0.55 * colours[:, :1] + 0.45 * linear(HYDROGEN)
    return colours


def _beads(atoms: Floats, sizes: Sizes) -> Floats:
    """Return spheres along the visible part of the sticks: shadows of sticks by the same maps."""
    steps = np.linspace(sizes.oxygen, 0.1 - sizes.hydrogen, 4) / 0.1
    places = (
        atoms[:, None, :1] + steps[None, :, None, None] * (atoms[:, 1:] - atoms[:, :1])[:, None]
    )
    flat = places.reshape(-1, 3)
    return np.concatenate([flat, np.full((len(flat), 1), sizes.stick)], axis=1)


def project_solids(solids: Solids, box: Floats, camera: Camera) -> Shapes:
    """Bring shapes and the edges of the box before the camera, nearest spheres first.

    Parameters
    ----------
    solids : Solids
        In the frame of the box.
    box : (3, 3) float64
        nm.
    camera : Camera
        The view.

    Returns
    -------
    Shapes
        What the rasteriser draws.

    Raises
    ------
    InputError
        If a molecule reaches the eye.
    """
    centre = box.sum(axis=0) / 2
    m = len(solids.spheres)
    spheres = np.concatenate([camera.view(solids.spheres[:, :3], centre), solids.spheres[:, 3:]], 1)
    order = np.argsort(spheres[:, 2], kind="stable")
    spheres = spheres[order]
    ends = camera.view(solids.cylinders[:, :6].reshape(-1, 2, 3), centre).reshape(-1, 6)
    cylinders = np.concatenate([ends, solids.cylinders[:, 6:]], axis=1)
    corners = camera.view(box_corners(box), centre)
    nearest = min(float((spheres[:, 2] - spheres[:, 3]).min()), float(corners[:, 2].min()))
    if nearest <= 0.05 * camera.distance:
        raise InputError(
            f"molecules must lie in front of the camera, got one at {nearest:.3f} nm; "
            "fit the camera to the box"
        )
    pairs = np.array([(i, i | 1 << j) for i in range(8) for j in range(3) if not i >> j & 1])
    flat = np.concatenate([camera.project(corners), 1.0 / corners[:, 2:]], axis=1)
    return Shapes(
        np.ascontiguousarray(spheres),
        np.ascontiguousarray(cylinders),
        np.ascontiguousarray(np.concatenate([solids.colours[:m][order], solids.colours[m:]])),
        np.concatenate(
            [sphere_bounds(spheres, camera.lens), cylinder_bounds(cylinders, camera.lens)]
        ),
        solids.flat,
        np.ascontiguousarray(flat[pairs].reshape(-1, 6)),
    )
