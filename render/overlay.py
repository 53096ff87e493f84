"""What a film says beside the water: title, time, properties with small plots, colour bar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.render.camera import Window
from mdpipe.render.colours import ACCENT, FAINT, MUTED, PAPER, rgb, viridis
from mdpipe.render.text import blend, shorten, text_width, write

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]
Series = tuple[Floats, Floats, str]
"""Times (ps), values and unit of a property."""

MOST_SERIES = 3
FINE = 4


class Labels(NamedTuple):
    """What stands beside the water.

    `title` and `note` are lines; `series` names properties; `scale` is label and limits of the
    colour bar, none where molecules have the colours of their elements.
    """

    title: str
    note: str = ""
    series: Mapping[str, Series] = {}
    scale: tuple[str, float, float] | None = None


class Layout(NamedTuple):
    """Where things go, pixels: `unit` is the size of a pixel of a 960 x 540 picture."""

    width: int
    height: int
    unit: float
    panel: int
    window: Window

    def px(self, size: float) -> int:
        """Return a length of the 960 x 540 picture in pixels."""
        return round(size * self.unit)


def plan_layout(width: int, height: int, labels: Labels) -> Layout:
    """Share a picture out between the water and what is said of it.

    Parameters
    ----------
    width, height : int
        Of the picture, pixels.
    labels : Labels
        What is said.

    Returns
    -------
    Layout
        A picture below 200 x 120 pixels is all water.
    """
    if width < 200 or height < 120:
        return Layout(width, height, 0.0, 0, Window(2, 2, width - 4, height - 4))
    unit = min(width / 960, height / 540)
    beside = bool(labels.series) or labels.scale is not None
    panel = round(220 * unit) if beside else 0
    top, rim = round(60 * unit), round(14 * unit)
    window = Window(rim, top, width - panel - 2 * rim, height - top - rim)
    return Layout(width, height, unit, panel, window)


class Overlay:
    """Draws the labels of a film; what does not change is drawn once.

    Parameters
    ----------
    layout : Layout
        Where things go.
    labels : Labels
        What is said.
    """

    def __init__(self, layout: Layout, labels: Labels) -> None:
        self.layout = layout
        self.labels = labels
        self._panels = [
            (name, _Plot(times, values, unit, layout))
            for name, (times, values, unit) in list(labels.series.items())[:MOST_SERIES]
            if layout.unit > 0 and np.isfinite(values).any()
        ]

    def draw(self, picture: Picture, time_ps: float) -> None:
        """Draw the labels at a time.

        Parameters
        ----------
        picture : (height, width, 3) uint8
            Changed.
        time_ps : float
            Time of the frame, ps.
        """
        at = self.layout
        if at.unit == 0:
            return
        px = at.px
        left, right = px(24), at.width - px(24)
        clock = format_time(time_ps)
        room = right - left - text_width(clock, px(18)) - px(20)
        title = shorten(self.labels.title, px(19), room, bold=True)
        write(picture, title, (left, px(14)), px(19), bold=True)
        note = shorten(self.labels.note, px(12), room)
        write(picture, note, (left, px(39)), px(12), colour=MUTED)
        edge = at.width - at.panel if at.panel else right
        if at.panel:
            write(picture, clock, (edge, px(15)), px(18))
        else:
            write(picture, clock, (right, px(15)), px(18), align="right")
        top = px(62)
        for name, plot in self._panels:
            self._draw_property(picture, name, plot, top, time_ps)
            top += px(116)
        if self.labels.scale is not None:
            self._draw_scale(picture, max(top + px(8), at.height - px(100)))

    def caption(self, time_ps: float) -> str:
        """Return one line for a small picture: the time and the first property."""
        words = [format_time(time_ps)]
        words += [plot.read(time_ps) for _, plot in self._panels[:1]]
        return " · ".join(words)

    def _draw_property(
        self, picture: Picture, name: str, plot: _Plot, top: int, time_ps: float
    ) -> None:
        px = self.layout.px
        left = self.layout.width - self.layout.panel
        room = self.layout.panel - px(24)
        write(picture, shorten(name, px(12), room), (left, top), px(12), colour=MUTED)
        value = plot.number(time_ps)
        write(picture, value, (left, top + px(15)), px(18))
        used = text_width(value, px(18)) + px(6)
        unit = shorten(plot.unit, px(12), room - used)
        write(picture, unit, (left + used, top + px(20)), px(12), colour=MUTED)
        plot.draw(picture, left, top + px(42), time_ps)

    def _draw_scale(self, picture: Picture, top: int) -> None:
        assert self.labels.scale is not None
        px = self.layout.px
        name, low, high = self.labels.scale
        left = self.layout.width - self.layout.panel
        length, thick = self.layout.panel - px(24), px(12)
        write(picture, shorten(name, px(12), length), (left, top), px(12), colour=MUTED)
        bar_top = top + px(20)
        colours = viridis()[np.linspace(0, 255, length).round().astype(np.int64)]
        bar = np.round(255 * colours).astype(np.uint8)
        picture[bar_top : bar_top + thick, left : left + length] = bar[None]
        below = bar_top + thick + px(4)
        for share, align in ((0.0, "left"), (0.5, "middle"), (1.0, "right")):
            text = f"{low + share * (high - low):.3g}"
            place = (left + round(share * length), below)
            write(picture, text, place, px(12), align=align)


class _Plot:
    """A small line plot of a property against time, with the present marked."""

    def __init__(self, times: Floats, values: Floats, unit: str, layout: Layout) -> None:
        known = np.isfinite(values) & np.isfinite(times)
        self.times = np.asarray(times, np.float64)[known]
        self.values = np.asarray(values, np.float64)[known]
        self.unit = unit
        size = np.abs(self.values).max()
        self.decimals = int(np.clip(3 - np.floor(np.log10(max(size, 1.0e-3))), 0, 3))
        self.width, self.height = layout.panel - layout.px(24), layout.px(52)
        self.thick = max(1.0, 1.4 * layout.unit)
        self.dot = max(2, layout.px(3.2))
        self._x, self._y = self._line()
        self._mask = self._draw_line()

    def number(self, time_ps: float) -> str:
        """Return the value at a time."""
        value = float(np.interp(time_ps, self.times, self.values))
        return f"{value:.{self.decimals}f}".replace("-", "−")

    def read(self, time_ps: float) -> str:
        """Return value and unit at a time."""
        return f"{self.number(time_ps)} {self.unit}".rstrip()

    def draw(self, picture: Picture, left: int, top: int, time_ps: float) -> None:
        """Draw the line, strong up to the present and faint beyond it."""
        first, last = self.times[0], self.times[-1]
        share = np.clip((time_ps - first) / (last - first), 0.0, 1.0) if last > first else 1.0
        x = self.dot + share * (self.width - 1 - 2 * self.dot)
        past = int(np.ceil(x))
        base = top + self.height
        picture[base : base + 1, left : left + self.width] = rgb(FAINT)
        blend(picture, self._mask[:, past:], left + past, top, FAINT)
        blend(picture, self._mask[:, :past], left, top, ACCENT)
        y = float(np.interp(x, self._x, self._y))
        _dot(picture, left + x, top + y, self.dot)

    def _line(self) -> tuple[Floats, Floats]:
        """Return the line in pixels of the plot: a mean for each second column."""
        columns = max(2, (self.width - 2 * self.dot) // 2)
        first, last = self.times[0], self.times[-1]
        share = (self.times - first) / max(last - first, 1.0e-300)
        bins = np.minimum((share * columns).astype(np.int64), columns - 1)
        counts = np.bincount(bins, minlength=columns)
        used = counts > 0
        x = np.bincount(bins, share, columns)[used] / counts[used]
        y = np.bincount(bins, self.values, columns)[used] / counts[used]
        low, high = y.min(), y.max()
        spread = max(high - low, 1.0e-3 * max(abs(high), 1.0e-12))
        rise = (y - 0.5 * (low + high)) / spread + 0.5
        room = self.height - 1 - 2 * self.dot
        return (
            self.dot + x * (self.width - 1 - 2 * self.dot),
            self.dot + (1.0 - rise) * room,
        )

    def _draw_line(self) -> NDArray[np.uint8]:
        from PIL import Image, ImageDraw

        image = Image.new("L", (self.width * FINE, self.height * FINE))
        places = [
            (float(x), float(y))
            for x, y in zip((self._x + 0.5) * FINE, (self._y + 0.5) * FINE, strict=True)
        ]
        if len(places) > 1:
            ImageDraw.Draw(image).line(
                places, fill=255, width=round(self.thick * FINE), joint="curve"
            )
        return np.asarray(image.reduce(FINE))


def _dot(picture: Picture, x: float, y: float, radius: int) -> None:
    """Draw a disc with a rim of paper."""
    left, top = int(x) - radius - 2, int(y) - radius - 2
    grid = np.arange(2 * radius + 6)
    distance = np.hypot(grid[None, :] + left + 0.0 - x, grid[:, None] + top + 0.0 - y)
    for size, colour in ((radius + 1.0, PAPER), (float(radius), ACCENT)):
        cover = np.clip(size + 0.5 - distance, 0.0, 1.0)
        blend(picture, np.round(255 * cover).astype(np.uint8), left, top, colour)


def format_time(time_ps: float) -> str:
    """Return a time with its unit: ps below 10 000 ps, else ns."""
    if abs(time_ps) < 10_000:
        return f"{time_ps:.{1 if abs(time_ps) < 1000 else 0}f} ps"
    return f"{time_ps / 1000:.2f} ns"


def blank(width: int, height: int, colour: str = PAPER) -> Picture:
    """Return an empty picture."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = rgb(colour)
    return picture
