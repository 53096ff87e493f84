"""Child workflows: a study whose record is too large for one object is cut into several.

The parent starts a child for each shard of its pending groups. A child is a few lines that name a
WorkflowTemplate and say which chunks are its own, so parent, children and template are of constant
size. Its name comes from the parent's, so starting it twice starts it once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mdpipe.cluster_settings import ClusterSettings

TOLD: Final = ("run", "rows", "bounds", "memory", "first", "last")
"""Parameters of a child."""


def chunks_of_child(settings: ClusterSettings) -> int:
    """Return how many chunks a child has; 1 where there are no children.

    Parameters
    ----------
    settings : ClusterSettings
        Sizes of chunks and shards.

    Returns
    -------
    int
        Chunks; a shard that is no multiple of a chunk is made one.
    """
    return max(1, -(-settings.shard // settings.chunk))


def pods_at_once(settings: ClusterSettings) -> int | None:
    """Return how many pods a child may have at a time, so that all keep to the study's bound.

    Parameters
    ----------
    settings : ClusterSettings
        The bound, and how many children run at a time.

    Returns
    -------
    int or None
        None if there is no bound.
    """
    if settings.parallelism is None:
        return None
    return max(1, settings.parallelism // settings.shards_at_once)


def child_manifest(
    template: str, settings: ClusterSettings, labels: Mapping[str, str], prefix: str
) -> str:
    """Return the manifest of a child, with references that the parent replaces.

    Parameters
    ----------
    template : str
        Name of the WorkflowTemplate.
    settings : ClusterSettings
        Sizes of chunks and shards.
    labels : mapping
        Labels of the child.
    prefix : str
        Where the parent finds what preprocess said.

    Returns
    -------
    str
        JSON, once its references have been replaced.
    """
    each, size = chunks_of_child(settings), settings.chunk
    shard, rows = "asInt(inputs.parameters.shard)", f"asInt({prefix}rows)"
    values = {
        "run": "workflow.name",
        **{name: prefix + name for name in ("rows", "bounds", "memory")},
        "first": f"string({shard} * {each})",
        "last": f"string(min({shard} * {each} + {each}, int(ceil({rows} / {size}))) - 1)",
    }
    document: dict[str, Any] = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": "{{workflow.name}}-{{inputs.parameters.shard}}",
            "namespace": settings.namespace,
            "labels": dict(labels),
        },
        "spec": {
            "workflowTemplateRef": {"name": template},
            "arguments": {
                "parameters": [{"name": name, "value": f"@{name}@"} for name in TOLD],
            },
        },
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    for name in TOLD:
        # quoted by the expression itself: these values are texts of JSON
        text = text.replace(f'"@{name}@"', f"{{{{=toJson({values[name]})}}}}")
    return text
