"""Progress of a step, told through a file: JSON lines that whoever started the step reads."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mdpipe import inject

VARIABLE = "MDPIPE_PROGRESS"
"""Environment variable that names the file."""

PERIOD_S = 0.25


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
    """

    def __init__(self, path: Path | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._stage = ""
        self._last = float("-inf")

    @classmethod
    def from_environment(cls) -> ProgressWriter:
        """Return a writer to the file that `MDPIPE_PROGRESS` names.

        Returns
        -------
        ProgressWriter
            One that does nothing if the variable is not set.
        """
        named = os.environ.get(VARIABLE)
        return cls(Path(named) if named else None)

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
