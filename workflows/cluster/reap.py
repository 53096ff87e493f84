"""Pods that wait in vain are made to fail, so that their steps are tried again elsewhere.

A step with retries is never measured by the time limits that the workflow engine has for pending
pods, and a pending pod that is deleted is made again as it was. So it has to fail: then the step
goes on with its next attempt, which may run on other nodes. A pod that no node has taken fails by
its status; on a node, where the kubelet has the last word, by a deadline that is over. Why is noted
at the workflow, and told as an event. A pod that waits for room which others of mdpipe's hold does
not wait in vain.

Rights: pods get, list, patch; pods/status patch; workflows get, list, patch; events create.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mdpipe.cluster_settings import PENDING_ANNOTATION
from mdpipe.failures import MdpipeError
from mdpipe.workflows.cluster.door import KubernetesDoor
from mdpipe.workflows.cluster.errors import AbsentError, ConflictError
from mdpipe.workflows.cluster.names import MANAGED, NODE_ID, REAPED, WORKFLOW_LABEL, reaped_of
from mdpipe.workflows.cluster.room import Demand, demand_of, is_queued
from mdpipe.workflows.cluster.tally import seconds_between

DEFAULT_S: Final = 300
"""How long a pod may wait that does not say it itself."""

START_FACTOR: Final = 3
"""Pods that have a node get this many times as long: an image or a volume may be on its way."""

NOTED: Final = 200
"""Pods that are noted at a workflow; older ones are forgotten."""

PAGE: Final = 500
_STUCK: Final = frozenset({
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
    "ImageInspectError", "RegistryUnavailable", "CreateContainerConfigError",
    "CreateContainerError", "RunContainerError",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reaped:
    """A pod that was deleted, or would be: why, and after how long."""

    pod: str
    workflow: str
    node: str
    reason: str
    waited_s: float


def reap(
    door: KubernetesDoor,
    *,
    workflow: str | None = None,
    older_s: float | None = None,
    dry_run: bool = False,
    now: datetime | None = None,
) -> list[Reaped]:
    """End the pods of mdpipe's workflows that have been pending for too long.

    Parameters
    ----------
    door : KubernetesDoor
        The way to the cluster.
    workflow : str or None
        Look only at this workflow's pods.
    older_s : float or None
        Longest wait; None for what each pod says, or `DEFAULT_S`.
    dry_run : bool
        Whether to end nothing.
    now : datetime or None
        The time; None for that of this machine.

    Returns
    -------
    list of Reaped
        The pods, the longest waiting first.

    Raises
    ------
    RefusedError
        If pods may not be listed or patched.
    """
    moment = (now or datetime.now(UTC)).isoformat()
    found: list[Reaped] = []
    holders: set[Demand] | None = None
    for pod in _pending(door, workflow):
        limit = older_s if older_s is not None else _limit_of(pod)
        stuck = stuck_since(pod, limit, moment)
        if stuck is None:
            continue
        reason, waited = stuck
        if holders is None:
            holders = _holders(door)
        if not _has_node(pod) and is_queued(reason, demand_of(pod), holders):
            continue
        metadata = pod["metadata"]
        seen = Reaped(
            metadata["name"],
            metadata["labels"][WORKFLOW_LABEL],
            (metadata.get("annotations") or {}).get(NODE_ID, ""),
            reason,
            waited,
        )
        if dry_run or _end(door, pod, reason):
            found.append(seen)
    if not dry_run:
        for name in sorted({seen.workflow for seen in found}):
            _note(door, name, [seen for seen in found if seen.workflow == name])
    return sorted(found, key=lambda seen: -seen.waited_s)


def stuck_since(pod: Mapping[str, Any], limit_s: float, now: str) -> tuple[str, float] | None:
    """Say whether a pending pod waits in vain.

    Parameters
    ----------
    pod : mapping
        The pod.
    limit_s : float
        How long it may wait.
    now : str
        The time.

    Returns
    -------
    (str, float) or None
        Reason and seconds; None for a pod that gets on, such as one that fetches its inputs.
    """
    status = pod.get("status") or {}
    waited = seconds_between(pod["metadata"].get("creationTimestamp"), now) or 0.0
    going = pod["metadata"].get("deletionTimestamp") is not None
    if going or status.get("phase") != "Pending" or waited <= limit_s:
        return None
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            waited = seconds_between(condition.get("lastTransitionTime"), now) or waited
            return (_said(condition, "Unschedulable"), waited) if waited > limit_s else None
    states = [
        container.get("state") or {}
        for key in ("initContainerStatuses", "containerStatuses")
        for container in status.get(key) or ()
    ]
    reason = next((_said(s["waiting"]) for s in states if _is_stuck(s.get("waiting"))), "")
    gets_on = any("running" in state or "terminated" in state for state in states)
    if not reason and not gets_on and waited > START_FACTOR * limit_s:
        reason = "its containers were not started (image or volume on the way)"
    return (reason, waited) if reason else None


def _is_stuck(waiting: Mapping[str, Any] | None) -> bool:
    return bool(waiting) and (waiting or {}).get("reason") in _STUCK


def _said(state: Mapping[str, Any], default: str = "") -> str:
    said = " ".join(str(state.get("message") or "").split())[:300]
    return f"{state.get('reason', default)}: {said}"


def reaped_line(seen: Reaped) -> str:
    """Say which pod was ended and why.

    Parameters
    ----------
    seen : Reaped
        The pod.

    Returns
    -------
    str
        One line.
    """
    return f"{seen.pod}: pending for {seen.waited_s:.0f} s: {seen.reason}"


def _pending(door: KubernetesDoor, workflow: str | None) -> Iterator[dict[str, Any]]:
    """Yield the pending pods of mdpipe's workflows."""
    label = f"{WORKFLOW_LABEL}={workflow}" if workflow else f"{WORKFLOW_LABEL},{MANAGED}"
    return _pods(door, label, "status.phase=Pending")


def _holders(door: KubernetesDoor) -> set[Demand]:
    """Return what mdpipe's pods that are on nodes ask for."""
    fields = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
    found = _pods(door, f"{WORKFLOW_LABEL},{MANAGED}", fields)
    return {demand_of(pod) for pod in found if _has_node(pod)}


def _pods(door: KubernetesDoor, labels: str, fields: str) -> Iterator[dict[str, Any]]:
    """Yield pods, a page at a time."""
    query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(PAGE)}
    while True:
        page = door.kubernetes.get(f"/api/v1/namespaces/{door.namespace}/pods", query)
        yield from page["items"] or ()
        query["continue"] = page["metadata"].get("continue", "")
        if not query["continue"]:
            return


def _has_node(pod: Mapping[str, Any]) -> bool:
    return bool((pod.get("spec") or {}).get("nodeName"))


def _limit_of(pod: Mapping[str, Any]) -> float:
    text = (pod["metadata"].get("annotations") or {}).get(PENDING_ANNOTATION, "")
    return float(text) if str(text).isdigit() else DEFAULT_S


def _end(door: KubernetesDoor, pod: Mapping[str, Any], reason: str) -> bool:
    """Let a pod fail that is still the same; say whether it is this call that did."""
    metadata = pod["metadata"]
    path = f"/api/v1/namespaces/{door.namespace}/pods/{metadata['name']}"
    same = {"metadata": {key: metadata[key] for key in ("uid", "resourceVersion")}}
    failed = {"phase": "Failed", "reason": "PodWaitedTooLong", "message": reason}
    try:
        if _has_node(pod):
            door.kubernetes.patch(path, same | {"spec": {"activeDeadlineSeconds": 1}})
        else:
            door.kubernetes.patch(f"{path}/status", same | {"status": failed})
    except (AbsentError, ConflictError):  # gone, or it has got on meanwhile
        return False
    return True


def _note(door: KubernetesDoor, name: str, found: list[Reaped]) -> None:
    """Say at the workflow why its pods have gone; who may not say so has reaped all the same."""
    with suppress(MdpipeError):
        workflow = door.workflow(name)
        known = reaped_of(workflow)
        known.update({seen.node: f"{seen.reason} for {seen.waited_s:.0f} s" for seen in found})
        kept = dict(list(known.items())[-NOTED:])
        door.kubernetes.patch(
            f"{door.path}/{name}", {"metadata": {"annotations": {REAPED: json.dumps(kept)}}}
        )
        for seen in found[:PAGE]:
            _tell(door, workflow, seen)


def _tell(door: KubernetesDoor, workflow: Mapping[str, Any], seen: Reaped) -> None:
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    door.kubernetes.post(
        f"/api/v1/namespaces/{door.namespace}/events",
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": "mdpipe-reap-", "namespace": door.namespace},
            "involvedObject": {
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow",
                "name": seen.workflow, "namespace": door.namespace,
                "uid": workflow["metadata"].get("uid", ""),
            },
            "reason": "PodWaitedTooLong",
            "message": reaped_line(seen),
            "type": "Warning",
            "source": {"component": "mdpipe-reap"},
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        },
    )  # fmt: skip
