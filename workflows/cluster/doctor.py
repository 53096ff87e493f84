"""`mdpipe doctor`: what a cluster lacks to run a study, each with its remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from mdpipe.failures import BusyError
from mdpipe.workflows.cluster import (
    doctor_access,
    doctor_engine,
    doctor_pods,
    doctor_scale,
    doctor_storage,
)
from mdpipe.workflows.cluster.doctor_facts import Facts
from mdpipe.workflows.cluster.errors import AbsentError, RefusedError
from mdpipe.workflows.cluster.findings import Finding, Report

Check = Callable[[Facts], Iterator[Finding]]

CHECKS: Final[tuple[Check, ...]] = (
    doctor_engine.kubernetes_version,
    doctor_engine.argo_types,
    doctor_access.namespace_is_there,
    doctor_access.user_rights,
    doctor_engine.argo_version,
    doctor_engine.argo_fields,
    doctor_engine.controller_runs,
    doctor_engine.controller_config,
    doctor_engine.controller_answers,
    doctor_engine.workflow_defaults,
    doctor_access.controller_rights,
    doctor_access.account,
    doctor_access.executor_rights,
    doctor_pods.pod_security,
    doctor_storage.artifact_repository,
    doctor_storage.store_secret,
    doctor_storage.store,
    doctor_storage.claims,
    doctor_pods.image,
    doctor_pods.nodes,
    doctor_pods.limits,
    doctor_pods.network,
    doctor_access.reaper,
    doctor_scale.offload,
    doctor_scale.throughput,
)
"""All checks, in the order in which a study would stumble over what they look at."""


def examine(facts: Facts, checks: tuple[Check, ...] = CHECKS) -> Report:
    """Run all checks; what one of them may not see is told and stops no other.

    Parameters
    ----------
    facts : Facts
        The cluster.
    checks : tuple of callable
        The checks.

    Returns
    -------
    Report
        Facts, findings (errors first) and what could not be told.

    Raises
    ------
    BusyError
        If the API server does not answer at all.
    """
    report = Report()
    report.facts["kubernetes"] = facts.look("/version")["gitVersion"]
    report.facts["namespace"] = facts.namespace
    for check in checks:
        name = check.__name__.replace("_", "-")
        try:
            report.findings.extend(check(facts))
        except RefusedError as error:
            report.unknown.append(f"{name}: you may not see it ({error})")
        except (BusyError, AbsentError) as error:
            report.unknown.append(f"{name}: {error}")
    report.findings.sort(key=lambda finding: finding.level != "error")
    controller = facts.controller
    if controller.deployment is None:
        report.facts["controller"] = "no Deployment that you can see"
        report.unknown.append("flags and account of the controller: it has no Deployment here")
    else:
        container = controller.deployment["spec"]["template"]["spec"]["containers"][0]
        report.facts["controller"] = container["image"]
    report.unknown.append(
        "network policy: whether the cluster's network enforces policies cannot be asked"
    )
    return report
