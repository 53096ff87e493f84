"""What of a graph is there already: from an earlier run, or in the scene cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from mdpipe import products
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.statistics import Event, run_recorder
from mdpipe.steps.group_fetch import fetch_films
from mdpipe.steps.plan import group_key
from mdpipe.study import Render
from mdpipe.workflows.graph import Graph, Step


def cache_fetcher(
    cache: SceneCache, run: Path, render: Render | None = None
) -> Callable[[Step], bool]:
    """Return what puts cached scenes, and films of cached groups, in place without a process.

    The second tier is listed once, when the first scene is asked for, and later asked only for
    what it had then; a scene that another host stores meanwhile is found by the step itself.

    Parameters
    ----------
    cache : SceneCache
        The scene cache.
    run : Path
        The run folder.
    render : Render or None
        How groups are drawn; None to ask the second tier for no group.

    Returns
    -------
    callable
        For `run_local(cached=…)`.
    """
    tell = run_recorder(run)
    groups: set[str] = set()
    stored: set[str] | None = None

    def record(event: Event) -> None:
        # the statistics count scenes
        if event.what != "hit" or event.key not in groups:
            tell(event)

    def fetch(step: Step) -> bool:
        nonlocal stored
        if not step.cache_key:
            return False
        if stored is None:
            durable = cache.durable
            stored = durable.present(planned_keys(run, render)) if durable is not None else set()
        key, place, far = step.cache_key, run / step.products[0], step.cache_key in stored
        if step.scene_key:
            return cache.fetch(key, place, far=far) is not None
        groups.add(key)
        return fetch_films(cache, key, place.parent, far=far)

    cache.record_with(record)
    return fetch


def planned_keys(run: Path, render: Render | None = None) -> set[str]:
    """Return the keys of all scenes of a run's plan, and of its groups.

    Parameters
    ----------
    run : Path
        The run folder.
    render : Render or None
        How groups are drawn; None for scenes alone.

    Returns
    -------
    set of str
        Empty where there is no plan yet.
    """
    try:
        texts = RunFolder(run).plan.read_text("utf-8").splitlines()
    except OSError:
        return set()
    lines = [json.loads(text) for text in texts]
    keys = {scene["key"] for line in lines for scene in line["scenes"]}
    return keys | ({group_key(render, line) for line in lines} if render is not None else set())


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
        Keys of scenes and groups that the cache has.

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
            told[step.id] = "cached" if step.cache_key in cached_keys else "run"
    return told
