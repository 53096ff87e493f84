"""Bring together what the slices of a plan have put into the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from mdpipe.failures import IncompleteRunError
from mdpipe.progress import ProgressWriter
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.objects import StoreDownError
from mdpipe.scenes.shared import locate
from mdpipe.steps.group_fetch import MEASURED, fetch_group, fetch_measured
from mdpipe.steps.plan import group_key
from mdpipe.study import Study

FETCHERS: Final = 8
"""Groups fetched at once: a store answers many requests in the time of one."""

SHOWN: Final = 5


def gather(
    study: Study,
    run: Path,
    plan: Sequence[Mapping[str, Any]],
    cache: SceneCache,
    progress: ProgressWriter,
    *,
    strict: bool,
) -> None:
    """Fetch the groups of a plan that the run folder has not got, as far as the cache has them.

    Parameters
    ----------
    study : Study
        The study.
    run : Path
        The run folder.
    plan : sequence of mapping
        Its plan.
    cache : SceneCache
        Where groups are looked for, and where there is none, its scenes one by one.
    progress : ProgressWriter
        Takes the progress, in groups.
    strict : bool
        Whether a store that does not answer is a failure; else what is there must do.

    Raises
    ------
    StoreDownError
        If the store does not answer.
    """
    folder = RunFolder(run)
    lacking = [line for line in plan if missing_scenes(folder, line) or missing_films(folder, line)]
    if not lacking:
        return
    try:
        found = locate(cache, {key for line in lacking for key in _keys(study, line)})
        fetch = partial(_fetch, study, folder, found, cache)
        with ThreadPoolExecutor(FETCHERS) as pool:
            for number, _ in enumerate(pool.map(fetch, lacking), start=1):
                progress.report("fetch", number, len(lacking))
    except StoreDownError as error:
        if strict:
            raise
        cache.notice(f"scene store: {error}; going on with what is there")


def _keys(study: Study, line: Mapping[str, Any]) -> list[str]:
    return [group_key(study.render, line), *(scene["key"] for scene in line["scenes"])]


def _fetch(
    study: Study, folder: RunFolder, found: set[str], cache: SceneCache, line: Mapping[str, Any]
) -> None:
    """Fetch one group whole, or else those of its scenes that there are."""
    key = group_key(study.render, line)
    if key in found and fetch_group(cache, key, folder.group(line["id"])):
        return
    absent = missing_scenes(folder, line)
    for scene in line["scenes"]:
        if scene["name"] in absent and scene["key"] in found:
            fetch_measured(cache, scene["key"], folder.scene(line["id"], scene["name"]))


def missing_scenes(folder: RunFolder, line: Mapping[str, Any]) -> list[str]:
    """Return the names of a group's scenes that a run folder has not got.

    Parameters
    ----------
    folder : RunFolder
        The run folder.
    line : mapping
        The group's line of the plan.

    Returns
    -------
    list of str
        In the study's order.
    """
    names = [scene["name"] for scene in line["scenes"]]
    return [
        name
        for name in names
        if not all((folder.scene(line["id"], name) / part).is_file() for part in MEASURED)
    ]


def missing_films(folder: RunFolder, line: Mapping[str, Any]) -> list[str]:
    """Return the names of a group's scenes of which a run folder has no film.

    Parameters
    ----------
    folder : RunFolder
        The run folder.
    line : mapping
        The group's line of the plan.

    Returns
    -------
    list of str
        In the study's order.
    """
    names = [scene["name"] for scene in line["scenes"]]
    return [name for name in names if not folder.scene_film(line["id"], name).is_file()]


def need_all(run: Path, plan: Sequence[Mapping[str, Any]]) -> None:
    """Fail unless a run folder has every scene of a plan and its film.

    Parameters
    ----------
    run : Path
        The run folder.
    plan : sequence of mapping
        Its plan.

    Raises
    ------
    IncompleteRunError
        One line with what is missing, and what to do.
    """
    folder = RunFolder(run)
    scenes = [f"{line['id']} {name}" for line in plan for name in missing_scenes(folder, line)]
    films = sum(len(missing_films(folder, line)) for line in plan)
    groups = sum(bool(missing_scenes(folder, line) or missing_films(folder, line)) for line in plan)
    if groups == 0:
        return
    shown = ", ".join(scenes[:SHOWN]) + (", …" if len(scenes) > SHOWN else "")
    raise IncompleteRunError(
        f"{groups} of {len(plan)} groups are not whole: {len(scenes)} scenes"
        f"{f' ({shown})' if scenes else ''} and {films} films are missing; film and report show "
        "what there is; `mdpipe status` says why, and submitting again keeps what is there"
    )
