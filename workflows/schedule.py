"""Which ready steps start now, with how many threads: pure functions, no clock and no process.

A second scene makes better use of a core than a second thread of the first one does: scenes wait
for nobody, threads for each other at every parallel loop. So as many steps start as there are cores
(`choose`), and only cores that nothing is left for go to steps that run already (`share_out`).

`tests/benchmarks/core_split.py`, two cores, SPC/E: a step costs the machine 1.9 times less that way
at 298 molecules, 1.5 times less at 1,000 and the same at 8,000.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mdpipe.workflows.graph import Graph, Step
from mdpipe.workflows.story import GOOD, Story


@dataclass(frozen=True, slots=True)
class Limits:
    """What all running steps may use together; `threads` is for one step, None to share out."""

    workers: int
    cores: int
    memory_mb: int
    threads: int | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """Threads and memory of a step that runs or is about to."""

    step: str
    threads: int
    memory_mb: int


def by_priority(graph: Graph, steps: Sequence[Step]) -> list[Step]:
    """Order steps: the longest chain first, and along a chain what is nearest to its end.

    Parameters
    ----------
    graph : Graph
        The whole graph.
    steps : sequence of Step
        Some of its steps.

    Returns
    -------
    list of Step
        All of them. A render comes before the scenes of groups with no longer chain, so that
        films appear while other groups are still being simulated.
    """

    def rank(step: Step) -> tuple[float, float]:
        through, after = graph.chains[step.id]
        return (-round(through, 6), after)

    return sorted(steps, key=rank)


def has_something(graph: Graph, story: Story, step: Step) -> bool:
    """Say whether anything that a partial step builds on has ended well, near or far.

    Parameters
    ----------
    graph : Graph
        The whole graph.
    story : Story
        What has happened.
    step : Step
        The step; it runs with what there is.

    Returns
    -------
    bool
        False if it would have nothing to work with.
    """
    todo, seen = list(step.needs), set(step.needs)
    while todo:
        need = graph.by_id[todo.pop()]
        far = need.id not in step.needs
        if story.steps[need.id].status in GOOD and (need.needs or not far):
            return True
        todo += [n for n in need.needs if n not in seen]
        seen.update(need.needs)
    return False


def choose(
    graph: Graph,
    ready: Sequence[Step],
    running: Sequence[Grant],
    limits: Limits,
    memory_mb: Mapping[str, int],
) -> list[Grant]:
    """Choose the steps that start now.

    Parameters
    ----------
    graph : Graph
        The whole graph.
    ready : sequence of Step
        Steps whose needs have ended.
    running : sequence of Grant
        What runs.
    limits : Limits
        What may be used together.
    memory_mb : mapping
        Memory that each ready step gets, MB.

    Returns
    -------
    list of Grant
        In the order of start. A step that needs more memory than there is at all runs alone; one
        that does not fit now holds back those behind it, so that it cannot starve.
    """
    used = sum(grant.memory_mb for grant in running)
    slots = limits.workers - len(running)
    chosen: list[Step] = []
    for step in by_priority(graph, ready)[: max(0, slots)]:
        need = memory_mb[step.id]
        if used + need > limits.memory_mb and (running or chosen):
            break
        chosen.append(step)
        used += need
    free = max(0, limits.cores - sum(grant.threads for grant in running))
    grants: list[Grant] = []
    for left, step in zip(range(len(chosen), 0, -1), chosen, strict=True):
        share = limits.threads or max(1, free // left)
        threads = max(1, min(share, step.resources.threads))
        free = max(0, free - threads)
        grants.append(Grant(step.id, threads, memory_mb[step.id]))
    return grants


def share_out(running: Sequence[tuple[Step, Grant]], limits: Limits) -> dict[str, int]:
    """Share the cores out among the scenes that run, again whenever a step has begun or ended.

    Parameters
    ----------
    running : sequence of (Step, Grant)
        What runs; of scenes alone the threads can change on the way.
    limits : Limits
        What may be used together.

    Returns
    -------
    dict
        The new threads of the scenes for which they change, by id; none where the user has said
        how many a step gets.
    """
    scenes = [(step, grant) for step, grant in running if step.kind == "simulate"]
    if limits.threads is not None:
        return {}
    taken = sum(grant.threads for step, grant in running if step.kind != "simulate")
    free = max(len(scenes), limits.cores - taken)
    changed: dict[str, int] = {}
    for left, (step, grant) in zip(range(len(scenes), 0, -1), scenes, strict=True):
        threads = max(1, min(free // left, step.resources.threads))
        free -= threads
        if threads != grant.threads:
            changed[step.id] = threads
    return changed
