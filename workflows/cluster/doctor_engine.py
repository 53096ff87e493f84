"""Checks of versions and of the workflow controller: is it there, does it answer, how is it set."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any, Final

from mdpipe.cluster_settings import MANAGED_BY
from mdpipe.workflows.cluster.doctor_facts import (
    CONTROLLER_CONFIG,
    DEPLOY,
    Facts,
    parse_setting,
)
from mdpipe.workflows.cluster.errors import AbsentError, InvalidError, RefusedError
from mdpipe.workflows.cluster.findings import Finding

LEAST_KUBERNETES: Final = (1, 28)
LEAST_ARGO: Final = (3, 7)
ARGO_TYPES: Final = (
    *("workflows", "workflowtaskresults", "workflowtasksets", "workflowtemplates"),
    *("cronworkflows", "workflowartifactgctasks", "workfloweventbindings"),
)
PROBE_S: Final = 20.0
"""Longest wait until the controller takes up a workflow; it usually takes well below a second."""


def kubernetes_version(facts: Facts) -> Iterator[Finding]:
    """Check that the API server is of a version that the objects are made for."""
    told = facts.look("/version")
    version = (int(told["major"]), int(re.sub(r"\D", "", told["minor"])))
    if version < LEAST_KUBERNETES:
        yield Finding(
            "error", "kubernetes-version", f"at least {_dotted(LEAST_KUBERNETES)} is needed",
            "API server", str(told["gitVersion"]), "upgrade the cluster",
        )  # fmt: skip


def argo_types(facts: Facts) -> Iterator[Finding]:
    """Check that Argo's resource types are served, in the version of the workflows."""
    served = facts.look("/apis/argoproj.io/v1alpha1")
    names = {resource["name"] for resource in (served or {}).get("resources", [])}
    missing = [name for name in ARGO_TYPES if name not in names]
    if missing:
        yield Finding(
            "error", "argo-types", "Argo's types must be served as argoproj.io/v1alpha1",
            "API server", f"no {', '.join(missing)}",
            "kubectl apply --server-side -f the manifest of an Argo Workflows release",
        )  # fmt: skip


def argo_version(facts: Facts) -> Iterator[Finding]:
    """Check that the controller's image is of a version that knows what the workflows use."""
    deployment = facts.controller.deployment
    image = _controller_image(deployment) if deployment else ""
    found = re.search(r":v?(\d+)\.(\d+)", image)
    if found and (int(found[1]), int(found[2])) < LEAST_ARGO:
        yield Finding(
            "error", "argo-version", f"at least {_dotted(LEAST_ARGO)} is needed",
            f"Deployment {facts.controller.namespace}/{_name(deployment)}", image,
            "install a newer release of Argo Workflows",
        )  # fmt: skip


def controller_runs(facts: Facts) -> Iterator[Finding]:
    """Check that the controller's Deployment has a ready pod that is made for this namespace."""
    controller = facts.controller
    if controller.deployment is None:
        return
    where = f"Deployment {controller.namespace}/{_name(controller.deployment)}"
    ready = (controller.deployment.get("status") or {}).get("readyReplicas", 0)
    if not ready:
        wanted = controller.deployment["spec"].get("replicas", 1)
        name = _name(controller.deployment)
        fix = f"kubectl -n {controller.namespace} scale deployment {name} --replicas=1"
        if wanted:
            fix = (
                f"`kubectl -n {controller.namespace} logs deployment/{name}` or, where it has no "
                f"pod, `kubectl -n {controller.namespace} get events` tells why"
            )
        yield Finding(
            "error", "controller-runs", "the workflow controller must run", where,
            f"0 of {wanted} pods ready", fix,
        )  # fmt: skip
    managed = controller.setting("managed-namespace", controller.namespace)
    if controller.setting("namespaced", "false") == "true" and managed != facts.namespace:
        yield Finding(
            "error", "controller-runs", f"it must look at the namespace {facts.namespace}", where,
            f"--namespaced for {managed}",
            f"set its --managed-namespace={facts.namespace}, or [cluster] namespace in the study",
        )  # fmt: skip
    spec = controller.deployment["spec"]["template"]["spec"]
    if facts.restricted and controller.namespace == facts.namespace and not _has_seccomp(spec):
        yield Finding(
            "warning", "controller-runs", "its next pod must meet Pod Security restricted", where,
            "no seccompProfile", f"kubectl -n {controller.namespace} patch deployment "
            f"{_name(controller.deployment)} --patch-file {DEPLOY}/controller/deployment.yaml",
        )  # fmt: skip


def controller_answers(facts: Facts) -> Iterator[Finding]:
    """Check that the controller takes up a workflow: one without pods, deleted at once."""
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{facts.namespace}/workflows"
    instance = facts.settings_of_controller().get("instanceID")
    if instance:
        yield Finding(
            "error", "controller-answers", "workflows without a label must be taken up",
            f"ConfigMap {facts.controller.namespace}/{CONTROLLER_CONFIG}, key instanceID",
            repr(instance), "use a controller without instanceID",
        )  # fmt: skip
        return
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "mdpipe-doctor-", "labels": dict([MANAGED_BY])},
        "spec": {"entrypoint": "wait", "templates": [{"name": "wait", "suspend": {}}]},
    }
    try:
        name = facts.door.post(path, body)["metadata"]["name"]
    except AbsentError:
        return  # no such namespace or no such type: other checks say so
    try:
        if not _is_taken_up(facts, f"{path}/{name}"):
            yield Finding(
                "error", "controller-answers", "the controller must take up workflows",
                f"namespace {facts.namespace}", f"nothing within {PROBE_S:g} s",
                "start the controller, or let it look at this namespace (--managed-namespace)",
            )  # fmt: skip
    finally:
        facts.door.delete(f"{path}/{name}")


def _is_taken_up(facts: Facts, path: str) -> bool:
    until = time.monotonic() + PROBE_S
    while time.monotonic() < until:
        if (facts.door.get(path).get("status") or {}).get("phase"):
            return True
        time.sleep(0.2)
    return False


def controller_config(facts: Facts) -> Iterator[Finding]:
    """Check that every key of the controller's ConfigMap is what the controller can read."""
    import yaml

    namespace = facts.controller.namespace
    found = facts.core("configmaps", CONTROLLER_CONFIG, namespace)
    if found is None:
        yield Finding(
            "error", "controller-config", "the controller's ConfigMap must be there",
            f"namespace {namespace}", f"no ConfigMap {CONTROLLER_CONFIG}",
            f"apply an overlay on {DEPLOY}/base",
        )  # fmt: skip
        return
    tables = {
        *("executor", "persistence", "nodeEvents", "workflowEvents", "workflowDefaults"),
        *("resourceRateLimit", "failedPodRestart", "artifactRepository", "config"),
    }
    for key, text in (found.get("data") or {}).items():
        where = f"ConfigMap {namespace}/{CONTROLLER_CONFIG}, key {key}"
        try:
            good = isinstance(parse_setting(key, text), dict) or key not in tables
        except yaml.YAMLError:
            good = False
        if not good:
            yield Finding(
                "error", "controller-config", "must be what the controller can read, or it ends",
                where, repr(text), f"write `{key}: |`, the table below it, and its last line break",
            )  # fmt: skip
    restrictions = facts.settings_of_controller().get("workflowRestrictions") or {}
    if restrictions.get("templateReferencing"):
        yield Finding(
            "error", "controller-config", "workflows with templates of their own must be allowed",
            f"ConfigMap {namespace}/{CONTROLLER_CONFIG}, key workflowRestrictions",
            f"templateReferencing: {restrictions['templateReferencing']}", "remove it",
        )  # fmt: skip


def workflow_defaults(facts: Facts) -> Iterator[Finding]:
    """Check that no default of the controller works against the retries of the steps."""
    settings = facts.settings_of_controller()
    spec = (settings.get("workflowDefaults") or {}).get("spec") or {}
    where = f"ConfigMap {facts.controller.namespace}/{CONTROLLER_CONFIG}, key workflowDefaults"
    for key in ("pendingTimeout", "timeout"):
        if key in (spec.get("templateDefaults") or {}):
            yield Finding(
                "warning", "pending-timeout", f"{key} has no effect on a step with retries",
                where, f"templateDefaults.{key}: {spec['templateDefaults'][key]}",
                f"remove it and use {DEPLOY}/components/reaper",
            )  # fmt: skip
    if "retryStrategy" in spec:
        yield Finding(
            "warning", "workflow-defaults", "retries belong to steps, not to the whole workflow",
            where, "retryStrategy, which multiplies the retries of each step by its own",
            "remove it: the workflows of mdpipe state theirs",
        )  # fmt: skip


def argo_fields(facts: Facts) -> Iterator[Finding]:
    """Check that the installed types know the fields that workflows are written with."""
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{facts.namespace}/workflows"
    template = {"name": "wait", "suspend": {}, "pendingTimeout": "5m"}
    body = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "mdpipe-doctor-"},
        "spec": {"entrypoint": "wait", "templates": [template]},
    }
    try:
        facts.door.post(path, body, {"dryRun": "All", "fieldValidation": "Strict"})
    except (AbsentError, RefusedError):
        return  # other checks say so
    except InvalidError as error:
        yield Finding(
            "warning", "argo-fields", "the types of Argo 4.1 are what workflows are written for",
            "CustomResourceDefinition workflows.argoproj.io", " ".join(str(error).split())[:200],
            "upgrade the types, or write for yours: mdpipe workflow --argo 4.0",
        )  # fmt: skip


def _controller_image(deployment: dict[str, Any]) -> str:
    containers = deployment["spec"]["template"]["spec"]["containers"]
    return str(next((c["image"] for c in containers if "workflow-controller" in c["image"]), ""))


def _has_seccomp(spec: dict[str, Any]) -> bool:
    places = [spec, *spec["containers"]]
    profiles = [(place.get("securityContext") or {}).get("seccompProfile") for place in places]
    return bool(profiles[0]) or all(profiles[1:])


def _name(deployment: dict[str, Any] | None) -> str:
    return str(deployment["metadata"]["name"]) if deployment else ""


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
