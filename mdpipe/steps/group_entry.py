"""The group as the cache keeps it: films, stills and measurements of its scenes in one file.

It is all that the last step needs of a group. One file, because a store is asked for each.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from mdpipe.failures import InputError
from mdpipe.memory import PeakRecorder
from mdpipe.products import remove
from mdpipe.progress import ProgressWriter
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import How, SceneCache
from mdpipe.scenes.peaks import note_peak
from mdpipe.scenes.shared import bring, keep
from mdpipe.steps.estimates import render_need
from mdpipe.steps.group_fetch import MEASURED, PACKED
from mdpipe.steps.packing import pack
from mdpipe.steps.plan import group_key, read_group
from mdpipe.steps.render import render_group
from mdpipe.study import Study


def render_slice(
    study: Study,
    run: Path,
    index: int,
    cache: SceneCache,
    progress: ProgressWriter,
    *,
    threads: int = 1,
) -> How:
    """Render a slice's group from cached scenes, and put films and measurements into the cache.

    Parameters
    ----------
    study : Study
        The study.
    run : Path
        The slice.
    index : int
        The group's line in its plan.
    cache : SceneCache
        Has the scenes, gets the group.
    progress : ProgressWriter
        Takes the progress, in pictures of the group.
    threads : int
        Threads wanted.

    Returns
    -------
    str
        `hit`, `computed` or `waited`.

    Raises
    ------
    InputError
        If a scene is neither in the slice nor in the cache.
    BusyError
        If the store does not answer, or the group did not end in the cache.

    Notes
    -----
    Scenes, films and the packed group lie in a temporary folder of this host until the cache has
    them: the slice may be on a volume, for which each copy is traffic.
    """
    group = read_group(run, index)
    key = group_key(study.render, group)
    cache.store.share = True
    with tempfile.TemporaryDirectory(prefix="mdpipe-render-") as scratch:
        folder = RunFolder(Path(scratch))
        shutil.copyfile(RunFolder(run).plan, folder.plan)

        def compute(into: Path) -> None:
            for scene in group["scenes"]:
                _need_scene(RunFolder(run), folder, group, scene, cache)
            render_group(study, folder.path, index, progress, threads=threads)
            pack(into / PACKED, _files(folder, group))

        recorder = PeakRecorder(None, watch=True)
        entry = folder.path / "entry"
        how = cache.compute_once(key, compute, entry)
        peak_mb = recorder.close()
        keep(cache, key, entry)
    if how == "computed":
        note_peak(cache, render_need(group, study.render).size, peak_mb)
    remove(RunFolder(run).group(group["id"]))
    return how


def _need_scene(
    slice_: RunFolder,
    folder: RunFolder,
    group: dict[str, Any],
    scene: dict[str, Any],
    cache: SceneCache,
) -> None:
    """Put a scene of a slice into its place in a folder of this host."""
    name, key = scene["name"], scene["key"]
    there, products = (one.scene(group["id"], name) for one in (slice_, folder))
    if (there / "scene.json").is_file():
        products.parent.mkdir(parents=True, exist_ok=True)
        products.symlink_to(there.resolve())
        return
    if bring(cache, key, products):
        return
    raise InputError(
        f"scene {name} of group {group['id']} ({key[:12]}) is not in the cache; submit the study "
        "again, which computes what is missing"
    )


def _files(folder: RunFolder, group: dict[str, Any]) -> dict[str, Path]:
    """Return what of a group is kept, by its place in the group's folder."""
    files: dict[str, Path] = {}
    for scene in group["scenes"]:
        name = scene["name"]
        film = folder.scene_film(group["id"], name)
        files |= {film.name: film, f"{name}.png": film.with_suffix(".png")}
        products = folder.scene(group["id"], name)
        files |= {f"{name}/{part}": products / part for part in MEASURED}
    return files
