"""A perspective camera that keeps the whole box in its window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.matrix import product3
from mdpipe.render.raster import Lens

Floats = NDArray[np.float64]

ELEVATION_DEGREES = 17.0
AZIMUTH_DEGREES = 28.0
FIELD_OF_VIEW_DEGREES = 24.0


class Window(NamedTuple):
    """The rectangle of the picture that the box has to fit in, pixels."""

    left: float
    top: float
    width: float
    height: float


class Camera(NamedTuple):
    """Where the eye is and how it looks.

    `rotation` (3, 3) float64 has the rows right, down, forward in the frame of the box; `distance`
    is from the eye to the middle of the box, nm; `lens` is the perspective; `azimuth` in degrees.
    """

    rotation: Floats
    distance: float
    lens: Lens
    azimuth: float

    def view(self, points: Floats, centre: Floats) -> Floats:
        """Return points in the frame of the camera.

        Parameters
        ----------
        points : (…, 3) float64
            nm, in the frame of the box.
        centre : (3,) float64
            Middle of the box.

        Returns
        -------
        (…, 3) float64
            nm; the eye is the origin, z points away from it.
        """
        seen: Floats = product3(points - centre, self.rotation.T)
        seen[..., 2] += self.distance
        return seen

    def project(self, seen: Floats) -> Floats:
        """Return the pixels at which points in the frame of the camera appear.

        Parameters
        ----------
        seen : (…, 3) float64
            What `view` returned.

        Returns
        -------
        (…, 2) float64
            x to the right and y down, pixels.
        """
        middle = np.array([self.lens.cx, self.lens.cy])
        pixels: Floats = middle + self.lens.focal * seen[..., :2] / seen[..., 2:]
        return pixels


def box_corners(box: Floats) -> Floats:
    """Return the eight corners of a box.

    Parameters
    ----------
    box : (3, 3) float64
        Rows are the box vectors, nm.

    Returns
    -------
    (8, 3) float64
        nm; corner i holds box vector j if bit j of i is set.
    """
    bits = (np.arange(8)[:, None] >> np.arange(3)) & 1
    return product3(bits.astype(np.float64), box)


def look_from(azimuth: float, elevation: float = ELEVATION_DEGREES) -> Floats:
    """Return the rotation of a camera that looks at the middle of the box, z upwards.

    Parameters
    ----------
    azimuth : float
        Where the eye stands around z, degrees from -y towards +x.
    elevation : float
        How far it stands above the middle, degrees.

    Returns
    -------
    (3, 3) float64
        Rows right, down, forward.
    """
    a, e = np.radians(azimuth), np.radians(elevation)
    forward = np.array([-np.sin(a) * np.cos(e), np.cos(a) * np.cos(e), -np.sin(e)])
    right = np.array([np.cos(a), np.sin(a), 0.0])
    return np.stack([right, np.cross(forward, right), forward])


def fit_camera(
    box: Floats,
    size: tuple[int, int],
    *,
    window: Window | None = None,
    azimuth: float = AZIMUTH_DEGREES,
    sweep: Sequence[float] = (),
    padding: float = 0.2,
) -> Camera:
    """Place the eye as near as it can be while the box and what sticks out of it stay in a window.

    Parameters
    ----------
    box : (3, 3) float64
        Rows are the box vectors, nm.
    size : tuple of int
        Width and height of the picture, pixels.
    window : Window or None
        Where the box has to be; none: the picture less 4 % of its height on each side.
    azimuth : float
        Where the eye stands, degrees.
    sweep : sequence of float
        Other azimuths of the same film: distance and perspective fit all of them.
    padding : float
        How far molecules reach beyond the box, nm.

    Returns
    -------
    Camera
        The camera at `azimuth`.
    """
    width, height = size
    if window is None:
        rim = 0.04 * height
        window = Window(rim, rim, width - 2 * rim, height - 2 * rim)
    corners = box_corners(box) - box.sum(axis=0) / 2
    seen = np.concatenate([product3(corners, look_from(a).T) for a in (azimuth, *sweep)])
    focal = 0.5 * height / np.tan(np.radians(FIELD_OF_VIEW_DEGREES) / 2)
    near = padding - seen[:, 2].min()
    low, high = near * 1.01, near + 1.0
    while not _fits(_extent(seen, high, padding), focal, window):
        low, high = high, 2.0 * high
    for _ in range(50):
        middle = 0.5 * (low + high)
        fits = _fits(_extent(seen, middle, padding), focal, window)
        low, high = (low, middle) if fits else (middle, high)
    left, top, right, bottom = _extent(seen, high, padding)
    lens = Lens(
        float(focal),
        float(window.left + window.width / 2 - focal * (left + right) / 2),
        float(window.top + window.height / 2 - focal * (top + bottom) / 2),
        width,
        height,
    )
    return Camera(look_from(azimuth), float(high), lens, azimuth)


def turn_camera(camera: Camera, azimuth: float) -> Camera:
    """Return the same camera at another azimuth; distance and perspective stay.

    Parameters
    ----------
    camera : Camera
        Any camera.
    azimuth : float
        Degrees.

    Returns
    -------
    Camera
        The turned one.
    """
    return camera._replace(rotation=look_from(azimuth), azimuth=azimuth)


def _extent(seen: Floats, distance: float, padding: float) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of the padded corners, in focal lengths."""
    depth = seen[:, 2] + distance
    slopes = []
    for axis in (1, 0):
        slopes.append(((seen[:, axis] + padding) / depth).max())
        slopes.append(((seen[:, axis] - padding) / depth).min())
    bottom, top, right, left = slopes
    return left, top, right, bottom


def _fits(extent: tuple[float, float, float, float], focal: float, window: Window) -> bool:
    left, top, right, bottom = extent
    return bool(focal * (right - left) <= window.width and focal * (bottom - top) <= window.height)
