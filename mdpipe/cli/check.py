"""`mdpipe validate`, `bench` and `failures`: what can be checked about the program itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from mdpipe.cli.output import json_option, print_json, print_table, say


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def validate(folder: Path, *, as_json: bool) -> None:
    """Check energies, forces and virials against every reference case in FOLDER.

    The form and units of such a folder are those of data/reference/README.md. Ends with code 1
    where a limit is missed.
    """
    from mdpipe.validation import format_table
    from mdpipe.validation import validate as check

    rows = check(folder, progress=say)
    if as_json:
        print_json({"rows": [row._asdict() for row in rows]})
    else:
        click.echo(format_table(rows))
    sys.exit(0 if all(row.passed for row in rows) else 1)


@click.group()
def bench() -> None:
    """Time the engine, beside other programs, in interleaved runs."""


@bench.command()
@click.option("--molecules", type=click.IntRange(216), default=1000, show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--model", default="spce", show_default=True)
@click.option("--vs", "peers", default="", help="Comma-separated: openmm, gromacs.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
@click.option("--drift-ps", default=0.0, help="Length of an NVE run that measures energy drift.")
@json_option
def md(
    molecules: int,
    threads: int,
    model: str,
    peers: str,
    repeats: int,
    drift_ps: float,
    *,
    as_json: bool,
) -> None:
    """Time the whole MD step: PME, 0.9 nm, 2 fs, NVT; medians of interleaved runs."""
    from mdpipe.benchmarks.md import bench_md

    names = [name for name in peers.split(",") if name]
    rows = bench_md(molecules, threads, model, names, repeats, drift_ps=drift_ps, report=say)
    if as_json:
        print_json({"rows": rows})
        return
    print_table(
        [
            *("program", "version", "simd", "atoms", "threads", "ms/step", "spread", "ns/day"),
            *("peak MB", "force error", "drift kT/ns/atom"),
        ],
        [_cells(row) for row in rows],
    )


def _cells(row: dict[str, Any]) -> list[str]:
    if "missing" in row:
        return [row["program"], f"not run: {row['missing']}", *[""] * 9]
    drift = "" if row["drift"] is None else f"{row['drift']:+.2g}"
    return [
        *(str(row[key]) for key in ("program", "version", "simd", "atoms", "threads")),
        f"{row['ms_per_step']:.3f}",
        f"{row['spread']:.0%}",
        f"{row['ns_per_day']:.2f}",
        f"{row['peak_mb']:.0f}",
        f"{row['force_error']:.1e}",
        drift,
    ]


@click.command()
@json_option
def failures(*, as_json: bool) -> None:
    """Show the table of failure classes: recognised by, retries, back-off, what to do."""
    from mdpipe.failures import TABLE

    rows = [row.as_dict() for row in TABLE]
    if as_json:
        print_json({"rows": rows})
        return
    for row in TABLE:
        codes = ", ".join(str(code) for code in row.exit_codes) or "-"
        signals = ", ".join(str(signal) for signal in row.signals) or "-"
        click.echo(f"{row.name}: exit codes {codes}; signals {signals}")
        if row.messages:
            click.echo(f"  or the last lines say: {' | '.join(row.messages)}")
        wait = row.backoff
        click.echo(
            f"  retries {row.retries}"
            + (
                f", after {wait.base_s:g} s, then {wait.factor:g} times as long, "
                f"at most {wait.cap_s:g} s, each ± {wait.jitter:.0%}; changes: {row.change}"
                if row.retries
                else ": told at once"
            )
        )
        click.echo(f"  {row.remedy}")
