"""`mdpipe validate` and `failures`: what can be checked about the program itself."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from mdpipe.cli.output import json_option, print_json, say


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
