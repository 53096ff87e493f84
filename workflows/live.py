"""Live progress on standard error: a table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from mdpipe.workflows.outcome import Outcome, QuietReporter, Reporter, Running, View

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

LINE_EVERY_S = 15.0
"""Longest silence of the line reporter."""

SHORTEST_S = 2.0
"""Shortest time between two of its lines."""


def make_reporter(*, quiet: bool = False, stream: TextIO | None = None) -> Reporter:
    """Return the reporter that suits where standard error goes.

    Parameters
    ----------
    quiet : bool
        Whether to say nothing but what failed.
    stream : text stream or None
        Where to write; None for standard error.

    Returns
    -------
    Reporter
        A live table on a terminal, else lines; with `quiet` failures alone.
    """
    stream = stream or sys.stderr
    if quiet:
        return FailureReporter(stream)
    if stream.isatty():
        return LiveReporter(stream)
    return LineReporter(stream)


def clock_time(seconds: float) -> str:
    """Write a time span as people read it.

    Parameters
    ----------
    seconds : float
        The span.

    Returns
    -------
    str
        `m:ss` or `h:mm:ss`.
    """
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


class Eta:
    """Estimates when a running step's stage ends, from the reports since the stage began."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: dict[str, tuple[str, float, int]] = {}

    def seconds(self, item: Running) -> float | None:
        """Return the time left in the stage.

        Parameters
        ----------
        item : Running
            A running step.

        Returns
        -------
        float or None
            Seconds; None until two different reports have come.
        """
        report = item.report
        if report is None:
            return None
        now = self._clock()
        stage, begun, first = self._begun.get(item.step.id, ("", 0.0, 0))
        if stage != report.stage or report.done < first:
            self._begun[item.step.id] = (report.stage, now, report.done)
            return None
        if report.done <= first or now <= begun:
            return None
        return (report.total - report.done) * (now - begun) / (report.done - first)


class LineReporter:
    """One overall line when a step has ended, and at intervals.

    Parameters
    ----------
    stream : text stream
        Where to write.
    clock : callable
        Seconds, for tests.
    """

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._eta = Eta(clock)
        self._last = float("-inf")
        self._over = -1

    def update(self, view: View) -> None:
        """Write a line if there is news or it has been quiet for long.

        Parameters
        ----------
        view : View
            A moment of the run.
        """
        now = self._clock()
        for item in view.running:
            self._eta.seconds(item)
        quiet_s = now - self._last
        if quiet_s < LINE_EVERY_S and (view.over == self._over or quiet_s < SHORTEST_S):
            return
        self._last, self._over = now, view.over
        self.note(self._line(view))

    def _line(self, view: View) -> str:
        """Say all of a moment in one line."""
        total = str(view.total) if view.complete else "?"
        parts = [f"[{clock_time(view.wall_s)}] {view.over}/{total} steps"]
        if view.complete:
            parts.append(f"{view.fraction:.0%}")
        if failed := view.counts.get("failed", 0):
            parts.append(f"{failed} failed")
        parts += [describe(item, self._eta.seconds(item)) for item in view.running[:4]]
        if len(view.running) > 4:
            parts.append(f"and {len(view.running) - 4} more")
        return "; ".join(parts)

    def note(self, line: str) -> None:
        """Write a line.

        Parameters
        ----------
        line : str
            The line.
        """
        with contextlib.suppress(OSError, ValueError):  # nobody listens any more
            self._stream.write(f"mdpipe: {line}\n")
            self._stream.flush()

    def close(self) -> None:
        """Do nothing: there is nothing to put in order."""

    def finish(self, outcome: Outcome, run: Path) -> None:
        """Write the last lines.

        Parameters
        ----------
        outcome : Outcome
            How the run ended.
        run : Path
            The run folder.
        """
        for line in outcome.lines(run):
            self.note(line)


class FailureReporter(QuietReporter):
    """Silence, but for what failed.

    Parameters
    ----------
    stream : text stream
        Where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self._lines = LineReporter(stream)

    def finish(self, outcome: Outcome, run: Path) -> None:
        """Write what failed.

        Parameters
        ----------
        outcome : Outcome
            How the run ended.
        run : Path
            The run folder.
        """
        del run
        for line in outcome.failure_lines():
            self._lines.note(line)


def describe(item: Running, eta_s: float | None) -> str:
    """Say in a few words how far a running step is.

    Parameters
    ----------
    item : Running
        The step.
    eta_s : float or None
        Time left in its stage, seconds.

    Returns
    -------
    str
        Such as `simulate 000 nvt produce 4500/10000, 12.3 ns/day, 0:21 left`.
    """
    report = item.report
    if report is None:
        return f"{item.step.label} {clock_time(item.wall_s)}"
    text = f"{item.step.label} {report.stage} {report.done}/{report.total}"
    if report.rate:
        text += f", {report.rate}"
    return text + (f", {clock_time(eta_s)} left" if eta_s is not None else "")


class LiveReporter:
    """A live table: one row for each running step, and a bar for the whole.

    Parameters
    ----------
    stream : text stream
        A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live

        self._eta = Eta()
        self._console: Console = Console(file=stream)
        # the engine calls often enough; a thread of rich's own would outlive the signals' thread
        self._live: Live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def update(self, view: View) -> None:
        """Draw the table anew.

        Parameters
        ----------
        view : View
            A moment of the run.
        """
        with contextlib.suppress(OSError, ValueError):
            self._live.update(self.table(view), refresh=True)

    def table(self, view: View) -> RenderableType:
        """Return the table of a moment.

        Parameters
        ----------
        view : View
            The moment.

        Returns
        -------
        renderable
            For rich.
        """
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table.grid(padding=(0, 1))
        for _ in range(2):
            table.add_column(no_wrap=True)
        table.add_column(width=24)
        for _ in range(3):
            table.add_column(justify="right", no_wrap=True)
        for item in view.running:
            report, eta_s = item.report, self._eta.seconds(item)
            label = item.step.label + (f" (attempt {item.attempt})" if item.attempt > 1 else "")
            if report is None:
                bar = ProgressBar(total=None, width=24, animation_time=item.wall_s)
                table.add_row(label, "start", bar, "", "", clock_time(item.wall_s))
                continue
            bar = ProgressBar(total=max(1, report.total), completed=report.done, width=24)
            left = f"{clock_time(eta_s)} left" if eta_s is not None else clock_time(item.wall_s)
            done = f"{report.done}/{report.total}"
            table.add_row(label, report.stage, bar, done, report.rate, left)
        shown = ("computed", "cached", "kept", "failed", "skipped")
        said = ", ".join(f"{view.counts[s]} {s}" for s in shown if view.counts.get(s))
        total = str(view.total) if view.complete else "?"
        whole = ProgressBar(total=1.0, completed=view.fraction if view.complete else 0.0, width=24)
        table.add_row("all", f"{view.over}/{total}", whole, said, "", clock_time(view.wall_s))
        return table

    def note(self, line: str) -> None:
        """Write a line above the table.

        Parameters
        ----------
        line : str
            The line.
        """
        with contextlib.suppress(OSError, ValueError):
            self._console.print(f"mdpipe: {line}", markup=False, highlight=False)

    def close(self) -> None:
        """Take the table away."""
        with contextlib.suppress(OSError, ValueError):
            self._live.stop()

    def finish(self, outcome: Outcome, run: Path) -> None:
        """Write the last lines.

        Parameters
        ----------
        outcome : Outcome
            How the run ended.
        run : Path
            The run folder.
        """
        for line in outcome.lines(run):
            self.note(line)
