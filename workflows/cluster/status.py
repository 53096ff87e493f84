"""How far a workflow is: what is done, runs and failed, what was retried and why, how long still.

One request reads the object. Totals come from what preprocess has put out, so they are known before
the workflow has unfolded, and also where nodes cannot be read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from mdpipe.cluster_settings import STUDY_LABEL
from mdpipe.failures import failure_class
from mdpipe.workflows.cluster.door import Door, Workflow
from mdpipe.workflows.cluster.errors import AbsentError
from mdpipe.workflows.cluster.names import reaped_of
from mdpipe.workflows.cluster.nodes import form_of
from mdpipe.workflows.cluster.tally import KINDS, Tally, seconds_between

if TYPE_CHECKING:
    from mdpipe.workflows.cluster.group_names import GroupNames

ENDED: Final = frozenset({"Succeeded", "Failed", "Error"})
CHILDREN_AT_ONCE: Final = 4
SHOWN: Final = 20
"""Failed attempts that are listed; all are counted."""

NAMED: Final = 12
"""Groups that failed, run, or had failed attempts whose names are looked up, of each so many."""


@dataclass(frozen=True, slots=True)
class Status:
    """A moment of a workflow.

    `form` is how its nodes were stored; `steps_known` whether they could be read; `totals` the
    steps of each kind, empty before preprocess has ended; `rows` the groups that were not cached;
    `names` what the report calls the groups of some rows.
    """

    name: str
    namespace: str
    study: str
    phase: str
    message: str
    started: str
    finished: str
    progress: str
    form: str
    suspended: bool
    steps_known: bool
    rows: int | None
    totals: Mapping[str, int]
    tally: Tally
    reaped: Mapping[str, str]
    elapsed_s: float
    eta_s: float | None
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether the workflow has ended."""
        return self.phase in ENDED

    @property
    def exit_code(self) -> int:
        """What a command that waited for its end ends with: that of the first failed step."""
        if self.phase not in ENDED or self.phase == "Succeeded":
            return 0
        if self.message.startswith("Stopped with strategy"):
            return failure_class("interrupted").exit_code
        final = self.tally.final()
        return failure_class(final[0].failure if final else "bug").exit_code

    def as_dict(self) -> dict[str, Any]:
        """Return the status as plain data.

        Returns
        -------
        dict
            For programs.
        """
        steps = {
            kind: {"total": self.totals.get(kind)} | self.tally.steps[kind].as_dict()
            for kind in KINDS
        }
        return {
            "name": self.name,
            "namespace": self.namespace,
            "study": self.study,
            "phase": self.phase,
            "message": self.message,
            "suspended": self.suspended,
            "started": self.started,
            "finished": self.finished,
            "elapsed_s": round(self.elapsed_s, 1),
            "eta_s": None if self.eta_s is None else round(self.eta_s, 1),
            "progress": self.progress,
            "exit_code": self.exit_code if self.over else None,
            "nodes": {"form": self.form, "known": self.steps_known, "count": self.tally.nodes},
            "pods": self.tally.pods,
            "steps": steps if self.steps_known else None,
            "groups": {
                "pending": self.rows,
                "done": self.tally.groups["succeeded"],
                "running": sorted(self.tally.rows["running"]),
                "failed": sorted(self.tally.rows["failed"]),
            },
            "group_names": {str(row): name for row, name in sorted(self.names.items())},
            "retries": dict(self.tally.classes),
            "attempts": [asdict(seen) for seen in self.tally.latest(SHOWN)],
            "failed": [asdict(seen) for seen in self.tally.final()[:SHOWN]],
            "waited_too_long": dict(self.reaped),
        }


def read_status(
    door: Door,
    name: str,
    now: datetime | None = None,
    names: GroupNames | None = None,
    *,
    failed_only: bool = False,
) -> Status:
    """Read how far a workflow is.

    Parameters
    ----------
    door : Door
        The way to it.
    name : str
        Its name.
    now : datetime or None
        The time; None for that of this machine.
    names : GroupNames or None
        Knows what the groups that are told of are called; None to leave them without names.
    failed_only : bool
        Whether groups that merely run are left without names.

    Returns
    -------
    Status
        The moment.

    Raises
    ------
    AbsentError
        If there is no such workflow.
    """
    workflow = door.workflow(name)
    status = status_of(door, workflow, now)
    if names is None or not (rows := list(_rows_told(status.tally, failed_only))):
        return status
    return replace(status, names=names.of(workflow, rows))


def status_of(door: Door, workflow: Workflow, now: datetime | None = None) -> Status:
    """Say how far a workflow is whose object is at hand.

    Parameters
    ----------
    door : Door
        The way to nodes that are not in the object, and to child workflows.
    workflow : dict
        The Workflow object.
    now : datetime or None
        The time; None for that of this machine.

    Returns
    -------
    Status
        The moment.
    """
    metadata, status = workflow["metadata"], workflow.get("status") or {}
    told = {
        p["name"]: p.get("value") or ""
        for p in (status.get("outputs") or {}).get("parameters") or ()
    }
    reaped = reaped_of(workflow)
    tally = Tally(tiers=_json(told.get("memory"), {}), reaped=reaped)
    known = _add_nodes(door, workflow, tally)
    if tally.shards:
        known = _add_children(door, metadata["name"], tally) and known
    totals, rows = totals_of(told)
    started, finished = str(status.get("startedAt") or ""), str(status.get("finishedAt") or "")
    moment = (now or datetime.now(UTC)).isoformat()
    phase = str(status.get("phase") or "Pending")
    running = phase not in ENDED and not (workflow["spec"].get("suspend") or False)
    return Status(
        name=metadata["name"],
        namespace=metadata.get("namespace", door.namespace),
        study=(metadata.get("labels") or {}).get(STUDY_LABEL, ""),
        phase=phase,
        message=str(status.get("message") or ""),
        started=started,
        finished=finished,
        progress=str(status.get("progress") or ""),
        form=form_of(status),
        suspended=bool(workflow["spec"].get("suspend")),
        steps_known=known,
        rows=rows,
        totals=totals,
        tally=tally,
        reaped=reaped,
        elapsed_s=seconds_between(started, finished or moment) or 0.0,
        eta_s=remaining_s(tally, totals, moment) if running and known else None,
    )


def totals_of(told: Mapping[str, str]) -> tuple[dict[str, int], int | None]:
    """Return how many steps there will be, from what preprocess has put out.

    Parameters
    ----------
    told : mapping
        Output parameters of the workflow.

    Returns
    -------
    dict, int or None
        Steps of each kind, and groups that are pending; empty and None before it has ended.
    """
    bounds = _json(told.get("bounds"), None)
    if not isinstance(bounds, list) or not (told.get("rows") or "").isdigit():
        return {}, None
    rows = int(told["rows"])
    return {"preprocess": 1, "simulate": sum(bounds), "render": rows, "combine": 1}, rows


def remaining_s(tally: Tally, totals: Mapping[str, int], now: str) -> float | None:
    """Estimate how long the fan-out still takes.

    Parameters
    ----------
    tally : Tally
        What is done, with the wall times of it.
    totals : mapping
        Steps of each kind.
    now : str
        The time.

    Returns
    -------
    float or None
        Seconds; None before the first scene is done.

    Notes
    -----
    Work left, at the mean wall time of each kind (of the other kind where none is done), over the
    work that has been done for each second of wall time so far.
    """
    kinds = ("simulate", "render")
    means = {k: tally.steps[k].done_s / tally.steps[k].done for k in kinds if tally.steps[k].done}
    wall_s = seconds_between(tally.first_start, now)
    if not totals or not means or not wall_s:
        return None
    other = sum(means.values()) / len(means)
    left_s = done_s = 0.0
    for kind in kinds:
        steps, mean = tally.steps[kind], means.get(kind, other)
        over = steps.done + steps.failed
        left_s += max(0.0, totals[kind] - over - steps.parts) * mean
        done_s += steps.done_s + steps.parts * mean
    return left_s * wall_s / done_s if done_s > 0 else None


def _add_nodes(door: Door, workflow: Workflow, tally: Tally) -> bool:
    """Take all nodes of a workflow into account; say whether they could be read."""
    nodes = door.nodes(workflow)
    if nodes is None:
        return False
    before = tally.nodes
    for node in nodes:
        tally.add(node)
    # the row of an offloaded version that is not the newest can be gone: that is not knowledge
    return tally.nodes > before or form_of(workflow.get("status") or {}) == "none"


def _add_children(door: Door, parent: str, tally: Tally) -> bool:
    """Take the nodes of all child workflows into account."""

    def read(shard: str) -> Workflow | None:
        try:
            return door.workflow(f"{parent}-{shard}")
        except AbsentError:  # not made yet
            return None

    known = True
    with ThreadPoolExecutor(CHILDREN_AT_ONCE) as pool:
        for child in pool.map(read, sorted(tally.shards)):
            if child is not None:
                known = _add_nodes(door, child, tally) and known
    return known


def _rows_told(tally: Tally, failed_only: bool) -> Iterator[int]:
    """Yield the groups whose names are looked up, those that failed first; some twice."""
    for seen in (*tally.final()[:NAMED], *tally.latest(NAMED)[::-1]):
        if seen.row is not None:
            yield seen.row
    for phase in ("failed",) if failed_only else ("failed", "running"):
        yield from sorted(tally.rows[phase])[:NAMED]


def _json(text: str | None, default: Any) -> Any:
    try:
        return json.loads(text or "")
    except ValueError:
        return default
