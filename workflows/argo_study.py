"""From a study file to the objects that a cluster is given, checked for their size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import StudyError
from mdpipe.run_folder import RunFolder
from mdpipe.study import Study, load_study, study_text
from mdpipe.user_settings import cluster_settings
from mdpipe.workflows.argo import compile_study
from mdpipe.workflows.argo_check import Target
from mdpipe.workflows.argo_size import check_size, groups_bound


class Written(NamedTuple):
    """What a study became.

    Attributes
    ----------
    study : Study
        The checked study.
    settings : ClusterSettings
        How it runs on the cluster.
    documents : list of dict
        Objects of Kubernetes; the last one is the Workflow, those before it must be there first.
    size : str
        One line about what is expected.
    """

    study: Study
    settings: ClusterSettings
    documents: list[dict[str, Any]]
    size: str


def write_workflow(
    path: Path,
    *,
    name: str = "",
    target: Target = "4.1",
    run: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Written:
    """Write the workflow of a study file.

    Parameters
    ----------
    path : Path
        The study file.
    name : str
        Name of the workflow; empty to let the cluster make one.
    target : str
        Version of Argo Workflows.
    run : Path or None
        A run folder of the same study, whose plan says how many groups there are; without one
        `groups.max_groups` bounds them, where the study sets it.
    environment : mapping or None
        Variables that settings come from; None for those of this process.

    Returns
    -------
    Written
        The objects, and what led to them.

    Raises
    ------
    StudyError
        If the study is wrong or does not fit to its settings.
    UsageError
        If the settings are wrong, or the workflow would break by its size.
    """
    study = load_study(path)
    settings = cluster_settings(study, environment)
    try:
        text = study_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot read the study file: {error}") from error
    groups = _groups_of_plan(study, run)
    documents = compile_study(study, text, settings, name=name, target=target, groups=groups)
    size = check_size(groups_bound(study, groups), len(study.scenes), settings)
    return Written(study, settings, documents, size)


def _groups_of_plan(study: Study, run: Path | None) -> int | None:
    plan = RunFolder(run or Path(f"{study.name}-run")).plan
    if not plan.is_file():
        return None
    with plan.open("rb") as lines:
        return sum(1 for _ in lines)
