"""A started step, and the times that an engine keeps."""

from __future__ import annotations

import time
from dataclasses import dataclass

from mdpipe.inject import Fault
from mdpipe.progress import Report
from mdpipe.workflows.graph import Step
from mdpipe.workflows.outcome import Running
from mdpipe.workflows.runner import Handle
from mdpipe.workflows.schedule import Grant


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of an engine.

    `grace_s` is what steps get to stop at a checkpoint, `poll_s` the pause of the loop, and
    `delay_scale` multiplies the waits before retries.
    """

    grace_s: float = 10.0
    poll_s: float = 0.02
    delay_scale: float = 1.0


@dataclass(slots=True)
class Job:
    """A step that has been started."""

    step: Step
    handle: Handle
    grant: Grant
    begun: float
    fault: Fault | None = None
    stop_sent: float | None = None
    timed_out: bool = False

    @property
    def time_limit_s(self) -> float | None:
        """When to stop it; an injected fault may say: at once."""
        if self.fault is not None and self.fault.name == "time-limit":
            return 0.0
        return self.step.resources.time_limit_s

    def limit_time(self, grace_s: float) -> None:
        """Stop it once it has run for too long: first gently, after a while at once.

        Parameters
        ----------
        grace_s : float
            What it gets to stop.
        """
        limit, now = self.time_limit_s, time.monotonic()
        if limit is None or now - self.begun < limit:
            return
        if self.stop_sent is None:
            self.timed_out = True
        self.stop(grace_s)

    def stop(self, grace_s: float, *, at_once: bool = False) -> None:
        """Ask it to stop; kill it when it was asked before and has had its time.

        Parameters
        ----------
        grace_s : float
            What it gets to stop.
        at_once : bool
            Whether it gets no time at all.
        """
        now = time.monotonic()
        if self.stop_sent is None:
            self.stop_sent = now
            self.handle.stop()
        if at_once or now - self.stop_sent > grace_s:
            self.handle.kill()

    def running(self, attempt: int, report: Report | None) -> Running:
        """Return what listeners are told of it.

        Parameters
        ----------
        attempt : int
            Which attempt it is.
        report : Report or None
            How far it is.

        Returns
        -------
        Running
            The moment.
        """
        return Running(self.step, time.monotonic() - self.begun, attempt, report)
