"""Checks of what large studies need: offload of node statuses, and settings for throughput."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from mdpipe.workflows.argo_size import most_groups
from mdpipe.workflows.cluster.doctor_facts import CONTROLLER_CONFIG, DEPLOY, Facts
from mdpipe.workflows.cluster.findings import Finding

MANY_GROUPS: Final = 500
"""From here on the controller's own settings, not the pods, decide how long a study takes."""

LEAST: Final = {"qps": 100, "burst": 200, "pod-cleanup-workers": 16}
DEFAULTS: Final = {"qps": "20", "burst": "30", "pod-cleanup-workers": "4"}
LEAST_OPERATION_S: Final = 120


def offload(facts: Facts) -> Iterator[Finding]:
    """Check that a large study has a database for node statuses, or is sharded."""
    persistence = facts.settings_of_controller().get("persistence") or {}
    namespace = facts.controller.namespace
    where = f"ConfigMap {namespace}/{CONTROLLER_CONFIG}, key persistence"
    groups = facts.groups or 0
    most = most_groups(facts.scenes, facts.settings.chunk)
    shard = facts.settings.shard
    needed = facts.settings.offload or (shard or groups) > most
    if needed and not persistence.get("nodeStatusOffLoad"):
        wanted = f"{groups} groups" if groups else "[cluster] offload"
        yield Finding(
            "error", "offload",
            f"a workflow of more than {most} groups needs its node statuses in a database", where,
            f"{'no nodeStatusOffLoad: true' if persistence else 'nothing'} for {wanted}",
            f"add {DEPLOY}/components/offload, or set [cluster] shard in the study",
        )  # fmt: skip
    database = persistence.get("postgresql") or persistence.get("mysql") or {}
    for key in ("userNameSecret", "passwordSecret"):
        named = database.get(key) or {}
        if named:
            secret = facts.core("secrets", named["name"], namespace)
            if named["key"] not in ((secret or {}).get("data") or {}):
                yield Finding(
                    "error", "offload", "the account of the database must be there", where,
                    f"no Secret {named['name']} with the key {named['key']}",
                    f"kubectl -n {namespace} create secret generic {named['name']} "
                    "--from-env-file=postgres.env",
                )  # fmt: skip


def throughput(facts: Facts) -> Iterator[Finding]:
    """Check that large studies are not held up by settings that are made for small ones."""
    if (facts.groups or 0) < MANY_GROUPS:
        return
    controller = facts.controller
    settings = facts.settings_of_controller()
    slow = []
    if controller.deployment is not None:
        for flag, least in LEAST.items():
            value = controller.setting(flag, DEFAULTS[flag])
            if float(value) < least:
                slow.append(f"{flag} {value} (at least {least})")
        longest = controller.environment.get("MAX_OPERATION_TIME", "30s")
        if _seconds(longest) < LEAST_OPERATION_S:
            slow.append(f"MAX_OPERATION_TIME {longest} (at least {LEAST_OPERATION_S}s)")
    limit = (settings.get("resourceRateLimit") or {}).get("limit")
    if limit is not None and float(limit) < 50:
        slow.append(f"resourceRateLimit {limit} pods a second (none, or at least 50)")
    slow += [
        f"{key} on (off)"
        for key in ("nodeEvents", "workflowEvents")
        if (settings.get(key) or {}).get("enabled", True)
    ]
    if slow:
        yield Finding(
            "warning", "throughput", f"{facts.groups} groups need a faster controller",
            f"workflow controller in {controller.namespace}", "; ".join(slow),
            f"add {DEPLOY}/components/throughput, apply {DEPLOY}/controller/deployment.yaml and "
            "restart the controller",
        )  # fmt: skip


def _seconds(duration: str) -> float:
    """Return a duration of Go, such as `1h30m` or `300s`, in seconds."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
    parts = re.findall(r"([\d.]+)(ms|h|m|s)", duration)
    return sum(float(number) * units[unit] for number, unit in parts)
