"""Films and measurements of groups, from the cache back into a run folder.

Entries lie in a temporary folder of this host meanwhile: the run folder may be on a volume.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mdpipe.products import copy_whole
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.shared import bring
from mdpipe.steps.packing import names_in, unpack

PACKED: Final = "group.zip"
MEASURED: Final = ("observables.json", "observables.npz", "scene.json")
"""What the last step needs of a scene, the file that says that it is whole last."""


def fetch_group(cache: SceneCache, key: str, group: Path) -> bool:
    """Put films and measurements of a group into its folder.

    Parameters
    ----------
    cache : SceneCache
        The cache.
    key : str
        The group's key.
    group : Path
        The group's folder; what it has already stays.

    Returns
    -------
    bool
        Whether the cache had them.

    Raises
    ------
    StoreDownError
        If the store does not answer.
    """
    with _place_of_entry() as entry:
        if not bring(cache, key, entry):
            return False
        lacking = [name for name in names_in(entry / PACKED) if not (group / name).exists()]
        unpack(entry / PACKED, group, sorted(lacking, key=_says_whole))
    return True


def fetch_films(cache: SceneCache, key: str, group: Path, *, far: bool) -> bool:
    """Put films and stills of a group into its folder, in place of those that are there.

    Parameters
    ----------
    cache : SceneCache
        The cache.
    key : str
        The group's key.
    group : Path
        The group's folder.
    far : bool
        Whether to ask the durable tier too.

    Returns
    -------
    bool
        Whether the cache had them.
    """
    with _place_of_entry() as entry:
        if cache.fetch(key, entry, far=far) is None:
            return False
        unpack(
            entry / PACKED, group, [name for name in names_in(entry / PACKED) if "/" not in name]
        )
    return True


def fetch_measured(cache: SceneCache, key: str, scene: Path) -> bool:
    """Put the measurements of a scene into its folder, without its trajectory.

    Parameters
    ----------
    cache : SceneCache
        The cache.
    key : str
        The scene's key.
    scene : Path
        The scene's folder; what it has already stays.

    Returns
    -------
    bool
        Whether the cache had it.

    Raises
    ------
    StoreDownError
        If the store does not answer.
    """
    with _place_of_entry() as entry:
        if not bring(cache, key, entry):
            return False
        for name in MEASURED:
            if (entry / name).is_file() and not (scene / name).exists():
                copy_whole(entry / name, scene / name)
    return True


@contextmanager
def _place_of_entry() -> Iterator[Path]:
    """Give a place on this host for an entry, which goes with all that is there."""
    with tempfile.TemporaryDirectory(prefix="mdpipe-entry-") as scratch:
        yield Path(scratch) / "entry"


def _says_whole(name: str) -> bool:
    """Say whether a file goes last, for it says that a scene is whole."""
    return name.endswith("scene.json")
