"""`mdpipe bench`: timings of the engine and of the analysis, beside other programs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mdpipe.cli.output import json_option, print_json, print_table, say

LEAST = 216
"""Fewer molecules do not fill a box of twice the cutoff."""


def _numbers(least: int) -> Callable[..., tuple[int, ...]]:
    """Return what turns comma-separated whole numbers, each at least some least, into a tuple."""

    def convert(ctx: click.Context, param: click.Parameter, text: str) -> tuple[int, ...]:
        parts = [part.strip() for part in text.split(",")]
        if not all(part.isdecimal() for part in parts):
            rule = "must be whole numbers with commas between"
            raise click.BadParameter(f"{rule}, got {text}", ctx, param)
        numbers = tuple(int(part) for part in parts)
        if min(numbers) < least:
            raise click.BadParameter(f"must be at least {least}, got {min(numbers)}", ctx, param)
        return numbers

    return convert


def _names(_ctx: click.Context, _param: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _shared(default_molecules: str, peers: str) -> Callable[[Callable[..., None]], Any]:
    """Return what adds the options that all benchmarks have."""

    def add(command: Callable[..., None]) -> Any:
        for option in (
            click.option("--molecules", callback=_numbers(LEAST), default=default_molecules,
                         show_default=True, help="Sizes of the boxes."),
            click.option("--threads", callback=_numbers(1), default="1", show_default=True,
                         help="Numbers of threads of each program."),
            click.option("--vs", "peers", callback=_names, default="",
                         help=f"Comma-separated: {peers}."),
            click.option("--repeats", type=click.IntRange(1), default=5, show_default=True,
                         help="Runs of each program, in turns."),
            json_option,
        ):  # fmt: skip
            command = option(command)
        return command

    return add


_models = click.option("--model", "models", callback=_names, default="spce", show_default=True)


@click.group()
def bench() -> None:
    """Time engine and analysis, beside other programs, in interleaved runs."""


@bench.command()
@_shared("1000", "openmm, gromacs")
@_models
@click.option("--drift-ps", default=0.0, help="Length of an NVE run that measures energy drift.")
@click.option("--per-part", is_flag=True, help="Say where the time of a step goes.")
@click.option("--no-accuracy", is_flag=True, help="Leave out the errors of the forces.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw ms/step against atoms into this file (.svg, .png or .pdf); without --molecules "
    "for boxes from 648 to 200,000 atoms.",
)
@click.pass_context
def md(
    context: click.Context,
    *,
    molecules: tuple[int, ...],
    threads: tuple[int, ...],
    models: tuple[str, ...],
    peers: tuple[str, ...],
    repeats: int,
    drift_ps: float,
    per_part: bool,
    no_accuracy: bool,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Time the whole MD step: PME, 0.9 nm, 2 fs, NVT; medians of interleaved runs.

    mdpipe runs as a scene does: lists, thermostat, energies every 100 steps, a frame every 1,000.
    GROMACS (the `gmx` on PATH) and OpenMM (where it can be imported) run with their defaults.
    """
    from mdpipe.benchmarks.md import Plan, bench_md, peers_named
    from mdpipe.benchmarks.plotting import SIZES, check_plot, draw

    _check(threads, models)
    if plot is not None:
        check_plot(plot)
        if context.get_parameter_source("molecules") is click.core.ParameterSource.DEFAULT:
            molecules = SIZES
    plan = Plan(
        molecules, threads, models, repeats, drift_ps, per_part=per_part, accuracy=not no_accuracy
    )
    machine = _machine()
    rows = bench_md(plan, peers_named(peers), report=say)
    if plot is not None:
        draw(rows, plot)
        say(f"wrote {plot}")
    if as_json:
        print_json({"machine": machine, "rows": rows})
        return
    print_table(
        [
            *("model", "atoms", "threads", "program", "version", "simd", "ms/step", "spread"),
            *("ns/day", "times mdpipe", "peak MB", "force error", "kJ/mol/nm", "drift kT/ns/atom"),
        ],
        [_md_cells(row) for row in rows],
    )
    if per_part:
        click.echo()
        _print_parts(rows, "ms_per_step")


def _kernel_command(part: str) -> Callable[..., None]:
    """Return the body of `bench pme` and `bench pair`."""

    def command(
        *,
        molecules: tuple[int, ...],
        threads: tuple[int, ...],
        models: tuple[str, ...],
        peers: tuple[str, ...],
        repeats: int,
        as_json: bool,
    ) -> None:
        from mdpipe.benchmarks.kernels import bench_part, variants
        from mdpipe.benchmarks.md import Plan, peers_named

        _check(threads, models)
        machine = _machine()
        plan = Plan(molecules, threads, models, repeats)
        rows = bench_part(part, plan, peers_named(peers), variants(), say)  # type: ignore[arg-type]
        if as_json:
            print_json({"machine": machine, "rows": rows})
            return
        print_table(
            [*("model", "atoms", "threads", "program", "ms", "spread", "times mdpipe"),
             *(("M pairs/s",) if part == "pair" else ()), "settings"],
            [_kernel_cells(row, part) for row in rows],
        )  # fmt: skip
        click.echo()
        _print_parts(rows, "ms")

    return command


@bench.command()
@_shared("298,1000,8000", "openmm, gromacs")
@_models
def pme(**options: Any) -> None:
    """Time the reciprocal sum alone, molecules at rest."""
    _kernel_command("pme")(**options)


@bench.command()
@_shared("298,1000,8000", "openmm, gromacs")
@_models
def pair(**options: Any) -> None:
    """Time the pair forces alone, molecules at rest: explicit vectors beside plain Numba."""
    _kernel_command("pair")(**options)


@bench.command()
@_shared("4096", "freud, mdanalysis")
def analysis(
    *,
    molecules: tuple[int, ...],
    threads: tuple[int, ...],
    peers: tuple[str, ...],
    repeats: int,
    as_json: bool,
) -> None:
    """Time g(r), hydrogen bonds, q, averaged q6, CHILL+ and MSD, ms a frame.

    Programs that can be imported are run on the same frame, and how far their results are from
    mdpipe's is told.
    """
    from mdpipe.benchmarks.analysis import analysers_named, bench_analysis

    _check(threads, ())
    others = analysers_named(peers)
    machine = _machine()
    rows = [
        row
        for n in molecules
        for count in threads
        for row in bench_analysis(n, count, others, repeats, say)
    ]
    if as_json:
        print_json({"machine": machine, "rows": rows})
        return
    header = ["analysis", "molecules", "threads", "program", "version", "ms/frame", "spread"]
    print_table([*header, "times mdpipe", "deviation"], [_analysis_cells(row) for row in rows])


def _check(threads: tuple[int, ...], models: tuple[str, ...]) -> None:
    """Refuse what this machine or program does not have, before anything is built."""
    from mdpipe.benchmarks.machine import usable_cores
    from mdpipe.failures import UsageError
    from mdpipe.models import load_model

    cores = usable_cores()
    if max(threads) > cores:
        raise UsageError(f"--threads {max(threads)}: this process may use {cores} cores only")
    for model in models:
        load_model(model)


def _machine() -> dict[str, Any]:
    """Describe the machine, and warn of one that is not quiet."""
    from mdpipe.benchmarks.machine import describe_machine

    machine = describe_machine()
    say(f"{machine['processor']}, {machine['cores']} cores, load {machine['load']:.2f}")
    if machine["load"] > 0.5:
        say("other programs are running: trust the ratios of interleaved runs, not the times")
    return machine


def _ratio(row: dict[str, Any]) -> str:
    median, low, high = row["ratio"]
    return f"{median:.2f} ({low:.2f}-{high:.2f})"


def _missing(row: dict[str, Any], before: list[str], width: int) -> list[str]:
    cells = [*before, row["program"], f"not run: {row['missing']}"]
    return cells + [""] * (width - len(cells))


def _place(row: dict[str, Any]) -> list[str]:
    return [row.get("model", ""), str(row.get("atoms", "")), str(row.get("threads", ""))]


def _md_cells(row: dict[str, Any]) -> list[str]:
    if "missing" in row:
        return _missing(row, _place(row), 14)
    error, drift = row.get("force_error"), row.get("drift")
    return [
        *_place(row),
        *(row["program"], row["version"], row["simd"]),
        f"{row['ms_per_step']:.3f}",
        f"{row['spread']:.0%}",
        f"{row['ns_per_day']:.2f}",
        _ratio(row),
        f"{row['peak_mb']:.0f}",
        "" if error is None else f"{error:.1e}",
        "" if error is None else f"{row['force_error_kj_mol_nm']:.3f}",
        "" if drift is None else f"{drift:+.2g}",
    ]


def _kernel_cells(row: dict[str, Any], part: str) -> list[str]:
    width = 9 if part == "pair" else 8
    if "missing" in row:
        return _missing(row, _place(row), width)
    chosen = row.get("forcefield", {})
    names = ("pair_kernel",) if part == "pair" else ("pme_grid", "pme_order", "fft")
    settings = ", ".join(str(chosen[name]) for name in names if name in chosen)
    rate = [f"{row['pairs_per_s'] / 1e6:.0f}"] if part == "pair" else []
    return [
        *_place(row),
        row["program"],
        f"{row['ms']:.3f}",
        f"{row['spread']:.0%}",
        _ratio(row),
        *rate,
        settings,
    ]


def _analysis_cells(row: dict[str, Any]) -> list[str]:
    if "missing" in row:
        return _missing(row, ["", "", ""], 9)
    deviation = row["deviation"]
    return [
        *(row["analysis"], str(row["molecules"]), str(row["threads"])),
        *(row["program"], row["version"]),
        f"{row['ms']:.3f}",
        f"{row['spread']:.0%}",
        _ratio(row),
        "" if deviation is None else f"{deviation:.1e}",
    ]


def _print_parts(rows: list[dict[str, Any]], whole: str) -> None:
    """Print where the time goes: a column for each run, parts below each other, in ms."""
    told = [row for row in rows if row.get("parts")]
    names: list[str] = []
    for row in told:
        names += [name for name in row["parts"] if name not in names]
    names.sort(key=lambda name: -max(row["parts"].get(name, 0.0) for row in told))
    header = [f"{row['program']} {row['atoms']} atoms, {row['threads']} threads" for row in told]
    lines = [
        [name, *(f"{row['parts'][name]:.3f}" if name in row["parts"] else "" for row in told)]
        for name in names
    ]
    total = ["sum", *(f"{sum(row['parts'].values()):.3f}" for row in told)]
    median = ["median of the runs", *(f"{row[whole]:.3f}" for row in told)]
    print_table(["ms", *header], [*lines, total, median])
