"""A run folder in a store: what a step needs is pulled before it, what it has made pushed after."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mdpipe.failures import IncompleteRunError, InputError
from mdpipe.products import remove
from mdpipe.run_folder import WORK, RunFolder
from mdpipe.scenes.objects import Listed
from mdpipe.scenes.tree import Tree
from mdpipe.steps.plan import is_slice, read_group

SCRATCH_VARIABLE: Final = "MDPIPE_SCRATCH"
"""Environment variable with the folder where the copy lies, and stays; else a temporary one."""

GROUPS: Final = "groups/"
HEAVY: Final = ("start.npz", "final.npz", "topology.gro", "trajectory.xtc", "trajectory.dcd")
"""What of a group's folder `combine` does not read."""


@contextmanager
def stored_run(url: str, step: str, group: int | None) -> Iterator[Path]:
    """Give a step a copy of its run folder, and push what the step has changed.

    Parameters
    ----------
    url : str
        `s3://bucket/prefix`.
    step : str
        Kind of the step.
    group : int or None
        The group's line in the plan, of a step that is for one group.

    Yields
    ------
    Path
        The copy: of the run folder no more than the step needs.

    Raises
    ------
    InputError
        If there is no plan in the store, or a file of it is damaged.
    BusyError
        If the store does not answer.

    Notes
    -----
    A step that fails pushes nothing, but one that has made all it could of a run that is not
    whole. Products of a slice are in the cache and are not pushed. The plan is pushed last.
    """
    with _scratch() as folder:
        tree = Tree(url)
        pulled = _wanted(tree, folder, step, group)
        tree.pull(pulled, folder)
        before = {name: stamp for name, stamp in _stamps(folder).items() if name in pulled}
        try:
            yield folder
        except IncompleteRunError:
            _push(tree, folder, before, _made_by(step, folder, group))
            raise
        _push(tree, folder, before, _made_by(step, folder, group))


@contextmanager
def _scratch() -> Iterator[Path]:
    named = os.environ.get(SCRATCH_VARIABLE)
    if named:
        folder = Path(named)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="mdpipe-run-"))
    try:
        yield folder
    finally:
        remove(folder)


def _wanted(tree: Tree, folder: Path, step: str, group: int | None) -> dict[str, Listed]:
    """Return what a step needs of the run, once the plan has been pulled."""
    if step == "preprocess" or (step != "combine" and group is None):
        return {}
    if group is None:
        listed = {name: row for name, row in tree.list().items() if not _aside(name)}
        return {name: row for name, row in listed.items() if not name.endswith(HEAVY)}
    _pull_plan(tree, folder)
    line = read_group(folder, group)
    mine = tree.list(f"{GROUPS}{line['id']}")
    start = f"{GROUPS}{line['id']}/start.npz"
    return {name: row for name, row in mine.items() if (name == start) == (step == "simulate")}


def _pull_plan(tree: Tree, folder: Path) -> None:
    name = RunFolder(folder).plan.name
    found = tree.find(name)
    if found is None:
        raise InputError(f"{tree.url}/{name}: no plan there; run `mdpipe preprocess` first")
    tree.pull({name: found}, folder)


def _aside(name: str) -> bool:
    """Say whether a file belongs to slices or logs, which no later step of the whole run reads."""
    return name.startswith(("pending/", "logs/"))


def _made_by(step: str, folder: Path, group: int | None) -> tuple[str, ...] | None:
    """Return beginnings of the names that a step may push; None for all."""
    if step == "preprocess":
        return None
    if group is None:
        names = (path.name for path in folder.iterdir())
        return tuple(name for name in names if f"{name}/" not in {GROUPS, "pending/", "logs/"})
    line = read_group(folder, group)
    return () if is_slice(line) else (f"{GROUPS}{line['id']}/",)


def _push(
    tree: Tree, folder: Path, before: dict[str, tuple[int, int]], made: tuple[str, ...] | None
) -> None:
    changed = [name for name, stamp in _stamps(folder).items() if before.get(name) != stamp]
    mine = [name for name in changed if made is None or name.startswith(made)]
    plan = RunFolder(folder).plan.name
    tree.push(folder, [name for name in mine if name != plan])
    tree.push(folder, [name for name in mine if name == plan])


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of all files but hidden ones and checkpoints."""
    found: dict[str, tuple[int, int]] = {}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if not path.is_file() or WORK in parts or any(part.startswith(".") for part in parts):
            continue
        status = path.stat()
        found["/".join(parts)] = (status.st_size, status.st_mtime_ns)
    return found
