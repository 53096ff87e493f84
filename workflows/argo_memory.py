"""Memory of pods: tiers by the number of retries, written into the pod when it is made.

Argo cannot ask whether *any* earlier attempt ran out of memory, only whether the last one did. So
the tier is the number of retries, whatever they were for: never lower after a rise, sometimes
higher than it had to be.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from mdpipe.steps.first_tier import rule_of
from mdpipe.steps.pending import EXECUTOR_MB, MEBI
from mdpipe.study import Study
from mdpipe.workflows.graph import Step

CARRIER_MIB: Final = (256, 512, 1024, 2048)
"""Memory of the containers that carry artifacts, where these may be large; they stream, but hold
several parts of a file at once."""


def tiers_mib(study: Study, step: Step) -> list[int]:
    """Return the memory tiers of a step that is known before there is a plan.

    Parameters
    ----------
    study : Study
        Its `[resources]` say the tiers.
    step : Step
        The step.

    Returns
    -------
    list of int
        MiB, ascending.
    """
    rule = rule_of(study.resources)
    first = rule.first_mb(step.id, step.kind, step.resources.memory_mb, None)
    return [math.ceil((mb + EXECUTOR_MB) / MEBI) for mb in rule.ladder(first)]


def chosen(tiers: Sequence[int]) -> str:
    """Return the expression of the tier of an attempt.

    Parameters
    ----------
    tiers : sequence of int
        MiB.

    Returns
    -------
    str
        A quantity of Kubernetes.
    """
    return f"{{{{={list(tiers)}[min(asInt(retries), {len(tiers) - 1})]}}}}Mi"


def chosen_of(source: str, kind: str, count: int) -> str:
    """Return the expression of the tier of an attempt, from tiers that preprocess finds out.

    Parameters
    ----------
    source : str
        The variable that holds them, as JSON.
    kind : str
        Kind of step.
    count : int
        How many tiers there are.

    Returns
    -------
    str
        A quantity of Kubernetes.
    """
    return f"{{{{=fromJSON({source}).{kind}[min(asInt(retries), {count - 1})]}}}}Mi"


def pod_patch(
    memory: str, node_selectors: Sequence[Mapping[str, str]] = (), *, carriers: bool = False
) -> str:
    """Return the patch of a step's pod.

    Parameters
    ----------
    memory : str
        Memory of the program's container.
    node_selectors : sequence of mapping
        Labels of nodes: the first choice, then those of retries.
    carriers : bool
        Whether the containers that fetch and store artifacts get tiers too.

    Returns
    -------
    str
        JSON, once its expressions have been replaced.
    """
    # without a request the cluster takes the limit; one expression less counts, as the controller
    # evaluates each again for every node that it looks at
    main = {"name": "main", "resources": {"limits": {"memory": memory}}}
    patch: dict[str, Any] = {"containers": [main]}
    if carriers:
        most = chosen(CARRIER_MIB)
        patch["containers"].append(_container("wait", "64Mi", most))
        patch["initContainers"] = [_container("init", "64Mi", most)]
    if len(node_selectors) == 1:
        patch["nodeSelector"] = dict(node_selectors[0])
    text = json.dumps(patch, separators=(",", ":"))
    if len(node_selectors) < 2:
        return text
    # `'` never occurs in labels, so JSON texts can stand between them
    choices = ", ".join(f"'{json.dumps(dict(one), sort_keys=True)}'" for one in node_selectors)
    last = len(node_selectors) - 1
    selector = f"{{{{=[{choices}][min(asInt(retries), {last})]}}}}"
    return f'{text[:-1]},"nodeSelector":{selector}}}'


def _container(name: str, request: str, limit: str) -> dict[str, Any]:
    return {
        "name": name,
        "resources": {"requests": {"memory": request}, "limits": {"memory": limit}},
    }
