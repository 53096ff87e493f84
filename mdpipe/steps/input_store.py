"""Inputs in a store: known by name, size and time at first, and fetched only to be read."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from mdpipe.failures import InputError
from mdpipe.io.inputs import companions
from mdpipe.products import remove
from mdpipe.scenes.objects import Listed
from mdpipe.scenes.tree import Tree
from mdpipe.study import FOLDER_VARIABLE, STORE, Inputs, Study

LISTING: Final = ".listing.json"
WILD: Final = frozenset("*?[")


class _Listing(NamedTuple):
    """What a folder of placeholders stands for, and whether those to be read have their bytes."""

    url: str
    files: dict[str, Listed]
    fetched: bool


@contextmanager
def inputs_at_hand(study: Study) -> Iterator[Study]:
    """Give a study a folder with its inputs, if they are in a store.

    Parameters
    ----------
    study : Study
        The study.

    Yields
    ------
    Study
        The study as it is; or, where `MDPIPE_STUDY_FOLDER` is `s3://bucket/prefix`, with a
        folder of placeholders: files of the names, sizes and times of the inputs, and without
        their bytes. They say whether inputs have changed at the price of a listing.

    Raises
    ------
    InputError
        If a path of the study names nothing in the store, or leads out of its folder.
    BusyError
        If the store does not answer.
    """
    url = os.environ.get(FOLDER_VARIABLE, "")
    if not url.startswith(STORE):
        yield study
        return
    tree = Tree(url)
    found = _list(tree, study.inputs)
    folder = Path(tempfile.mkdtemp(prefix="mdpipe-inputs-"))
    try:
        for name, row in found.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            os.truncate(path, row.size)  # takes no space
            os.utime(path, ns=(row.time_ns, row.time_ns))
        _write(folder, _Listing(tree.url, found, fetched=False))
        yield study.model_copy(update={"folder": folder})
    finally:
        remove(folder)


def place_of(study: Study) -> str:
    """Return where a study's inputs lie, whatever folder they have been brought to.

    Parameters
    ----------
    study : Study
        From `inputs_at_hand`.

    Returns
    -------
    str
        Its folder, or `s3://bucket/prefix`.
    """
    listing = _listing_of(study)
    return str(study.folder) if listing is None else listing.url


def content_tags(study: Study) -> dict[str, str] | None:
    """Say by which tags a store knows the content of a study's inputs.

    Parameters
    ----------
    study : Study
        From `inputs_at_hand`.

    Returns
    -------
    dict or None
        Path relative to the study's folder → tag, or the time where a store gives none; None if
        the inputs are in no store. Their placeholders have no content to look at.
    """
    listing = _listing_of(study)
    if listing is None:
        return None
    return {name: row.tag or str(row.time_ns) for name, row in listing.files.items()}


def fetch_inputs(study: Study, files: Collection[Path]) -> int:
    """Fetch the bytes of inputs that are placeholders, with all that readers look for beside them.

    Parameters
    ----------
    study : Study
        From `inputs_at_hand`.
    files : collection of Path
        The inputs that will be read.

    Returns
    -------
    int
        Bytes; 0 for inputs that are no placeholders, or were fetched before.

    Raises
    ------
    InputError
        If one is missing or damaged in the store.
    BusyError
        If the store does not answer, or an input has changed since it was listed.
    NoSpaceError
        If the disk is full.
    """
    listing = _listing_of(study)
    if listing is None or listing.fetched:
        return 0
    named = [study.folder / entry.topology for entry in study.inputs if entry.topology]
    beside = [other for path in files for other in companions(path)]
    wanted = {os.path.relpath(path, study.folder) for path in (*files, *named, *beside)}
    known = {name: listing.files[name] for name in sorted(wanted & set(listing.files))}
    got = Tree(listing.url).pull(known, study.folder)
    _write(study.folder, listing._replace(fetched=True))
    return got


def as_stored(study: Study, value: Any) -> Any:
    """Name inputs by their addresses in the store, in anything that is written as JSON.

    Parameters
    ----------
    study : Study
        From `inputs_at_hand`.
    value : object
        Tables and lists with the paths of inputs.

    Returns
    -------
    object
        The same, and a copy only where there is an address to name.
    """
    listing = _listing_of(study)
    return value if listing is None else _renamed(value, f"{study.folder}/", f"{listing.url}/")


def _renamed(value: Any, old: str, new: str) -> Any:
    if isinstance(value, dict):
        return {_renamed(key, old, new): _renamed(item, old, new) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_renamed(item, old, new) for item in value]
    if isinstance(value, str) and value.startswith(old):
        return new + value.removeprefix(old)
    return value


def _listing_of(study: Study) -> _Listing | None:
    try:
        content = json.loads((study.folder / LISTING).read_text("utf-8"))
    except FileNotFoundError:
        return None
    files = {name: Listed(*row) for name, row in content["files"].items()}
    return _Listing(content["url"], files, content["fetched"])


def _write(folder: Path, listing: _Listing) -> None:
    (folder / LISTING).write_text(json.dumps(listing._asdict()), "utf-8")


def _list(tree: Tree, inputs: Sequence[Inputs]) -> dict[str, Listed]:
    """List all that the paths of a study can mean, and what lies beside it."""
    found: dict[str, Listed] = {}
    for pattern in (p for entry in inputs for p in (entry.path, entry.topology) if p is not None):
        if PurePosixPath(pattern).is_absolute():
            continue  # a folder of this machine
        fixed = _fixed_part(pattern)
        if fixed.startswith(".."):
            raise InputError(f"{pattern}: leads out of {tree.url}; correct inputs.path")
        if fixed and tree.find(fixed) is not None:
            fixed = os.path.dirname(fixed)  # noqa: PTH120  # a file: also what lies beside it
        below = tree.list(fixed)
        if not below:
            raise InputError(
                f"{tree.url}/{fixed}: no files there; put the inputs there, or correct inputs.path"
            )
        found |= below
    return found


def _fixed_part(pattern: str) -> str:
    """Return the folder or file before the first wildcard, empty for the top."""
    parts: list[str] = []
    for part in PurePosixPath(pattern).parts:
        if WILD & set(part):
            break
        parts.append(part)
    fixed = os.path.normpath("/".join(parts)) if parts else ""
    return "" if fixed == "." else fixed
