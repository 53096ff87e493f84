"""Copies of scenes between the folder of a cache and its durable tier, when somebody asks."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.entry import CorruptEntryError


def push(cache: SceneCache, keys: Collection[str]) -> list[str]:
    """Copy scenes from the folder to the durable tier.

    Parameters
    ----------
    cache : SceneCache
        A cache with both tiers.
    keys : collection of str
        Which scenes.

    Returns
    -------
    list of str
        Those that are there now.
    """
    done = []
    for key in keys:
        with cache.store.reading(key) as entry:
            if entry is None or cache.durable is None:
                continue
            try:
                entry.check()
            except CorruptEntryError as error:
                cache.store.quarantine(key, str(error), entry.inode)
                continue
            if cache.durable.push(entry.description, entry.folder):
                done.append(key)
    return done


def pull(cache: SceneCache, keys: Collection[str]) -> list[str]:
    """Copy scenes from the durable tier to the folder.

    Parameters
    ----------
    cache : SceneCache
        A cache with both tiers.
    keys : collection of str
        Which scenes.

    Returns
    -------
    list of str
        Those that are there now.
    """
    done = []
    for key in keys:
        if cache.store.read(key) is None:
            with tempfile.TemporaryDirectory(dir=cache.store.scratch()) as folder:
                cache.refetch(key, Path(folder) / "scene")
        if cache.store.read(key) is not None:
            done.append(key)
    return done
