"""Combine a run: one film, the report, the summary."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mdpipe.failures import InputError
from mdpipe.memory import PeakRecorder
from mdpipe.models import load_model
from mdpipe.observables import METHODS, REFERENCES, Measurements, Row, summarise, write_summary
from mdpipe.observables.results import load_measurements
from mdpipe.products import copy_whole
from mdpipe.progress import ProgressWriter
from mdpipe.render.grid import combine_films
from mdpipe.render.report import ReportContext, write_report
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.peaks import note_peak
from mdpipe.scenes.statistics import read_statistics
from mdpipe.steps.estimates import combine_need
from mdpipe.steps.gather import gather, need_all
from mdpipe.steps.plan import group_title, read_plan
from mdpipe.steps.provenance import (
    attempt_table,
    cache_lines,
    injected_lines,
    methods_of_engine,
    provenance,
    scene_table,
)
from mdpipe.study import Study


@dataclass(frozen=True, slots=True)
class GroupResults:
    """A line of the plan and what there is of its scenes: measurements and `scene.json`."""

    line: dict[str, Any]
    measured: dict[str, Measurements]
    facts: dict[str, dict[str, Any]]

    @property
    def title(self) -> str:
        """Name in the report."""
        return group_title(self.line)


def combine(
    study: Study,
    run: Path,
    progress: ProgressWriter,
    cache: SceneCache | None = None,
    *,
    require_all: bool = False,
) -> dict[str, Path]:
    """Combine what a run has made; scenes that failed are left out and named in the report.

    Parameters
    ----------
    study : Study
        The study.
    run : Path
        The run folder.
    progress : ProgressWriter
        Takes the progress.
    cache : SceneCache or None
        Has what the slices of the plan have made, if it was made with slices.
    require_all : bool
        Whether to fail, after all is written, if anything is missing.

    Returns
    -------
    dict
        Paths of `film`, `report`, `summary` and `table`.

    Raises
    ------
    InputError
        If no scene is there at all, or with `require_all` if one or its film is missing.
    StoreDownError
        With `require_all`, if the store does not answer.
    """
    folder = RunFolder(run)
    plan = read_plan(run)
    # only `preprocess --pending` writes keys of groups; elsewhere all data lie in the run folder
    keys = [line.pop("group_key", None) for line in plan]
    sliced = cache if any(keys) else None
    recorder = PeakRecorder(None, watch=sliced is not None)
    if sliced is not None:
        gather(study, run, plan, sliced, progress, strict=require_all)
    results = [_load(folder, line) for line in plan]
    if not any(result.measured for result in results):
        raise InputError(f"{run}: no scene is finished; run the scenes first")
    if sliced is None:
        _combine_films(study, folder, results, folder.film, progress)
    else:
        # an encoder writes a film three times, which on a shared volume is traffic
        with tempfile.TemporaryDirectory(prefix="mdpipe-film-") as scratch:
            film = Path(scratch) / folder.film.name
            _combine_films(study, folder, results, film, progress)
            for made in (film.with_suffix(".png"), film):
                if made.is_file():
                    copy_whole(made, folder.path / made.name)
    progress.report("report", 0, 1)
    rows = [row for r in results for row in summarise(r.title, r.measured)]
    write_summary(run, rows, {"study": study.name, "groups": [r.line for r in results]})
    write_report(_context(study, folder, results, rows), folder.report)
    progress.report("report", 1, 1)
    peak_mb = recorder.close()
    if sliced is not None:
        films_wanted = sum(len(line["scenes"]) for line in plan)
        note_peak(sliced, combine_need(len(plan), films_wanted, study.render).size, peak_mb)
    if require_all:
        need_all(run, plan)
    return {
        "film": folder.film,
        "report": folder.report,
        "summary": folder.summary,
        "table": folder.table,
    }


def _combine_films(
    study: Study,
    folder: RunFolder,
    results: list[GroupResults],
    out: Path,
    progress: ProgressWriter,
) -> None:
    """Write one film, and its still, of the films that there are."""
    names = [scene.name for scene in study.scenes]
    films = [[_existing(folder.scene_film(r.line["id"], name)) for name in names] for r in results]
    if any(film for row in films for film in row):
        combine_films(
            films,
            out,
            row_labels=[r.line["label"] for r in results],
            column_labels=names,
            title=study.name,
            progress=lambda done, total: progress.report("film", done, total),
        )


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _load(folder: RunFolder, line: dict[str, Any]) -> GroupResults:
    measured, facts = {}, {}
    for scene in line["scenes"]:
        products = folder.scene(line["id"], scene["name"])
        if (products / "scene.json").is_file() and (products / "observables.json").is_file():
            measured[scene["name"]] = load_measurements(products)
            facts[scene["name"]] = json.loads((products / "scene.json").read_text("utf-8"))
    return GroupResults(line, measured, facts)


def _read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that may not be there, as when a step is run by hand."""
    try:
        value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value


def _context(
    study: Study, folder: RunFolder, results: list[GroupResults], rows: list[Row]
) -> ReportContext:
    seen = _read_json(folder.preprocess)
    story = _read_json(folder.story)
    problems = seen.get("problems", [])
    keys = sorted({scene.model for scene in study.scenes})
    models = [load_model(key) for key in keys]
    told = scene_table([(r.title, r.line, r.facts) for r in results], story)
    scenes: list[Mapping[str, Any]] = list(told)
    wall = sum(float(row.get("wall_s") or 0.0) for row in scenes)
    return ReportContext(
        title=study.name,
        subtitle=f"{len(results)} groups of {seen.get('frames', 0)} frames in "
        f"{seen.get('files', 0)} files; {len(study.scenes)} scenes each",
        film=_existing(folder.film),
        poster=_existing(folder.film.with_suffix(".png")),
        film_alt="Film of all scenes: a row for each group, a column for each scene",
        rows=[row._asdict() for row in rows],
        groups=[_group_row(r, problems) for r in results],
        curves={r.title: _curves(r) for r in results if r.measured},
        problems=problems,
        scenes=scenes,
        attempts=list[Mapping[str, Any]](attempt_table(story)),
        timing={
            "Scenes, wall time in all": f"{wall:.0f} s",
            **cache_lines(read_statistics(folder.path)),
            **injected_lines(story),
        },
        provenance=provenance(study, models, [fact for r in results for fact in r.facts.values()]),
        methods=[*methods_of_engine(study), *METHODS],
        references=[*REFERENCES, *((model.source, model.doi) for model in models)],
    )


def _group_row(result: GroupResults, problems: list[dict[str, Any]]) -> dict[str, Any]:
    line = result.line
    temperature = line["temperature_K"]
    state_point = f"{line['density_g_cm3']:.3f} g/cm³"
    if temperature is not None:
        state_point = f"{temperature:.0f} K, {state_point}"
    files = set(line["inputs"])
    return {
        "name": result.title,
        "structure": line["class"],
        "state_point": state_point,
        "n_molecules": line["n_molecules"],
        "frames": line["frames"],
        "start_frame": f"{Path(line['start']['file']).name}, frame {line['start']['frame']}",
        "start_rule": line["start"]["rule"],
        "problems": sum(problem["file"] in files for problem in problems),
    }


def _curves(result: GroupResults) -> Mapping[str, Any]:
    """Return the curves of a group by ensemble; of scenes of one ensemble the first speaks."""
    curves: dict[str, Any] = {}
    for measured in result.measured.values():
        curves.setdefault(str(measured.info["ensemble"]), measured.curves)
    return curves
