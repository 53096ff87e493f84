"""Following a workflow to its end: a line for each event, a live line on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TextIO

from mdpipe.failures import BusyError, MdpipeError
from mdpipe.workflows.cluster.door import Door, KubernetesDoor
from mdpipe.workflows.cluster.group_names import GroupNames
from mdpipe.workflows.cluster.reap import reap, reaped_line
from mdpipe.workflows.cluster.show import attempt_line, failure_line, head_line
from mdpipe.workflows.cluster.status import Status, read_status
from mdpipe.workflows.live import clock_time

EACH_GROUP: Final = 40
"""Up to so many groups each has a line of its own; of more, each twentieth part."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of following, seconds.

    `poll_s` between two looks, or `share` times what a look takes if that is longer; `reap_s`
    between two searches for pods that wait in vain; `patience_s` for a cluster that does not
    answer.
    """

    poll_s: float = 2.0
    share: float = 10.0
    reap_s: float = 20.0
    patience_s: float = 1800.0


class Lines:
    """Writes lines, and on a terminal a last one that changes.

    Parameters
    ----------
    stream : text stream
        Where to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._shown = False

    def say(self, line: str) -> None:
        """Write a line that stays.

        Parameters
        ----------
        line : str
            The line.
        """
        begin = "\r\x1b[2K" if self._shown else ""
        self._stream.write(f"{begin}mdpipe: {line}\n")
        self._shown = False
        self._stream.flush()

    def show(self, line: str) -> None:
        """Show a line until the next one; only a terminal sees it.

        Parameters
        ----------
        line : str
            The line.
        """
        if self._live:
            self._stream.write(f"\r\x1b[2K{line[:160]}")
            self._stream.flush()
            self._shown = True


@dataclass(slots=True)
class Events:
    """What of a workflow has been told already."""

    phase: str = ""
    planned: bool = False
    attempts: set[tuple[str, int]] = field(default_factory=set)
    groups: int = 0

    def of(self, status: Status) -> list[str]:
        """Return what is new, as lines.

        Parameters
        ----------
        status : Status
            The moment.

        Returns
        -------
        list of str
            In the order in which it should be read.
        """
        lines = []
        if status.phase != self.phase:
            self.phase = status.phase
            if not status.over:
                lines.append(head_line(status))
        if status.rows is not None and not self.planned:
            self.planned = True
            scenes = status.totals["simulate"]
            lines.append(
                f"planned: {scenes} scenes to simulate, {status.rows} groups to render"
                if status.rows
                else "planned: everything was cached"
            )
        for seen in status.tally.latest(len(status.tally.attempts)):
            if (key := (seen.step, seen.number)) not in self.attempts:
                self.attempts.add(key)
                lines.append(f"failed attempt: {attempt_line(seen, status)}")
        return lines + self._groups(status)

    def _groups(self, status: Status) -> list[str]:
        done, rows = status.tally.groups["succeeded"], status.rows
        if not rows:
            return []
        step = 1 if rows <= EACH_GROUP else -(-rows // 20)
        if done // step <= self.groups // step and not (done == rows and done > self.groups):
            return []
        self.groups = done
        left = "" if status.eta_s is None else f", about {clock_time(status.eta_s)} left"
        return [f"{done}/{rows} groups done after {clock_time(status.elapsed_s)}{left}"]


def follow(
    door: Door,
    name: str,
    stream: TextIO,
    *,
    pace: Pace | None = None,
    reaper: KubernetesDoor | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Status:
    """Follow a workflow to its end.

    Parameters
    ----------
    door : Door
        The way to it.
    name : str
        Its name.
    stream : text stream
        Where lines go.
    pace : Pace or None
        How often to look.
    reaper : KubernetesDoor or None
        With it pods that wait in vain are ended meanwhile.
    sleep : callable
        Waits, for tests.

    Returns
    -------
    Status
        The last moment.

    Raises
    ------
    AbsentError
        If there is no such workflow, or it is deleted.
    BusyError
        If the cluster does not answer for too long.
    """
    pace = pace or Pace()
    lines, events, names = Lines(stream), Events(), GroupNames(door)
    silent_since: float | None = None
    reaped_at = time.monotonic()
    while True:
        began = time.monotonic()
        try:
            status = read_status(door, name, names=names, failed_only=True)
        except BusyError as error:
            silent_since = silent_since or began
            if began - silent_since > pace.patience_s:
                raise
            lines.show(f"{error}; still trying")
            sleep(pace.poll_s)
            continue
        if silent_since is not None:
            lines.say(f"the cluster answers again after {began - silent_since:.0f} s")
            silent_since = None
        for line in events.of(status):
            lines.say(line)
        if status.over:
            for line in end_lines(status):
                lines.say(line)
            return status
        lines.show(_live_line(status))
        if reaper is not None and began - reaped_at >= pace.reap_s:
            reaped_at = began
            reaper = _reap(reaper, name, lines)
        sleep(max(pace.poll_s, pace.share * (time.monotonic() - began)))


def end_lines(status: Status) -> list[str]:
    """Say how a workflow ended.

    Parameters
    ----------
    status : Status
        Its last moment.

    Returns
    -------
    list of str
        What failed for good, the whole, and what to do next.
    """
    lines = [failure_line(seen, status) for seen in status.tally.final()[:20]]
    lines.append(head_line(status))
    if status.phase == "Succeeded":
        lines.append(f"`mdpipe fetch {status.name} DIR` fetches film, report and tables")
    else:
        if status.message:
            lines.append(status.message)
        lines.append(f"`mdpipe logs {status.name}` shows why; submit again to go on")
    return lines


def _live_line(status: Status) -> str:
    steps = status.tally.steps
    busy = [
        f"{kind} {steps[kind].running} running, {steps[kind].pending} pending"
        for kind in ("simulate", "render")
        if steps[kind].running or steps[kind].pending
    ]
    return "; ".join([head_line(status), *busy])


def _reap(reaper: KubernetesDoor, name: str, lines: Lines) -> KubernetesDoor | None:
    """End what waits in vain; a user without the right is told once."""
    try:
        for seen in reap(reaper, workflow=name):
            lines.say(f"ended {reaped_line(seen)}; it is tried again")
    except BusyError:
        return reaper
    except MdpipeError as error:
        lines.say(f"pods that wait in vain are left to others: {error}")
        return None
    return reaper
