"""Keeping the local tier sound and small: verify it, take out what is old or too much."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from mdpipe.products import remove
from mdpipe.scenes.entry import CorruptEntryError
from mdpipe.scenes.policy import Pins, Policy, coldest_first, drop
from mdpipe.scenes.store import EntryStore

WEEK_S = 7 * 86400.0
YEAR_S = 365 * 86400.0
Reason = Literal["asked", "age", "size"]


@dataclass(frozen=True, slots=True)
class Damage:
    """A damaged entry that `verify` found and set aside."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verification:
    """How many entries were found good, their data in bytes, and the damaged ones."""

    entries: int
    bytes: int
    damaged: tuple[Damage, ...]


def verify(store: EntryStore, keys: Collection[str] | None = None) -> Verification:
    """Read every byte of every entry and set the damaged ones aside.

    Parameters
    ----------
    store : EntryStore
        The local tier.
    keys : collection of str or None
        Which entries; None for all, bare metadata included.

    Returns
    -------
    Verification
        What was read and what was wrong.
    """
    damaged: list[Damage] = []
    entries = total = 0
    seen: list[str] = []
    checker = EntryStore(store.folder, seen.append, store.record)
    for key in list(store.all_keys()) if keys is None else sorted(keys):
        with checker.reading(key) as entry:
            if entry is not None:
                try:
                    entry.check()
                    entries += 1
                    total += entry.bytes
                except CorruptEntryError as error:
                    checker.quarantine(key, str(error), entry.inode)
                    seen[:] = [str(error)]
        damaged += [Damage(key, reason) for reason in seen]
        seen.clear()
    for key in list(store.all_keys(bare=True)) if keys is None else ():
        checker.read_bare(key)
        damaged += [Damage(key, reason) for reason in seen]
        seen.clear()
    return Verification(entries, total, tuple(damaged))


@dataclass(frozen=True, slots=True)
class Eviction:
    """An entry that `collect` removed, or would remove."""

    key: str
    bytes: int
    reason: Reason


@dataclass(frozen=True, slots=True)
class Limits:
    """What `collect` takes: the named entries, those not used for longer, the coldest beyond.

    Metadata of evicted scenes and damaged entries go after their own times, seconds.
    """

    max_bytes: int | None = None
    max_age_s: float | None = None
    keys: frozenset[str] = frozenset()
    quarantine_age_s: float = WEEK_S
    metadata_age_s: float = YEAR_S


def collect(
    store: EntryStore, policy: Policy, limits: Limits, *, dry_run: bool = False
) -> list[Eviction]:
    """Evict the named entries, the old ones, then the least recently used ones.

    Parameters
    ----------
    store : EntryStore
        The local tier.
    policy : Policy
        What holds there; its own limits hold too, and under `guaranteed` what has not expired
        stays unless it is named.
    limits : Limits
        What else goes.
    dry_run : bool
        Whether to change nothing.

    Returns
    -------
    list of Eviction
        What went, or would go. Pinned scenes stay, and those that a process computes, publishes or
        reads at this moment. Of a scene that was not named the metadata stay.
    """
    now, pinned = time.time(), Pins(store.folder).all()
    ages = [age for age in (limits.max_age_s, policy.max_age_s) if age is not None]
    if policy.kind == "guaranteed":
        ages = [policy.max_age_s] if policy.max_age_s is not None else []
    sizes = [size for size in (limits.max_bytes, policy.max_bytes) if size is not None]
    by_size = policy.kind == "best-effort" and sizes
    entries = coldest_first(store)
    total = sum(entry.bytes for entry in entries)
    gone: list[Eviction] = []
    for entry in entries:
        reason: Reason
        if entry.key in limits.keys:
            reason = "asked"
        elif ages and now - entry.last_hit_s > min(ages):
            reason = "age"
        elif by_size and total > min(sizes):
            reason = "size"
        else:
            continue
        if entry.key in pinned:
            continue
        if dry_run or drop(store, entry, keep_metadata=reason != "asked"):
            total -= entry.bytes
            gone.append(Eviction(entry.key, entry.bytes, reason))
    if not dry_run:
        _sweep(store, now - limits.quarantine_age_s)
        for key in list(store.all_keys(bare=True)):
            store.forget(key, now + 1 if key in limits.keys else now - limits.metadata_age_s)
    return gone


def _sweep(store: EntryStore, oldest_quarantine_s: float) -> None:
    """Remove what killed processes left half written, and damage set aside long ago."""
    for left in list((store.folder / "tmp").glob("*")):
        lock = store.lock(left.name.partition(".")[0])
        if lock.try_acquire():
            remove(left)
            lock.release()
    for aside in list((store.folder / "quarantine").glob("*")):
        if int(aside.name.partition(".")[2] or "0", 16) / 1e9 < oldest_quarantine_s:
            remove(aside)
