"""From a study and its plan to the graph of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mdpipe
from mdpipe.run_folder import RunFolder
from mdpipe.steps import estimates
from mdpipe.steps.fingerprint import digest_of, input_files, preprocess_digest
from mdpipe.steps.plan import group_key
from mdpipe.study import Study
from mdpipe.workflows.graph import Graph, Resources, Step


def build_graph(
    study: Study, run: Path, plan: Sequence[Mapping[str, Any]] | None, *, study_file: Path
) -> Graph:
    """Build the graph of a study.

    Parameters
    ----------
    study : Study
        The checked study.
    run : Path
        The run folder.
    plan : sequence of mapping or None
        The lines of `plan.jsonl`; None before there is a plan.
    study_file : Path
        The file that the steps' commands name.

    Returns
    -------
    Graph
        Without a plan: `preprocess` alone, not complete. With one: preprocess → each group's
        scenes → its render → combine.
    """
    folder = RunFolder(run)
    limits = study.resources.time_limit_s_of
    words = (str(study_file.resolve()), "--run", str(run.resolve()))
    first = Step(
        id="preprocess",
        kind="preprocess",
        command=("mdpipe", "preprocess", *words),
        products=(
            folder.relative(folder.plan),
            folder.relative(folder.preprocess),
            *(folder.relative(folder.start(line["id"])) for line in plan or ()),
        ),
        resources=Resources(1, estimates.preprocess_mb(), 10.0, limits.get("preprocess")),
        size="preprocess",
        settings=preprocess_digest(study, input_files(study.inputs, study.folder, run.resolve())),
    )
    if plan is None:
        return Graph((first,), complete=False)
    steps = [first]
    renders: list[str] = []
    for index, line in enumerate(plan):
        scenes = [
            _simulate(words, folder, index, line, scene, limits.get("simulate"))
            for scene in line["scenes"]
        ]
        render = _render(study, words, folder, index, line, scenes)
        steps += [*scenes, render]
        renders.append(render.id)
    keys = [scene["key"] for line in plan for scene in line["scenes"]]
    need = estimates.combine_need(len(renders), len(keys), study.render)
    products = (folder.film, folder.report, folder.summary, folder.table)
    steps.append(
        Step(
            id="combine",
            kind="combine",
            command=("mdpipe", "combine", *words),
            needs=tuple(renders),
            products=tuple(folder.relative(path) for path in products),
            resources=Resources(
                1, need.memory_mb, 10.0 + 0.5 * len(renders), limits.get("combine")
            ),
            size=need.size,
            settings=digest_of(
                study.name, study.render.model_dump(mode="json"), keys, mdpipe.__version__
            ),
            partial=True,
        )
    )
    return Graph(tuple(steps))


def _simulate(
    words: tuple[str, ...],
    folder: RunFolder,
    index: int,
    line: Mapping[str, Any],
    scene: Mapping[str, Any],
    time_limit_s: float | None,
) -> Step:
    """Return the step of one scene."""
    spec = scene.get("spec", {})
    molecules = int(line.get("n_molecules", 1000))
    steps = sum(int(spec.get(k, 0)) for k in ("steps", "equilibration_steps", "minimise_steps"))
    name, need = scene["name"], estimates.simulate_need(line, scene)
    return Step(
        id=need.step,
        kind="simulate",
        command=(
            *("mdpipe", "simulate", *words),
            *("--group", str(index), "--scene", name, "--threads", "{threads}"),
        ),
        needs=("preprocess",),
        products=(folder.relative(folder.scene(line["id"], name)) + "/",),
        # 1 µs for an atom and step is a round figure for one core; it only orders the steps
        resources=Resources(64, need.memory_mb, 5.0 + 3e-6 * molecules * steps, time_limit_s),
        size=need.size,
        settings=scene["key"],
        scene_key=scene["key"],
        retry="resumable",
        group=str(line["id"]),
        scene=name,
    )


def _render(
    study: Study,
    words: tuple[str, ...],
    folder: RunFolder,
    index: int,
    line: Mapping[str, Any],
    scenes: Sequence[Step],
) -> Step:
    """Return the step that renders one group."""
    group = str(line["id"])
    films = [folder.scene_film(group, scene.scene) for scene in scenes]
    settings = study.render
    samples = settings.width * settings.height * settings.samples**2
    need, key = estimates.render_need(line, settings), group_key(settings, line)
    return Step(
        id=need.step,
        kind="render",
        command=(
            *("mdpipe", "render", *words),
            *("--group", str(index), "--threads", "{threads}"),
        ),
        needs=tuple(scene.id for scene in scenes),
        products=tuple(
            folder.relative(path) for film in films for path in (film, film.with_suffix(".png"))
        ),
        resources=Resources(
            64,
            need.memory_mb,
            5.0 + 1e-7 * samples * settings.frames * len(films),
            study.resources.time_limit_s_of.get("render"),
        ),
        size=need.size,
        settings=key,
        group_key=key,
        group=group,
    )
