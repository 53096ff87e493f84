"""Checks of what decides whether a pod may start: Pod Security, image, nodes, limits, network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from mdpipe.workflows.cluster.doctor_facts import CONTROLLER_CONFIG, DEPLOY, Facts
from mdpipe.workflows.cluster.findings import Finding
from mdpipe.workflows.cluster.room import quantity

LEAST_MEMORY_MB: Final = 512
"""A limit below this ends most first tiers of a simulation."""

STEP_LABEL: Final = "workflows.argoproj.io/workflow"


def pod_security(facts: Facts) -> Iterator[Finding]:
    """Check that the namespace enforces `restricted`, and the engine's own containers meet it."""
    executor = facts.settings_of_controller().get("executor") or {}
    if not facts.restricted:
        yield Finding(
            "warning", "pod-security", "Pod Security `restricted` should be enforced",
            f"Namespace {facts.namespace}", _level_of(facts),
            f"kubectl label ns {facts.namespace} pod-security.kubernetes.io/enforce=restricted",
        )  # fmt: skip
    lacking = _lacking_security(executor.get("securityContext") or {})
    if lacking:
        yield Finding(
            "error" if facts.restricted else "warning", "executor-security",
            "the engine's own containers must meet Pod Security `restricted`",
            f"ConfigMap {facts.controller.namespace}/{CONTROLLER_CONFIG}, "
            "key executor.securityContext", f"no {', no '.join(lacking)}",
            f"apply an overlay on {DEPLOY}/base (controller-config.yaml)",
        )  # fmt: skip
    if "memory" not in ((executor.get("resources") or {}).get("limits") or {}):
        yield Finding(
            "warning", "executor-resources",
            "the engine's own containers need a memory limit, or they are the first to be evicted",
            f"ConfigMap {facts.controller.namespace}/{CONTROLLER_CONFIG}, key executor.resources",
            "no limits.memory", f"apply an overlay on {DEPLOY}/base (controller-config.yaml)",
        )  # fmt: skip


def _level_of(facts: Facts) -> str:
    found = facts.look(f"/api/v1/namespaces/{facts.namespace}") or {}
    labels = found.get("metadata", {}).get("labels") or {}
    return str(labels.get("pod-security.kubernetes.io/enforce", "nothing enforced"))


def _lacking_security(context: dict[str, Any]) -> list[str]:
    # runAsNonRoot and seccompProfile may also come from the pod, which mdpipe's workflows state;
    # these two cannot
    lacking = []
    if context.get("allowPrivilegeEscalation") is not False:
        lacking.append("allowPrivilegeEscalation: false")
    if "ALL" not in ((context.get("capabilities") or {}).get("drop") or []):
        lacking.append("capabilities.drop: [ALL]")
    if context.get("runAsNonRoot") is False or context.get("runAsUser") == 0:
        lacking.append("user other than root")
    if context.get("privileged"):
        lacking.append("privileged: false")
    return lacking


def image(facts: Facts) -> Iterator[Finding]:
    """Check that the image of the steps is on the nodes, or named so that it cannot change."""
    name = facts.settings.image
    if not facts.with_study:
        return
    if _is_local(name):
        usable = _usable_nodes(facts)
        having = [node for node in usable if name in _images_of(node)]
        if usable and not having and not any(_may_hide_images(node) for node in usable):
            yield Finding(
                "error", "image", "an image of this machine must be on the nodes", name,
                f"none of {len(usable)} nodes has it",
                "load it (kind load docker-image, k3d image import), or push it and name it in "
                "[cluster] image",
            )  # fmt: skip
        if having and facts.settings.image_pull_policy == "Always":
            yield Finding(
                "error", "image", "an image of this machine cannot be pulled", name,
                "image_pull_policy Always", 'set it to "IfNotPresent"',
            )  # fmt: skip
    elif not re.search(r"@sha256:[0-9a-f]{64}$", name):
        yield Finding(
            "warning", "image", "it should be named by digest: a tag may change half way", name,
            "a tag" if ":" in name.rsplit("/", 1)[-1] else "neither tag nor digest",
            "name it as repository@sha256:… in [cluster] image",
        )  # fmt: skip


def _is_local(name: str) -> bool:
    return name.partition("/")[0].partition(":")[0] == "localhost"


def _images_of(node: dict[str, Any]) -> set[str]:
    listed = node.get("status", {}).get("images") or []
    return {name for image in listed for name in image.get("names") or []}


def _may_hide_images(node: dict[str, Any]) -> bool:
    """Tell whether a node may have more images than its kubelet lists: 50, or none yet."""
    return not 0 < len(node.get("status", {}).get("images") or []) < 50


def nodes(facts: Facts) -> Iterator[Finding]:
    """Check that some node takes the steps: ready, with enough cores, with the labels."""
    ready = _usable_nodes(facts)
    if not ready:
        there = len(facts.items("/api/v1/nodes"))
        yield Finding(
            "error", "nodes", "a node must be ready and untainted for the steps", "cluster",
            f"none of {there}", "uncordon or add a node, or set [cluster] tolerations",
        )  # fmt: skip
        return
    wanted = facts.settings.cpu
    most = max(quantity(node["status"]["allocatable"]["cpu"]) for node in ready)
    if wanted > most:
        yield Finding(
            "error", "nodes", "a node must have the cores of a step", "study, [cluster] cpu",
            f"{wanted:g}, but the largest node has {most:g}", f"set it to at most {most:g}",
        )  # fmt: skip
    for index, selector in enumerate(facts.settings.node_selectors):
        if not any(selector.items() <= node["metadata"]["labels"].items() for node in ready):
            yield Finding(
                "warning", "nodes", "a node must have the labels that are asked for",
                f"study, [cluster] node_selectors[{index}]", f"{selector}, on no node",
                "correct it; an autoscaler may still make such a node",
            )  # fmt: skip


def _usable_nodes(facts: Facts) -> list[dict[str, Any]]:
    listed = facts.items("/api/v1/nodes")
    return [node for node in listed if _is_ready(node) and _is_tolerated(facts, node)]


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not node["spec"].get("unschedulable")


def _is_tolerated(facts: Facts, node: dict[str, Any]) -> bool:
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] == "PreferNoSchedule":
            continue
        if not any(
            toleration.key == taint["key"]
            and toleration.effect in (None, taint["effect"])
            and (toleration.operator == "Exists" or toleration.value == taint.get("value"))
            for toleration in facts.settings.tolerations
        ):
            return False
    return True


def limits(facts: Facts) -> Iterator[Finding]:
    """Check that no limit of the namespace is below what a step needs."""
    for limit in facts.items(f"/api/v1/namespaces/{facts.namespace}/limitranges"):
        for row in limit["spec"]["limits"]:
            most = (row.get("max") or {}).get("memory")
            if (
                most
                and row["type"] in {"Container", "Pod"}
                and quantity(most) < 1e6 * LEAST_MEMORY_MB
            ):
                yield Finding(
                    "error", "limits", f"steps need at least {LEAST_MEMORY_MB} MB",
                    f"LimitRange {facts.namespace}/{limit['metadata']['name']}",
                    f"max.memory {most}", "raise it",
                )  # fmt: skip
    for quota in facts.items(f"/api/v1/namespaces/{facts.namespace}/resourcequotas"):
        if {"scopes", "scopeSelector"} & set(quota["spec"]):
            continue  # for some pods only
        status = quota.get("status") or {}
        for key in ("pods", "count/pods", "requests.memory", "limits.memory", "requests.cpu"):
            hard, used = (status.get("hard") or {}).get(key), (status.get("used") or {}).get(key)
            if hard and used and hard == used:
                yield Finding(
                    "warning", "limits", "the quota must leave room for pods",
                    f"ResourceQuota {facts.namespace}/{quota['metadata']['name']}",
                    f"{key} {used} of {hard} used", "raise it, or wait for what uses it",
                )  # fmt: skip


def network(facts: Facts) -> Iterator[Finding]:
    """Check that no network policy keeps the pods from the store and the API server."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{facts.namespace}/networkpolicies"
    policies = [p["spec"] | {"name": p["metadata"]["name"]} for p in facts.items(path)]
    ours = [p for p in policies if "Egress" in p.get("policyTypes", []) and _holds_steps(p)]
    if ours and not any(p.get("egress") for p in ours):
        yield Finding(
            "error", "network", "pods must reach the store and the API server",
            f"NetworkPolicy {facts.namespace}/{ours[0]['name']}", "nothing that it lets out",
            f"add {DEPLOY}/components/network-policy",
        )  # fmt: skip


def _holds_steps(policy: dict[str, Any]) -> bool:
    selector = policy.get("podSelector") or {}
    keys = {row["key"] for row in selector.get("matchExpressions") or []}
    keys |= set(selector.get("matchLabels") or {})
    return keys <= {STEP_LABEL}
