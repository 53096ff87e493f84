"""What the scene cache did for a run: one line for each event, in a file beside the run's story."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

What = Literal[
    "hit", "waited", "computed", "recomputed", "refetched", "evicted", "quarantined", "refused",
    "pushed", "store-failed",
]  # fmt: skip
"""`hit`, `waited` and `computed` are how a scene was got, one for each; the others come with
them: `recomputed` was known before but its data were gone, `refetched` came from the durable tier,
`refused` was not stored for want of room, `store-failed` had to do without the durable tier."""


class Event(NamedTuple):
    """Something that the cache did; `bytes` of data."""

    what: What
    key: str
    bytes: int = 0


Recorder = Callable[[Event], None]


def forget(event: Event) -> None:
    """Take an event and keep nothing.

    Parameters
    ----------
    event : Event
        What happened.
    """
    del event


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of events; `bytes_saved` came from the cache instead of being computed."""

    hits: int = 0
    misses: int = 0
    waited: int = 0
    bytes_saved: int = 0
    evictions: int = 0
    bytes_evicted: int = 0
    refetches: int = 0
    bytes_refetched: int = 0
    recomputations: int = 0
    quarantined: int = 0
    refused: int = 0
    pushed: int = 0
    store_failures: int = 0

    @property
    def hit_rate(self) -> float:
        """Part of the scenes that were not computed, 0 to 1; 0 where none was asked for."""
        return self.hits / max(self.hits + self.misses, 1)

    def to_json(self) -> dict[str, float]:
        """Return plain data for JSON.

        Returns
        -------
        dict
            All counts, and `hit_rate`.
        """
        return asdict(self) | {"hit_rate": round(self.hit_rate, 4)}


def statistics_path(run: Path) -> Path:
    """Return where a run's events are written.

    Parameters
    ----------
    run : Path
        The run folder.

    Returns
    -------
    Path
        A file of JSON lines.
    """
    return run / "cache.jsonl"


def run_recorder(run: Path) -> Recorder:
    """Return what writes events beside a run's story.

    Parameters
    ----------
    run : Path
        The run folder.

    Returns
    -------
    callable
        Any number of processes may write at once, and be killed while they do; what cannot be
        written is left out.
    """
    path = statistics_path(run)

    def record(event: Event) -> None:
        line = json.dumps({**event._asdict(), "time_s": round(time.time(), 3)}) + "\n"
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # one write to a file opened for appending: lines of several processes do not mix
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)

    return record


def read_statistics(run: Path) -> Statistics:
    """Count a run's events.

    Parameters
    ----------
    run : Path
        The run folder.

    Returns
    -------
    Statistics
        All zero where nothing was written.
    """
    events: list[Event] = []
    with contextlib.suppress(OSError):
        for line in statistics_path(run).read_text("utf-8", "replace").splitlines():
            with contextlib.suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                events.append(Event(row["what"], row["key"], int(row["bytes"])))
    return count(events)


def count(events: list[Event]) -> Statistics:
    """Count events.

    Parameters
    ----------
    events : list of Event
        What happened.

    Returns
    -------
    Statistics
        The counts.
    """
    times: Counter[str] = Counter(event.what for event in events)
    data: Counter[str] = Counter()
    for event in events:
        data[event.what] += event.bytes
    return Statistics(
        hits=times["hit"] + times["waited"],
        misses=times["computed"],
        waited=times["waited"],
        bytes_saved=data["hit"] + data["waited"],
        evictions=times["evicted"],
        bytes_evicted=data["evicted"],
        refetches=times["refetched"],
        bytes_refetched=data["refetched"],
        recomputations=times["recomputed"],
        quarantined=times["quarantined"],
        refused=times["refused"],
        pushed=times["pushed"],
        store_failures=times["store-failed"],
    )
