"""From a study and its plan to the graph of its steps."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mdpipe
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.spec import PHYSICS_VERSION
from mdpipe.study import Inputs, Study
from mdpipe.workflows import estimates
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
        settings=_digest(
            study.model_dump(mode="json", include={"inputs", "groups", "scenes"}),
            input_files(study.inputs, study.folder, run.resolve()),
            PHYSICS_VERSION,
            mdpipe.__version__,
        ),
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
    products = (folder.film, folder.report, folder.summary, folder.table)
    steps.append(
        Step(
            id="combine",
            kind="combine",
            command=("mdpipe", "combine", *words),
            needs=tuple(renders),
            products=tuple(folder.relative(path) for path in products),
            resources=Resources(
                1,
                estimates.combine_mb(study.render.width, study.render.height, len(keys)),
                10.0 + 0.5 * len(renders),
                limits.get("combine"),
            ),
            size=f"combine {len(renders)} of {study.render.width}x{study.render.height}",
            settings=_digest(
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
    name = scene["name"]
    return Step(
        id=f"simulate-{line['id']}-{name}",
        kind="simulate",
        command=(
            *("mdpipe", "simulate", *words),
            *("--group", str(index), "--scene", name, "--threads", "{threads}"),
        ),
        needs=("preprocess",),
        products=(folder.relative(folder.scene(line["id"], name)) + "/",),
        # 1 µs for an atom and step is a round figure for one core; it only orders the steps
        resources=Resources(
            64, estimates.simulate_mb(molecules), 5.0 + 3e-6 * molecules * steps, time_limit_s
        ),
        size=f"simulate {molecules} {_electrostatics(spec)}",
        settings=scene["key"],
        scene_key=scene["key"],
        retry="resumable",
        group=str(line["id"]),
        scene=name,
    )


def _electrostatics(spec: Mapping[str, Any]) -> str:
    """Return how a scene treats charges far apart, which decides its grids."""
    return str(spec.get("nonbonded", {}).get("electrostatics", ""))


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
    molecules = int(line.get("n_molecules", 1000))
    return Step(
        id=f"render-{group}",
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
            estimates.render_mb(molecules, settings.width, settings.height),
            5.0 + 1e-7 * samples * settings.frames * len(films),
            study.resources.time_limit_s_of.get("render"),
        ),
        size=f"render {molecules} {settings.width}x{settings.height} {settings.samples}",
        settings=_digest(
            settings.model_dump(mode="json"),
            [scene.scene_key for scene in scenes],
            mdpipe.__version__,
        ),
        group=group,
    )


def input_files(inputs: Sequence[Inputs], folder: Path, run: Path) -> list[tuple[str, int, int]]:
    """List the files that inputs mean, with size and time, to see whether they have changed.

    Parameters
    ----------
    inputs : sequence of Inputs
        Folders, files or globs.
    folder : Path
        What they are relative to.
    run : Path
        The run folder; what lies in it is no input.

    Returns
    -------
    list of (str, int, int)
        Path relative to `folder`, bytes, time of the last change in ns; sorted. Hidden files
        (readers leave their indices beside the data) are left out.
    """
    found: dict[str, tuple[int, int]] = {}
    for pattern in (p for item in inputs for p in (item.path, item.topology) if p is not None):
        for path in _matching(folder / pattern):
            if path.is_file() and not path.name.startswith(".") and run not in path.parents:
                status = path.stat()
                found[os.path.relpath(path, folder)] = (status.st_size, status.st_mtime_ns)
    return [(name, *found[name]) for name in sorted(found)]


def _matching(base: Path) -> Iterator[Path]:
    """Yield the files below a folder, a file itself, or what a glob matches."""
    if base.is_dir():
        yield from base.rglob("*")
    elif base.exists():
        yield base
    else:
        anchor = Path(base.anchor or ".")
        yield from anchor.glob(base.relative_to(anchor).as_posix())


def _digest(*parts: Any) -> str:
    """Return the SHA-256 of plain data."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
