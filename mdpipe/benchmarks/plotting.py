"""ms/step against atoms, drawn by the renderer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mdpipe.benchmarks.tables import linear_within
from mdpipe.failures import UsageError
from mdpipe.products import write_atomically
from mdpipe.render.timings import FORMATS, Line, timings_plot

SIZES: Final = (216, 350, 600, 1000, 2000, 4000, 8000, 16000, 32000, 66667)
"""Molecules of the plot: 648 to 200,000 atoms. Fewer do not fill a box of twice the cutoff."""


def check_plot(path: Path) -> None:
    """Make sure that a plot can be written, before hours are spent on it.

    Parameters
    ----------
    path : Path
        Where it is to go.

    Raises
    ------
    UsageError
        If the ending of its name is none of a format, or its folder does not exist.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"--plot {path}: the name must end in {', '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: no folder {path.parent}")


def lines_of(rows: Sequence[dict[str, Any]]) -> list[Line]:
    """Return the lines of a plot: one for each model, program and number of threads.

    Parameters
    ----------
    rows : sequence of dict
        From `bench_md`.

    Returns
    -------
    list of Line
        In the order of the rows; programs that did not run have none.
    """
    found: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    models = {row["model"] for row in rows}
    for row in rows:
        if "missing" not in row:
            key = (row["model"], row["program"], row["threads"])
            found.setdefault(key, []).append(row)
    lines = []
    for (model, program, threads), points in found.items():
        label = f"{program}, {threads} thread{'s' if threads > 1 else ''}"
        if len(models) > 1:
            label = f"{model}: {label}"
        sizes = [row["atoms"] for row in points]
        times = [row["times_ms"] for row in points]
        if program == "mdpipe" and len(points) > 2:
            within = linear_within(sizes, [row["ms_per_step"] for row in points])
            label += f" (proportional within {within:.0%})"
        lines.append(Line(label, sizes, times))
    return lines


def draw(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw ms/step against atoms.

    Parameters
    ----------
    rows : sequence of dict
        From `bench_md`.
    path : Path
        File to write; its ending is the format.
    """
    content = timings_plot(lines_of(rows), path.suffix)
    with write_atomically(path) as target:
        target.write_bytes(content)
