"""Checks of rights: the user's, those of the pods, of the controller and of the reaper."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mdpipe.workflows.cluster.doctor_facts import DEPLOY, Facts
from mdpipe.workflows.cluster.findings import Finding

ARGO: Final = "argoproj.io"
NEEDED_BY_USER: Final = (
    *((verb, ARGO, "workflows") for verb in ("create", "get", "list", "watch", "patch", "delete")),
    *((verb, "", "pods") for verb in ("get", "list")),
    ("get", "", "pods/log"),
)
NEEDED_BY_REAPER: Final = (("list", "pods"), ("patch", "pods"), ("patch", "pods/status"))
"""A pod that is only deleted is made again as the same attempt, so its status is set."""

TOO_MUCH: Final = (("get", "", "secrets"), ("delete", "", "pods"), ("create", "", "pods"))
"""What no pod of a workflow needs; the first of these that it may is told."""


def namespace_is_there(facts: Facts) -> Iterator[Finding]:
    """Check that the namespace exists."""
    if facts.look(f"/api/v1/namespaces/{facts.namespace}") is None:
        yield Finding(
            "error", "namespace", "the namespace of the study must be there", "cluster",
            f"no namespace {facts.namespace}", f"apply an overlay on {DEPLOY}/base",
        )  # fmt: skip


def user_rights(facts: Facts) -> Iterator[Finding]:
    """Check that the user may submit, watch and stop workflows and read the logs of their pods."""
    children = (("create", ARGO, "workflowtemplates"),) if facts.settings.shard else ()
    lacking = [
        f"{verb} {resource}"
        for verb, group, resource in (*NEEDED_BY_USER, *children)
        if not facts.may("", verb, group, resource)
    ]
    if lacking:
        serious = {"create workflows", "get workflows", "create workflowtemplates"} & set(lacking)
        yield Finding(
            "error" if serious else "warning", "user-rights",
            "you must be allowed to work with workflows", f"namespace {facts.namespace}",
            f"no right to {', '.join(lacking)}",
            f"ask the cluster's administrator for {DEPLOY}/components/users",
        )  # fmt: skip


def account(facts: Facts) -> Iterator[Finding]:
    """Check that the service account of the pods exists, and the token that the engine mounts."""
    name = facts.settings.service_account
    found = facts.core("serviceaccounts", name)
    if found is None:
        yield Finding(
            "error", "account", "the service account of the pods must be there",
            f"namespace {facts.namespace}", f"no ServiceAccount {name}",
            f"apply an overlay on {DEPLOY}/base",
        )  # fmt: skip
        return
    token = _token_of(found)
    secret = facts.core("secrets", token)
    if "token" not in ((secret or {}).get("data") or {}):
        yield Finding(
            "error", "account", "the engine's containers need the token of the account",
            f"Secret {facts.namespace}/{token}", "no token in it" if secret else "no such secret",
            f"apply an overlay on {DEPLOY}/base (service-account.yaml)",
        )  # fmt: skip


def _token_of(found: dict[str, Any]) -> str:
    """Return the name of an account's token, by the workflow engine's rule."""
    metadata = found["metadata"]
    if found.get("secrets"):
        return str(found["secrets"][0]["name"])
    named = (metadata.get("annotations") or {}).get(
        "workflows.argoproj.io/service-account-token.name"
    )
    return str(named or f"{metadata['name']}.service-account-token")


def executor_rights(facts: Facts) -> Iterator[Finding]:
    """Check that the pods may report results and make child workflows, and no more."""
    name = facts.settings.service_account
    account = f"{facts.namespace}:{name}"
    lacking = [
        v for v in ("create", "patch") if not facts.may(account, v, ARGO, "workflowtaskresults")
    ]
    if lacking:
        yield Finding(
            "error", "executor-rights", "the pods must be allowed to report results",
            f"ServiceAccount {facts.namespace}/{name}",
            f"no right to {' and '.join(lacking)} workflowtaskresults",
            f"apply an overlay on {DEPLOY}/base (executor-role.yaml)",
        )  # fmt: skip
    if facts.settings.shard:
        verbs = ("create", "get", "patch")
        lacking = [v for v in verbs if not facts.may(account, v, ARGO, "workflows")]
        if lacking:
            yield Finding(
                "error", "executor-rights", "a sharded study makes child workflows",
                f"ServiceAccount {facts.namespace}/{name}",
                f"no right to {' and '.join(lacking)} workflows",
                f"add {DEPLOY}/components/child-workflows",
            )  # fmt: skip
    for verb, group, resource in TOO_MUCH:
        if facts.may(account, verb, group, resource):
            yield Finding(
                "warning", "executor-rights", "the pods should have no right that they do not use",
                f"ServiceAccount {facts.namespace}/{name}", f"it may {verb} {resource}",
                "remove the RoleBinding that gives it, or name another account in the study",
            )  # fmt: skip
            return


def controller_rights(facts: Facts) -> Iterator[Finding]:
    """Check that the controller may write ConfigMaps: for large templates and memoized results."""
    controller = facts.controller
    account = f"{controller.namespace}:{controller.service_account}"
    lacking = [v for v in ("create", "update") if not facts.may(account, v, "", "configmaps")]
    if lacking:
        yield Finding(
            "error" if facts.settings.memoize else "warning", "controller-rights",
            "the controller must be allowed to write ConfigMaps for large templates and memoize",
            f"ServiceAccount {controller.namespace}/{controller.service_account}",
            f"no right to {' and '.join(lacking)} configmaps",
            f"apply an overlay on {DEPLOY}/base (controller-role.yaml)",
        )  # fmt: skip


def reaper(facts: Facts) -> Iterator[Finding]:
    """Check that something ends pods that no node takes, and may do so."""
    listed = facts.items(f"/apis/batch/v1/namespaces/{facts.namespace}/cronjobs")
    jobs = [job for job in listed if _is_reaper(job)]
    add = f"add {DEPLOY}/components/reaper, or keep `mdpipe submit --watch` running"
    if not jobs:
        yield Finding(
            "warning", "reaper", "pods that no node takes must be ended, or they wait for ever",
            f"namespace {facts.namespace}", "no CronJob that runs `mdpipe reap`", add,
        )  # fmt: skip
        return
    name = jobs[0]["metadata"]["name"]
    where = f"CronJob {facts.namespace}/{name}"
    if jobs[0]["spec"].get("suspend"):
        yield Finding(
            "warning", "reaper", "the reaper must run", where, "suspend: true",
            f"kubectl -n {facts.namespace} patch cronjob {name} "
            "-p '{\"spec\":{\"suspend\":false}}'",
        )  # fmt: skip
    spec = jobs[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    account = f"{facts.namespace}:{spec.get('serviceAccountName', 'default')}"
    lacking = [
        f"{verb} {resource}"
        for verb, resource in NEEDED_BY_REAPER
        if not facts.may(account, verb, "", resource)
    ]
    if lacking:
        yield Finding(
            "warning", "reaper", "the reaper must be allowed to end pods", where,
            f"no right to {', '.join(lacking)}", f"apply {DEPLOY}/components/reaper",
        )  # fmt: skip


def _is_reaper(job: dict[str, Any]) -> bool:
    spec = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    return any("reap" in [*c.get("command", []), *c.get("args", [])] for c in spec["containers"])
