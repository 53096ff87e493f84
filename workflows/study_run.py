"""Run a study on this machine, or say what running it would do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mdpipe.scenes.cache import SceneCache
from mdpipe.steps.plan import read_plan
from mdpipe.study import Study
from mdpipe.workflows.graph import Graph
from mdpipe.workflows.local import Settings, run_local
from mdpipe.workflows.outcome import Outcome, Reporter
from mdpipe.workflows.resume import cache_fetcher, forecast, is_current
from mdpipe.workflows.runner import Runner
from mdpipe.workflows.study_graph import build_graph


def run_study(
    study: Study,
    study_file: Path,
    run: Path,
    *,
    cache: SceneCache,
    settings: Settings | None = None,
    reporter: Reporter | None = None,
    runner: Runner | None = None,
) -> Outcome:
    """Run a study, or the rest of it, on this machine.

    Parameters
    ----------
    study : Study
        The checked study.
    study_file : Path
        Its file.
    run : Path
        The run folder.
    cache : SceneCache
        Scenes and films found there are fetched without starting a process.
    settings : Settings or None
        How to use the machine; None for what the study's `[resources]` says.
    reporter : Reporter or None
        Who listens.
    runner : Runner or None
        How steps are started; None for processes.

    Returns
    -------
    Outcome
        How it ended.
    """

    def expand() -> Graph:
        return build_graph(study, run, read_plan(run), study_file=study_file)

    return run_local(
        build_graph(study, run, None, study_file=study_file),
        run,
        expand=expand,
        settings=settings or Settings.of_study(study.resources),
        reporter=reporter,
        cached=cache_fetcher(cache, run, study.render),
        runner=runner,
    )


def forecast_study(
    study: Study, study_file: Path, run: Path, cache: SceneCache
) -> tuple[Graph, Mapping[str, str]]:
    """Say what a run of a study would do, without doing it.

    Parameters
    ----------
    study : Study
        The checked study.
    study_file : Path
        Its file.
    run : Path
        The run folder, which need not exist.
    cache : SceneCache
        Where scenes and groups are looked for.

    Returns
    -------
    Graph
        The graph, as far as it is known: `preprocess` alone if it has to run again.
    mapping
        Step id to `kept`, `cached` or `run`.
    """
    graph = build_graph(study, run, None, study_file=study_file)
    if is_current(graph.steps[0], run):
        graph = build_graph(study, run, read_plan(run), study_file=study_file)
    keys = {step.cache_key for step in graph.steps if step.cache_key}
    return graph, forecast(graph, run, frozenset(cache.present(keys)))
