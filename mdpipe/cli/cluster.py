"""Workflows on a cluster: `mdpipe submit`, `status`, `logs`, `fetch`, `stop`, `resume`, `reap`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mdpipe.cli.options import study_argument
from mdpipe.cli.output import json_option, print_json, print_table, say
from mdpipe.failures import InterruptedRunError

if TYPE_CHECKING:
    from mdpipe.workflows.cluster.door import Door, KubernetesDoor
    from mdpipe.workflows.cluster.submit import Prepared

_name = click.argument("name")
_namespace = click.option(
    "--namespace", "-n", envvar="ARGO_NAMESPACE", help="By default that of the [cluster] settings."
)


def _namespace_of(given: str | None) -> str:
    """Return the namespace that is meant: the option, this pod's, or the settings'."""
    from mdpipe.cluster_settings import ClusterSettings
    from mdpipe.user_settings import read_settings
    from mdpipe.workflows.cluster.api import own_namespace

    return given or own_namespace() or read_settings(ClusterSettings, "cluster").namespace


def _door(namespace: str | None) -> Door:
    from mdpipe.workflows.cluster.door import open_door

    return open_door(_namespace_of(namespace))


@click.command()
@study_argument
@click.option("--watch", is_flag=True, help="Follow it to its end, and end with its exit code.")
@click.option("--upload-inputs", is_flag=True, help="First bring the inputs into the store.")
@click.option("--dry-run", is_flag=True, help="Let the cluster check it, and create nothing.")
@click.option("--name", help="Name of the workflow; by default a new one, after the study's.")
@_namespace
@json_option
def submit(
    study: Path,
    *,
    watch: bool,
    upload_inputs: bool,
    dry_run: bool,
    name: str | None,
    namespace: str | None,
    as_json: bool,
) -> None:
    """Run STUDY as a workflow on a cluster. What the scene cache has is not computed again.

    A plan that was made here (`mdpipe plan STUDY`) tells beforehand if the workflow would get too
    large for the cluster. --upload-inputs is for the storage profiles artifacts and sdk: `split`
    and `volume` read inputs from a claim, to which `workflows/README.md` says how they get.
    """
    from mdpipe.workflows.cluster import submit as submission
    from mdpipe.workflows.cluster.door import open_door

    prepared = submission.prepare(study, name=name, namespace=namespace)
    say(prepared.size)
    door = open_door(prepared.settings.namespace)
    if upload_inputs:
        _upload(door, prepared, dry_run=dry_run)
    submission.submit(door, prepared, dry_run=dry_run)
    told = {"name": prepared.name, "namespace": door.namespace, "bytes": prepared.bytes}
    if dry_run:
        say(f"{prepared.name}: {prepared.bytes} bytes; the cluster finds it right (not created)")
    elif not as_json and not watch:
        say(f"submitted; `mdpipe status {prepared.name}` says how far it is")
    if not watch or dry_run:
        print_json(told) if as_json else click.echo(prepared.name)
        return
    say(f"submitted {prepared.name}")
    sys.exit(_follow(door, prepared.name, as_json=as_json))


def _upload(door: Door, prepared: Prepared, *, dry_run: bool) -> None:
    from mdpipe.workflows.cluster.store import open_store
    from mdpipe.workflows.cluster.upload import check_profile, upload_inputs

    check_profile(prepared.settings)
    store = open_store(prepared.settings, door)
    done = upload_inputs(prepared.study, prepared.settings, store, say, dry_run=dry_run)
    verb = "would be uploaded" if dry_run else "uploaded"
    say(f"{done.sent} inputs, {done.sent_bytes / 1e6:.1f} MB {verb}; {done.there} were there")


def _follow(door: Door, name: str, *, as_json: bool) -> int:
    from mdpipe.workflows.cluster.door import KubernetesDoor
    from mdpipe.workflows.cluster.follow import follow

    reaper: KubernetesDoor | None = door if isinstance(door, KubernetesDoor) else None
    try:
        status = follow(door, name, sys.stderr, reaper=reaper)
    except KeyboardInterrupt as error:
        raise InterruptedRunError(
            f"stopped watching; {name} goes on: `mdpipe status {name}`, `mdpipe stop {name}`"
        ) from error
    if as_json:
        print_json(status.as_dict())
    return status.exit_code


@click.command()
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Follow it to its end, and end with its exit code.")
@_namespace
@json_option
def status(name: str | None, *, watch: bool, namespace: str | None, as_json: bool) -> None:
    """Say how far the workflow NAME is; without NAME list the workflows.

    Groups are told by their row, which `mdpipe logs` takes, and by their name in the report where
    the workflow's store answers at once; its keys come from the environment or from its secret.
    """
    from mdpipe.workflows.cluster.group_names import GroupNames
    from mdpipe.workflows.cluster.show import status_lines
    from mdpipe.workflows.cluster.status import read_status

    door = _door(namespace)
    if name is None:
        names = door.names()
        print_json({"workflows": names}) if as_json else click.echo("\n".join(names))
        return
    if watch:
        sys.exit(_follow(door, name, as_json=as_json))
    seen = read_status(door, name, names=GroupNames(door))
    print_json(seen.as_dict()) if as_json else click.echo("\n".join(status_lines(seen)))


@click.command()
@_name
@click.argument("step", required=False)
@click.option("--follow", "-f", "follows", is_flag=True, help="Wait for more until it ends.")
@_namespace
def logs(name: str, step: str | None, *, follows: bool, namespace: str | None) -> None:
    """Print what the pods of NAME have said: of STEP, or of what failed, or of what runs.

    STEP is a kind (render), a step as `mdpipe status` names it ('simulate 3 #1'), or a pod.
    """
    from mdpipe.workflows.cluster.logs import chosen_pods, log_lines

    door = _door(namespace)
    workflow = door.workflow(name)
    for pod in chosen_pods(door, workflow, step):
        say(f"{pod.title} ({pod.name})")
        for line in log_lines(door, workflow, pod, follow=follows):
            click.echo(line)


@click.command()
@_name
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@_namespace
@json_option
def fetch(name: str, folder: Path, *, namespace: str | None, as_json: bool) -> None:
    """Fetch film, report, tables and plan of the workflow NAME into DIR. Run it again to go on."""
    from mdpipe.workflows.cluster.fetch import fetch as fetch_products

    files = fetch_products(_door(namespace), name, folder, say)
    if as_json:
        print_json({"files": [str(path) for path in files]})


@click.command()
@_name
@click.option("--now", is_flag=True, help="End it, with its running pods; they keep checkpoints.")
@_namespace
def stop(name: str, *, now: bool, namespace: str | None) -> None:
    """Hold the workflow NAME: pods that run come to their end, no others are started."""
    from mdpipe.workflows.cluster.control import stop as hold

    say(hold(_door(namespace), name, now=now))


@click.command()
@_name
@_namespace
def resume(name: str, *, namespace: str | None) -> None:
    """Go on with the workflow NAME; if it was ended or has failed, in a new one."""
    from mdpipe.workflows.cluster.control import resume as go_on

    goes_on = go_on(_door(namespace), name)
    new = f"{goes_on} goes on" + ("" if goes_on == name else f" from what {name} has left")
    say(f"{new}; `mdpipe status {goes_on}` says how far it is")
    click.echo(goes_on)


@click.command()
@click.argument("name", required=False)
@click.option("--older", type=click.FloatRange(0), metavar="S", help="Longest wait, seconds; by "
              "default what each workflow says.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would go and end nothing.")
@_namespace
@json_option
def reap(
    name: str | None, *, older: float | None, dry_run: bool, namespace: str | None, as_json: bool
) -> None:
    """End pods that wait in vain for a node or an image: of NAME, or of all workflows.

    Their steps are then tried again, on the next kind of node that the study allows.
    """
    from mdpipe.workflows.cluster.door import open_kubernetes
    from mdpipe.workflows.cluster.reap import reap as end_waiting

    door = open_kubernetes(_namespace_of(namespace))
    gone = end_waiting(door, workflow=name, older_s=older, dry_run=dry_run)
    if as_json:
        print_json({"rows": [asdict(seen) for seen in gone]})
        return
    if gone:
        print_table(
            ["pod", "waited s", "reason"],
            [[seen.pod, f"{seen.waited_s:.0f}", seen.reason] for seen in gone],
        )
    say(f"{len(gone)} pods {'would go' if dry_run else 'ended'}")
