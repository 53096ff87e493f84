"""A started step, and the times that an engine keeps."""

from __future__ import annotations

from dataclasses import dataclass

from mdpipe.inject import Fault
from mdpipe.workflows.graph import Step
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
