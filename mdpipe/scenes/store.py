"""The folder of the scene cache: `<2 hex>/<key>/`, published whole, set aside when damaged."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mdpipe.products import remove
from mdpipe.scenes.entry import ENTRY, KEY, CorruptEntryError, Entry, read_entry, write_entry
from mdpipe.scenes.lock import FileLock, Notice, silent


def default_folder() -> Path:
    """Return the scene cache that is used when none is named.

    Returns
    -------
    Path
        `$MDPIPE_SCENE_CACHE`, else `$MDPIPE_CACHE_DIR/scenes`, else `mdpipe/scenes` in the
        user's cache folder.
    """
    if named := os.environ.get("MDPIPE_SCENE_CACHE"):
        return Path(named)
    if named := os.environ.get("MDPIPE_CACHE_DIR"):
        return Path(named) / "scenes"
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mdpipe" / "scenes"


class EntryStore:
    """Entries on one file system; the cache's rules stand in `mdpipe.scenes.cache`.

    Parameters
    ----------
    folder : Path
        The cache folder; made when first written to.
    notice : callable
        Told, in one line, what the user should know but need not act on.
    """

    def __init__(self, folder: Path, notice: Notice = silent) -> None:
        self.folder = folder
        self.notice = notice

    def path(self, key: str) -> Path:
        """Return where the entry of a key lies.

        Parameters
        ----------
        key : str
            64 hex digits.

        Returns
        -------
        Path
            A folder that may not exist.
        """
        if not KEY.fullmatch(key):
            raise ValueError(f"a scene key must be 64 hex digits, got {key!r}")
        return self.folder / key[:2] / key

    def lock(self, key: str) -> FileLock:
        """Return the lock that a process holds while it computes, publishes or evicts a scene.

        Parameters
        ----------
        key : str
            The scene's key.

        Returns
        -------
        FileLock
            Not yet taken.
        """
        return FileLock(self.folder / "locks" / f"{key}.lock")

    def read(self, key: str) -> Entry | None:
        """Read the metadata of an entry; set a damaged one aside.

        Parameters
        ----------
        key : str
            The scene's key.

        Returns
        -------
        Entry or None
            None if there is no good entry.
        """
        folder = self.path(key)
        for attempt in (1, 2):
            try:
                return read_entry(folder)
            except CorruptEntryError as error:
                # an eviction between two looks seems like damage; the second look tells
                if attempt == 2:
                    self.quarantine(key, str(error))
        return None

    def all_keys(self) -> Iterator[str]:
        """Yield the keys of all entries, by listing folders alone.

        Yields
        ------
        str
            A key.
        """
        for digit in range(256):
            with contextlib.suppress(OSError), os.scandir(self.folder / f"{digit:02x}") as rows:
                yield from sorted(row.name for row in rows if KEY.fullmatch(row.name))

    def present(self, keys: Iterable[str]) -> set[str]:
        """Say which of many keys have an entry, by listing folders alone.

        Parameters
        ----------
        keys : iterable of str
            Scene keys.

        Returns
        -------
        set of str
            Those with an entry; whether it is good shows when it is fetched.
        """
        wanted = set(keys)
        found: set[str] = set()
        for prefix in {key[:2] for key in wanted}:
            with contextlib.suppress(OSError), os.scandir(self.folder / prefix) as rows:
                found.update(row.name for row in rows if row.name in wanted)
        return found

    def write(self, key: str, source: Path) -> None:
        """Publish products under a key; the caller holds the key's lock.

        Parameters
        ----------
        key : str
            The scene's key.
        source : Path
            Folder of the scene's products.

        Raises
        ------
        OSError
            If it cannot be written; nothing of it is then left.
        """
        temporary = self.folder / "tmp" / f"{key}.{os.getpid()}"
        self.clean(key)
        try:
            temporary.mkdir(parents=True)
            write_entry(key, source, temporary)
            target = self.path(key)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(target)
        finally:
            remove(temporary)

    def clean(self, key: str) -> None:
        """Remove what a killed process left half written; the caller holds the key's lock.

        Parameters
        ----------
        key : str
            The scene's key.
        """
        for left in (self.folder / "tmp").glob(f"{key}.*"):
            remove(left)

    def evict(self, key: str) -> None:
        """Remove an entry so that nobody sees half of it; the caller holds the key's lock.

        Parameters
        ----------
        key : str
            The scene's key.
        """
        doomed = self.folder / "tmp" / f"{key}.evicted"
        remove(doomed)
        doomed.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self.path(key).rename(doomed)
        remove(doomed)

    def quarantine(self, key: str, reason: str, inode: int | None = None) -> None:
        """Set a damaged entry aside, so that it is never used and can be looked at.

        Parameters
        ----------
        key : str
            The scene's key.
        reason : str
            What is wrong with it.
        inode : int or None
            Which publication of the key is meant; another one is left alone.
        """
        folder = self.path(key)
        name = f"{key}.{time.time_ns():x}"
        aside = self.folder / "quarantine" / name
        try:
            if inode is not None and (folder / ENTRY).stat().st_ino != inode:
                return
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
        except FileNotFoundError:
            return
        except OSError as error:
            self.notice(f"scene cache: entry {key[:12]} is damaged and stays: {error.strerror}")
            return
        self.notice(
            f"scene cache: entry {key[:12]} is damaged ({reason}); set aside as "
            f"quarantine/{name}, the scene is computed again"
        )
        with contextlib.suppress(OSError):
            (aside / "reason.txt").write_text(reason + "\n", "utf-8")
