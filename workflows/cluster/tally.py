"""What node statuses say together: steps by state, attempts by class, what failed for good.

Nodes come one by one and in no order; of none more is kept than a few words, and of at most
`MOST` failed attempts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mdpipe.failures import TABLE, FailureClass, cause_line, classify, failure_class
from mdpipe.workflows.cluster.nodes import Node

KINDS: Final = ("preprocess", "simulate", "render", "combine")
"""Templates of the steps that the user knows; `group` is one row of what is pending."""

MOST: Final = 2000

_ATTEMPT = re.compile(r"\((\d+)\)$")
_EXIT = re.compile(r"\(exit code (\d+)\)")
_WORDS = re.compile(r"(?:^|: )(?P<name>[a-z-]+): (?P<cause>.*?)(?:; remedy: (?P<remedy>.*))?$")
_ROW = re.compile(r"(?:^|\.)group\(\d+:(\d+)\)")
_NTH = re.compile(r"(?:^|\.)simulate\(\d+:(\d+)\)")
_NAMES = frozenset(row.name for row in TABLE)
_FAILED = frozenset({"Failed", "Error"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """A pod that failed.

    `step` is the name of its step in the workflow, `row` the line of what was pending, `nth` which
    of its scenes, `number` the attempt from 1, `memory_mi` its memory tier, 0 if not known.
    """

    step: str
    kind: str
    row: int | None
    nth: int | None
    number: int
    failure: str
    cause: str
    exit_code: int | None
    ended: str
    node: str
    remedy: str
    memory_mi: int = 0

    @property
    def label(self) -> str:
        """The step in a few words, such as `simulate 3 #1`."""
        return step_label(self.kind, self.row, self.nth)


@dataclass(slots=True)
class Steps:
    """Steps of a kind by state; `done_s` is the wall time of those that are done."""

    done: int = 0
    failed: int = 0
    running: int = 0
    pending: int = 0
    parts: float = 0.0
    done_s: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as plain data.

        Returns
        -------
        dict
            State to number of steps.
        """
        names = ("done", "failed", "running", "pending")
        return {name: getattr(self, name) for name in names}


@dataclass(slots=True)
class Tally:
    """What has been seen of the nodes of a workflow, or of several.

    `tiers` are the memory tiers of each kind in Mi, as preprocess has put them out.
    """

    tiers: Mapping[str, list[int]] = field(default_factory=dict)
    reaped: Mapping[str, str] = field(default_factory=dict)
    nodes: int = 0
    pods: int = 0
    steps: dict[str, Steps] = field(default_factory=lambda: {kind: Steps() for kind in KINDS})
    groups: Counter[str] = field(default_factory=Counter)
    classes: Counter[str] = field(default_factory=Counter)
    attempts: list[Attempt] = field(default_factory=list)
    rows: dict[str, list[int]] = field(default_factory=lambda: {"running": [], "failed": []})
    shards: set[str] = field(default_factory=set)
    first_start: str = ""
    _over: dict[str, tuple[str, str]] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Take a node into account.

        Parameters
        ----------
        node : dict
            A node status.
        """
        self.nodes += 1
        kind, phase, template = node["type"], node.get("phase", ""), node.get("templateName")
        if kind == "Steps" and template == "group":
            self._group(node, "failed" if phase in _FAILED else phase.lower())
        elif template == "shard":
            self.shards.update(
                str(p.get("value"))
                for p in (node.get("inputs") or {}).get("parameters", ())
                if p["name"] == "shard"
            )
        elif kind in {"Pod", "Retry"} and template in self.steps:
            if kind == "Pod":
                self._pod(node, template, phase)
            if kind == "Retry" or not _is_attempt(node):
                self._step(node, template, phase)
        elif phase in _FAILED and template in self.steps:
            self._step(node, template, phase)  # it could not even be made

    def _group(self, node: Node, phase: str) -> None:
        """Count a group, and remember which one if it is not done."""
        self.groups[phase] += 1
        rows = self.rows.get(phase)
        row = _number(_ROW, node["name"])
        if rows is not None and row is not None and len(rows) < MOST:
            rows.append(row)

    def _step(self, node: Node, template: str, phase: str) -> None:
        """Count a step; a `Retry` node stands for all its attempts."""
        steps = self.steps[template]
        if phase == "Succeeded":
            steps.done += 1
            steps.done_s += seconds_between(node.get("startedAt"), node.get("finishedAt")) or 0.0
        elif phase in _FAILED:
            steps.failed += 1
            if len(self._over) < MOST:
                self._over[node["name"]] = (template, str(node.get("message") or ""))

    def _pod(self, node: Node, template: str, phase: str) -> None:
        self.pods += 1
        steps = self.steps[template]
        if phase == "Running":
            steps.running += 1
            steps.parts += _part(node.get("progress"))
        elif phase == "Pending":
            steps.pending += 1
        elif phase in _FAILED:
            seen = attempt_of(node, self.tiers.get(template, ()), self.reaped)
            self.classes[seen.failure] += 1
            if len(self.attempts) < MOST:
                self.attempts.append(seen)
        began = node.get("startedAt") or ""
        if template == "simulate" and began and (not self.first_start or began < self.first_start):
            self.first_start = began

    def latest(self, count: int) -> list[Attempt]:
        """Return the failed attempts that ended last.

        Parameters
        ----------
        count : int
            How many at most.

        Returns
        -------
        list of Attempt
            The oldest first.
        """
        return sorted(self.attempts, key=lambda a: (a.ended, a.step, a.number))[-count:]

    def final(self) -> list[Attempt]:
        """Return the last attempts of the steps that failed for good.

        Returns
        -------
        list of Attempt
            In the order of the pipeline, then of rows. A step that failed without an attempt
            that could be read has its own message as its cause.
        """
        last: dict[str, Attempt] = {}
        for seen in self.attempts:
            known = last.get(seen.step)
            if known is None or seen.number > known.number:
                last[seen.step] = seen
        found = []
        for name, (kind, message) in self._over.items():
            row = _class_of(None, message)
            bare = Attempt(
                name, kind, _number(_ROW, name), _number(_NTH, name), 0, row.name,
                cause_line(message), None, "", "", row.remedy,
            )  # fmt: skip
            found.append(last.get(name, bare))
        return sorted(found, key=lambda a: (KINDS.index(a.kind), a.row or 0, a.nth or 0))


def attempt_of(
    node: Node, tiers: list[int] | tuple[int, ...] = (), reaped: Mapping[str, str] | None = None
) -> Attempt:
    """Say what a failed pod was and why it failed.

    Parameters
    ----------
    node : dict
        Node status of a pod.
    tiers : list of int
        Memory tiers of its kind, Mi.
    reaped : mapping or None
        Ids of nodes whose pods were deleted for having been pending too long, with the reason.

    Returns
    -------
    Attempt
        What is known.
    """
    message = str(node.get("message") or "")
    name = str(node["name"])
    code = exit_code_of_node(node)
    row, cause, remedy = failure_of(code, message)
    if reason := (reaped or {}).get(str(node.get("id"))):
        row, cause = failure_class("out-of-stock"), reason
        remedy = row.remedy
    number = int(match[1]) + 1 if _is_attempt(node) and (match := _ATTEMPT.search(name)) else 1
    given = {p["name"]: p.get("value") for p in (node.get("inputs") or {}).get("parameters", ())}
    return Attempt(
        step=_ATTEMPT.sub("", name) if _is_attempt(node) else name,
        kind=str(node.get("templateName")),
        row=_int(given.get("row"), _number(_ROW, name)),
        nth=_int(given.get("nth"), _number(_NTH, name)),
        number=number,
        failure=row.name,
        cause=cause,
        exit_code=code,
        ended=str(node.get("finishedAt") or ""),
        node=str(node.get("id")),
        remedy=remedy,
        memory_mi=tiers[min(number, len(tiers)) - 1] if tiers else 0,
    )


def failure_of(exit_code: int | None, message: str) -> tuple[FailureClass, str, str]:
    """Return class, cause and remedy of a failed pod.

    Parameters
    ----------
    exit_code : int or None
        That of the step's program, if it is known.
    message : str
        The message of its node. `main: Error (exit code N): CLASS: cause; remedy: …` has the
        program's own last words.

    Returns
    -------
    FailureClass, str, str
        A row of the table, one line, and the program's own remedy or that of the table.

    Notes
    -----
    What the kernel or the cluster did to the pod is believed before the program's own words.
    """
    said = _EXIT.split(message, maxsplit=1)[-1] if _EXIT.search(message) else ""
    match = _WORDS.search(said)
    if match and match["name"] in _NAMES and "OOMKilled" not in message:
        row = failure_class(match["name"])
        return row, cause_line(match["cause"]), match["remedy"] or row.remedy
    row = _class_of(exit_code, message)
    return row, cause_line(message), row.remedy


def _class_of(exit_code: int | None, message: str) -> FailureClass:
    """Return the class; a user who ended the workflow is no fault of the step."""
    if message.startswith("Stopped with strategy"):
        return failure_class("interrupted")
    return classify(exit_code, None, message)


def exit_code_of_node(node: Node) -> int | None:
    """Return the exit code of a pod's program.

    Parameters
    ----------
    node : dict
        Its node status.

    Returns
    -------
    int or None
        None if it did not come to one.
    """
    code = (node.get("outputs") or {}).get("exitCode")
    if code is None and (match := _EXIT.search(str(node.get("message") or ""))):
        code = match[1]
    number = _int(code, None)
    return None if number is not None and number < 0 else number


def step_label(kind: str, row: int | None, nth: int | None) -> str:
    """Name a step as people read it.

    Parameters
    ----------
    kind : str
        Kind of step.
    row : int or None
        Line of what was pending.
    nth : int or None
        Which of the line's missing scenes.

    Returns
    -------
    str
        Such as `simulate 3 #1`, which is also how `mdpipe logs` takes it.
    """
    return kind + (f" {row}" if row is not None else "") + (f" #{nth}" if nth is not None else "")


def seconds_between(begin: str | None, end: str | None) -> float | None:
    """Return the time between two stamps of the cluster.

    Parameters
    ----------
    begin, end : str or None
        As in a Kubernetes object.

    Returns
    -------
    float or None
        Seconds; None if one is missing.
    """
    if not begin or not end:
        return None
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()


def _is_attempt(node: Node) -> bool:
    """Say whether a pod is one attempt of a step that has a `Retry` node of its own."""
    flag = node.get("nodeFlag") or {}
    return bool(flag.get("retried")) or _ATTEMPT.search(str(node["name"])) is not None


def _part(progress: str | None) -> float:
    """Return how much of a running pod's work is done, from `N/M`."""
    done, _, total = (progress or "").partition("/")
    whole = _int(total, 0) or 0
    return min(1.0, (_int(done, 0) or 0) / whole) if whole else 0.0


def _int(value: Any, default: int | None) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return default


def _number(pattern: re.Pattern[str], name: str) -> int | None:
    found = pattern.findall(name)
    return int(found[-1]) if found else None
