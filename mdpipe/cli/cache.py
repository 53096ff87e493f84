"""`mdpipe cache`: what is kept, whether it is sound, making room, and the store behind it."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mdpipe.cli.output import json_option, print_json, print_table, say
from mdpipe.failures import BusyError, UsageError

if TYPE_CHECKING:
    from mdpipe.scenes.cache import SceneCache
    from mdpipe.scenes.durable import DurableTier

_SHORTEST_DAYS = 0.042  # an hour, as help can print it
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class _Done(NamedTuple):
    """What a command has done: a word for it, the scenes, and where it copies those left out."""

    word: str
    keys: list[str]
    failed: list[str] | None = None


def _which_cache(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which cache is meant."""
    for option in (
        click.option("--store", help="The durable tier; by default the study's or $MDPIPE_STORE."),
        click.option("--namespace", help="Part of the cache; by default the study's."),
        click.option(
            "--cache",
            "folder",
            type=click.Path(path_type=Path, file_okay=False),
            help="The cache folder; by default the study's or the user's own.",
        ),
        click.option(
            "--study",
            type=click.Path(path_type=Path, dir_okay=False),
            help="Take everything from this study's [cache].",
        ),
    ):
        command = option(command)
    return command


def _open(
    study: Path | None, folder: Path | None, namespace: str | None, store: str | None
) -> SceneCache:
    from pydantic import ValidationError

    from mdpipe.scenes.settings import CacheSettings, open_cache
    from mdpipe.study import first_fault, load_study

    settings, base = CacheSettings(), Path()
    if study is not None:
        checked = load_study(study)
        settings, base = checked.cache, checked.folder
    named = {"namespace": namespace, "store": store}
    changed = {key: value for key, value in named.items() if value is not None}
    try:
        settings = CacheSettings.model_validate(settings.model_dump(exclude_unset=True) | changed)
    except ValidationError as error:
        raise UsageError(f"cache: {first_fault(error)}") from error
    return open_cache(settings, base, say, folder=folder)


@contextlib.contextmanager
def _store_is_asked() -> Iterator[None]:
    """Say what to do where a command cannot go on without the durable tier."""
    from mdpipe.scenes.objects import StoreDownError

    try:
        yield
    except StoreDownError as error:
        raise BusyError(
            f"the durable tier: {error}; try again, or check AWS_ENDPOINT_URL and the keys"
        ) from error


def _durable(scenes: SceneCache) -> DurableTier:
    if scenes.durable is None:
        raise UsageError("there is no durable tier; name it with --store s3://bucket/prefix")
    return scenes.durable


def _named(keys: tuple[str, ...], study: Path | None, run_folder: Path | None) -> set[str]:
    """Return the scenes that are meant: the keys, and the plan of the study's run."""
    from mdpipe.cli.steps import folder_of
    from mdpipe.scenes.entry import KEY
    from mdpipe.study import load_study
    from mdpipe.workflows.resume import planned_keys

    for key in keys:
        if not KEY.fullmatch(key):
            raise UsageError(f"{key}: a scene key is 64 hex digits; `mdpipe cache ls --json`")
    found = set(keys)
    if study is not None and not keys:
        run = folder_of(load_study(study).name, run_folder)
        found |= planned_keys(run)
        if not found:
            raise UsageError(f"{run}: there is no plan; `mdpipe plan {study}` makes it")
    return found


@click.group()
def cache() -> None:
    """List, verify, clean, pin, push and pull cached scenes; prune left checkpoints."""


@cache.command()
@_which_cache
@json_option
def ls(*, as_json: bool, **which: Any) -> None:
    """List the cached scenes, the last used first, and what is left of evicted ones."""
    from mdpipe.scenes.policy import coldest_first

    scenes = _open(**which)
    entries = coldest_first(scenes.store)[::-1]
    pinned = scenes.pins.all()
    rows = [
        {
            "key": entry.key,
            "state": "data",
            "bytes": entry.bytes,
            "files": len(entry.files),
            "last_hit": datetime.fromtimestamp(entry.last_hit_s, UTC).isoformat(timespec="seconds"),
            "pinned": entry.key in pinned,
        }
        for entry in entries
    ]
    known = {entry.key for entry in entries}
    bare = [key for key in scenes.store.all_keys(bare=True) if key not in known]
    rows += [
        {"key": key, "state": "metadata", "bytes": 0, "files": 0, "last_hit": "",
         "pinned": key in pinned}
        for key in bare
    ]  # fmt: skip
    if as_json:
        print_json({"folder": str(scenes.folder), "rows": rows})
        return
    print_table(
        ["key", "MB", "files", "last hit", ""],
        [
            [str(r["key"])[:16], f"{float(str(r['bytes'])) / 1e6:.2f}", str(r["files"]),
             str(r["last_hit"]) or "evicted", "pinned" if r["pinned"] else ""]
            for r in rows
        ],
    )  # fmt: skip
    size = sum(e.bytes for e in entries) / 1e6
    say(f"{len(entries)} scenes, {size:.1f} MB in {scenes.folder}; {len(bare)} more evicted")


@cache.command()
@_which_cache
@click.option("--durable", is_flag=True, help="Read the durable tier too.")
@json_option
def verify(*, durable: bool, as_json: bool, **which: Any) -> None:
    """Read every byte of every entry; damaged ones are set aside. Ends with code 1 if any was."""
    from mdpipe.scenes.upkeep import verify as verify_folder

    scenes = _open(**which)
    seen = verify_folder(scenes.store)
    bad: list[str] = []
    if durable:
        with _store_is_asked():
            bad = _durable(scenes).verify()
    if as_json:
        damaged = [{"key": d.key, "reason": d.reason} for d in seen.damaged]
        print_json(
            {"entries": seen.entries, "bytes": seen.bytes, "damaged": damaged, "durable": bad}
        )
    else:
        for damage in seen.damaged:
            say(f"{damage.key[:16]}: {damage.reason}; set aside, it will be computed again")
        say(f"{seen.entries} scenes read, {len(seen.damaged) + len(bad)} damaged")
    sys.exit(1 if seen.damaged or bad else 0)


@cache.command()
@_which_cache
@click.option("--max-size", help="What may stay, such as 500M or 20G.")
@click.option("--max-age-days", type=click.FloatRange(0), help="Unused for longer goes.")
@click.option("--key", "keys", multiple=True, help="A scene that goes in any case.")
@click.option("--dry-run", is_flag=True, help="Say what would go and change nothing.")
@json_option
def gc(
    max_size: str | None,
    max_age_days: float | None,
    keys: tuple[str, ...],
    *,
    dry_run: bool,
    as_json: bool,
    **which: Any,
) -> None:
    """Evict the named scenes, the old ones, then the least recently used ones; never pinned ones.

    The limits of the cache's own policy hold as well. The durable tier is left as it is.
    """
    from mdpipe.scenes.upkeep import Limits, collect

    scenes = _open(**which)
    limits = Limits(
        max_bytes=None if max_size is None else parse_size(max_size),
        max_age_s=None if max_age_days is None else max_age_days * 86400.0,
        keys=frozenset(keys),
    )
    gone = collect(scenes.store, scenes.policy, limits, dry_run=dry_run)
    if as_json:
        print_json({"rows": [{"key": e.key, "bytes": e.bytes, "reason": e.reason} for e in gone]})
        return
    for eviction in gone:
        say(f"{eviction.key[:16]}: {eviction.bytes / 1e6:.2f} MB, {eviction.reason}")
    verb = "would go" if dry_run else "removed"
    say(f"{len(gone)} scenes, {sum(e.bytes for e in gone) / 1e6:.1f} MB {verb}")


@cache.command()
@click.option("--store", help="By default the study's, else $MDPIPE_CHECKPOINTS or $MDPIPE_STORE.")
@click.option(
    "--study",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Take the store from this study's [cluster].",
)
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(_SHORTEST_DAYS),
    default=7.0,
    show_default=True,
    metavar="DAYS",
    help="Last written so long ago, at least an hour.",
)
@click.option("--dry-run", is_flag=True, help="Say what would go and change nothing.")
@json_option
def prune(
    study: Path | None, store: str | None, days: float, *, dry_run: bool, as_json: bool
) -> None:
    """Remove from a store the checkpoints of scenes that were never finished.

    A scene under way writes its own every minute, or as often as it makes one; those that were
    last written longer ago than --older-than go, and damaged ones that were set aside.
    """
    from mdpipe.scenes.checkpoint_upkeep import prune as prune_store
    from mdpipe.scenes.objects import Objects

    with _store_is_asked():
        gone = prune_store(Objects(_checkpoints(study, store)), days * 86400.0, dry_run=dry_run)
    if as_json:
        print_json({"rows": [asdict(left) for left in gone]})
        return
    for left in gone:
        say(f"{left.prefix}: {left.bytes / 1e6:.2f} MB, {left.age_s / 86400:.1f} days old")
    verb = "would go" if dry_run else "removed"
    say(f"checkpoints of {len(gone)} scenes, {sum(g.bytes for g in gone) / 1e6:.1f} MB {verb}")


def _checkpoints(study: Path | None, store: str | None) -> str:
    """Return the store with the checkpoints that are meant."""
    from mdpipe.scenes.settings import store_url
    from mdpipe.steps.checkpoints import VARIABLE
    from mdpipe.study import load_study
    from mdpipe.user_settings import cluster_settings
    from mdpipe.workflows.cluster.store import use_endpoint

    if store:
        return store
    if study is not None:
        settings = cluster_settings(load_study(study))
        if not settings.store:
            raise UsageError(
                f"{study}: its [cluster] has no store; name one with --store s3://bucket/prefix"
            )
        use_endpoint(settings)
        return settings.store
    if found := os.environ.get(VARIABLE) or store_url(None):
        return found
    raise UsageError(
        "no store is named; name it with --store s3://bucket/prefix, or with --study STUDY one "
        "whose [cluster] has a store"
    )


def _for_scenes(work: Callable[[SceneCache, set[str]], _Done]) -> Callable[..., None]:
    """Make a command of what is done with the scenes that are meant."""

    @click.argument("keys", nargs=-1)
    @click.option(
        "--run",
        "run_folder",
        type=click.Path(path_type=Path, file_okay=False),
        help="With --study: its run folder, whose plan names the scenes.",
    )
    @_which_cache
    @json_option
    @functools.wraps(work)
    def command(
        keys: tuple[str, ...], study: Path | None, run_folder: Path | None, *, as_json: bool,
        **which: Any,
    ) -> None:  # fmt: skip
        done = work(_open(study, **which), _named(keys, study, run_folder))
        told = {done.word: done.keys}
        if done.failed is not None:
            told[f"not_{done.word}"] = done.failed
        if as_json:
            print_json(told)
        else:
            say("; ".join(f"{len(rows)} {name.replace('_', ' ')}" for name, rows in told.items()))
        sys.exit(75 if done.failed else 0)

    return command


@cache.command()
@_for_scenes
def pin(scenes: SceneCache, keys: set[str]) -> _Done:
    """Keep scenes from eviction: the KEYS, or without any all scenes of --study."""
    scenes.pins.add(keys)
    return _Done("pinned", sorted(scenes.pins.all()))


@cache.command()
@_for_scenes
def unpin(scenes: SceneCache, keys: set[str]) -> _Done:
    """Take pins back: of the KEYS, or without any of all scenes of --study."""
    scenes.pins.remove(keys)
    return _Done("pinned", sorted(scenes.pins.all()))


def _copied(word: str, wanted: set[str], done: list[str]) -> _Done:
    return _Done(word, done, sorted(wanted - set(done)))


@cache.command()
@_for_scenes
def push(scenes: SceneCache, keys: set[str]) -> _Done:
    """Copy scenes to the durable tier: the KEYS, those of --study, or without both all of them."""
    from mdpipe.scenes.transfer import push as push_all

    _durable(scenes)
    wanted = keys or set(scenes.store.all_keys())
    return _copied("pushed", wanted, push_all(scenes, sorted(wanted)))


@cache.command()
@_for_scenes
def pull(scenes: SceneCache, keys: set[str]) -> _Done:
    """Copy scenes from the durable tier: the KEYS, those of --study, or without both all."""
    from mdpipe.scenes.transfer import pull as pull_all

    durable = _durable(scenes)
    with _store_is_asked():
        wanted = keys or set(durable.all_keys())
    return _copied("pulled", wanted, pull_all(scenes, sorted(wanted)))


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
