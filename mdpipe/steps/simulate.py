"""Simulate one scene and measure it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mdpipe.allowance import Allowance
from mdpipe.failures import BusyError, InputError
from mdpipe.io.trajectory import read_scene_frames
from mdpipe.memory import peak_mb
from mdpipe.observables.measure import measure_scene
from mdpipe.products import remove
from mdpipe.progress import ProgressWriter
from mdpipe.run_folder import WORK, RunFolder
from mdpipe.scenes.cache import How, SceneCache
from mdpipe.scenes.peaks import note_peak
from mdpipe.scenes.shared import keep
from mdpipe.scenes.spec import Scene, scene_key
from mdpipe.scenes.statistics import run_recorder
from mdpipe.simulation.run import Progress, run_scene
from mdpipe.state import State, load_state, state_digest
from mdpipe.steps.checkpoints import mirrored, remove_mirror
from mdpipe.steps.estimates import simulate_need
from mdpipe.steps.plan import is_slice, read_group, scene_of_group


def simulate_group(
    run: Path, index: int, name: str, cache: SceneCache, *, threads: int, progress: ProgressWriter
) -> How:
    """Simulate one scene of one group of a plan, unless the cache has it.

    Parameters
    ----------
    run : Path
        The run folder.
    index : int
        The group's line in the plan.
    name : str
        The scene's name; in a slice also `#n`, its n-th missing scene.
    cache : SceneCache
        Where the scene is looked for and kept.
    threads : int
        Threads of the kernels.
    progress : ProgressWriter
        Takes the progress.

    Returns
    -------
    str
        `hit`, `computed` or `waited`.

    Raises
    ------
    BusyError
        If the scene of a slice did not end in the cache, from which later steps fetch it, or the
        slice was damaged on its way.
    InterruptedRunError
        At SIGTERM, where checkpoints are mirrored to a store: the last one is there then.
    """
    group = read_group(run, index)
    scene, key = scene_of_group(group, name)
    folder = RunFolder(run)
    start = _planned_start(folder.start(group["id"]), scene, key)

    def compute(out: Path) -> None:
        with mirrored(key, out / WORK, cache.notice):
            simulate(scene, start, out, threads=threads, progress=progress)

    cache.record_with(run_recorder(run))
    cache.store.share = is_slice(group)  # whose copy is removed below
    products = folder.scene(group["id"], scene.name)
    how = cache.compute_once(key, compute, products)
    if is_slice(group):
        keep(cache, key, products)
        remove(products)  # a second copy; on a shared volume it would stay
        if how == "computed":
            need = simulate_need(group, {"name": scene.name, "spec": scene.model_dump()})
            note_peak(cache, need.size, peak_mb())
    if how != "computed" or is_slice(group) or cache.present([key]):
        remove_mirror(key, cache.notice)
    return how


def _planned_start(path: Path, scene: Scene, key: str) -> State:
    """Read where a scene starts, and see that start and settings are those of its key.

    What a slice has came through a store and the workflow engine, which compare no digests; a
    changed bit would be published under the key of the right scene.
    """
    try:
        start = load_state(path)
        good = scene_key(scene, state_digest(start)) == key
    except InputError:
        if not path.is_file():
            raise
        good = False
    if not good:
        raise BusyError(
            f"{path}: start or settings of the scene are not those that were planned (key "
            f"{key[:12]}): damaged on the way; try again, and if it stays so, preprocess again"
        )
    return start


def simulate(
    scene: Scene, start: State, out: Path, *, threads: int, progress: ProgressWriter
) -> None:
    """Simulate one scene and measure it, resuming from a checkpoint if there is one.

    Parameters
    ----------
    scene : Scene
        What to simulate.
    start : State
        Where it starts; the molecules take on the geometry of a rigid model.
    out : Path
        The scene's folder.
    threads : int
        Threads of the kernels.
    progress : ProgressWriter
        Takes the progress.
    """

    def report(now: Progress) -> None:
        progress.report(now.stage, now.step, now.total, f"{now.ns_per_day:.1f} ns/day")

    allowed = Allowance.from_environment(threads).threads
    run_scene(scene, start, out, threads=threads, progress=report, allowed=allowed)
    measure(scene, out, progress)


def measure(scene: Scene, out: Path, progress: ProgressWriter) -> None:
    """Measure a finished scene and write its observables beside it.

    Parameters
    ----------
    scene : Scene
        What was simulated.
    out : Path
        The scene's folder.
    progress : ProgressWriter
        Takes the progress.
    """
    with np.load(out / "energies.npz") as data:
        energies = {name: data[name] for name in data.files}
    total = scene.steps // scene.frame_every + 1
    measured = measure_scene(
        read_scene_frames(out),
        energies,
        scene,
        progress=lambda done: progress.report("measure", done, total),
    )
    measured.save(out)
