"""The scene cache: a scene is computed once, and its data come along when it is needed again."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mdpipe.products import no_space_is_clear, remove, write_atomically
from mdpipe.scenes.entry import CorruptEntryError, Entry
from mdpipe.scenes.lock import Notice, silent
from mdpipe.scenes.store import EntryStore, default_folder

How = Literal["hit", "computed", "waited"]
"""From the cache; computed here; from the cache after another process had computed it."""

WEEK_S = 7 * 86400.0
LONGEST_WAIT_S = 24 * 3600.0


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


@dataclass(frozen=True, slots=True)
class Eviction:
    """An entry that `gc` removed, or would remove."""

    key: str
    bytes: int
    reason: Literal["asked", "age", "size"]


class SceneCache:
    """Scenes by their keys, in one folder, for any number of processes at once.

    Parameters
    ----------
    folder : Path or None
        The cache folder; None for `default_folder()`.
    notice : callable
        Told, in one line, what the user should know but need not act on.
    """

    def __init__(self, folder: Path | None = None, notice: Notice = silent) -> None:
        self.folder = folder or default_folder()
        self.notice = notice
        self.store = EntryStore(self.folder, notice)

    def lookup(self, key: str) -> Entry | None:
        """Look a scene up by its metadata; the data are not read.

        Parameters
        ----------
        key : str
            The scene's key.

        Returns
        -------
        Entry or None
            None if it is not cached.
        """
        return self.store.read(key)

    def present(self, keys: Collection[str]) -> set[str]:
        """Say which of many scenes are cached, for plans: one listing, no file is opened.

        Parameters
        ----------
        keys : collection of str
            Scene keys.

        Returns
        -------
        set of str
            The cached ones.
        """
        return self.store.present(keys)

    def fetch(self, key: str, into: Path) -> Entry | None:
        """Copy a scene's data to a folder, each byte compared with its digest on the way.

        Parameters
        ----------
        key : str
            The scene's key.
        into : Path
            Becomes the scene's folder; what was there (checkpoints of an unfinished run) is
            replaced. The copy shares nothing with the cache.

        Returns
        -------
        Entry or None
            None if it is not cached, or was damaged and has been set aside; `into` is then
            as it was.

        Raises
        ------
        NoSpaceError
            If the disk of `into` is full.
        """
        entry = self.store.read(key)
        if entry is None:
            return None
        try:
            with write_atomically(into) as temporary:
                remove(temporary)
                temporary.mkdir()
                entry.copy_to(temporary)
        except CorruptEntryError as error:
            if self.store.path(key).is_dir():
                self.store.quarantine(key, str(error), entry.inode)
            return None
        now = time.time()
        with contextlib.suppress(OSError):
            os.utime(entry.folder / "entry.json", (now, now))
        return replace(entry, last_hit_s=now)

    def publish(self, key: str, folder: Path) -> bool:
        """Put a scene's products into the cache.

        Parameters
        ----------
        key : str
            The scene's key.
        folder : Path
            The products; checkpoints and hidden files are left out.

        Returns
        -------
        bool
            Whether the scene is cached now. A cache that cannot be written (full disk, no rights)
            gives a notice and False: the scene itself is good.
        """
        lock = self.store.lock(key)
        try:
            if not lock.try_acquire():
                return False
        except OSError as error:
            self._cannot_write(error)
            return False
        try:
            return self._publish(key, folder)
        finally:
            lock.release()

    def compute_once(
        self,
        key: str,
        compute: Callable[[Path], None],
        into: Path,
        *,
        timeout_s: float = LONGEST_WAIT_S,
    ) -> How:
        """Get a scene: from the cache, or by computing it while other processes wait for it.

        Parameters
        ----------
        key : str
            The scene's key.
        compute : callable
            Makes the products in the folder that it is given; called at most once.
        into : Path
            The scene's folder.
        timeout_s : float
            How long to wait for another process that computes this scene, seconds.

        Returns
        -------
        str
            `hit`, `computed` or `waited`.

        Raises
        ------
        BusyError
            If another process still computes it after `timeout_s`.

        Notes
        -----
        When the computing process dies, the kernel frees its lock and the next one computes.
        """
        if self.fetch(key, into) is not None:
            return "hit"
        lock = self.store.lock(key)
        how: How = "hit"

        def waiting() -> None:
            nonlocal how
            how = "waited"
            self.notice(
                f"scene {key[:12]} is being computed by process {lock.holder() or '?'}; "
                "waiting for it"
            )

        try:
            lock.acquire(timeout_s, waiting=waiting)
        except OSError as error:
            self._cannot_write(error)
            compute(into)
            return "computed"
        try:
            if self.fetch(key, into) is not None:
                return how
            compute(into)
            self._publish(key, into)
        finally:
            lock.release()
        return "computed"

    def ls(self) -> list[Entry]:
        """List all entries.

        Returns
        -------
        list of Entry
            The last used first.
        """
        found = (self.store.read(key) for key in self.store.all_keys())
        return sorted((e for e in found if e is not None), key=lambda e: (-e.last_hit_s, e.key))

    def verify(self, keys: Collection[str] | None = None) -> Verification:
        """Read every byte of every entry and set the damaged ones aside.

        Parameters
        ----------
        keys : collection of str or None
            Which entries; None for all.

        Returns
        -------
        Verification
            What was read and what was wrong.
        """
        damaged: list[Damage] = []
        entries = total = 0
        seen: list[str] = []
        checker = EntryStore(self.folder, seen.append)
        for key in list(self.store.all_keys()) if keys is None else sorted(keys):
            entry = checker.read(key)
            if entry is None:
                damaged += [Damage(key, reason) for reason in seen]
                seen.clear()
                continue
            try:
                entry.check()
            except CorruptEntryError as error:
                checker.quarantine(key, str(error), entry.inode)
                damaged.append(Damage(key, str(error)))
                seen.clear()
            else:
                entries += 1
                total += entry.bytes
        return Verification(entries, total, tuple(damaged))

    def gc(
        self,
        *,
        max_bytes: int | None = None,
        max_age_s: float | None = None,
        keys: Collection[str] = (),
        dry_run: bool = False,
        quarantine_age_s: float = WEEK_S,
    ) -> list[Eviction]:
        """Remove entries: the named ones, the old ones, then the least recently used ones.

        Parameters
        ----------
        max_bytes : int or None
            The data that may stay, bytes.
        max_age_s : float or None
            Entries not used for longer go, seconds.
        keys : collection of str
            Entries that go in any case.
        dry_run : bool
            Whether to change nothing.
        quarantine_age_s : float
            Damaged entries that were set aside longer ago go too, seconds.

        Returns
        -------
        list of Eviction
            What went, or would go. A scene that a process computes or publishes at this moment
            stays.
        """
        now = time.time()
        entries = self.ls()
        total = sum(entry.bytes for entry in entries)
        gone: list[Eviction] = []
        for entry in reversed(entries):
            reason: Literal["asked", "age", "size"]
            if entry.key in keys:
                reason = "asked"
            elif max_age_s is not None and now - entry.last_hit_s > max_age_s:
                reason = "age"
            elif max_bytes is not None and total > max_bytes:
                reason = "size"
            else:
                continue
            if dry_run or self._evict(entry.key):
                total -= entry.bytes
                gone.append(Eviction(entry.key, entry.bytes, reason))
        if not dry_run:
            self._sweep(now - quarantine_age_s)
        return gone

    def _evict(self, key: str) -> bool:
        """Remove an entry unless somebody is at work on it."""
        lock = self.store.lock(key)
        if not lock.try_acquire():
            return False
        try:
            self.store.evict(key)
        finally:
            lock.release()
        return True

    def _sweep(self, oldest_quarantine_s: float) -> None:
        """Remove what killed processes left half written, and damage set aside long ago."""
        for left in list((self.folder / "tmp").glob("*")):
            lock = self.store.lock(left.name.partition(".")[0])
            if lock.try_acquire():
                remove(left)
                lock.release()
        for aside in list((self.folder / "quarantine").glob("*")):
            if int(aside.name.partition(".")[2] or "0", 16) / 1e9 < oldest_quarantine_s:
                remove(aside)

    def _publish(self, key: str, folder: Path) -> bool:
        """Publish while holding the key's lock; a good entry that is there already stays."""
        try:
            existing = self.store.read(key)
            if existing is not None:
                try:
                    existing.check()
                except CorruptEntryError as error:
                    self.store.quarantine(key, str(error), existing.inode)
                else:
                    return True
            with no_space_is_clear(self.folder):
                self.store.write(key, folder)
        except Exception as error:  # noqa: BLE001 - the scene is good whatever befalls its copy
            self._cannot_write(error)
            return False
        return True

    def _cannot_write(self, error: Exception) -> None:
        """Tell that the cache is of no use now, and why."""
        self.notice(f"scene cache: a scene was not stored in {self.folder}: {error}")
