"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

STORE = "s3://"


def _run_place(*, stores: bool) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    """Return what turns `--run` into a path, or leaves the address of a store as it is."""

    def convert(ctx: click.Context, param: click.Parameter, text: str | None) -> Path | str | None:
        if text is None or (stores and text.startswith(STORE)):
            return text
        if "://" in text:
            what = "a folder or s3://bucket/prefix" if stores else "a folder"
            raise click.BadParameter(f"must be {what}, got {text}", ctx, param)
        if Path(text).is_file():
            raise click.BadParameter(f"{text} is a file; name a folder", ctx, param)
        return Path(text)

    return convert


def step_run_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--run` to a step: a folder, or a place in a store, of which the step gets a copy.

    Parameters
    ----------
    command : callable
        The step's command; takes `run_folder`, a path or None.

    Returns
    -------
    callable
        The command with the option.
    """

    @functools.wraps(command)
    def with_folder(*, run_folder: Path | str | None, **named: Any) -> None:
        if not isinstance(run_folder, str):
            command(run_folder=run_folder, **named)
            return
        from mdpipe.steps.run_store import stored_run

        with stored_run(run_folder, command.__name__, named.get("group")) as folder:
            command(run_folder=folder, **named)

    option = click.option(
        "--run",
        "run_folder",
        callback=_run_place(stores=True),
        help="The run folder, or s3://bucket/prefix; by default NAME-run, after the study's name.",
    )
    return option(with_folder)


study_argument = click.argument("study", type=click.Path(path_type=Path, dir_okay=False))
run_option = click.option(
    "--run",
    "run_folder",
    callback=_run_place(stores=False),
    help="The run folder; by default NAME-run, after the study's name.",
)
threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Threads of the kernels.",
)
group_option = click.option(
    "--group", type=click.IntRange(0), required=True, help="The group's line in the plan, from 0."
)
cache_option = click.option("--cache", "cache_folder", type=click.Path(path_type=Path), hidden=True)
