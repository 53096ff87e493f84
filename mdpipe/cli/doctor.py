"""`mdpipe doctor`: what a cluster lacks to run a study."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mdpipe.cli.output import json_option, print_json, say
from mdpipe.failures import UsageError


@click.command()
@click.argument("study", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--namespace", help="Where workflows run; by default the study's or the settings'.")
@click.option(
    "--groups",
    type=click.IntRange(1),
    help="How many groups the study will have; by default those of its plan, if it has one here.",
)
@json_option
def doctor(study: Path | None, namespace: str | None, groups: int | None, *, as_json: bool) -> None:
    """Say what the cluster of $KUBECONFIG lacks to run STUDY, and how to mend it.

    Changes nothing but for two short-lived objects: a workflow without pods, and an object below
    doctor/ in the store. Ends with code 0 if nothing is wrong, 1 if there are warnings only, 78 if
    something keeps a study from running, 75 if the cluster does not answer.
    """
    from mdpipe.cluster_settings import ClusterSettings
    from mdpipe.study import load_study
    from mdpipe.user_settings import cluster_settings, read_settings
    from mdpipe.workflows.cluster.api import connect
    from mdpipe.workflows.cluster.doctor import examine
    from mdpipe.workflows.cluster.doctor_facts import Facts

    if study is not None and not study.exists():
        raise UsageError(f"{study}: no such study file")
    if study is None:
        settings, scenes = read_settings(ClusterSettings, "cluster"), 3
    else:
        loaded = load_study(study)
        settings, scenes = cluster_settings(loaded), len(loaded.scenes)
        groups = groups or _planned_groups(loaded.name)
    if namespace:
        settings = settings.model_copy(update={"namespace": namespace})
    facts = Facts(connect(), settings, groups, scenes=scenes, with_study=study is not None)
    report = examine(facts)
    if as_json:
        print_json(report.as_dict())
    else:
        say(", ".join(f"{key} {value}" for key, value in report.facts.items()))
        for line in report.unknown:
            say(f"not looked at: {line}")
        for finding in report.findings:
            click.echo(finding.line())
        if not report.findings:
            click.echo("nothing is wrong")
    sys.exit(report.exit_code)


def _planned_groups(name: str) -> int | None:
    """Return the number of groups of the study's usual run folder, None if there is none."""
    plan = Path(f"{name}-run") / "plan.jsonl"
    if not plan.is_file():
        return None
    return sum(1 for line in plan.read_text("utf-8").splitlines() if line.strip())
