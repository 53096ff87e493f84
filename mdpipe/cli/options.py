"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

study_argument = click.argument("study", type=click.Path(path_type=Path, dir_okay=False))
run_option = click.option(
    "--run",
    "run_folder",
    type=click.Path(path_type=Path, file_okay=False),
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
