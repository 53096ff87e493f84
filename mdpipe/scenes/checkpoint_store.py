"""Checkpoints of scenes under way in a store, for hosts that lose their disks with their work."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from mdpipe.products import remove, write_atomically
from mdpipe.scenes.entry import FORMAT, KEY, CorruptEntryError, seal, unseal
from mdpipe.scenes.lock import Notice, silent
from mdpipe.scenes.objects import Objects, Patience, StoreDownError

MANIFEST: Final = "manifest.json"
FOLDER: Final = "checkpoints"

PART: Final = 8 << 20
"""Longest part of a file, bytes; some lie in memory at once."""

READERS: Final = 4


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a file: where it begins, bytes, SHA-256; the object is named by them."""

    begin: int
    size: int
    sha256: str

    def object(self, file: str) -> str:
        """Return the name of its object: parts of other content have other names."""
        return f"{file}.{self.begin}-{self.begin + self.size}.{self.sha256[:16]}"


Parts = dict[str, tuple[Part, ...]]


class CheckpointStore:
    """What a scene needs to go on: `checkpoints/<key>/`, parts of files first, the manifest last.

    Files only ever grow, or are small and replaced whole. What was written stays as long as a
    manifest names it, so that at any moment the last whole state can be restored.

    Parameters
    ----------
    url : str
        `s3://bucket/prefix`.
    key : str
        The scene's key.
    notice : callable
        Told, in one line, what the user should know but need not act on.
    patience : Patience or None
        How long the store is waited for.

    Attributes
    ----------
    step : int or None
        Step of the state that the store has; None if it has none.

    Raises
    ------
    UsageError
        If the URL is not one of a bucket, or the library for stores is not installed.
    """

    def __init__(
        self, url: str, key: str, notice: Notice = silent, patience: Patience | None = None
    ) -> None:
        if not KEY.fullmatch(key):
            raise ValueError(f"a scene key must be 64 hex digits, got {key!r}")
        self.key, self.notice = key, notice
        self.objects = Objects(url, patience)
        self.prefix = f"{FOLDER}/{key}"
        self.step: int | None = None
        self._parts: Parts = {}

    def look(self) -> int | None:
        """Read the manifest; a damaged one is set aside with all that it names.

        Returns
        -------
        int or None
            The step of the state; None if there is none that can be used.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        self.step, self._parts = None, {}
        raw = last = b""
        for _ in range(self.objects.patience.attempts):
            last = raw
            try:
                raw = self.objects.read(f"{self.prefix}/{MANIFEST}")
                self.step, self._parts = _decode(raw, self.key)
            except FileNotFoundError:
                return None
            except CorruptEntryError as error:
                # the way may have damaged it: only what is wrong twice alike is wrong in the store
                if raw == last:
                    self.set_aside(str(error))
                    return None
                continue
            return self.step
        raise StoreDownError("its answers differ from each other")

    def restore(self, into: Path) -> bool:
        """Bring the state that `look` has found, each byte compared with its digest.

        Parameters
        ----------
        into : Path
            The work folder; what is there is replaced.

        Returns
        -------
        bool
            Whether it is there now; a state that is damaged is set aside, and `into` is as it was.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        if self.step is None:
            return False
        try:
            with write_atomically(into) as temporary:
                remove(temporary)
                temporary.mkdir()
                for file, parts in self._parts.items():
                    self._bring(file, parts, temporary / file)
        except CorruptEntryError as error:
            self.set_aside(str(error))
            return False
        return True

    def _bring(self, file: str, parts: tuple[Part, ...], target: Path) -> None:
        """Put a file together. Raises CorruptEntryError if a part is missing or damaged."""
        with target.open("wb") as stream:

            def bring(part: Part) -> None:
                def fetch() -> str:
                    content = self.objects.read(f"{self.prefix}/{part.object(file)}")
                    os.pwrite(stream.fileno(), content, part.begin)
                    return hashlib.sha256(content).hexdigest()

                if not self.objects.brings(fetch, part.sha256.__eq__):
                    raise CorruptEntryError(f"{part.object(file)}: missing or damaged")

            with ThreadPoolExecutor(READERS) as pool:
                list(pool.map(bring, parts))
        os.truncate(target, parts[-1].begin + parts[-1].size if parts else 0)

    def save(
        self, step: int, whole: Mapping[str, bytes], grown: Mapping[str, tuple[Path, int]]
    ) -> int:
        """Write what is new of a state, and then the manifest.

        Parameters
        ----------
        step : int
            The state's step.
        whole : mapping
            Small files by name, with their content.
        grown : mapping
            Files that are appended to, by name: where they lie, and how many bytes count.

        Returns
        -------
        int
            Bytes written; 0 if the store had this state.

        Raises
        ------
        StoreDownError
            If the store does not take it; what it had then still holds.
        OSError
            If a file cannot be read.
        """
        before, written = self._parts, 0
        now: Parts = {}
        for file, content in whole.items():
            part = Part(0, len(content), hashlib.sha256(content).hexdigest())
            if before.get(file) != (part,):
                written += self._put(file, part, content)
            now[file] = (part,)
        if self.step == step and all(before[file] == now[file] for file in whole):
            return 0
        for file, (path, size) in grown.items():
            known = before.get(file, ())
            if known and known[-1].begin + known[-1].size > size:
                known = ()  # it has been cut off since
            added = self._append(file, path, known[-1].begin + known[-1].size if known else 0, size)
            written += sum(part.size for part in added)
            now[file] = (*known, *added)
        raw = _encode(self.key, step, now)
        self.objects.put(f"{self.prefix}/{MANIFEST}", raw)
        self.step, self._parts = step, now
        self._tidy(before, now)
        return written + len(raw)

    def _append(self, file: str, path: Path, begin: int, end: int) -> list[Part]:
        """Write what lies between two places of a file."""
        added: list[Part] = []
        if begin == end:
            return added
        with path.open("rb") as stream:
            stream.seek(begin)
            while begin < end:
                content = stream.read(min(PART, end - begin))
                if not content:
                    raise OSError(f"{path}: shorter than the checkpoint says")
                part = Part(begin, len(content), hashlib.sha256(content).hexdigest())
                self._put(file, part, content)
                added.append(part)
                begin += len(content)
        return added

    def _put(self, file: str, part: Part, content: bytes) -> int:
        self.objects.put(f"{self.prefix}/{part.object(file)}", content)
        return len(content)

    def _tidy(self, before: Parts, now: Parts) -> None:
        """Delete what the manifest before named and this one does not."""
        names = [
            {p.object(file) for file, parts in x.items() for p in parts} for x in (before, now)
        ]
        self.objects.delete([f"{self.prefix}/{name}" for name in sorted(names[0] - names[1])])

    def set_aside(self, reason: str) -> None:
        """Set a damaged state aside, its manifest first.

        Parameters
        ----------
        reason : str
            What is wrong with it.

        Raises
        ------
        StoreDownError
            If the store does not answer.
        """
        self.step, self._parts = None, {}
        aside = f"quarantine/{FOLDER}/{self.key}.{time.time_ns():x}"
        self.objects.set_aside(self.prefix, aside, MANIFEST)
        self.notice(
            f"checkpoint store: scene {self.key[:12]} is damaged there ({reason}); set aside as "
            f"{aside}, the scene begins anew"
        )

    def remove(self) -> None:
        """Remove the state, its manifest first: the scene is finished.

        Raises
        ------
        StoreDownError
            If the store does not answer; what is left is never used without its manifest.
        """
        listed = self.objects.list(self.prefix)
        self.objects.delete(sorted(listed, key=lambda path: not path.endswith("/" + MANIFEST)))
        self.step, self._parts = None, {}


def _encode(key: str, step: int, parts: Parts) -> bytes:
    files = {file: [asdict(part) for part in of] for file, of in parts.items()}
    return seal({"format": FORMAT, "key": key, "step": step, "files": files})


def _decode(raw: bytes, key: str) -> tuple[int, Parts]:
    """Read a manifest. Raises CorruptEntryError if a byte of it has changed."""
    content = unseal(raw, MANIFEST)
    if content["key"] != key:
        raise CorruptEntryError(f"{MANIFEST}: it describes another scene, {content['key']}")
    parts = {file: tuple(Part(**row) for row in rows) for file, rows in content["files"].items()}
    for file in parts:
        if file.startswith(".") or "/" in file:
            raise CorruptEntryError(f"{file}: a name that leads out of the folder")
    return int(content["step"]), parts
