"""What happened to each step, kept in `story.json` for the report and for whoever comes later."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from mdpipe.failures import NoSpaceError
from mdpipe.products import write_json
from mdpipe.run_folder import RunFolder

Status = Literal["waiting", "running", "computed", "cached", "kept", "skipped", "failed", "stopped"]
"""`kept`: products of an earlier run still match; `skipped`: a step that it needs has failed;
`stopped`: the run was told to stop."""

STATUSES: tuple[Status, ...] = (
    "computed", "cached", "kept", "failed", "skipped", "stopped", "running", "waiting",
)  # fmt: skip
GOOD: frozenset[Status] = frozenset({"computed", "cached", "kept"})
OVER: frozenset[Status] = GOOD | {"skipped", "failed", "stopped"}
PERIOD_S = 2.0


@dataclass(slots=True)
class Attempt:
    """One start of a step: how it ended and what it took.

    `memory_mb` is the tier that it had, `failure` is empty if it ended well, and `injected` names
    the fault that was injected, if any.
    """

    wall_s: float
    peak_memory_mb: float
    threads: int
    memory_mb: int
    failure: str = ""
    cause: str = ""
    exit_code: int | None = None
    signal: int | None = None
    retry_in_s: float | None = None
    injected: str = ""


@dataclass(slots=True)
class StepStory:
    """What happened to a step; for a kept one, what happened when it was made.

    `without` names the needs that had not ended well when a partial step ran nevertheless, `size`
    is the step's size in the graph, and `raised_mb` the memory tier to which it was raised after
    running out of memory, 0 if it never did; it stays there, in later runs too.
    """

    id: str
    kind: str
    group: str
    scene: str
    status: Status = "waiting"
    attempts: list[Attempt] = field(default_factory=list)
    wall_s: float = 0.0
    peak_memory_mb: float = 0.0
    without: list[str] = field(default_factory=list)
    reason: str = ""
    failure: str = ""
    remedy: str = ""
    size: str = ""
    raised_mb: int = 0

    def made(self) -> dict[str, Any]:
        """Return what a manifest keeps of this."""
        return {
            "status": self.status,
            "wall_s": self.wall_s,
            "peak_memory_mb": self.peak_memory_mb,
            "size": self.size,
            "attempts": [asdict(attempt) for attempt in self.attempts],
        }

    def recall(self, made: dict[str, Any]) -> None:
        """Take over what a manifest kept of an earlier run.

        Parameters
        ----------
        made : dict
            What `made` returned then.
        """
        with contextlib.suppress(TypeError, ValueError):
            self.wall_s = float(made.get("wall_s", 0.0))
            self.peak_memory_mb = float(made.get("peak_memory_mb", 0.0))
            self.attempts = [Attempt(**row) for row in made.get("attempts", ())]


class Story:
    """The stories of all steps of a run, written to `story.json` now and then and at the end.

    Parameters
    ----------
    run : Path
        The run folder.
    clock : callable
        Seconds, for tests.
    """

    def __init__(self, run: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = RunFolder(run).story
        self.steps: dict[str, StepStory] = {}
        self.status = "running"
        self.injected: dict[str, Any] = {}
        self._started_s = time.time()
        self._clock = clock
        self._begun = clock()
        self._written = float("-inf")

    @property
    def wall_s(self) -> float:
        """Seconds since the run began."""
        return self._clock() - self._begun

    def earlier(self) -> list[tuple[str, str, float, int]]:
        """Read what an earlier run of this folder knew of memory, before it is written over.

        Returns
        -------
        list of (id, size, peak in MB, raised tier in MB)
            One for each step that said its size; empty if there was no such run.
        """
        try:
            rows = json.loads(self.path.read_text("utf-8"))["steps"]
            return [
                (r["id"], r["size"], float(r["peak_memory_mb"]), int(r["raised_mb"]))
                for r in rows
                if r.get("size")
            ]
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def counts(self) -> dict[str, int]:
        """Return how many steps have each status.

        Returns
        -------
        dict
            Status to number, the good ones first.
        """
        counts: dict[str, int] = dict.fromkeys(STATUSES, 0)
        for step in self.steps.values():
            counts[step.status] += 1
        return counts

    def write(self, *, now: bool = False) -> None:
        """Write the story. One that cannot be written, as on a full disk, is told another time.

        Parameters
        ----------
        now : bool
            Whether to write it even if it was written a moment ago.
        """
        if not now and self._clock() - self._written < PERIOD_S:
            return
        self._written = self._clock()
        content = {
            "status": self.status,
            "started_s": round(self._started_s, 3),
            "wall_s": round(self.wall_s, 3),
            "injected": self.injected,
            "steps": [asdict(step) for step in self.steps.values()],
        }
        with contextlib.suppress(OSError, NoSpaceError):
            write_json(self.path, content)
