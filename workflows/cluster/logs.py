"""What the programs of a workflow's pods have said."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from mdpipe.failures import MdpipeError, UsageError
from mdpipe.workflows.cluster.door import Door, KubernetesDoor, Workflow, no_nodes_remedy
from mdpipe.workflows.cluster.errors import AbsentError, InvalidError
from mdpipe.workflows.cluster.names import pod_name, settings_of
from mdpipe.workflows.cluster.nodes import Node, decode_pieces
from mdpipe.workflows.cluster.store import open_store
from mdpipe.workflows.cluster.tally import KINDS, Attempt, Tally, attempt_of

MOST: Final = 10
"""Pods whose words are shown together."""

_STEP = re.compile(r"([a-z]+)(?:[ /-]+0*(\d+))?(?:[ /#-]+0*(\d+))?")
_OF_THE_ENGINE = re.compile(r"time=\S+ level=\w+ .*\bargo=true\b")
"""What the workflow engine's own program, which starts that of the step, writes among its lines."""

_STARTED: Final = frozenset({"Running", "Succeeded", "Failed", "Error"})
_BAD: Final = frozenset({"Failed", "Error"})


class TellsLogs(Protocol):
    """A way to the cluster that has logs of its own."""

    def log(self, name: str, pod: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of a pod's program."""
        ...


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a workflow, and what its node says of it."""

    name: str
    workflow: str
    node: Node
    attempt: Attempt

    @property
    def title(self) -> str:
        """Step, attempt and phase in a line."""
        return f"{self.attempt.label}, attempt {self.attempt.number}: {self.node.get('phase')}"


def chosen_pods(door: Door, workflow: Workflow, step: str | None) -> list[Pod]:
    """Return the pods that are meant.

    Parameters
    ----------
    door : Door
        The way to the cluster.
    workflow : dict
        The Workflow object.
    step : str or None
        `render`, `render 3`, `simulate 3 #1` (or with hyphens), or the name of a pod; None for
        what failed, or else what runs.

    Returns
    -------
    list of Pod
        The last `MOST`, in the order of their ends; those that run come last.

    Raises
    ------
    UsageError
        If there is none, or the nodes are out of reach.
    """
    name = workflow["metadata"]["name"]
    match = _STEP.fullmatch(step or "")
    wanted = match.groups() if match and match[1] in KINDS else None
    failed: list[Pod] = []
    running: list[Pod] = []
    named: list[Pod] = []
    for owner, node in _pods(door, workflow):
        pod = Pod(pod_name(owner, node), owner, node, attempt_of(node))
        if step is not None:
            if step in {pod.name, node["id"]} or (wanted and _fits(pod.attempt, wanted)):
                named.append(pod)
        elif node["phase"] in _BAD:
            failed.append(pod)
        elif node["phase"] == "Running":
            running.append(pod)
    found = named if step is not None else failed or running
    if not found:
        raise UsageError(
            f"{name} has no such pod: {step}; write a kind ({', '.join(KINDS)}), a step as "
            f"`mdpipe status {name}` names it (simulate 3 #1), or a pod"
            if step
            else f"no pod of {name} has failed or runs; name a step, such as `render 0`"
        )
    return sorted(found, key=lambda pod: pod.attempt.ended or "~")[-MOST:]


def _pods(door: Door, workflow: Workflow) -> Iterator[tuple[str, Node]]:
    """Yield the pods that were started, of a workflow and of its children, with whose they are."""
    name = workflow["metadata"]["name"]
    nodes = door.nodes(workflow)
    if nodes is None:
        raise UsageError(
            f"the steps of {name} are in the controller's database; {no_nodes_remedy()}"
        )
    tally = Tally()
    for node in nodes:
        tally.add(node)
        if node["type"] == "Pod" and node.get("phase") in _STARTED:
            yield name, node
    for shard in sorted(tally.shards):
        with suppress(AbsentError):  # not made yet
            yield from _pods(door, door.workflow(f"{name}-{shard}"))


def _fits(seen: Attempt, wanted: tuple[Any, ...]) -> bool:
    kind, row, nth = wanted
    return (
        seen.kind == kind
        and (row is None or seen.row == int(row))
        and (nth is None or seen.nth == int(nth))
    )


def log_lines(door: Door, workflow: Workflow, pod: Pod, *, follow: bool = False) -> Iterator[str]:
    """Yield what the program of a pod has said.

    Parameters
    ----------
    door : Door
        The way to the cluster.
    workflow : dict
        The Workflow object.
    pod : Pod
        The pod.
    follow : bool
        Whether to wait for more until it ends.

    Yields
    ------
    str
        A line. Of a pod that has gone: its archived log, or else what its node says.

    Raises
    ------
    RefusedError
        If the user may not read logs.
    """
    said = False
    try:
        if isinstance(door, KubernetesDoor):
            lines = _of_kubernetes(door, pod, follow=follow)
        else:
            source: TellsLogs = door  # type: ignore[assignment]  # the other door has logs
            lines = source.log(pod.workflow, pod.name, follow=follow)
        for line in lines:
            if not _OF_THE_ENGINE.match(line):
                said = True
                yield line
    except AbsentError:
        yield from _of_archive(door, workflow, pod)
        return
    except InvalidError:  # its container was never started
        said = False
    if not said and pod.node.get("message"):
        yield f"(it has said nothing; its node says: {pod.node['message']})"


def _of_kubernetes(door: KubernetesDoor, pod: Pod, *, follow: bool) -> Iterator[str]:
    path = f"/api/v1/namespaces/{door.namespace}/pods/{pod.name}/log"
    query = {"container": "main", "follow": str(follow).lower()}
    rest = ""
    with door.kubernetes.stream(path, query) as pieces:
        for text in decode_pieces(pieces):
            *lines, rest = (rest + text).split("\n")
            yield from lines
    if rest:
        yield rest


def _of_archive(door: Door, workflow: Workflow, pod: Pod) -> Iterator[str]:
    """Yield the archived log of a pod that has gone, or say that there is none."""
    outputs = (pod.node.get("outputs") or {}).get("artifacts") or ()
    key = next((a["s3"].get("key") for a in outputs if a["name"] == "main-logs" and "s3" in a), "")
    settings = settings_of(workflow)
    if key and settings is not None and settings.store:
        prefix = settings.store.removeprefix("s3://").partition("/")[2].strip("/")
        below = key.removeprefix(f"{prefix}/") if prefix else key
        try:
            yield from open_store(settings, door).read(below).decode("utf-8", "replace").split("\n")
        except (MdpipeError, FileNotFoundError) as error:
            yield f"(its archived log cannot be read: {error})"
        return
    said = pod.node.get("message") or f"it {str(pod.node.get('phase')).lower()}"
    yield f"(the pod has gone, and its log with it; its node says: {said})"
