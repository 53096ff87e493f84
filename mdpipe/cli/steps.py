"""`mdpipe preprocess`, `simulate`, `render` and `combine`: the steps, one at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mdpipe.cli.options import (
    cache_option,
    group_option,
    step_run_option,
    study_argument,
    threads_option,
)
from mdpipe.cli.output import json_option, print_json, say
from mdpipe.failures import UsageError


@click.command()
@study_argument
@step_run_option
@click.option(
    "--pending", is_flag=True, help="Write slices too: a run folder of each group not yet cached."
)
@cache_option
@json_option
def preprocess(
    study: Path,
    run_folder: Path | None,
    cache_folder: Path | None,
    *,
    pending: bool,
    as_json: bool,
) -> None:
    """Read, check, classify and group the inputs of STUDY; write the plan and the start states."""
    from mdpipe.progress import ProgressWriter
    from mdpipe.steps.input_store import inputs_at_hand
    from mdpipe.steps.preprocess import preprocess as run_step
    from mdpipe.study import load_study, study_text

    checked = load_study(study)
    folder = folder_of(checked.name, run_folder)
    at_hand = click.get_current_context().with_resource(inputs_at_hand(checked))
    progress = ProgressWriter.from_environment("preprocess")
    left = None
    if pending:
        from mdpipe.scenes.settings import open_cache
        from mdpipe.steps.plan_entry import preprocess_pending

        cache = open_cache(checked.cache, checked.folder, say, folder=cache_folder)
        seen, left = preprocess_pending(at_hand, study_text(study), folder, cache, progress)
    else:
        seen = run_step(at_hand, folder, progress)
    for problem in seen["problems"]:
        frame = "" if problem["frame"] is None else f": frame {problem['frame']}"
        say(f"{problem['file']}{frame}: {problem['what']}; {problem['remedy']}")
    if as_json:
        print_json(seen if left is None else seen | {"pending": left._asdict()})
        return
    say(f"{seen['frames']} frames in {seen['groups']} groups; {len(seen['problems'])} problems")
    if left is not None:
        say(f"{left.rows} of {left.groups} groups are pending, with {left.scenes} scenes")


@click.command()
@click.argument("study", type=click.Path(path_type=Path, dir_okay=False), required=False)
@step_run_option
@click.option("--group", type=click.IntRange(0), help="The group's line in the plan, from 0.")
@click.option("--scene", help="The scene's name; in a slice also #n, its n-th missing.")
@click.option("--start", type=click.Path(path_type=Path), help="Any structure file (no study).")
@click.option("--model", default="spce", show_default=True, help="Water model (no study).")
@click.option("--ensemble", type=click.Choice(["nve", "nvt", "npt"]), default="nvt")
@click.option("--steps", type=click.IntRange(1), default=10_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any key of a scene.")
@click.option("--out", type=click.Path(path_type=Path), help="The scene's folder (no study).")
@cache_option
@threads_option
@json_option
def simulate(
    study: Path | None,
    run_folder: Path | None,
    group: int | None,
    scene: str | None,
    start: Path | None,
    out: Path | None,
    settings: tuple[str, ...],
    cache_folder: Path | None,
    threads: int,
    *,
    as_json: bool,
    **named: Any,
) -> None:
    """Run one scene: of STUDY (--run, --group, --scene), or from a file (--start, --out).

    Without a study, --set names any further key, such as --set dt_ps=0.001
    --set nonbonded.electrostatics='"rf"'; the same command again resumes.
    """
    from mdpipe.kernels._jit import set_threads

    set_threads(threads)
    if study is not None:
        if group is None or scene is None:
            raise UsageError("simulate STUDY needs --group and --scene; `mdpipe plan` lists them")
        how = _simulate_of_study(study, run_folder, group, scene, threads, cache_folder)
        _report({"how": how}, as_json=as_json)
        return
    if start is None or out is None:
        raise UsageError("simulate needs a STUDY, or --start FILE and --out DIR")
    _simulate_alone(start, out, threads, named | {"settings": settings})
    from mdpipe.simulation.run import scene_digest

    _report({"out": str(out), "digest": scene_digest(out)}, as_json=as_json)


def _simulate_of_study(
    study: Path,
    run_folder: Path | None,
    group: int,
    scene: str,
    threads: int,
    cache_folder: Path | None,
) -> str:
    from mdpipe.progress import ProgressWriter
    from mdpipe.scenes.settings import open_cache
    from mdpipe.steps.simulate import simulate_group
    from mdpipe.study import load_study

    checked = load_study(study)
    return simulate_group(
        folder_of(checked.name, run_folder),
        group,
        scene,
        open_cache(checked.cache, checked.folder, say, folder=cache_folder),
        threads=threads,
        progress=ProgressWriter.from_environment("simulate"),
    )


def _simulate_alone(start: Path, out: Path, threads: int, named: dict[str, Any]) -> None:
    from pydantic import ValidationError

    from mdpipe.cli.terminal import TerminalProgress
    from mdpipe.io.structures import read_state
    from mdpipe.scenes.spec import Scene
    from mdpipe.steps.simulate import simulate as run_step
    from mdpipe.study import first_fault

    table: dict[str, Any] = {"name": "scene"}
    for assignment in named.pop("settings"):
        _assign(table, assignment)
    try:
        scene = Scene.model_validate(named | table)
    except ValidationError as error:
        raise UsageError(f"simulate: {first_fault(error)}") from error
    run_step(scene, read_state(start), out, threads=threads, progress=TerminalProgress())


def _assign(table: dict[str, Any], assignment: str) -> None:
    """Put `a.b=value` into a nested table; the value is JSON, or else a string."""
    key, equals, text = assignment.partition("=")
    if not equals:
        raise UsageError(f"--set {assignment}: must be KEY=VALUE")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    *parents, last = key.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
    table[last] = value


@click.command()
@study_argument
@step_run_option
@group_option
@threads_option
@cache_option
def render(
    study: Path, run_folder: Path | None, group: int, threads: int, cache_folder: Path | None
) -> None:
    """Render the films and stills of one group's scenes."""
    from mdpipe.progress import ProgressWriter
    from mdpipe.steps.plan import is_slice, read_group
    from mdpipe.steps.render import render_group
    from mdpipe.study import load_study

    checked = load_study(study)
    folder = folder_of(checked.name, run_folder)
    progress = ProgressWriter.from_environment("render")
    if not is_slice(read_group(folder, group)):
        render_group(checked, folder, group, progress, threads=threads)
        return
    from mdpipe.scenes.settings import open_cache
    from mdpipe.steps.group_entry import render_slice

    cache = open_cache(checked.cache, checked.folder, say, folder=cache_folder)
    render_slice(checked, folder, group, cache, progress, threads=threads)


@click.command()
@study_argument
@step_run_option
@click.option("--require-all", is_flag=True, help="Fail in the end if any scene is missing.")
@cache_option
@json_option
def combine(
    study: Path,
    run_folder: Path | None,
    cache_folder: Path | None,
    *,
    require_all: bool,
    as_json: bool,
) -> None:
    """Make the film, the report and the table of a run, with what there is."""
    from mdpipe.progress import ProgressWriter
    from mdpipe.scenes.settings import open_cache
    from mdpipe.steps.combine import combine as run_step
    from mdpipe.study import load_study

    checked = load_study(study)
    folder = folder_of(checked.name, run_folder)
    made = run_step(
        checked,
        folder,
        ProgressWriter.from_environment("combine"),
        open_cache(checked.cache, checked.folder, say, folder=cache_folder),
        require_all=require_all,
    )
    _report({name: str(path) for name, path in made.items()}, as_json=as_json)


def folder_of(name: str, run_folder: Path | None) -> Path:
    """Return the run folder of a study.

    Parameters
    ----------
    name : str
        The study's name.
    run_folder : Path or None
        What the user asked for.

    Returns
    -------
    Path
        By default `NAME-run` in the current folder.
    """
    return (run_folder or Path(f"{name}-run")).absolute()


def _report(result: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        for name, value in result.items():
            say(f"{name}: {value}")
