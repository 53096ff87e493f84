"""Progress of a step, told through files to whoever started it.

One file takes JSON lines, in words and in units of the work; the other one, that of a workflow
engine, lines of `N/M` of which the last one counts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mdpipe import inject

VARIABLE = "MDPIPE_PROGRESS"
"""Environment variable that names the file."""

PERIOD_S = 0.25

PARTS_VARIABLE: Final = "ARGO_PROGRESS_FILE"
"""Environment variable by which Argo Workflows names its file."""

PARTS: Final = 100
"""Parts of any step, so that the steps of a workflow count alike."""

Shares = Mapping[str, tuple[float, float]]

SHARES: Final[Mapping[str, Shares]] = {
    "preprocess": {"read": (0.0, 0.9), "slices": (0.9, 1.0)},
    "simulate": {
        "minimise": (0.0, 0.9),
        "equilibrate": (0.0, 0.9),
        "produce": (0.0, 0.9),
        "measure": (0.9, 1.0),
    },
    "combine": {"fetch": (0.0, 0.4), "film": (0.4, 0.9), "report": (0.9, 1.0)},
}
"""From where to where in a step a stage leads. Minimising, equilibrating and producing count the
same steps; the stages of what is not named here count on from each other."""


@dataclass(frozen=True, slots=True)
class Report:
    """How far a step is: `done` of `total` in its `stage`, and its `rate` in words."""

    stage: str
    done: int
    total: int
    rate: str = ""

    @property
    def fraction(self) -> float:
        """Part of the stage that is done, 0 to 1."""
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


class PartsWriter:
    """Tells a step as a whole in `N/M`: M stays, and N never falls.

    Parameters
    ----------
    path : Path or None
        The file; without one, or when it cannot be written, nothing is told.
    shares : mapping
        From `SHARES`.
    """

    def __init__(self, path: Path | None, shares: Shares | None = None) -> None:
        self.path = path
        self._shares = shares or {}
        self._told = -1

    def report(self, now: Report) -> None:
        """Tell how far a stage is, if that is news.

        Parameters
        ----------
        now : Report
            The stage and how far it is.
        """
        begin, end = self._shares.get(now.stage, (0.0, 1.0))
        # a hair more, or the last part of 0.9 + 0.1 would be rounded away
        parts = int(PARTS * (begin + (end - begin) * now.fraction) + 1e-9)
        if self.path is None or parts <= self._told:
            return
        self._told = parts
        try:
            with self.path.open("a", encoding="ascii") as stream:
                stream.write(f"{parts}/{PARTS}\n")
        except OSError:
            self.path = None


class ProgressWriter:
    """Append reports to a file, at most four in a second; without a file, do nothing.

    The first report of a stage and its last one (`done == total`) are always written. A file that
    cannot be written ends the reports, never the step.

    Parameters
    ----------
    path : Path or None
        The file.
    clock : callable
        Seconds, for tests.
    parts : PartsWriter or None
        Is told as well.
    """

    def __init__(
        self,
        path: Path | None,
        clock: Callable[[], float] = time.monotonic,
        parts: PartsWriter | None = None,
    ) -> None:
        self.path = path
        self._parts = parts or PartsWriter(None)
        self._clock = clock
        self._stage = ""
        self._last = float("-inf")

    @classmethod
    def from_environment(cls, step: str = "") -> ProgressWriter:
        """Return a writer to the files that `MDPIPE_PROGRESS` and `ARGO_PROGRESS_FILE` name.

        Parameters
        ----------
        step : str
            Kind of the step, a key of `SHARES`.

        Returns
        -------
        ProgressWriter
            One that does nothing if the variables are not set.
        """
        path, parts = (os.environ.get(name) for name in (VARIABLE, PARTS_VARIABLE))
        return cls(
            Path(path) if path else None,
            parts=PartsWriter(Path(parts) if parts else None, SHARES.get(step)),
        )

    def report(self, stage: str, done: int, total: int, rate: str = "") -> None:
        """Tell how far the step is.

        Parameters
        ----------
        stage : str
            What is being done, in a word.
        done : int
            Units done.
        total : int
            Units in all.
        rate : str
            How fast, with its unit.
        """
        if total > 0:
            inject.reached(done / total)
            self._parts.report(Report(stage, done, total))
        if self.path is None:
            return
        now = self._clock()
        if stage == self._stage and done < total and now - self._last < PERIOD_S:
            return
        self._stage, self._last = stage, now
        line = json.dumps({"stage": stage, "done": done, "total": total, "rate": rate})
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")
        except OSError:
            self.path = None


def read_progress(path: Path) -> Report | None:
    """Read the last whole report of a progress file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Report or None
        None if there is none yet.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 1024))
            lines = stream.read().split(b"\n")[:-1]
    except OSError:
        return None
    for line in reversed(lines):
        try:
            row = json.loads(line)
            return Report(
                str(row["stage"]), int(row["done"]), int(row["total"]), str(row.get("rate", ""))
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return None
