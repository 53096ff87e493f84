"""What of a graph is there already: from an earlier run, or in the scene cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from mdpipe import products
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.statistics import run_recorder
from mdpipe.workflows.graph import Graph, Step


def scene_fetcher(cache: SceneCache, run: Path) -> Callable[[Step], bool]:
    """Return what puts cached scenes in place without starting a process.

    The second tier is listed once, when the first scene is asked for, and later asked only for
    what it had then; a scene that another host stores meanwhile is found by the step itself.

    Parameters
    ----------
    cache : SceneCache
        The scene cache.
    run : Path
        The run folder.

    Returns
    -------
    callable
        For `run_local(cached=…)`.
    """
    cache.record_with(run_recorder(run))
    stored: set[str] | None = None

    def fetch(step: Step) -> bool:
        nonlocal stored
        if not step.scene_key:
            return False
        if stored is None:
            durable = cache.durable
            stored = durable.present(planned_keys(run)) if durable is not None else set()
        far = step.scene_key in stored
        return cache.fetch(step.scene_key, run / step.products[0], far=far) is not None

    return fetch


def planned_keys(run: Path) -> set[str]:
    """Return the keys of all scenes of a run's plan.

    Parameters
    ----------
    run : Path
        The run folder.

    Returns
    -------
    set of str
        Empty where there is no plan yet.
    """
    try:
        lines = RunFolder(run).plan.read_text("utf-8").splitlines()
    except OSError:
        return set()
    return {scene["key"] for line in lines for scene in json.loads(line)["scenes"]}


def fingerprint(step: Step, run: Path) -> str:
    """Return a digest of all that decides a step's products, as things are now.

    Parameters
    ----------
    step : Step
        The step; those that it needs have ended.
    run : Path
        The run folder.

    Returns
    -------
    str
        For a scene its key, which says all; else a digest of the settings and of the products
        that it needs.
    """
    if step.scene_key:
        return step.scene_key
    needs: dict[str, str] = {}
    for need in step.needs:
        manifest = products.load_manifest(run, need)
        needs[need] = manifest.digest if manifest is not None else ""
    content = [step.id, step.kind, step.settings, needs]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_current(step: Step, run: Path) -> bool:
    """Say whether a step's products are there and made from what is there now.

    Parameters
    ----------
    step : Step
        The step.
    run : Path
        The run folder.

    Returns
    -------
    bool
        True if there is nothing to do.
    """
    manifest = products.load_manifest(run, step.id)
    return manifest is not None and products.matches(run, manifest, fingerprint(step, run))


def forecast(graph: Graph, run: Path, cached_keys: frozenset[str]) -> Mapping[str, str]:
    """Say what a run would do, without doing it.

    Parameters
    ----------
    graph : Graph
        The graph.
    run : Path
        The run folder, which need not exist.
    cached_keys : frozenset of str
        Scene keys that the cache has.

    Returns
    -------
    mapping
        Step id to `kept`, `cached` or `run`. A step after one that runs is said to run, although
        it is kept if the same products come out.
    """
    told: dict[str, str] = {}
    # one listing instead of a look for each of perhaps 100,000 steps
    noted = {path.stem for path in (run / ".steps").glob("*.json")}
    for step in graph.steps:
        settled = step.scene_key or all(told[need] == "kept" for need in step.needs)
        if settled and step.id in noted and is_current(step, run):
            told[step.id] = "kept"
        else:
            told[step.id] = "cached" if step.scene_key in cached_keys else "run"
    return told
