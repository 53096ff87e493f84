"""A plot of benchmarks: time per step against the size of the box."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mdpipe.render.plots import PALETTE

FORMATS: Final = (".svg", ".png", ".pdf")


class Line(NamedTuple):
    """One line: its label, numbers of atoms, and the times of the repeats at each, ms."""

    label: str
    atoms: Sequence[int]
    times_ms: Sequence[Sequence[float]]


def timings_plot(lines: Sequence[Line], ending: str) -> bytes:
    """Draw ms/step against atoms, and the same per 1,000 atoms.

    Parameters
    ----------
    lines : sequence of Line
        At least one; the points are medians, the bars reach from the least to the most.
    ending : str
        One of `FORMATS`.

    Returns
    -------
    bytes
        The file. The second panel is level where time is proportional to size.
    """
    with mpl.rc_context({"svg.hashsalt": "mdpipe", "font.size": 9.0}):
        figure = Figure(figsize=(8.0, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        whole, each = figure.subplots(1, 2)
        for number, line in enumerate(lines):
            colour = PALETTE[number % len(PALETTE)]
            times = [np.asarray(repeats) for repeats in line.times_ms]
            _draw(whole, line, times, colour)
            _draw(each, line, [t / n * 1e3 for t, n in zip(times, line.atoms, strict=True)], colour)
        whole.set(xscale="log", yscale="log", xlabel="atoms", ylabel="ms/step")
        each.set(xscale="log", xlabel="atoms", ylabel="ms/step per 1,000 atoms")
        each.set_ylim(bottom=0.0)
        for axes in (whole, each):
            axes.grid(visible=True, linewidth=0.4)
        whole.legend(fontsize=8.0)
        stream = io.BytesIO()
        metadata = {"Date": None} if ending == ".svg" else {}
        figure.savefig(stream, format=ending.removeprefix("."), dpi=150, metadata=metadata)
    return stream.getvalue()


def _draw(axes: Axes, line: Line, times: Sequence[np.ndarray], colour: str) -> None:
    middle = np.array([np.median(t) for t in times])
    reach = np.array([[m - t.min(), t.max() - m] for m, t in zip(middle, times, strict=True)]).T
    axes.errorbar(
        line.atoms, middle, yerr=reach, label=line.label, color=colour, marker="o", markersize=3,
        linewidth=1.2, capsize=2,
    )  # fmt: skip
