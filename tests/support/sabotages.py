"""Answers of a good cluster spoilt one by one, and what `mdpipe doctor` should make of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recorded_cluster import NAMESPACE

CONTROLLER = "configmaps/workflow-controller-configmap"


def merged(*path: str, value: Any) -> Callable[[Any], Any]:
    def change(answer: Any) -> Any:
        place = answer
        for key in path[:-1]:
            place = place.setdefault(key, {})
        if value is None:
            place.pop(path[-1], None)
        else:
            place[path[-1]] = value
        return answer

    return change


def setting(key: str, value: str | None) -> Callable[[Any], Any]:
    return merged("data", key, value=value)


def absent(_: Any) -> None:
    return None


# Name → part of the path, how its answer is changed, check that finds it, level of the finding.
SABOTAGES: dict[str, tuple[str, Callable[[Any], Any], str, str]] = {
    "old Kubernetes": ("/version", merged("minor", value="26+"), "kubernetes-version", "error"),
    "no Argo": ("/apis/argoproj.io/v1alpha1", absent, "argo-types", "error"),
    "no task results": (
        "/apis/argoproj.io/v1alpha1",
        lambda a: a | {"resources": [r for r in a["resources"] if "task" not in r["name"]]},
        "argo-types",
        "error",
    ),
    "no namespace": (f"/namespaces/{NAMESPACE}", absent, "namespace", "error"),
    "no controller settings": (CONTROLLER, absent, "controller-config", "error"),
    "events as one line": (
        CONTROLLER, setting("nodeEvents", "enabled: false"), "controller-config", "error",
    ),
    "a key without its last line break": (
        CONTROLLER, setting("telemetryConfig", "enabled: false"), "controller-config", "error",
    ),
    "templates by reference only": (
        CONTROLLER,
        setting("workflowRestrictions", "templateReferencing: Strict\n"),
        "controller-config",
        "error",
    ),
    "instance": (CONTROLLER, setting("instanceID", "mine"), "controller-answers", "error"),
    "executor without security": (
        CONTROLLER, setting("executor", "resources: {limits: {memory: 1Gi}}\n"),
        "executor-security", "error",
    ),
    "executor as root": (
        CONTROLLER,
        setting(
            "executor",
            "resources: {limits: {memory: 1Gi}}\n"
            "securityContext: {allowPrivilegeEscalation: false, runAsUser: 0, "
            "capabilities: {drop: [ALL]}}\n",
        ),
        "executor-security",
        "error",
    ),
    "executor without limits": (
        CONTROLLER,
        setting(
            "executor",
            "\nsecurityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}\n",
        ),
        "executor-resources",
        "warning",
    ),
    "nothing enforced": (
        f"/namespaces/{NAMESPACE}", merged("metadata", "labels", value={}), "pod-security",
        "warning",
    ),
    "pendingTimeout": (
        CONTROLLER,
        setting("workflowDefaults", "spec: {templateDefaults: {pendingTimeout: 5m}}\n"),
        "pending-timeout",
        "warning",
    ),
    "retries of the workflow": (
        CONTROLLER,
        setting("workflowDefaults", "spec: {retryStrategy: {limit: 3}}\n"),
        "workflow-defaults",
        "warning",
    ),
    "no database": (CONTROLLER, setting("persistence", None), "offload", "error"),
    "no account of the database": ("secrets/argo-postgres-config", absent, "offload", "error"),
    "rate limit": (
        CONTROLLER, setting("resourceRateLimit", "{limit: 10, burst: 25}"), "throughput",
        "warning",
    ),
    "no account": ("serviceaccounts/mdpipe", absent, "account", "error"),
    "no token": ("secrets/mdpipe.service-account-token", absent, "account", "error"),
    "empty token": (
        "secrets/mdpipe.service-account-token", merged("data", value=None), "account", "error",
    ),
    "no repository": ("configmaps/artifact-repositories", absent, "artifact-repository", "error"),
    "no default repository": (
        "configmaps/artifact-repositories", merged("metadata", "annotations", value=None),
        "artifact-repository", "error",
    ),
    "another bucket": (
        "configmaps/artifact-repositories", setting("mdpipe", "s3: {bucket: other}"),
        "artifact-repository", "error",
    ),
    "no store secret": ("secrets/mdpipe-store", absent, "store-secret", "error"),
    "no inputs": ("persistentvolumeclaims/mdpipe-inputs", absent, "claims", "error"),
    "inputs not bound": (
        "persistentvolumeclaims/mdpipe-inputs", merged("status", "phase", value="Pending"),
        "claims", "error",
    ),
    "inputs for one node": (
        "persistentvolumeclaims/mdpipe-inputs",
        merged("spec", "accessModes", value=["ReadWriteOnce"]), "claims", "error",
    ),
    "no node": ("/api/v1/nodes", merged("items", value=[]), "nodes", "error"),
    "reaper missing": (f"{NAMESPACE}/cronjobs", merged("items", value=[]), "reaper", "warning"),
    "low limit": (
        f"{NAMESPACE}/limitranges",
        merged("items", value=[{
            "metadata": {"name": "low"},
            "spec": {"limits": [{"type": "Pod", "max": {"memory": "256Mi"}}]},
        }]),
        "limits",
        "error",
    ),
    "full quota": (
        f"{NAMESPACE}/resourcequotas",
        merged("items", value=[{
            "metadata": {"name": "full"},
            "spec": {},
            "status": {"hard": {"pods": "5"}, "used": {"pods": "5"}},
        }]),
        "limits",
        "warning",
    ),
    "closed network": (
        f"{NAMESPACE}/networkpolicies",
        merged("items", value=[{
            "metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
        }]),
        "network",
        "error",
    ),
}  # fmt: skip
