"""What an engine tells while it runs and at the end, and who listens."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mdpipe.failures import FailureClass, cause_line
from mdpipe.progress import Report
from mdpipe.run_folder import RunFolder
from mdpipe.workflows.graph import Graph, Step
from mdpipe.workflows.runner import Ended
from mdpipe.workflows.story import OVER, Story

EARLY_STAGES = frozenset({"minimise", "equilibrate"})
"""Stages whose progress says nothing of the step's whole work."""


@dataclass(frozen=True, slots=True)
class Running:
    """A step that runs: for how long, in which attempt, and how far it is."""

    step: Step
    wall_s: float
    attempt: int
    report: Report | None


@dataclass(frozen=True, slots=True)
class View:
    """A moment of a run: steps by status, what runs, and the part of the work that is done."""

    counts: Mapping[str, int]
    total: int
    running: tuple[Running, ...]
    fraction: float
    wall_s: float
    complete: bool

    @property
    def over(self) -> int:
        """Steps that will not run any more."""
        return self.total - self.counts.get("waiting", 0) - self.counts.get("running", 0)


def view_of(graph: Graph, story: Story, running: tuple[Running, ...]) -> View:
    """Return a moment of a run; the work done is weighed by the steps' estimated times.

    Parameters
    ----------
    graph : Graph
        The graph.
    story : Story
        What has happened.
    running : tuple of Running
        What runs.

    Returns
    -------
    View
        The moment.
    """
    total = sum(step.resources.seconds for step in graph.steps) or 1.0
    done = sum(s.resources.seconds for s in graph.steps if story.steps[s.id].status in OVER)
    done += sum(
        item.step.resources.seconds * item.report.fraction
        for item in running
        if item.report is not None and item.report.stage not in EARLY_STAGES
    )
    return View(
        story.counts(),
        len(graph.steps),
        running,
        min(1.0, done / total),
        story.wall_s,
        graph.complete,
    )


def cause_of(ended: Ended, row: FailureClass, memory_mb: int) -> str:
    """Say in a line why an attempt failed.

    Parameters
    ----------
    ended : Ended
        How it ended.
    row : FailureClass
        Its class.
    memory_mb : int
        Its memory tier, MB.

    Returns
    -------
    str
        The line of its last words that made the class, else its last line; where the kernel or a
        signal ended it, that.
    """
    lines = [line.strip() for line in ended.tail.splitlines() if line.strip()]
    for line in reversed(lines):
        if row.messages and re.search("|".join(row.messages), line, re.IGNORECASE):
            return cause_line(line)
    if ended.oom_kills or (row.name == "out-of-memory" and ended.exit_code is None):
        return f"killed by the kernel at its limit of {memory_mb} MB"
    if row.name == "time-limit":
        return "it ran longer than its time limit"
    if ended.signal is not None:
        named = {number.value: number.name for number in signal.Signals}
        by = f"ended by {named.get(ended.signal, f'signal {ended.signal}')}"
        return by if row.name == "interrupted" or not lines else f"{by}: {cause_line(ended.tail)}"
    return cause_line(ended.tail)


@dataclass(frozen=True, slots=True)
class Failure:
    """A step that failed for good: class, cause, what to do, and where its log is."""

    step: str
    label: str
    failure: str
    cause: str
    remedy: str
    log: Path


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    exit_code: int
    counts: Mapping[str, int]
    failures: tuple[Failure, ...]
    wall_s: float
    interrupted: bool

    def failure_lines(self) -> list[str]:
        """Return what the user must know in any case.

        Returns
        -------
        list of str
            A line for each failed step: class, cause, remedy and log.
        """
        return [
            f"failed: {failure.label}: {failure.failure}: {failure.cause}; "
            f"remedy: {failure.remedy}; log: {failure.log}"
            for failure in self.failures
        ]

    def lines(self, run: Path) -> list[str]:
        """Return what the user is told at the end.

        Parameters
        ----------
        run : Path
            The run folder.

        Returns
        -------
        list of str
            What failed and why, what was done, and where film and report are.
        """
        done = ", ".join(f"{count} {status}" for status, count in self.counts.items() if count)
        told = self.failure_lines()
        told.append(f"{sum(self.counts.values())} steps in {self.wall_s:.1f} s: {done}")
        if self.interrupted:
            told.append("stopped; run again to resume")
        folder = RunFolder(run)
        for name, path in (("film", folder.film), ("report", folder.report)):
            if path.is_file():
                told.append(f"{name}: {path}")
        return told


class Reporter(Protocol):
    """Who listens to an engine."""

    def update(self, view: View) -> None:
        """Take a moment of the run, several in a second."""

    def note(self, line: str) -> None:
        """Take a line that the user should see now."""

    def close(self) -> None:
        """Put the terminal in order; only notes come after this."""

    def finish(self, outcome: Outcome, run: Path) -> None:
        """Tell how the run ended; comes last."""


class QuietReporter:
    """Says nothing."""

    def update(self, view: View) -> None:
        """Take a moment of the run.

        Parameters
        ----------
        view : View
            The moment.
        """

    def note(self, line: str) -> None:
        """Take a line.

        Parameters
        ----------
        line : str
            The line.
        """

    def close(self) -> None:
        """Do nothing."""

    def finish(self, outcome: Outcome, run: Path) -> None:
        """Take how the run ended.

        Parameters
        ----------
        outcome : Outcome
            How it ended.
        run : Path
            The run folder.
        """
