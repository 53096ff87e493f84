"""Products of steps: written whole or not at all, and remembered with size and digest."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from mdpipe.failures import NoSpaceError
from mdpipe.run_folder import WORK

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
CHUNK = 1 << 20


@contextmanager
def no_space_is_clear(path: Path) -> Iterator[None]:
    """Turn the operating system's ways to say that the disk is full into one clear error.

    Parameters
    ----------
    path : Path
        What is being written, for the message.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    NoSpaceError
        Instead of OSError with ENOSPC, EDQUOT or EFBIG.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoSpaceError(
            f"{path}: the disk is full ({os.strerror(error.errno)}); free space and run again"
        ) from error


@contextmanager
def write_atomically(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a temporary name to write to, and rename it to `path` when the block ends well.

    Parameters
    ----------
    path : Path
        The product; its folder is made if need be. It may become a file or a folder.
    durable : bool
        Whether to wait until a file has reached the disk, against a loss of power.

    Yields
    ------
    Path
        A name beside `path` with the same suffix, so that writers that go by suffix work.

    Raises
    ------
    NoSpaceError
        If the disk is full.

    Notes
    -----
    After an error nothing of the temporary is left and `path` is as it was.
    """
    temporary = path.with_name(f".{path.stem}.part-{os.getpid()}{path.suffix}")
    with no_space_is_clear(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if durable and temporary.is_file():
                with temporary.open("rb") as stream:
                    os.fsync(stream.fileno())
            if temporary.is_dir():
                remove(path)
            temporary.replace(path)
        except BaseException:
            remove(temporary)
            raise


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file's content whole or not at all.

    Parameters
    ----------
    source : Path
        The file.
    target : Path
        The copy, a file of its own with the usual rights.
    """
    with write_atomically(target) as temporary:
        shutil.copyfile(source, temporary)


def name_too(path: Path, name: Path) -> bool:
    """Give a file another name, and take the right to write.

    Parameters
    ----------
    path : Path
        The file.
    name : Path
        The further name.

    Returns
    -------
    bool
        Whether it could be done: other file systems, and some of all kinds, have none to give.
    """
    if path.is_symlink():
        return False
    try:
        os.link(path, name)
        name.chmod(0o444)
    except OSError:
        # a network volume may have made the name although it says no: a copy written under it
        # would empty the product
        name.unlink(missing_ok=True)
        return False
    return True


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        Its content, written as UTF-8.
    """
    with write_atomically(path) as temporary:
        temporary.write_text(text, "utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all, with sorted keys.

    Parameters
    ----------
    path : Path
        The file.
    value : Any
        Anything that `json` writes.
    """
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n")


def remove(path: Path) -> None:
    """Remove a file or folder, whatever it is and whether or not it is there.

    Parameters
    ----------
    path : Path
        What to remove.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def hash_copy(source: BinaryIO, target: BinaryIO | None = None) -> str:
    """Read a stream to its end, copy it if asked, and return the digest of what was read.

    Parameters
    ----------
    source : binary stream
        What to read.
    target : binary stream or None
        Where the same bytes go.

    Returns
    -------
    str
        SHA-256, 64 hex digits.
    """
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK):
        digest.update(chunk)
        if target is not None:
            target.write(chunk)
    return digest.hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        64 hex digits.
    """
    with path.open("rb") as stream:
        return hash_copy(stream)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a step made: `inputs` is a digest of all that decides it, `made` how it was made."""

    step: str
    inputs: str
    products: Mapping[str, tuple[int, int, str]]
    made: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Digest of the products' content, whatever their times."""
        content = {name: (size, sha) for name, (size, _, sha) in self.products.items()}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def manifest_path(run: Path, step: str) -> Path:
    """Return where the manifest of a step lies.

    Parameters
    ----------
    run : Path
        The run folder.
    step : str
        The step's id.

    Returns
    -------
    Path
        `.steps/<step>.json` in the run folder.
    """
    return run / ".steps" / f"{step}.json"


def expand(run: Path, products: Sequence[str]) -> list[str] | None:
    """Return the files that a step's products are.

    Parameters
    ----------
    run : Path
        The run folder.
    products : sequence of str
        Relative paths; one that ends with `/` is a folder with all below it but its checkpoints
        and hidden files.

    Returns
    -------
    list of str or None
        Sorted relative paths; None if a product is missing or a folder is empty.
    """
    found: list[str] = []
    for product in products:
        path = run / product
        if not product.endswith("/"):
            if not path.is_file():
                return None
            found.append(product)
            continue
        below = [
            f"{product}{part.as_posix()}"
            for part in (p.relative_to(path) for p in path.rglob("*") if p.is_file())
            if part.parts[0] != WORK and not any(name.startswith(".") for name in part.parts)
        ]
        if not below:
            return None
        found += below
    return sorted(found)


def record(
    run: Path,
    step: str,
    products: Sequence[str],
    inputs: str,
    made: Mapping[str, Any] | None = None,
) -> Manifest | None:
    """Write the manifest of a finished step, after all its products are in place.

    Parameters
    ----------
    run : Path
        The run folder.
    step : str
        The step's id.
    products : sequence of str
        Relative paths, as for `expand`.
    inputs : str
        Digest of all that decides the products.
    made : mapping or None
        How they were made (wall time, peak memory, …), for reports.

    Returns
    -------
    Manifest or None
        The manifest; None, and nothing written, if a product is missing.
    """
    files = expand(run, products)
    if files is None:
        return None
    rows: dict[str, tuple[int, int, str]] = {}
    for name in files:
        status = (run / name).stat()
        rows[name] = (status.st_size, status.st_mtime_ns, file_digest(run / name))
    manifest = Manifest(step, inputs, rows, dict(made or {}))
    write_json(
        manifest_path(run, step),
        {"step": step, "inputs": inputs, "products": rows, "made": manifest.made},
    )
    return manifest


def load_manifest(run: Path, step: str) -> Manifest | None:
    """Read the manifest of a step.

    Parameters
    ----------
    run : Path
        The run folder.
    step : str
        The step's id.

    Returns
    -------
    Manifest or None
        None if there is none, or none that can be read.
    """
    try:
        data = json.loads(manifest_path(run, step).read_text("utf-8"))
        rows = {name: (int(a), int(b), str(c)) for name, (a, b, c) in data["products"].items()}
        return Manifest(str(data["step"]), str(data["inputs"]), rows, dict(data["made"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def matches(
    run: Path, manifest: Manifest, inputs: str | None = None, *, full: bool = False
) -> bool:
    """Say whether a step's products are still what its manifest says.

    Parameters
    ----------
    run : Path
        The run folder.
    manifest : Manifest
        What was recorded.
    inputs : str or None
        The digest that the inputs have now; None to leave it out.
    full : bool
        Whether to read every byte. Otherwise a file of the recorded size and time is believed,
        and only one with another time is read.

    Returns
    -------
    bool
        True if every product is there and the same.
    """
    if inputs is not None and manifest.inputs != inputs:
        return False
    for name, (size, mtime_ns, sha256) in manifest.products.items():
        path = run / name
        try:
            status = path.stat()
            if status.st_size != size:
                return False
            if (full or status.st_mtime_ns != mtime_ns) and file_digest(path) != sha256:
                return False
        except OSError:
            return False
    return True


def sweep(run: Path) -> None:
    """Remove temporary files that killed steps have left in a run folder.

    Parameters
    ----------
    run : Path
        The run folder; nothing runs in it.
    """
    for left in sorted(run.rglob(".*.part*")):
        remove(left)
