"""Objects in a store that speaks the S3 protocol."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mdpipe.scenes.store_client import STORE_VARIABLE, STORE_VARIABLES, Patience
from mdpipe.scenes.store_requests import Requests, StoreDownError

if TYPE_CHECKING:
    from obstore import GetResult, ObjectMeta

__all__ = [
    "STORE_VARIABLE", "STORE_VARIABLES", "Listed", "Objects", "Patience", "StoreDownError",
]  # fmt: skip

DIGEST: Final = "sha256"
"""Name under which an object carries the digest of its content."""

CHUNK: Final = 1 << 20
UPLOADS: Final = 3
"""Pieces of 5 MiB of a large file that are sent at once: they lie in memory."""


class Listed(NamedTuple):
    """An object as it is listed: bytes, the tag of its content, its time in ns since 1970."""

    size: int
    tag: str | None
    time_ns: int


class Objects(Requests):
    """A bucket, or what lies below a prefix of one; made as `Requests` is."""

    def read(self, path: str) -> bytes:
        """Read a small object.

        Parameters
        ----------
        path : str
            Its name.

        Returns
        -------
        bytes
            Its content.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        StoreDownError
            If the store does not answer.
        """
        import obstore

        return self.ask(lambda: bytes(obstore.get(self.client, path).bytes()))

    def put(self, path: str, data: bytes | Path, sha256: str = "") -> None:
        """Write an object; it is there whole or not at all.

        Parameters
        ----------
        path : str
            Its name.
        data : bytes or Path
            Its content, or the file that has it.
        sha256 : str
            Digest that the object is to carry; empty for none.

        Raises
        ------
        StoreDownError
            If the store does not take it.
        """
        import obstore

        attributes = {DIGEST: sha256} if sha256 else None
        self.ask(
            lambda: obstore.put(
                self.client, path, data, attributes=attributes, max_concurrency=UPLOADS
            )
        )

    def list(self, prefix: str) -> dict[str, Listed]:
        """List the objects below a prefix.

        Parameters
        ----------
        prefix : str
            A folder, so to speak: `a/b` is not the prefix of `a/bc`.

        Returns
        -------
        dict
            Name → what is told of it.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        import obstore

        rows = self.ask(
            lambda: [row for rows in obstore.list(self.client, prefix or None) for row in rows]
        )
        return {row["path"]: _listed(row) for row in rows}

    def find(self, path: str) -> Listed | None:
        """Look one object up.

        Parameters
        ----------
        path : str
            Its name.

        Returns
        -------
        Listed or None
            None if it is not there.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        import obstore

        try:
            return _listed(self.ask(lambda: obstore.head(self.client, path)))
        except FileNotFoundError:
            return None

    def delete(self, paths: Sequence[str]) -> None:
        """Delete objects; those that are not there are no fault.

        Parameters
        ----------
        paths : sequence of str
            Their names.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        import obstore

        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                self.ask(lambda path=path: obstore.delete(self.client, path))  # type: ignore[misc]

    def set_aside(self, prefix: str, aside: str, first: str) -> None:
        """Rename all objects below a prefix, so that they are never used and can be looked at.

        Parameters
        ----------
        prefix : str
            What is to go.
        aside : str
            What it is called from now on.
        first : str
            Name of the object below the prefix that makes the others count.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        for path in sorted(self.list(prefix), key=lambda path: not path.endswith("/" + first)):
            with contextlib.suppress(FileNotFoundError):
                self.rename(path, f"{aside}/{path.removeprefix(prefix).lstrip('/')}")

    def rename(self, path: str, new: str) -> None:
        """Rename an object.

        Parameters
        ----------
        path : str
            Its name.
        new : str
            Its new name.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        StoreDownError
            If the store does not answer.
        """
        import obstore

        self.ask(lambda: obstore.rename(self.client, path, new))

    def download(self, path: str, target: Path) -> str:
        """Write an object to a file.

        Parameters
        ----------
        path : str
            Its name.
        target : Path
            The file.

        Returns
        -------
        str
            SHA-256 of what came.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        StoreDownError
            If the store does not answer.
        """
        return self.ask(lambda: self._download(path, target))

    def _download(self, path: str, target: Path) -> str:
        import obstore

        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with target.open("wb") as stream:
            for chunk in self._chunks(obstore.get(self.client, path)):
                digest.update(chunk)
                stream.write(chunk)
        return digest.hexdigest()

    def read_piece(self, path: str, listed: Listed, target: int, begin: int, end: int) -> str:
        """Write a piece of an object to the same place of a file.

        Parameters
        ----------
        path : str
            The object's name.
        listed : Listed
            Which content is meant.
        target : int
            Descriptor of the file.
        begin, end : int
            From which byte to before which one.

        Returns
        -------
        str
            The digest that the whole object carries, empty if none.

        Raises
        ------
        FileNotFoundError or obstore.exceptions.PreconditionError
            If the object is not there, or has other content by now.
        StoreDownError
            If the store does not answer.
        """
        return self.ask(lambda: self._read_piece(path, listed, target, begin, end))

    def _read_piece(self, path: str, listed: Listed, target: int, begin: int, end: int) -> str:
        import obstore

        options: dict[str, Any] = {"range": (begin, end)} if end > begin else {}
        if listed.tag:
            options["if_match"] = listed.tag
        result = obstore.get(self.client, path, options=options)  # type: ignore[arg-type]
        at = begin
        for chunk in self._chunks(result):
            os.pwrite(target, chunk, at)
            at += len(chunk)
        if at != end:
            raise TimeoutError(f"{at - begin} bytes instead of {end - begin}")
        return str(result.attributes.get(DIGEST, ""))

    def _chunks(self, result: GetResult) -> Iterator[bytes]:
        """Yield the content as it comes. Raises TimeoutError if it comes too slowly."""
        began, size = time.monotonic(), 0
        for buffer in result.stream(min_chunk_size=CHUNK):
            chunk = bytes(buffer)
            yield chunk
            size += len(chunk)
            allowed = self.patience.silence_s + size / self.patience.slowest_bytes_per_s
            if time.monotonic() - began > allowed:
                raise TimeoutError(f"only {size} bytes in {allowed:.0f} s")


def _listed(row: ObjectMeta) -> Listed:
    # whole seconds: listings tell more of them than looking one object up does
    return Listed(row["size"], row["e_tag"], int(row["last_modified"].timestamp()) * 10**9)
