"""What commands print: results to standard output, everything else to standard error."""

from __future__ import annotations

import json
from typing import Any

import click


def say(message: str) -> None:
    """Write a line for people to standard error.

    Parameters
    ----------
    message : str
        The line.
    """
    click.echo(message, err=True)


def print_json(value: Any) -> None:
    """Write a machine-readable result to standard output.

    Parameters
    ----------
    value : Any
        Plain data.
    """
    click.echo(json.dumps(value, indent=2, sort_keys=False, default=str))


def print_table(header: list[str], rows: list[list[str]]) -> None:
    """Write a table to standard output, in columns.

    Parameters
    ----------
    header : list of str
        Names of the columns.
    rows : list of list of str
        The cells.
    """
    widths = [max(len(str(row[i])) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        cells = (str(cell).ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print machine-readable results to standard output."
)
