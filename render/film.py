"""Frames of a scene to a film and a still."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sized
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError, NoSpaceError, exit_code_of
from mdpipe.render.bonds import find_hydrogen_bonds
from mdpipe.render.camera import (
    AZIMUTH_DEGREES,
    Camera,
    Window,
    box_corners,
    fit_camera,
    turn_camera,
)
from mdpipe.render.encode import Encoder
from mdpipe.render.image import render_image
from mdpipe.render.overlay import Labels, Overlay, Series, plan_layout
from mdpipe.render.scene import BALLS, VDW, Style
from mdpipe.state import Frame
from mdpipe.study import Render

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]

MOST_CAPTIONS = 2000
BOND_NOTE = "dashed: hydrogen bonds, r(OO) < 3.5 Å, angle H–O…O < 30°"


class Colouring(NamedTuple):
    """Colour by a scalar: `values(positions, box)` gives one number for each molecule."""

    values: Callable[[Floats, Floats], Floats]
    label: str
    limits: tuple[float, float]


class Follower:
    """The camera of a film: turns evenly, and steps back where the box outgrows its window.

    Parameters
    ----------
    settings : Render
        Turn of the camera over the film.
    size : tuple of int
        Width and height, pixels.
    window : Window
        Where the box has to stay.
    """

    def __init__(self, settings: Render, size: tuple[int, int], window: Window) -> None:
        half = settings.rotate_degrees / 2
        self._sweep = [float(a) for a in np.linspace(-half, half, 7) + AZIMUTH_DEGREES]
        self._size, self._window = size, window
        self._camera: Camera | None = None
        self.used_width = 0.0

    def at(self, share: float, box: Floats, padding: float) -> Camera:
        """Return the camera after a share (0 … 1) of the film."""
        azimuth = self._sweep[0] + share * (self._sweep[-1] - self._sweep[0])
        fitted = self._fit(box, padding)
        if self._camera is None or fitted.distance > self._camera.distance:
            # room to breathe, so that a barostat does not move the camera in every frame
            self._camera = self._fit(1.01 * box, padding)
            self.used_width = max(self.used_width, self._measure(1.01 * box, padding))
        return turn_camera(self._camera, azimuth)

    def _measure(self, box: Floats, padding: float) -> float:
        """Return the width that the box needs around the middle of the window, pixels."""
        assert self._camera is not None
        middle = self._window.left + self._window.width / 2
        reach = 0.0
        for azimuth in self._sweep:
            camera = turn_camera(self._camera, azimuth)
            seen = camera.view(box_corners(box), box.sum(axis=0) / 2)
            around = np.abs(camera.project(seen)[:, 0] - middle)
            reach = max(reach, float((around + camera.lens.focal * padding / seen[:, 2]).max()))
        return 2.0 * reach

    def _fit(self, box: Floats, padding: float) -> Camera:
        return fit_camera(
            box,
            self._size,
            window=self._window,
            azimuth=self._sweep[3],
            sweep=self._sweep,
            padding=padding,
        )


def render_film(
    frames: Iterable[Frame],
    out: Path,
    settings: Render,
    *,
    title: str,
    series: Mapping[str, Series] | None = None,
    colouring: Colouring | None = None,
    n_frames: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw frames and write them as a film, and the last one as a still beside it.

    Parameters
    ----------
    frames : iterable of Frame
        Whole molecules in any image; read once, one at a time.
    out : Path
        The film, `….mp4` (H.264); the still has the same name with `.png`.
    settings : Render
        Size, rate, style; at most `settings.frames` frames, spread evenly, are drawn.
    title : str
        First line of the film.
    series : mapping or None
        Name of a property to its times (ps), values and unit; the first three are plotted.
    colouring : Colouring or None
        Colours molecules by a scalar instead of by element.
    n_frames : int or None
        How many frames there are; none: `len(frames)` where it has one, else `settings.frames`
        is taken for granted and every frame is drawn.
    progress : callable or None
        Called with frames drawn and frames to draw.

    Raises
    ------
    InputError
        If there is no frame, or one is not finite.
    NoSpaceError
        If the disk is full; nothing half-written stays.
    """
    total = len(frames) if n_frames is None and isinstance(frames, Sized) else n_frames
    expected = total or settings.frames
    wanted = set(np.linspace(0, expected - 1, min(expected, settings.frames)).round().astype(int))
    size = (settings.width + settings.width % 2, settings.height + settings.height % 2)
    still = out.with_suffix(".png")
    painter: _Painter | None = None
    with Encoder(out, *size, settings.fps) as encoder:
        for number, frame in enumerate(frames):
            if total is not None and number not in wanted:
                continue
            if painter is None:
                painter = _Painter(settings, size, title, series or {}, colouring, len(frame[0]))
            share = min(1.0, encoder.frames / max(1, len(wanted) - 1))
            painter.paint(frame, share)
            encoder.write(painter.picture)
            if progress is not None:
                progress(encoder.frames, max(len(wanted), encoder.frames))
        if painter is None:
            raise InputError(f"{out}: no frame to draw; simulate the scene first")
        save_picture(painter.picture, still)
        encoder.finish(painter.notes())


class _Painter:
    """Draws the frames of one film with their labels."""

    def __init__(
        self,
        settings: Render,
        size: tuple[int, int],
        title: str,
        series: Mapping[str, Series],
        colouring: Colouring | None,
        n_molecules: int,
    ) -> None:
        self.style = Style(
            settings.style,
            samples=settings.samples,
            ambient_occlusion=settings.ambient_occlusion,
        )
        self.balls = self.style.balls(n_molecules)
        self.colouring = colouring
        scale = None if colouring is None else (colouring.label, *colouring.limits)
        labels = Labels(title, BOND_NOTE if self.balls else "", series, scale)
        self.layout = plan_layout(*size, labels)
        self.overlay = Overlay(self.layout, labels)
        self.follower = Follower(settings, size, self.layout.window)
        self.captions: list[str] = []
        self.picture: Picture = np.empty((0, 0, 3), np.uint8)

    def paint(self, frame: Frame, share: float) -> None:
        """Draw a frame after a share of the film."""
        try:
            self._paint(frame, share)
        except InputError as error:
            raise InputError(f"frame at {frame.time_ps:g} ps: {error}") from error

    def _paint(self, frame: Frame, share: float) -> None:
        positions, box = np.asarray(frame.positions, float), np.asarray(frame.box, float)
        values, limits = None, (0.0, 1.0)
        bonds = None
        if np.isfinite(positions).all() and np.isfinite(box).all():
            if self.colouring is not None:
                values, limits = self.colouring.values(positions, box), self.colouring.limits
            if self.balls:
                bonds = find_hydrogen_bonds(positions, box)
        sizes = BALLS if self.balls else VDW
        padding = 0.05 + sizes.oxygen
        self.picture = render_image(
            positions,
            box,
            view=self.follower.at(share, np.nan_to_num(box), padding),
            style=self.style,
            values=values,
            limits=limits,
            h_bonds=bonds,
        )
        self.overlay.draw(self.picture, frame.time_ps)
        if len(self.captions) < MOST_CAPTIONS:
            self.captions.append(self.overlay.caption(frame.time_ps))

    def notes(self) -> dict[str, object]:
        """Return what a grid of films needs to know of this one."""
        window = [round(v) for v in self.layout.window]
        return {
            "title": self.overlay.labels.title,
            "window": window,
            "used_width": round(self.follower.used_width + 0.06 * window[3]),
            "captions": self.captions,
        }


def save_picture(picture: Picture, path: Path) -> None:
    """Write a picture as PNG: temporary name first, then renamed.

    Parameters
    ----------
    picture : (h, w, 3) uint8
        sRGB.
    path : Path
        The file, `….png`.

    Raises
    ------
    NoSpaceError
        If the disk is full.
    """
    import imageio.v3 as iio

    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        iio.imwrite(part, picture, extension=".png")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        if exit_code_of(error) == NoSpaceError.exit_code:
            raise NoSpaceError(
                f"{path}: no space left on the disk; free some and run again"
            ) from error
        raise
