"""What decides the products of a step, as a digest: settings, and the files that inputs mean."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mdpipe
from mdpipe.scenes.spec import PHYSICS_VERSION
from mdpipe.study import Inputs, Study


def digest_of(*parts: Any) -> str:
    """Return the SHA-256 of plain data.

    Parameters
    ----------
    *parts : object
        What JSON can hold.

    Returns
    -------
    str
        64 hex digits.
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def preprocess_digest(study: Study, files: Sequence[Sequence[str | int]]) -> str:
    """Return a digest of all that decides the plan.

    Parameters
    ----------
    study : Study
        The study.
    files : sequence
        What tells the state of the input files, such as `input_files` returns it.

    Returns
    -------
    str
        64 hex digits.
    """
    return digest_of(
        study.model_dump(mode="json", include={"inputs", "groups", "scenes"}),
        files,
        PHYSICS_VERSION,
        mdpipe.__version__,
    )


def input_files(inputs: Sequence[Inputs], folder: Path, run: Path) -> list[tuple[str, int, int]]:
    """List the files that inputs mean, with size and time, to see whether they have changed.

    Parameters
    ----------
    inputs : sequence of Inputs
        Folders, files or globs.
    folder : Path
        What they are relative to.
    run : Path
        The run folder; what lies in it is no input.

    Returns
    -------
    list of (str, int, int)
        Path relative to `folder`, bytes, time of the last change in ns; sorted. Hidden files
        (readers leave their indices beside the data) are left out.
    """
    found: dict[str, tuple[int, int]] = {}
    for pattern in (p for item in inputs for p in (item.path, item.topology) if p is not None):
        for path in _matching(folder / pattern):
            if path.is_file() and not path.name.startswith(".") and run not in path.parents:
                status = path.stat()
                found[os.path.relpath(path, folder)] = (status.st_size, status.st_mtime_ns)
    return [(name, *found[name]) for name in sorted(found)]


def _matching(base: Path) -> Iterator[Path]:
    """Yield the files below a folder, a file itself, or what a glob matches."""
    if base.is_dir():
        yield from base.rglob("*")
    elif base.exists():
        yield base
    else:
        anchor = Path(base.anchor or ".")
        yield from anchor.glob(base.relative_to(anchor).as_posix())
