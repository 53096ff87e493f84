"""The scene cache: a scene is computed once, and its data come along when it is needed again."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Literal

from mdpipe.failures import BusyError
from mdpipe.products import no_space_is_clear, remove, write_atomically
from mdpipe.scenes.durable import DurableTier
from mdpipe.scenes.entry import CorruptEntryError, Description, Entry, describe
from mdpipe.scenes.lock import Notice, silent
from mdpipe.scenes.objects import StoreDownError
from mdpipe.scenes.policy import Pins, Policy, load_policy, room_for, save_policy
from mdpipe.scenes.statistics import Event, Recorder, What, forget
from mdpipe.scenes.store import EntryStore, default_folder
from mdpipe.scenes.store_lock import LIFETIME_S, StoreLock

How = Literal["hit", "computed", "waited"]
"""From the cache; computed here; from the cache after another process had computed it."""

LONGEST_WAIT_S = 24 * 3600.0
_WAITING = "scene {} is being computed by {}; waiting for it"


class _AbsentError(Exception):
    """The store has not got a scene."""


def _fetch(durable: DurableTier, key: str, into: Path) -> Description:
    found = durable.fetch(key, into)
    if found is None:
        raise _AbsentError
    return found


class SceneCache:
    """Scenes by their keys: in one folder, for any number of processes at once, and in a store.

    Parameters
    ----------
    folder : Path or None
        The cache folder; None for `default_folder()`.
    notice : callable
        Told, in one line, what the user should know but need not act on.
    namespace : str
        Part of the folder that these scenes share with nobody; empty for the common part.
    policy : Policy or None
        What holds in the folder; None for what held there last.
    durable : DurableTier or None
        The second tier: asked when the folder has not got a scene.
    record : callable
        Told what happened, such as by `run_recorder`.

    Attributes
    ----------
    base : Path
        The cache folder with all its namespaces.
    folder : Path
        What of it this cache uses.
    push_always : bool
        Whether new scenes go to the second tier at once.
    lock_lifetime_s : float
        How long the lock of a dead host stands in the way of others, seconds.
    """

    def __init__(
        self,
        folder: Path | None = None,
        notice: Notice = silent,
        *,
        namespace: str = "",
        policy: Policy | None = None,
        durable: DurableTier | None = None,
        record: Recorder = forget,
    ) -> None:
        self.base = folder or default_folder()
        self.folder = self.base / "namespaces" / namespace if namespace else self.base
        self.notice = notice
        self.store = EntryStore(self.folder, notice, record)
        self.policy = policy or load_policy(self.folder)
        self.pins = Pins(self.folder)
        self.durable = durable
        self.push_always = True
        self.lock_lifetime_s = LIFETIME_S
        self.record_with(record)

    def record_with(self, record: Recorder) -> None:
        """Tell another listener from now on what happens.

        Parameters
        ----------
        record : callable
            The listener.
        """
        self.store.record = record
        if self.durable is not None:
            self.durable.record = record

    def lookup(self, key: str) -> Entry | None:
        """Look a scene up in the folder by its metadata; the data are not read.

        Parameters
        ----------
        key : str
            The scene's key.

        Returns
        -------
        Entry or None
            None if it is not there.
        """
        return self.store.read(key)

    def present(self, keys: Collection[str]) -> set[str]:
        """Say which of many scenes are cached, for plans: one listing, nothing is opened.

        Parameters
        ----------
        keys : collection of str
            Scene keys.

        Returns
        -------
        set of str
            The cached ones, in either tier.
        """
        found = self.store.present(keys)
        if self.durable is not None and len(found) < len(keys):
            found |= self.durable.present(set(keys) - found)
        return found

    def fetch(self, key: str, into: Path, *, far: bool = True) -> Description | None:
        """Copy a scene's data to a folder, each byte compared with its digest on the way.

        Parameters
        ----------
        key : str
            The scene's key.
        into : Path
            Becomes the scene's folder; what was there (checkpoints of an unfinished run) is
            replaced. The copy shares nothing with the cache.
        far : bool
            Whether to ask the durable tier too.

        Returns
        -------
        Description or None
            None if it is not cached, or was damaged and has been set aside; `into` is then
            as it was.

        Raises
        ------
        NoSpaceError
            If the disk of `into` is full.
        """
        found = self._from_folder(key, into) or (self.refetch(key, into) if far else None)
        if found is not None:
            self._record("hit", key, found.bytes)
        return found

    def publish(self, key: str, folder: Path, like: Description | None = None) -> bool:
        """Put a scene's products into the cache.

        Parameters
        ----------
        key : str
            The scene's key.
        folder : Path
            The products; checkpoints and hidden files are left out.
        like : Description or None
            Of a copy that comes from the durable tier.

        Returns
        -------
        bool
            Whether the scene is in the folder now. A cache that is full under its policy or cannot
            be written (full disk, no rights) gives a notice and False: the scene itself is good.
        """
        lock = self.store.lock(key)
        try:
            if not lock.try_acquire():
                return False
        except OSError as error:
            self._cannot_write(error)
            return False
        with lock:
            return self._publish(key, folder, like)

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
        When the computing process dies, the kernel frees its lock and the next one computes; the
        lock of a dead host runs out.
        """
        if self.fetch(key, into, far=False) is not None:
            return "hit"
        lock = self.store.lock(key)
        how: Literal["hit", "waited"] = "hit"

        def waiting() -> None:
            nonlocal how
            how = "waited"
            self.notice(_WAITING.format(key[:12], f"process {lock.holder() or '?'}"))

        try:
            lock.acquire(timeout_s, waiting=waiting)
        except OSError as error:
            self._cannot_write(error)
            return self._compute(key, compute, into)
        with lock:
            found = self._from_folder(key, into)
            if found is not None:
                self._record(how, key, found.bytes)
                return how
            if self.durable is None:
                return self._compute(key, compute, into, publish=True)
            return self._compute_once_anywhere(self.durable, key, compute, into, timeout_s)

    def _compute_once_anywhere(
        self,
        durable: DurableTier,
        key: str,
        compute: Callable[[Path], None],
        into: Path,
        timeout_s: float,
    ) -> How:
        """Go on where the folder has not got the scene and this process alone may write it."""
        lock = StoreLock(durable, key, self.store.place(), self.lock_lifetime_s)
        how: Literal["hit", "waited"] = "hit"
        end = time.monotonic() + timeout_s
        with lock:
            while True:
                found = self.refetch(key, into, locked=True)
                if found is not None:
                    self._record(how, key, found.bytes)
                    return how
                if lock.held:  # and looked once more since: nobody else has made it
                    return self._compute(key, compute, into, publish=True)
                try:
                    if lock.try_acquire():
                        continue
                except StoreDownError:
                    return self._compute(key, compute, into, publish=True)
                if how == "hit":
                    self.notice(_WAITING.format(key[:12], lock.holder() or "another host"))
                how = "waited"
                if time.monotonic() > end:
                    raise BusyError(
                        f"scene {key[:12]} is still being computed by {lock.holder()} after "
                        f"{timeout_s:g} s; wait for it or end it, then run again"
                    )
                time.sleep(min(1.0, self.lock_lifetime_s / 4))

    def _compute(
        self, key: str, compute: Callable[[Path], None], into: Path, *, publish: bool = False
    ) -> How:
        compute(into)
        self._record("computed", key)
        if self.store.read_bare(key) is not None:
            self._record("recomputed", key)
        if publish:
            self._publish(key, into)
        return "computed"

    def _from_folder(self, key: str, into: Path) -> Description | None:
        """Copy a scene from the first tier; a damaged one is set aside."""
        with self.store.reading(key) as entry:
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
        return entry.description

    def refetch(self, key: str, into: Path, *, locked: bool = False) -> Description | None:
        """Copy a scene from the second tier, and keep it in the first.

        Parameters
        ----------
        key : str
            The scene's key.
        into : Path
            Becomes the scene's folder.
        locked : bool
            Whether the caller holds the key's lock.

        Returns
        -------
        Description or None
            None if the second tier has not got it or cannot be reached.
        """
        if self.durable is None:
            return None
        try:
            with write_atomically(into) as temporary:
                remove(temporary)
                temporary.mkdir()
                found = _fetch(self.durable, key, temporary)
        except _AbsentError:
            return None
        self._record("refetched", key, found.bytes)
        if locked:
            self._publish(key, into, found)
        else:
            self.publish(key, into, found)
        return found

    def _publish(self, key: str, folder: Path, like: Description | None = None) -> bool:
        """Publish while holding the key's lock; a good entry that is there already stays."""
        try:
            existing = self.store.read(key)
            if existing is not None:
                try:
                    existing.check()
                except CorruptEntryError as error:
                    self.store.quarantine(key, str(error), existing.inode)
                    existing = None
            refused = ""
            if existing is None:
                with no_space_is_clear(self.folder):
                    refused = self._store(key, folder, like)
        except Exception as error:  # noqa: BLE001 - the scene is good whatever befalls its copy
            self._cannot_write(error)
            refused = "not written"
        if like is None and self.durable is not None and self.push_always:
            entry = self.store.read(key)
            if entry is not None:
                self.durable.push(entry.description, entry.folder)
            else:
                self.durable.push(describe(key, folder), folder)
        return not refused

    def _store(self, key: str, folder: Path, like: Description | None) -> str:
        """Write an entry if the policy has room for it; say why not."""
        staged, described = self.store.stage(key, folder, like)
        try:
            with room_for(self.store, self.policy, described.bytes) as refused:
                if not refused:
                    self.store.commit(key, staged)
            if self.policy.limited:
                save_policy(self.folder, self.policy)
        finally:
            remove(staged)
        if refused:
            self._record("refused", key, described.bytes)
            self.notice(f"scene cache: scene {key[:12]} is good but was not stored: {refused}")
        return refused

    def _record(self, what: What, key: str, size: int = 0) -> None:
        self.store.record(Event(what, key, size))

    def _cannot_write(self, error: Exception) -> None:
        """Tell that the cache is of no use now, and why."""
        self.notice(f"scene cache: a scene was not stored in {self.folder}: {error}")
