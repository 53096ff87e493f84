"""Products of a workflow, from the store or the shared claim into a folder.

A file that is there with the right content is left; one that was half fetched goes on; a name
stands in the folder only once its content has been compared with the digest of its source.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import BusyError, InputError, UsageError
from mdpipe.products import file_digest, no_space_is_clear
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.objects import Listed, Objects
from mdpipe.user_settings import read_settings
from mdpipe.workflows.cluster.door import Door, KubernetesDoor
from mdpipe.workflows.cluster.names import settings_of
from mdpipe.workflows.cluster.store import carried_digest, open_store, same_content

PIECE: Final = 8 << 20
LAYOUT: Final = RunFolder(Path())
PRODUCTS: Final = tuple(
    path.as_posix()
    for path in (
        LAYOUT.film, LAYOUT.report, LAYOUT.summary, LAYOUT.table, LAYOUT.plan, LAYOUT.preprocess
    )
)  # fmt: skip
"""What is fetched, as far as it has been made."""


@dataclass(frozen=True, slots=True)
class Remote:
    """A file at its source: `tag` changes with its content, `sha256` may be empty."""

    name: str
    size: int
    tag: str
    sha256: str


class Source(Protocol):
    """Where the products of a workflow are; they are read in pieces of `piece` bytes."""

    piece: int

    def files(self, names: tuple[str, ...]) -> list[Remote]:
        """Return those of the files that are there."""
        ...

    def read(self, remote: Remote, target: int, begin: int, end: int) -> None:
        """Write a piece of a file to the same place of an open one."""
        ...

    def is_same(self, remote: Remote, path: Path) -> bool | None:
        """Say whether a local file has its content; None if its source cannot tell."""
        ...


class StoreSource:
    """Products in an object store.

    Parameters
    ----------
    store : Objects
        The store.
    run : str
        The run's folder in it.
    """

    piece = PIECE

    def __init__(self, store: Objects, run: str) -> None:
        self.store, self.run = store, run
        self._listed: dict[str, Listed] = {}

    def files(self, names: tuple[str, ...]) -> list[Remote]:
        """Return those of the files that are there.

        Parameters
        ----------
        names : tuple of str
            Names below the run's folder.

        Returns
        -------
        list of Remote
            In the same order.
        """
        found = []
        for name in names:
            key = f"{self.run}/{name}"
            if (listed := self.store.find(key)) is not None:
                self._listed[name] = listed
                digest = carried_digest(self.store, key)
                found.append(Remote(name, listed.size, listed.tag or "", digest))
        return found

    def read(self, remote: Remote, target: int, begin: int, end: int) -> None:
        """Write a piece of a file to the same place of an open one.

        Parameters
        ----------
        remote : Remote
            The file.
        target : int
            Descriptor of the open one.
        begin, end : int
            From which byte to before which one.
        """
        key = f"{self.run}/{remote.name}"
        self.store.read_piece(key, self._listed[remote.name], target, begin, end)

    def is_same(self, remote: Remote, path: Path) -> bool | None:
        """Say whether a local file has the content of the object.

        Parameters
        ----------
        remote : Remote
            The object.
        path : Path
            The file.

        Returns
        -------
        bool or None
            None if sizes agree and the store has no digest that can be computed here.
        """
        if remote.sha256:
            return remote.size == path.stat().st_size and file_digest(path) == remote.sha256
        return same_content(path, self._listed[remote.name])


def fetch(
    door: Door, name: str, folder: Path, say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Fetch the products of a workflow.

    Parameters
    ----------
    door : Door
        The way to the cluster.
    name : str
        The workflow.
    folder : Path
        Where they go; made if need be.
    say : callable
        Told of each file.

    Returns
    -------
    list of Path
        The files, those that were there included.

    Raises
    ------
    AbsentError
        If there is no such workflow.
    InputError
        If it has made nothing yet.
    UsageError
        If there is no way to its data.
    BusyError
        If store or cluster do not answer, or what came is not what was sent.
    """
    workflow = door.workflow(name)
    # a workflow that was not made by `submit` says nothing: then the user's own settings hold
    settings = settings_of(workflow) or read_settings(ClusterSettings, "cluster")
    if settings.storage != "volume":
        store = open_store(settings, door)
        return fetch_from(StoreSource(store, f"runs/{name}"), name, folder, say)
    if not isinstance(door, KubernetesDoor):
        raise UsageError(
            f"{name} has its data on the claim {settings.shared_claim}, which an Argo Server "
            "cannot read; unset ARGO_SERVER and set KUBECONFIG"
        )
    from mdpipe.workflows.cluster.claim import claim_source

    with claim_source(door, settings, f"runs/{name}") as source:
        return fetch_from(source, name, folder, say)


def fetch_from(
    source: Source, name: str, folder: Path, say: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Fetch products from where they are.

    Parameters
    ----------
    source : Source
        Where they are.
    name : str
        The workflow, for messages.
    folder : Path
        Where they go.
    say : callable
        Told of each file.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    InputError
        If there are none.
    BusyError
        If what came is not what was sent.
    """
    remotes = source.files(PRODUCTS)
    if not remotes:
        raise InputError(f"{name} has no products yet; `mdpipe status {name}` says how far it is")
    for remote in remotes:
        path = folder / remote.name
        if path.is_file() and source.is_same(remote, path):
            say(f"{path}: was there")
            continue
        _fetch_one(source, remote, path)
        say(f"{path}: {remote.size / 1e6:.2f} MB")
    return [folder / remote.name for remote in remotes]


def _fetch_one(source: Source, remote: Remote, path: Path) -> None:
    """Fetch a file from where an earlier attempt stopped; it gets its name once it is whole."""
    # the tag is in the name, so that pieces of different contents never meet
    mark = hashlib.sha256(f"{remote.tag} {remote.sha256} {remote.size}".encode()).hexdigest()[:12]
    part = path.with_name(f".{path.name}.{mark}.fetch")
    with no_space_is_clear(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            at = min(os.fstat(descriptor).st_size, remote.size)
            while at < remote.size:
                end = min(at + source.piece, remote.size)
                source.read(remote, descriptor, at, end)
                at = end
            os.ftruncate(descriptor, remote.size)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if source.is_same(remote, part) is False:
        part.unlink()
        raise BusyError(f"{path}: what came is not what {remote.name} is; try again")
    part.replace(path)
