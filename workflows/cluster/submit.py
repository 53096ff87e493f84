"""A study becomes a workflow on the cluster."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.study import Study, load_study
from mdpipe.workflows.cluster.door import Door
from mdpipe.workflows.cluster.names import SETTINGS, SUBMISSION, checked_name, new_name, noted

if TYPE_CHECKING:
    from mdpipe.workflows.argo_check import Target


@dataclass(frozen=True, slots=True)
class Prepared:
    """A study that is ready to be submitted.

    `documents` are what is created, in this order; `size` is a line about what is expected.
    """

    name: str
    study: Study
    settings: ClusterSettings
    documents: tuple[dict[str, Any], ...]
    size: str

    @property
    def bytes(self) -> int:
        """Size of all objects as JSON."""
        return sum(len(json.dumps(one, separators=(",", ":"))) for one in self.documents)


def prepare(
    study_file: Path,
    *,
    name: str | None = None,
    namespace: str | None = None,
    target: Target = "4.1",
) -> Prepared:
    """Compile a study for the cluster.

    Parameters
    ----------
    study_file : Path
        The study.
    name : str or None
        Name of the workflow; None for a new one, after the study's.
    namespace : str or None
        Instead of that of the settings.
    target : str
        Version of Argo Workflows.

    Returns
    -------
    Prepared
        What would be created.

    Raises
    ------
    StudyError
        If the study is wrong, or does not fit the cluster's settings.
    UsageError
        If the name or the settings are wrong, or the workflow would break by its size: by the
        plan of the study's run folder in the current one, if there is one of the same inputs.
    """
    from mdpipe.workflows.argo_study import write_workflow

    chosen = checked_name(name) if name else new_name(load_study(study_file).name)
    written = write_workflow(study_file, name=chosen, namespace=namespace or "", target=target)
    marks = written.documents[-1]["metadata"].setdefault("annotations", {})
    marks[SETTINGS] = noted(written.settings)
    marks[SUBMISSION] = secrets.token_hex(8)
    return Prepared(chosen, written.study, written.settings, tuple(written.documents), written.size)


def submit(door: Door, prepared: Prepared, *, dry_run: bool = False) -> None:
    """Create the workflow of a study.

    Parameters
    ----------
    door : Door
        The way to the cluster.
    prepared : Prepared
        The compiled study.
    dry_run : bool
        Whether the cluster only checks it and keeps nothing.

    Raises
    ------
    ConflictError
        If there is a workflow of that name.
    InvalidError
        If the cluster finds it wrong.
    """
    *templates, workflow = prepared.documents
    if not dry_run:
        for template in templates:
            door.create_template(template)
    door.create(workflow, dry_run=dry_run)
