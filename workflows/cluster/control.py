"""Holding a workflow, going on with it, and ending it."""

from __future__ import annotations

from typing import Any

from mdpipe.failures import UsageError
from mdpipe.workflows.cluster.door import Door, Workflow
from mdpipe.workflows.cluster.names import LONGEST, SUBMISSION, new_name
from mdpipe.workflows.cluster.status import ENDED

KEPT_LABELS = ("app.kubernetes.io/", "mdpipe/")


def stop(door: Door, name: str, *, now: bool = False) -> str:
    """Hold a workflow: pods that run come to their end, no others are started.

    Parameters
    ----------
    door : Door
        The way to it.
    name : str
        Its name.
    now : bool
        End it instead: its pods are told to stop, and leave their checkpoints.

    Returns
    -------
    str
        What was done, in a line.

    Raises
    ------
    AbsentError
        If there is no such workflow.
    UsageError
        If it has ended.
    """
    workflow = door.workflow(name)
    if _has_ended(workflow):
        raise UsageError(f"{name} has ended ({workflow['status']['phase']}); nothing to stop")
    for child in _family(door, workflow):  # the parent first: it could make more of them
        door.change(child, {"shutdown": "Terminate"} if now else {"suspend": True})
    if now:
        return f"{name} is ended; `mdpipe resume {name}` goes on in a new one from what is kept"
    return f"{name} starts no more pods; `mdpipe resume {name}` goes on"


def resume(door: Door, name: str) -> str:
    """Go on with a workflow; one that has failed or was ended goes on as a new one.

    Parameters
    ----------
    door : Door
        The way to it.
    name : str
        Its name.

    Returns
    -------
    str
        The name of the workflow that goes on.

    Raises
    ------
    AbsentError
        If there is no such workflow.
    UsageError
        If it has succeeded.
    """
    workflow = door.workflow(name)
    phase = (workflow.get("status") or {}).get("phase")
    if phase == "Succeeded":
        raise UsageError(f"{name} has succeeded; nothing to go on with (`mdpipe fetch {name} DIR`)")
    if phase in ENDED:
        copy = again(workflow)
        door.create(copy)
        return str(copy["metadata"]["name"])
    for child in _family(door, workflow):
        door.change(child, {"suspend": None})
    return name


def again(workflow: Workflow) -> dict[str, Any]:
    """Return a workflow that does the same once more; what is cached costs it nothing.

    Parameters
    ----------
    workflow : dict
        A Workflow object that has ended.

    Returns
    -------
    dict
        A Workflow object with a name of its own.
    """
    old = workflow["metadata"]
    labels = old.get("labels") or {}
    stem = old["name"][: LONGEST - 6].rpartition("-")[0] or old["name"]
    name = new_name(stem)
    marks = {
        key: value
        for key, value in (old.get("annotations") or {}).items()
        if key == "mdpipe/settings"
    }
    spec = {key: value for key, value in workflow["spec"].items() if key != "shutdown"}
    spec.pop("suspend", None)
    return {
        "apiVersion": workflow.get("apiVersion", "argoproj.io/v1alpha1"),
        "kind": "Workflow",
        "metadata": {
            "name": name,
            "namespace": old["namespace"],
            "labels": {k: v for k, v in labels.items() if k.startswith(KEPT_LABELS)},
            "annotations": marks | {SUBMISSION: name},
        },
        "spec": spec,
    }


def _family(door: Door, workflow: Workflow) -> list[str]:
    """Return a workflow and its children that have not ended."""
    name = workflow["metadata"]["name"]
    if not any(one.get("name") == "shard" for one in workflow["spec"].get("templates") or ()):
        return [name]
    children = [other for other in door.names() if other.rpartition("-")[0] == name]
    return [name, *(child for child in children if not _has_ended(door.workflow(child)))]


def _has_ended(workflow: Workflow) -> bool:
    return (workflow.get("status") or {}).get("phase") in ENDED
