"""`mdpipe workflow`: the same study as a workflow of Argo Workflows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdpipe.cli.options import run_option, study_argument
from mdpipe.cli.output import say
from mdpipe.failures import InputError, UsageError
from mdpipe.run_folder import RunFolder

if TYPE_CHECKING:
    from mdpipe.workflows.argo_check import Target


@click.command()
@study_argument
@click.option(
    "--argo",
    "target",
    type=click.Choice(["3.7", "4.0", "4.1"]),
    default="4.1",
    show_default=True,
    help="Version of Argo Workflows.",
)
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml")
@click.option("--name", default="", help="Name of the workflow; by default the cluster makes one.")
@click.option("--fluid", is_flag=True, help="Print the warm read-only cache of the inputs instead.")
@run_option
def workflow(
    study: Path, target: Target, form: str, name: str, run_folder: Path | None, *, fluid: bool
) -> None:
    """Print STUDY as objects of Kubernetes, for `kubectl create -f -`.

    With [cluster] shard the template of the child workflows comes first. --run names a run folder
    of the study, whose plan says how many groups to expect; by default NAME-run, if it has a plan
    and that is of the same inputs.
    """
    if run_folder is not None and not (plan := RunFolder(run_folder).plan).is_file():
        raise InputError(
            f"{plan}: no plan there; run `mdpipe preprocess` first, or leave --run away: the "
            "workflow itself finds the groups"
        )
    from mdpipe.workflows.argo_study import write_workflow

    written = write_workflow(study, name=name, target=target, run=run_folder)
    documents = written.documents
    if fluid:
        from mdpipe.workflows.fluid import fluid_objects

        documents = fluid_objects(written.settings)
    say(written.size)
    click.echo(_text(documents, form), nl=False)


def _text(documents: list[dict[str, Any]], form: str) -> str:
    """Return objects as text that kubectl takes."""
    if form == "json":
        whole = documents[0]
        if len(documents) > 1:
            whole = {"apiVersion": "v1", "kind": "List", "items": documents}
        return json.dumps(whole, indent=2) + "\n"
    try:
        import yaml
    except ImportError as error:
        raise UsageError(
            "--format yaml needs a library (pip install 'mdpipe[cluster]'); --format json does not"
        ) from error

    class Dumper(yaml.SafeDumper):
        """Writes texts of several lines, such as the study, as they are."""

    Dumper.add_representer(
        str,
        lambda dumper, text: dumper.represent_scalar(
            "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
        ),
    )
    return yaml.dump_all(documents, Dumper=Dumper, width=2**20, sort_keys=True)
