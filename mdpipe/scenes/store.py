"""The folder of the scene cache: `<2 hex>/<key>/`, published whole, set aside when damaged."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from mdpipe.products import remove
from mdpipe.scenes.entry import (
    ENTRY,
    KEY,
    CorruptEntryError,
    Description,
    Entry,
    decode_description,
    read_entry,
    write_entry,
)
from mdpipe.scenes.lock import FileLock, Notice, silent
from mdpipe.scenes.statistics import Event, Recorder, forget

BARE = ".meta"
"""Suffix of the folder of an entry of which only `entry.json` is left."""


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
    record : callable
        Told of entries that are set aside.

    Attributes
    ----------
    share : bool
        Whether products are given to the folder, whose entries may then be the same files; who sets
        it removes the products once they are published. Otherwise they are copied.
    """

    def __init__(self, folder: Path, notice: Notice = silent, record: Recorder = forget) -> None:
        self.folder = folder
        self.notice = notice
        self.record = record
        self.share = False

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

    def scratch(self) -> Path:
        """Return a folder for what is on its way; `gc` removes what dead processes left there.

        Returns
        -------
        Path
            On the file system of the cache.
        """
        folder = self.folder / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def place(self) -> str:
        """Return a name of this folder that no other has.

        Returns
        -------
        str
            Kept in the folder; if it cannot be, another one each time.
        """
        path = self.folder / "place"
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            fresh = self.folder / f".place-{uuid.uuid4().hex}"
            fresh.write_text(uuid.uuid4().hex)
            with contextlib.suppress(FileExistsError):
                os.link(fresh, path)
            fresh.unlink()
            return path.read_text()
        return uuid.uuid4().hex

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

    @contextlib.contextmanager
    def reading(self, key: str) -> Iterator[Entry | None]:
        """Read the metadata of an entry and keep evictions off it while the block runs.

        Parameters
        ----------
        key : str
            The scene's key.

        Yields
        ------
        Entry or None
            As `read` returns it. The lease is a shared lock on `entry.json` itself, which the
            kernel gives back when the reader dies.
        """
        entry = self.read(key)
        with contextlib.ExitStack() as stack:
            if entry is not None:
                with contextlib.suppress(OSError):
                    stream = stack.enter_context((entry.folder / ENTRY).open("rb"))
                    fcntl.flock(stream, fcntl.LOCK_SH)
            yield entry

    def read_bare(self, key: str) -> Description | None:
        """Read what is left of an entry whose data were evicted; a damaged one is set aside.

        Parameters
        ----------
        key : str
            The scene's key.

        Returns
        -------
        Description or None
            None if the scene was never here, or was forgotten.
        """
        path = self._bare(key) / ENTRY
        try:
            return decode_description(path.read_bytes(), key)
        except OSError:
            return None
        except CorruptEntryError as error:
            self._set_aside(path.parent, key, str(error))
            return None

    def forget(self, key: str, older_than_s: float) -> None:
        """Remove what is left of an entry whose data were evicted.

        Parameters
        ----------
        key : str
            The scene's key.
        older_than_s : float
            Only if it was last used before that time, seconds since 1970.
        """
        bare = self._bare(key)
        with contextlib.suppress(OSError):
            if (bare / ENTRY).stat().st_mtime < older_than_s:
                remove(bare)

    def _bare(self, key: str) -> Path:
        return self.path(key).with_name(key + BARE)

    def all_keys(self, *, bare: bool = False) -> Iterator[str]:
        """Yield the keys of all entries, by listing folders alone.

        Parameters
        ----------
        bare : bool
            Whether to yield instead those of which only the metadata are left.

        Yields
        ------
        str
            A key.
        """
        ending = BARE if bare else ""
        for digit in range(256):
            with contextlib.suppress(OSError), os.scandir(self.folder / f"{digit:02x}") as rows:
                names = (row.name for row in rows if row.name.endswith(ending))
                keys = (name.removesuffix(ending) for name in names)
                yield from sorted(key for key in keys if KEY.fullmatch(key))

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

    def stage(
        self, key: str, source: Path, like: Description | None = None
    ) -> tuple[Path, Description]:
        """Copy or give products to where nobody looks for them; the caller holds the key's lock.

        Parameters
        ----------
        key : str
            The scene's key.
        source : Path
            Folder of the scene's products.
        like : Description or None
            Of a copy that comes from elsewhere.

        Returns
        -------
        Path
            For `commit`.
        Description
            What was copied.

        Raises
        ------
        OSError
            If it cannot be written; nothing of it is then left.
        """
        temporary = self.folder / "tmp" / f"{key}.{os.getpid()}"
        self.clean(key)
        try:
            temporary.mkdir(parents=True)
            return temporary, write_entry(key, source, temporary, like, share=self.share)
        except BaseException:
            remove(temporary)
            raise

    def commit(self, key: str, staged: Path) -> None:
        """Make what was staged the entry of a key; the caller holds the key's lock.

        Parameters
        ----------
        key : str
            The scene's key.
        staged : Path
            From `stage`.
        """
        target = self.path(key)
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.rename(target)
        remove(self._bare(key))

    def clean(self, key: str) -> None:
        """Remove what a killed process left half written; the caller holds the key's lock.

        Parameters
        ----------
        key : str
            The scene's key.
        """
        for left in (self.folder / "tmp").glob(f"{key}.*"):
            remove(left)

    def evict(self, key: str, *, keep_metadata: bool) -> bool:
        """Remove an entry so that nobody sees half of it; the caller holds the key's lock.

        Parameters
        ----------
        key : str
            The scene's key.
        keep_metadata : bool
            Whether `entry.json` stays, as a sign that the scene was here.

        Returns
        -------
        bool
            False if somebody is reading it; it then stays.
        """
        folder, bare = self.path(key), self._bare(key)
        doomed = self.folder / "tmp" / f"{key}.evicted"
        remove(doomed)
        doomed.parent.mkdir(parents=True, exist_ok=True)
        if not keep_metadata:
            remove(bare)
        with contextlib.suppress(FileNotFoundError), (folder / ENTRY).open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            folder.rename(doomed)
            if keep_metadata:
                bare.mkdir(exist_ok=True)
                with contextlib.suppress(OSError):
                    (doomed / ENTRY).rename(bare / ENTRY)
        remove(doomed)
        return True

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
        with contextlib.suppress(FileNotFoundError):
            folder = self.path(key)
            if inode is None or (folder / ENTRY).stat().st_ino == inode:
                self._set_aside(folder, key, reason)

    def _set_aside(self, folder: Path, key: str, reason: str) -> None:
        name = f"{key}.{time.time_ns():x}"
        aside = self.folder / "quarantine" / name
        try:
            aside.parent.mkdir(parents=True, exist_ok=True)
            folder.rename(aside)
        except FileNotFoundError:
            return
        except OSError as error:
            self.notice(f"scene cache: entry {key[:12]} is damaged and stays: {error.strerror}")
            return
        self.record(Event("quarantined", key))
        self.notice(
            f"scene cache: entry {key[:12]} is damaged ({reason}); set aside as "
            f"quarantine/{name}, the scene is fetched or computed again"
        )
        with contextlib.suppress(OSError):
            (aside / "reason.txt").write_text(reason + "\n", "utf-8")
