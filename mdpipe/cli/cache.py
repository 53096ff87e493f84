"""`mdpipe cache`: what is kept, whether it is sound, and making room."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from mdpipe.cli.output import json_option, print_json, print_table, say
from mdpipe.failures import UsageError

_folder = click.option(
    "--cache",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cache folder; by default the user's own.",
)
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@click.group()
def cache() -> None:
    """List, verify and clean the scene cache."""


@cache.command()
@_folder
@json_option
def ls(folder: Path | None, *, as_json: bool) -> None:
    """List the cached scenes, the last used first."""
    from mdpipe.scenes.cache import SceneCache

    scenes = SceneCache(folder, say)
    entries = scenes.ls()
    rows = [
        {
            "key": entry.key,
            "bytes": entry.bytes,
            "files": len(entry.files),
            "last_hit": datetime.fromtimestamp(entry.last_hit_s, UTC).isoformat(timespec="seconds"),
        }
        for entry in entries
    ]
    if as_json:
        print_json({"folder": str(scenes.folder), "rows": rows})
        return
    print_table(
        ["key", "MB", "files", "last hit"],
        [
            [str(r["key"])[:16], f"{entry.bytes / 1e6:.2f}", str(r["files"]), str(r["last_hit"])]
            for r, entry in zip(rows, entries, strict=True)
        ],
    )
    say(f"{len(rows)} scenes, {sum(e.bytes for e in entries) / 1e6:.1f} MB in {scenes.folder}")


@cache.command()
@_folder
@json_option
def verify(folder: Path | None, *, as_json: bool) -> None:
    """Read every byte of every entry; damaged ones are set aside. Ends with code 1 if any was."""
    from mdpipe.scenes.cache import SceneCache

    seen = SceneCache(folder, say).verify()
    if as_json:
        damaged = [{"key": d.key, "reason": d.reason} for d in seen.damaged]
        print_json({"entries": seen.entries, "bytes": seen.bytes, "damaged": damaged})
    else:
        for damage in seen.damaged:
            say(f"{damage.key[:16]}: {damage.reason}; set aside, it will be computed again")
        say(f"{seen.entries} scenes read, {len(seen.damaged)} damaged")
    sys.exit(1 if seen.damaged else 0)


@cache.command()
@_folder
@click.option("--max-size", help="What may stay, such as 500M or 20G.")
@click.option("--max-age-days", type=click.FloatRange(0), help="Unused for longer goes.")
@click.option("--key", "keys", multiple=True, help="A scene that goes in any case.")
@click.option("--dry-run", is_flag=True, help="Say what would go and change nothing.")
@json_option
def gc(
    folder: Path | None,
    max_size: str | None,
    max_age_days: float | None,
    keys: tuple[str, ...],
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Remove the named scenes, the old ones, then the least recently used ones."""
    from mdpipe.scenes.cache import SceneCache

    gone = SceneCache(folder, say).gc(
        max_bytes=None if max_size is None else parse_size(max_size),
        max_age_s=None if max_age_days is None else max_age_days * 86400.0,
        keys=keys,
        dry_run=dry_run,
    )
    if as_json:
        print_json({"rows": [{"key": e.key, "bytes": e.bytes, "reason": e.reason} for e in gone]})
        return
    for eviction in gone:
        say(f"{eviction.key[:16]}: {eviction.bytes / 1e6:.2f} MB, {eviction.reason}")
    verb = "would go" if dry_run else "removed"
    say(f"{len(gone)} scenes, {sum(e.bytes for e in gone) / 1e6:.1f} MB {verb}")


def parse_size(text: str) -> int:
    """Return the bytes that a size means.

    Parameters
    ----------
    text : str
        A number with or without k, M, G or T (powers of 1000), such as "500M".

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    UsageError
        If it is no size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMGT]?)B?", text.strip())
    if found is None:
        raise UsageError(f"--max-size {text}: must be a size such as 500M or 20G")
    return int(float(found.group(1)) * _UNITS[found.group(2)])
