"""How much the local tier keeps and for how long, and what it does when it is full."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mdpipe.products import write_json
from mdpipe.scenes.entry import Entry
from mdpipe.scenes.lock import FileLock
from mdpipe.scenes.statistics import Event
from mdpipe.scenes.store import EntryStore

Kind = Literal["best-effort", "guaranteed"]
QUOTA_WAIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Policy:
    """What one namespace of the local tier promises.

    Attributes
    ----------
    kind : str
        `best-effort`: when full, the coldest data go and their metadata stay, so that the scene is
        fetched from the durable tier or computed again. `guaranteed`: nothing goes before it
        expires; when full, new scenes are not stored.
    max_bytes : int or None
        The data that may lie there, bytes.
    max_age_s : float or None
        Data that were not used for longer expire, seconds.
    """

    kind: Kind = "best-effort"
    max_bytes: int | None = None
    max_age_s: float | None = None

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_bytes is not None or self.max_age_s is not None


def load_policy(folder: Path) -> Policy:
    """Return the policy that a cache folder was last written under.

    Parameters
    ----------
    folder : Path
        The folder of a namespace.

    Returns
    -------
    Policy
        Without limits where none is noted.
    """
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Policy(**json.loads((folder / "policy.json").read_text("utf-8")))
    return Policy()


def save_policy(folder: Path, policy: Policy) -> None:
    """Note the policy of a cache folder, for commands that are not told it.

    Parameters
    ----------
    folder : Path
        The folder of a namespace.
    policy : Policy
        What holds there.
    """
    if load_policy(folder) != policy:
        write_json(folder / "policy.json", asdict(policy))


class Pins:
    """Scenes that no policy and no `gc` may take.

    Parameters
    ----------
    folder : Path
        The folder of a namespace.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "pins"

    def add(self, keys: Collection[str]) -> None:
        """Pin scenes, cached or not.

        Parameters
        ----------
        keys : collection of str
            Their keys.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for key in keys:
            (self.folder / key).touch()

    def remove(self, keys: Collection[str]) -> None:
        """Unpin scenes.

        Parameters
        ----------
        keys : collection of str
            Their keys.
        """
        for key in keys:
            (self.folder / key).unlink(missing_ok=True)

    def all(self) -> frozenset[str]:
        """Return the keys of all pinned scenes.

        Returns
        -------
        frozenset of str
            Cached or not.
        """
        try:
            return frozenset(path.name for path in self.folder.iterdir())
        except OSError:
            return frozenset()


def coldest_first(store: EntryStore) -> list[Entry]:
    """List the entries of the local tier.

    Parameters
    ----------
    store : EntryStore
        The local tier.

    Returns
    -------
    list of Entry
        Those not used for the longest time first.
    """
    found = (store.read(key) for key in store.all_keys())
    return sorted((e for e in found if e is not None), key=lambda e: (e.last_hit_s, e.key))


def drop(store: EntryStore, entry: Entry, *, keep_metadata: bool) -> bool:
    """Evict an entry, unless a process computes, publishes or reads it.

    Parameters
    ----------
    store : EntryStore
        The local tier.
    entry : Entry
        What goes.
    keep_metadata : bool
        Whether `entry.json` stays.

    Returns
    -------
    bool
        Whether it is gone.
    """
    lock = store.lock(entry.key)
    if not lock.try_acquire():
        return False
    try:
        gone = store.evict(entry.key, keep_metadata=keep_metadata)
    finally:
        lock.release()
    if gone:
        store.record(Event("evicted", entry.key, entry.bytes))
    return gone


@contextlib.contextmanager
def room_for(store: EntryStore, policy: Policy, needed: int) -> Iterator[str]:
    """Make room for a new entry and keep it free of others' entries while the block runs.

    Parameters
    ----------
    store : EntryStore
        The local tier.
    policy : Policy
        What holds there.
    needed : int
        Size of the new data, bytes.

    Yields
    ------
    str
        Why there is no room; empty if there is.
    """
    if not policy.limited:
        yield ""
        return
    lock = FileLock(store.folder / "locks" / "quota.lock")
    lock.acquire(QUOTA_WAIT_S, poll_s=0.05)
    with lock:
        yield _make_room(store, policy, needed)


def _make_room(store: EntryStore, policy: Policy, needed: int) -> str:
    """Evict what the policy lets go until there is room; say why there is none."""
    now, pinned = time.time(), Pins(store.folder).all()
    entries = coldest_first(store)
    total = sum(entry.bytes for entry in entries) + needed
    limit = policy.max_bytes
    if limit is not None and needed > limit:
        return f"it has {needed / 1e6:.1f} MB and the cache may hold {limit / 1e6:.1f} MB"
    for entry in entries:
        expired = policy.max_age_s is not None and now - entry.last_hit_s > policy.max_age_s
        over = limit is not None and total > limit
        goes = expired or (over and policy.kind == "best-effort")
        if goes and entry.key not in pinned and drop(store, entry, keep_metadata=True):
            total -= entry.bytes
    if limit is None or total <= limit:
        return ""
    kept = "guaranteed until they expire" if policy.kind == "guaranteed" else "pinned or in use"
    return (
        f"the cache is full: {(total - needed) / 1e6:.1f} of {limit / 1e6:.1f} MB are {kept}; "
        "raise max_mb, unpin scenes or let them expire sooner"
    )
