"""`mdpipe image build` and `check`."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from mdpipe.cli.output import json_option, print_json, print_table, say


@click.group()
def image() -> None:
    """Build and check the container image.

    Tool and flags come from the [container] table of the user's settings.toml, or from
    MDPIPE_CONTAINER_… variables.
    """


@image.command()
@click.option("--base", help="The image to start from; it must have Python 3.11 or newer.")
@click.option("--tag", help="Name of the new image.")
@click.option("--source", type=click.Path(path_type=Path, file_okay=False), help="Source tree.")
def build(base: str | None, tag: str | None, source: Path | None) -> None:
    """Build the image, with the library versions of this installation."""
    from mdpipe.image.build import build_image, source_folder
    from mdpipe.image.settings import load_settings

    settings = load_settings()
    name = tag or settings.image
    where = source.resolve() if source else source_folder()
    build_image(settings, where, base=base or settings.base, tag=name, report=say)
    say(f"{name} is built; `mdpipe image check` looks whether it is healthy")


@image.command()
@click.option("--tag", help="Name of the image.")
@json_option
def check(tag: str | None, *, as_json: bool) -> None:
    """Run the image read-only, without network and privileges, as its own and as a random user.

    Ends with code 1 where a rule is broken.
    """
    from mdpipe.image.check import check_image
    from mdpipe.image.settings import load_settings

    settings = load_settings()
    found = check_image(settings, tag or settings.image, say)
    findings = found["findings"]
    if as_json:
        print_json(found | {"findings": [asdict(finding) for finding in findings]})
    else:
        rows = [[f.what, f.rule, f.found, "good" if f.good else "BAD"] for f in findings]
        print_table(["what", "rule", "found", ""], rows)
        weights = [[name, f"{mb:.0f}"] for name, mb in found["weights_mb"].items()]
        click.echo()
        print_table(["what it weighs", "MB"], weights)
    sys.exit(0 if found["good"] else 1)
