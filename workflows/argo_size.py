"""How large the record of a workflow gets, and what the cluster must have for it.

Argo keeps the status of every node in the Workflow object: plain while the whole object is under
1 MiB, then compressed, then, where the controller has a database, outside. What fits nowhere ends
as an error in the middle of the study; better to say so before it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import UsageError
from mdpipe.study import Study
from mdpipe.workflows.argo_memo import check_memo

Form = Literal["plain", "compressed", "offloaded"]

OBJECT_BYTES: Final = 1 << 20
"""Most that Argo lets a Workflow object have (its `MAX_WORKFLOW_SIZE`)."""

USABLE: Final = 0.8
"""Part of it that is planned for: messages of failures and further attempts take the rest."""

NODE_BYTES: Final = 660
PACKED_NODE_BYTES: Final = 88
"""A node's status, plain and compressed by gzip, as measured on workflows of this shape."""

SPEC_BYTES: Final = 25_000
"""The workflow without its nodes, and the study's text."""


@dataclass(frozen=True, slots=True)
class Size:
    """The record of one workflow when all its pods have ended at the first attempt.

    Attributes
    ----------
    groups, pods, nodes : int
        How many there are.
    plain_bytes, packed_bytes : int
        Node statuses, plain and compressed.
    form : str
        How they are kept.
    """

    groups: int
    pods: int
    nodes: int
    plain_bytes: int
    packed_bytes: int
    form: Form


def groups_bound(study: Study, groups: int | None) -> int | None:
    """Return how many groups a study has or can have.

    Parameters
    ----------
    study : Study
        The checked study.
    groups : int or None
        Groups of its plan, if there is one.

    Returns
    -------
    int or None
        None if nobody has said.
    """
    if groups is None and "max_groups" in study.groups.model_fields_set:
        return study.groups.max_groups
    return groups


def size_of(groups: int, scenes: int, chunk: int) -> Size:
    """Return the size of the record of a workflow in which nothing is cached.

    Parameters
    ----------
    groups : int
        Groups of the plan.
    scenes : int
        Scenes of a group.
    chunk : int
        Groups that are walked together.

    Returns
    -------
    Size
        Nodes and bytes.
    """
    # a group: itself, two rows of steps, and for each pod the pod and the node of its retries
    pods = groups * (scenes + 1)
    chunks = -(-groups // chunk)
    nodes = groups * 3 + 2 * pods + 2 * chunks + 8
    plain, packed = (SPEC_BYTES + nodes * each for each in (NODE_BYTES, PACKED_NODE_BYTES))
    form: Form = "offloaded"
    if plain <= OBJECT_BYTES:
        form = "plain"
    elif packed <= USABLE * OBJECT_BYTES:
        form = "compressed"
    return Size(groups, pods + 2, nodes, plain, packed, form)


def most_groups(scenes: int, chunk: int) -> int:
    """Return how many groups a workflow may have without a database.

    Parameters
    ----------
    scenes : int
        Scenes of a group.
    chunk : int
        Groups that are walked together.

    Returns
    -------
    int
        Groups.
    """
    low, high = 1, 100_000
    while low < high:
        middle = (low + high + 1) // 2
        fits = size_of(middle, scenes, chunk).form != "offloaded"
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def check_size(groups: int | None, scenes: int, settings: ClusterSettings) -> str:
    """See that the record of a study fits.

    Parameters
    ----------
    groups : int or None
        Groups of the plan, or the most that it can have; None if nothing is known.
    scenes : int
        Scenes of a group.
    settings : ClusterSettings
        Shards, database, memoization.

    Returns
    -------
    str
        One line that says what is expected.

    Raises
    ------
    UsageError
        If it would break; with the remedy.
    """
    if settings.memoize:
        check_memo(None if groups is None else groups * scenes)
    most = most_groups(scenes, settings.chunk)
    if settings.shard > most and not settings.offload:
        raise UsageError(
            f"cluster.shard: a child workflow of {settings.shard} groups does not fit into the "
            f"1 MiB of its record; set at most {most}, or offload = true where the controller "
            "keeps node statuses in a database"
        )
    if groups is None:
        held = "any number of groups" if settings.shard or settings.offload else f"{most} groups"
        return f"the number of groups is known after preprocess; this workflow holds {held}"
    size = size_of(groups, scenes, settings.chunk)
    if settings.shard:
        children = -(-groups // settings.shard)
        part = size_of(min(groups, settings.shard), scenes, settings.chunk)
        return (
            f"{groups} groups, {size.pods + children} pods, {children} child workflows of "
            f"{part.nodes} nodes, each {part.form}"
        )
    if size.form == "offloaded" and not settings.offload:
        raise UsageError(
            f"{groups} groups make {size.nodes} nodes, {size.packed_bytes / 1e6:.1f} MB compressed "
            f"(a workflow's record may have {USABLE * OBJECT_BYTES / 1e6:.2f} MB: {most} groups); "
            f"set cluster.shard = {min(most, 500)} for child workflows, or cluster.offload = true "
            "where the controller keeps node statuses in a database"
        )
    return f"{groups} groups, {size.pods} pods, {size.nodes} nodes, {size.form}"
