"""`mdpipe run`, `demo` and `plan`."""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mdpipe.cli.options import run_option, study_argument
from mdpipe.cli.output import json_option, print_json, print_table, say
from mdpipe.cli.steps import folder_of

if TYPE_CHECKING:
    from mdpipe.scenes.cache import SceneCache
    from mdpipe.study import Study
    from mdpipe.workflows.injection import Injector
    from mdpipe.workflows.runner import Runner

_workers = click.option("--workers", type=click.IntRange(1), help="Steps at once; default: cores.")
_threads = click.option("--threads", type=click.IntRange(1), help="Threads of each scene.")
_memory = click.option("--memory-mb", type=click.IntRange(256), help="Memory for all steps.")
_engine = click.option(
    "--engine",
    type=click.Choice(["process", "container"]),
    default="process",
    show_default=True,
    help="How steps are started.",
)
_inject = click.option(
    "--inject",
    metavar="FAULTS",
    help="For drills: faults on purpose, such as 'kill@simulate-*:0.5,oom@render-g000' (FAULT@"
    "STEPS, after a share of the work, x2 for two attempts) or 'random:5,seed=7'. FAULT is kill, "
    "term, oom, network, full-disk, bad-image, bad-input, bug, time-limit, out-of-stock or "
    "corrupt-cache.",
)
_quiet = click.option("--quiet", is_flag=True, help="Say nothing but errors.")


@click.command()
@study_argument
@run_option
@_workers
@_threads
@_memory
@_engine
@_inject
@_quiet
@json_option
def run(study: Path, run_folder: Path | None, **options: Any) -> None:
    """Run STUDY: preprocess, simulate, render, combine. Run it again to resume."""
    sys.exit(_run(study, run_folder, **options))


@click.command()
@click.option(
    "--run",
    "run_folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("demo-run"),
    show_default=True,
)
@_workers
@_threads
@_memory
@_engine
@_inject
@_quiet
@json_option
def demo(run_folder: Path, **options: Any) -> None:
    """Run the demo study on the sample data."""
    with resources.as_file(resources.files("mdpipe") / "data" / "demo" / "study.toml") as study:
        sys.exit(_run(study.resolve(), run_folder, **options))


def _run(
    study_file: Path,
    run_folder: Path | None,
    *,
    workers: int | None,
    threads: int | None,
    memory_mb: int | None,
    engine: str,
    inject: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    from mdpipe.run_folder import RunFolder
    from mdpipe.scenes.settings import open_cache
    from mdpipe.steps.warm import warm as warm_up
    from mdpipe.study import load_study
    from mdpipe.workflows.live import make_reporter
    from mdpipe.workflows.local import Settings
    from mdpipe.workflows.study_run import run_study

    study = load_study(study_file)
    folder = folder_of(study.name, run_folder)
    cache = open_cache(study.cache, study.folder, say)
    if engine == "process":
        warm_up(say)  # an image has its own
    given = {"workers": workers, "threads": threads, "memory_mb": memory_mb}
    wanted = study.resources.model_copy(update={k: v for k, v in given.items() if v is not None})
    outcome = run_study(
        study,
        study_file,
        folder,
        cache=cache,
        settings=Settings.of_study(wanted, _injector(inject, cache)),
        reporter=make_reporter(quiet=quiet),
        runner=_runner(engine, study, study_file, folder, cache.base),
    )
    if as_json:
        made = RunFolder(folder)
        places = {"film": made.film, "report": made.report, "table": made.table}
        print_json({"exit_code": outcome.exit_code, **{k: str(v) for k, v in places.items()}})
    return outcome.exit_code


def _runner(
    engine: str, study: Study, study_file: Path, folder: Path, scene_cache: Path
) -> Runner | None:
    """Return how steps are started; None for processes."""
    if engine == "process":
        return None
    from mdpipe.image.settings import load_settings
    from mdpipe.workflows.container_study import study_runner

    return study_runner(study, study_file, folder, load_settings(), scene_cache)


def _injector(faults: str | None, cache: SceneCache) -> Injector | None:
    """Return what hands out the faults that were asked for; None for none."""
    if faults is None:
        return None
    from mdpipe.inject import parse
    from mdpipe.workflows.injection import Injector, change_a_byte

    return Injector(parse(faults), lambda key: change_a_byte(cache.store.path(key)))


@click.command()
def warm() -> None:
    """Compile all kernels now, so that the first run need not."""
    from mdpipe.steps.warm import warm as warm_up

    warm_up(say, everything=True)
    say("the kernels are compiled")


@click.command()
@study_argument
@run_option
@click.option("--dry-run", is_flag=True, help="Only show; this is what `plan` always does.")
@json_option
def plan(study: Path, run_folder: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Show what STUDY would run, what is cached and what is kept; nothing is simulated.

    Without --dry-run the inputs are preprocessed first where there is no plan yet.
    """
    from mdpipe.progress import ProgressWriter
    from mdpipe.run_folder import RunFolder
    from mdpipe.scenes.settings import open_cache
    from mdpipe.steps.preprocess import preprocess
    from mdpipe.study import load_study
    from mdpipe.workflows.study_run import forecast_study

    checked = load_study(study)
    folder = folder_of(checked.name, run_folder)
    if not dry_run and not RunFolder(folder).plan.is_file():
        say(f"no plan in {folder} yet; preprocessing the inputs")
        preprocess(checked, folder, ProgressWriter.from_environment())
    cache = open_cache(checked.cache, checked.folder, say)
    graph, states = forecast_study(checked, study, folder, cache)
    rows = [
        {"step": step.id, "kind": step.kind, "key": step.scene_key, "state": states[step.id]}
        for step in graph.steps
    ]
    if as_json:
        print_json({"complete": graph.complete, "rows": rows})
        return
    print_table(
        ["step", "state", "scene key"], [[r["step"], r["state"], r["key"][:12]] for r in rows]
    )
    if not graph.complete:
        say("the groups are not known before the inputs are preprocessed")
