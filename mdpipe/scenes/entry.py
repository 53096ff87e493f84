"""One entry of the scene cache: data files and `entry.json`, which describes them and itself."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mdpipe.products import file_digest, hash_copy, name_too
from mdpipe.run_folder import WORK

ENTRY = "entry.json"
KEY = re.compile(r"[0-9a-f]{64}")
FORMAT = 1


class CorruptEntryError(Exception):
    """An entry is not what it says it is; it must be set aside, never used."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size in bytes and SHA-256 of a data file."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Description:
    """What `entry.json` says: key, data files, time of birth in seconds since 1970, versions."""

    key: str
    files: Mapping[str, FileRecord]
    created_s: float
    versions: Mapping[str, str]

    @property
    def bytes(self) -> int:
        """Size of the data files."""
        return sum(record.size for record in self.files.values())


@dataclass(frozen=True, slots=True)
class Entry:
    """Metadata of a cached scene.

    Attributes
    ----------
    key : str
        The scene's key.
    folder : Path
        Where it lies.
    files : mapping
        Relative path to size and digest.
    created_s : float
        When it was published, seconds since 1970.
    last_hit_s : float
        When it was last used, seconds since 1970.
    versions : mapping
        Versions of the programs that made it.
    inode : int
        Tells this publication from a later one of the same key.
    """

    key: str
    folder: Path
    files: Mapping[str, FileRecord]
    created_s: float
    last_hit_s: float
    versions: Mapping[str, str]
    inode: int

    @property
    def bytes(self) -> int:
        """Size of the data files."""
        return sum(record.size for record in self.files.values())

    @property
    def description(self) -> Description:
        """What `entry.json` says."""
        return Description(self.key, self.files, self.created_s, self.versions)

    def check(self) -> None:
        """Read every byte and compare it with the digests.

        Raises
        ------
        CorruptEntryError
            If a file is missing, has another size or other bytes.
        """
        for name, record in self.files.items():
            try:
                good = file_digest(self.folder / name) == record.sha256
            except OSError as error:
                raise CorruptEntryError(f"{name}: {error.strerror}") from error
            if not good:
                raise CorruptEntryError(f"{name}: its bytes have changed since it was written")

    def copy_to(self, folder: Path) -> None:
        """Copy the data, and compare what was copied with the digests on the way.

        Parameters
        ----------
        folder : Path
            An existing folder.

        Raises
        ------
        CorruptEntryError
            If a file is missing or has other bytes; the copy must then be thrown away.
        """
        for name, record in self.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                source = (self.folder / name).open("rb")
            except OSError as error:
                raise CorruptEntryError(f"{name}: {error.strerror}") from error
            with source, target.open("wb") as stream:
                if hash_copy(source, stream) != record.sha256:
                    raise CorruptEntryError(f"{name}: its bytes have changed since it was written")


def program_versions() -> dict[str, str]:
    """Return the versions that can matter to a scene.

    Returns
    -------
    dict
        Program to version.
    """
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in ("mdpipe", "numpy", "numba"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def data_files(folder: Path) -> list[Path]:
    """Return what of a scene's folder is data: no checkpoints, no hidden files, no metadata.

    Parameters
    ----------
    folder : Path
        Products of a scene.

    Returns
    -------
    list of Path
        Relative paths, sorted.
    """
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        path
        for path in found
        if path.parts[0] != WORK
        and path.as_posix() != ENTRY
        and not any(part.startswith(".") for part in path.parts)
    )


def describe(key: str, folder: Path) -> Description:
    """Describe products where they lie.

    Parameters
    ----------
    key : str
        The scene's key.
    folder : Path
        Products of the scene.

    Returns
    -------
    Description
        With digests of the files as they are now.
    """
    files = {
        name.as_posix(): FileRecord((folder / name).stat().st_size, file_digest(folder / name))
        for name in data_files(folder)
    }
    return Description(key, files, time.time(), program_versions())


def write_entry(
    key: str, source: Path, target: Path, like: Description | None = None, *, share: bool = False
) -> Description:
    """Copy products into a folder and describe them, the description last.

    Parameters
    ----------
    key : str
        The scene's key.
    source : Path
        Products of the scene.
    target : Path
        A new, empty folder on the cache's file system.
    like : Description or None
        Of a copy that comes from elsewhere: time of birth and versions stay.
    share : bool
        Whether the entry's files may be those of the products, by further names where the file
        system gives them. The products must not be changed from then on: the caller removes them.

    Returns
    -------
    Description
        What was written.

    Raises
    ------
    OSError
        If it cannot be written, such as for a full disk.
    """
    files: dict[str, FileRecord] = {}
    for name in data_files(source):
        copy = target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if share and name_too(source / name, copy):
            size, sha256 = copy.stat().st_size, file_digest(copy)
        else:
            with (source / name).open("rb") as reader, copy.open("wb") as writer:
                sha256 = hash_copy(reader, writer)
                size = writer.tell()
            copy.chmod(0o444)
        files[name.as_posix()] = FileRecord(size, sha256)
    created = like.created_s if like is not None else time.time()
    versions = like.versions if like is not None else program_versions()
    description = Description(key, files, created, versions)
    (target / ENTRY).write_bytes(encode_description(description))
    return description


def read_entry(folder: Path) -> Entry | None:
    """Read and check the metadata of an entry.

    Parameters
    ----------
    folder : Path
        `…/<2 hex>/<key>`.

    Returns
    -------
    Entry or None
        None if there is no such entry.

    Raises
    ------
    CorruptEntryError
        If the metadata has changed since it was written, or a data file is missing or has another
        size. The bytes of the data are not read here.
    """
    path = folder / ENTRY
    try:
        with path.open("rb") as stream:
            status = os.fstat(stream.fileno())
            raw = stream.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        if folder.is_dir():
            raise CorruptEntryError(f"{ENTRY}: missing") from error
        return None
    except OSError as error:
        raise CorruptEntryError(f"{ENTRY}: {error.strerror}") from error
    described = decode_description(raw, folder.name)
    for name, record in described.files.items():
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise CorruptEntryError(f"{name}: {error.strerror}") from error
        if size != record.size:
            raise CorruptEntryError(f"{name}: {size} bytes instead of {record.size}")
    return Entry(
        described.key, folder, described.files, described.created_s, status.st_mtime,
        described.versions, status.st_ino,
    )  # fmt: skip


def encode_description(described: Description) -> bytes:
    """Return the bytes of `entry.json`, a digest of themselves included.

    Parameters
    ----------
    described : Description
        What they say.

    Returns
    -------
    bytes
        JSON.
    """
    rows = {name: {"size": row.size, "sha256": row.sha256} for name, row in described.files.items()}
    return seal(
        {
            "format": FORMAT,
            "key": described.key,
            "created_s": described.created_s,
            "files": rows,
            "versions": dict(described.versions),
        }
    )


def decode_description(raw: bytes, key: str) -> Description:
    """Read and check the bytes of `entry.json`.

    Parameters
    ----------
    raw : bytes
        As `encode_description` made them.
    key : str
        The scene that they must describe.

    Returns
    -------
    Description
        What they say.

    Raises
    ------
    CorruptEntryError
        If any byte has changed, or they describe another scene.
    """
    content = unseal(raw)
    if content["key"] != key:
        raise CorruptEntryError(f"{ENTRY}: it describes another scene, {content['key']}")
    files = {name: FileRecord(row["size"], row["sha256"]) for name, row in content["files"].items()}
    for name in files:
        if name.startswith("/") or ".." in name.split("/"):
            raise CorruptEntryError(f"{name}: a name that leads out of the entry")
    return Description(key, files, content["created_s"], content["versions"])


def seal(content: Mapping[str, Any]) -> bytes:
    """Write metadata in the one way that `unseal` accepts, with a digest of themselves.

    Parameters
    ----------
    content : mapping
        Plain data.

    Returns
    -------
    bytes
        JSON.
    """
    body = json.dumps(content, sort_keys=True, indent=1)
    digest = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({**content, "digest": digest}, sort_keys=True, indent=1).encode() + b"\n"


def unseal(raw: bytes, name: str = ENTRY) -> dict[str, Any]:
    """Read metadata; every changed byte is noticed, white space included.

    Parameters
    ----------
    raw : bytes
        As `seal` made them.
    name : str
        What they are called, for the message.

    Returns
    -------
    dict
        The content.

    Raises
    ------
    CorruptEntryError
        If any byte has changed.
    """
    try:
        content = json.loads(raw)
        content.pop("digest")
        good = seal(content) == raw
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CorruptEntryError(f"{name}: not readable") from error
    if not good or content.get("format") != FORMAT:
        raise CorruptEntryError(f"{name}: its bytes have changed since it was written")
    return dict(content)
