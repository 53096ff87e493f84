"""From a study file to the objects that a cluster is given, checked for their size."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import StudyError
from mdpipe.products import load_manifest
from mdpipe.run_folder import RunFolder
from mdpipe.steps.fingerprint import input_files
from mdpipe.study import Study, load_study, study_text
from mdpipe.user_settings import cluster_settings
from mdpipe.workflows.argo import compile_study
from mdpipe.workflows.argo_check import Target
from mdpipe.workflows.argo_size import check_size, groups_bound
from mdpipe.workflows.resume import fingerprint
from mdpipe.workflows.study_graph import build_graph


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
    namespace: str = "",
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
    namespace : str
        Instead of that of the settings, if not empty.
    target : str
        Version of Argo Workflows.
    run : Path or None
        A run folder of the same study, whose plan says how many groups there are. None for the
        study's own in the current folder, if its plan is of the inputs as they are; without one
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
    if namespace:
        settings = settings.model_copy(update={"namespace": namespace})
    try:
        text = study_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: cannot read the study file: {error}") from error
    groups = _groups_of_plan(study, path, run)
    documents = compile_study(study, text, settings, name=name, target=target, groups=groups)
    size = check_size(groups_bound(study, groups), len(study.scenes), settings)
    return Written(study, settings, documents, size)


def _groups_of_plan(study: Study, path: Path, run: Path | None) -> int | None:
    """Count the groups of a plan that was made here; None if there is none, or it is an old one."""
    folder = RunFolder((run or Path(f"{study.name}-run")).absolute())
    if not folder.plan.is_file() or (run is None and not _is_current(study, path, folder)):
        return None
    with folder.plan.open("rb") as lines:
        return sum(1 for _ in lines)


def _is_current(study: Study, path: Path, folder: RunFolder) -> bool:
    """Say whether a plan is of the study and of its inputs as they are, without reading these."""
    manifest = load_manifest(folder.path, "preprocess")
    if manifest is not None:
        first = build_graph(study, folder.path, None, study_file=path).steps[0]
        return manifest.inputs == fingerprint(first, folder.path)
    files = input_files(study.inputs, study.folder, folder.path.resolve())
    newest = max([path.stat().st_mtime_ns, *(time for _, _, time in files)])
    return folder.plan.stat().st_mtime_ns >= newest
