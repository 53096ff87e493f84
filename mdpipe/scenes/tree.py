"""Files below a prefix of a store, and their copies in a folder: each byte accounted for."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Final, TypeVar

from mdpipe.failures import BusyError, InputError
from mdpipe.products import file_digest, no_space_is_clear, remove
from mdpipe.scenes.objects import Listed, Objects, Patience, StoreDownError

Result = TypeVar("Result")

STREAMS: Final = 8
"""Requests at once; each holds about 1 MiB in memory."""

PIECE: Final = 16 << 20
"""Bytes that are asked for at once: what is longer comes in so many pieces, several at a time."""


class Tree:
    """What lies below `s3://bucket/prefix`, as files.

    Objects that are written here carry the digest of their content, and are compared with it when
    they are read. Of objects that others wrote, size and tag are compared: no mixture of two
    contents is ever taken for one.

    Parameters
    ----------
    url : str
        `s3://bucket/prefix`.
    patience : Patience or None
        How long the store is waited for.

    Raises
    ------
    UsageError
        If the URL is not one of a bucket, or the library for stores is not installed.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self.url = url.rstrip("/")
        self.objects = Objects(url, patience)

    def list(self, prefix: str = "") -> dict[str, Listed]:
        """List the files below a folder.

        Parameters
        ----------
        prefix : str
            The folder; empty for all.

        Returns
        -------
        dict
            Relative path → size, tag and time; names that no file can have are left out.

        Raises
        ------
        BusyError
            If the store does not answer.
        """
        with self._told():
            found = self.objects.list(prefix)
        return {name: row for name, row in found.items() if _is_file(name)}

    def find(self, name: str) -> Listed | None:
        """Look one file up.

        Parameters
        ----------
        name : str
            Relative path.

        Returns
        -------
        Listed or None
            None if it is not there.

        Raises
        ------
        BusyError
            If the store does not answer.
        """
        with self._told():
            return self.objects.find(name)

    def pull(self, files: Mapping[str, Listed], into: Path) -> int:
        """Copy files to a folder, large ones in several streams at once.

        Parameters
        ----------
        files : mapping
            What `list` or `find` has told of them.
        into : Path
            The folder; each file is there whole, with the time of its object, or not at all.

        Returns
        -------
        int
            Bytes.

        Raises
        ------
        InputError
            If a file is not there any more, or damaged in the store.
        BusyError
            If the store does not answer, or a file changes meanwhile.
        NoSpaceError
            If the disk is full.
        """
        large = [name for name, row in files.items() if row.size > PIECE]
        small = [name for name in files if files[name].size <= PIECE]
        with self._told(), ThreadPoolExecutor(STREAMS) as pool:
            _all(pool, [partial(self._pull, name, files[name], into / name) for name in small])
            for name in large:
                self._pull(name, files[name], into / name, pool)
        return sum(row.size for row in files.values())

    def _pull(self, name: str, row: Listed, target: Path, pool: Executor | None = None) -> None:
        temporary = target.with_name(f".{target.name}.part-{os.getpid()}")
        wanted = ""

        def fetch() -> str:
            nonlocal wanted
            with temporary.open("wb") as stream:
                read = partial(self.objects.read_piece, name, row, stream.fileno())
                ends = [*range(0, row.size, PIECE), row.size] if row.size else [0, 0]
                tasks = [partial(read, begin, end) for begin, end in pairwise(ends)]
                wanted = (_all(pool, tasks) if pool else [task() for task in tasks])[0]
            return file_digest(temporary) if wanted else ""

        with no_space_is_clear(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                if not self.objects.brings(fetch, lambda digest: digest == wanted):
                    raise InputError(
                        f"{self.url}/{name}: missing or damaged in the store; write it anew"
                    )
                os.utime(temporary, ns=(row.time_ns, row.time_ns))
                temporary.replace(target)
            finally:
                remove(temporary)

    def push(self, folder: Path, names: Collection[str]) -> int:
        """Copy files to the store, each with its digest.

        Parameters
        ----------
        folder : Path
            Where they lie.
        names : collection of str
            Relative paths.

        Returns
        -------
        int
            Bytes.

        Raises
        ------
        BusyError
            If the store does not take them all.
        """

        def put(name: str) -> int:
            path = folder / name
            self.objects.put(name, path, file_digest(path))
            return path.stat().st_size

        with self._told(), ThreadPoolExecutor(STREAMS) as pool:
            return sum(_all(pool, [partial(put, name) for name in names]))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say which store it was that did not answer."""
        from obstore.exceptions import PreconditionError

        try:
            yield
        except StoreDownError as error:
            raise BusyError(
                f"{self.url}: the store does not answer ({error}); see to it, then run again"
            ) from error
        except PreconditionError as error:
            raise BusyError(
                f"{self.url}: a file changed while it was read; run again when all are written"
            ) from error


def _all(pool: Executor, tasks: Sequence[Callable[[], Result]]) -> list[Result]:
    """Return the results of all tasks; after the first failure no other one is begun."""
    futures = [pool.submit(task) for task in tasks]
    try:
        return [future.result() for future in futures]
    finally:
        for future in futures:
            future.cancel()


def _is_file(name: str) -> bool:
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or name.endswith("/"))
