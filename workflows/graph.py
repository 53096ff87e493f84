"""The graph of steps as plain data, which every engine reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

Kind = Literal["preprocess", "simulate", "render", "combine"]
Retry = Literal["resumable", "restart"]


@dataclass(frozen=True, slots=True)
class Resources:
    """What a step needs.

    Attributes
    ----------
    threads : int
        The most threads that are of use to it; an engine may give fewer.
    memory_mb : int
        Memory, MB; a first estimate that an engine raises when it was too low.
    seconds : float
        Estimated wall time on one core, for the order of steps and for nothing else.
    time_limit_s : float or None
        When to stop it.
    """

    threads: int = 1
    memory_mb: int = 512
    seconds: float = 1.0
    time_limit_s: float | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A command, what it needs first, and what it makes.

    Attributes
    ----------
    id : str
        Unique in the graph, fit for a file name.
    kind : str
        Which command of mdpipe it is.
    command : tuple of str
        Arguments; the first is the program, `{threads}` stands for the threads that the engine
        gives. A runner turns the program's name into how it is started.
    needs : tuple of str
        Ids of steps that must have ended well.
    products : tuple of str
        Paths relative to the run folder; one that ends with `/` is a folder.
    resources : Resources
        What it needs.
    settings : str
        Digest of all that decides its products beside the products of its needs.
    scene_key : str
        Key in the scene cache, empty for all but scenes.
    group_key : str
        Key in the scene cache of what a render makes, empty for all else.
    partial : bool
        Whether it runs when some of its needs have failed, with what there is.
    retry : str
        Whether a retry goes on from a checkpoint.
    group, scene : str
        Labels for people.
    size : str
        Kind and size of the work; steps of one size need the same memory.
    """

    id: str
    kind: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    products: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)
    settings: str = ""
    scene_key: str = ""
    group_key: str = ""
    partial: bool = False
    retry: Retry = "restart"
    group: str = ""
    scene: str = ""
    size: str = ""

    @property
    def cache_key(self) -> str:
        """Key in the scene cache, empty for steps that are not cached."""
        return self.scene_key or self.group_key

    @property
    def label(self) -> str:
        """Name for people."""
        return " ".join(part for part in (self.kind, self.group, self.scene) if part)


class GraphError(ValueError):
    """A graph that cannot be run."""


@dataclass(frozen=True)
class Graph:
    """Steps, checked: ids unique, needs present, no cycle.

    Attributes
    ----------
    steps : tuple of Step
        In an order in which they could run.
    complete : bool
        Whether these are all; if not, more become known when these have ended well.
    """

    steps: tuple[Step, ...]
    complete: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", _in_order(self.steps))

    @cached_property
    def by_id(self) -> Mapping[str, Step]:
        """Steps by their ids."""
        return {step.id: step for step in self.steps}

    @cached_property
    def dependants(self) -> Mapping[str, tuple[str, ...]]:
        """For each step, the steps that need it."""
        found: dict[str, list[str]] = {step.id: [] for step in self.steps}
        for step in self.steps:
            for need in step.needs:
                found[need].append(step.id)
        return {key: tuple(value) for key, value in found.items()}

    @cached_property
    def chains(self) -> Mapping[str, tuple[float, float]]:
        """For each step, the longest chain through it and the part after its start, seconds."""
        before: dict[str, float] = {}
        for step in self.steps:
            before[step.id] = max(
                (before[n] + self.by_id[n].resources.seconds for n in step.needs), default=0.0
            )
        after: dict[str, float] = {}
        for step in reversed(self.steps):
            tail = max((after[d] for d in self.dependants[step.id]), default=0.0)
            after[step.id] = step.resources.seconds + tail
        return {s.id: (before[s.id] + after[s.id], after[s.id]) for s in self.steps}

    def to_json(self) -> str:
        """Return the graph as JSON.

        Returns
        -------
        str
            One line for each step, so that two graphs can be compared by `diff`.
        """
        rows = ",\n".join(json.dumps(asdict(step), sort_keys=True) for step in self.steps)
        return f'{{"complete": {json.dumps(self.complete)}, "steps": [\n{rows}\n]}}\n'

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """Read what `to_json` wrote.

        Parameters
        ----------
        text : str
            JSON.

        Returns
        -------
        Graph
            An equal graph.
        """
        data = json.loads(text)
        return cls(tuple(_step(row) for row in data["steps"]), bool(data["complete"]))


def _step(row: dict[str, Any]) -> Step:
    """Return a step from its JSON form."""
    lists = {name: tuple(row[name]) for name in ("command", "needs", "products")}
    return Step(**(row | lists | {"resources": Resources(**row["resources"])}))


def _in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return steps so that needs come first and else in the order given."""
    given = list(steps)
    known = {step.id for step in given}
    if len(known) < len(given):
        seen: set[str] = set()
        twice = sorted({s.id for s in given if s.id in seen or seen.add(s.id)})  # type: ignore[func-returns-value]
        raise GraphError(f"step ids must be unique, got {twice} more than once")
    waiting: dict[str, int] = {}
    users: dict[str, list[Step]] = {}
    for step in given:
        for need in step.needs:
            if need not in known:
                raise GraphError(f"step {step.id} needs {need}, which is no step of the graph")
            users.setdefault(need, []).append(step)
        waiting[step.id] = len(step.needs)
    ordered = [step for step in given if waiting[step.id] == 0]
    for step in ordered:
        for user in users.get(step.id, ()):
            waiting[user.id] -= 1
            if waiting[user.id] == 0:
                ordered.append(user)
    if len(ordered) < len(given):
        left = sorted(known - {step.id for step in ordered})
        raise GraphError(f"steps need each other in a circle: {left}")
    return tuple(ordered)
