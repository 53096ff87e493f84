"""Names and marks by which mdpipe knows its workflows, their pods and their data."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from mdpipe.cluster_settings import MANAGED_BY, ClusterSettings
from mdpipe.failures import UsageError

SETTINGS: Final = "mdpipe/settings"
"""Annotation of a workflow: what its `[cluster]` settings were, so that `fetch` finds the data."""

REAPED: Final = "mdpipe/reaped"
"""Annotation of a workflow: which pods were deleted for waiting too long, and why."""

SUBMISSION: Final = "mdpipe/submission"
"""Annotation of a workflow: which submission made it, should the answer to it be lost."""

WORKFLOW_LABEL: Final = "workflows.argoproj.io/workflow"
NODE_ID: Final = "workflows.argoproj.io/node-id"
MANAGED: Final = "=".join(MANAGED_BY)
LONGEST: Final = 63


def new_name(study: str) -> str:
    """Return a name for a workflow that no other has.

    Parameters
    ----------
    study : str
        The study's name.

    Returns
    -------
    str
        Lower-case letters, digits and hyphens, at most 63; ends with five random ones.
    """
    return f"{_plain(study)[: LONGEST - 6].rstrip('-')}-{secrets.token_hex(3)[:5]}"


def checked_name(name: str) -> str:
    """Return a name that the user has chosen, if a workflow can have it.

    Parameters
    ----------
    name : str
        The name.

    Returns
    -------
    str
        The same.

    Raises
    ------
    UsageError
        If no workflow can be called so.
    """
    if len(name) > LONGEST or not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
        raise UsageError(
            f"--name {name}: must be lower-case letters, digits and inner hyphens, at most "
            f"{LONGEST}; for example {_plain(name)[:LONGEST].rstrip('-') or 'water'}"
        )
    return name


def settings_of(workflow: Mapping[str, Any]) -> ClusterSettings | None:
    """Return the settings with which a workflow was submitted.

    Parameters
    ----------
    workflow : mapping
        A Workflow object.

    Returns
    -------
    ClusterSettings or None
        None if they were not noted, as in a workflow that is not mdpipe's.
    """
    text = (workflow["metadata"].get("annotations") or {}).get(SETTINGS)
    if not text:
        return None
    try:
        return ClusterSettings.model_validate_json(text)
    except ValidationError:
        return None


def noted(settings: ClusterSettings) -> str:
    """Return the text of the annotation that `settings_of` reads.

    Parameters
    ----------
    settings : ClusterSettings
        The settings.

    Returns
    -------
    str
        JSON of what is needed to find and to read the data again.
    """
    kept = {
        "storage", "image", "image_pull_policy", "namespace", "service_account", "shared_claim",
        "store", "store_secret", "store_endpoint",
    }  # fmt: skip
    return json.dumps(settings.model_dump(mode="json", include=kept), sort_keys=True)


def reaped_of(workflow: Mapping[str, Any]) -> dict[str, str]:
    """Return which nodes lost their pods to the reaper, and why.

    Parameters
    ----------
    workflow : mapping
        A Workflow object.

    Returns
    -------
    dict
        Node id to reason.
    """
    text = (workflow["metadata"].get("annotations") or {}).get(REAPED)
    try:
        found = json.loads(text or "{}")
        return {str(key): str(value) for key, value in found.items()}
    except (ValueError, AttributeError):
        return {}


def pod_name(workflow: str, node: Mapping[str, Any]) -> str:
    """Return the name of a node's pod.

    Parameters
    ----------
    workflow : str
        The workflow's name.
    node : mapping
        The node status.

    Returns
    -------
    str
        `WORKFLOW-TEMPLATE-HASH`, as the controller makes it (FNV-1a of the node's name).
    """
    if node["name"] == workflow:
        return workflow
    prefix = "-".join(part for part in (workflow, node.get("templateName")) if part)[:242]
    return f"{prefix}-{_fnv1a(str(node['name']))}"


def _fnv1a(text: str) -> int:
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "study"
