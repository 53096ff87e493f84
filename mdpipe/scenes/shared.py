"""What steps on different hosts hand to each other through the cache, and must not lose.

Where a durable tier is configured it alone is common to all hosts, and a store that does not answer
is a failure that can pass: guessing would cost computations or leave holes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from mdpipe.failures import BusyError
from mdpipe.products import remove, write_atomically
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.durable import DurableTier
from mdpipe.scenes.entry import Description, describe
from mdpipe.scenes.objects import StoreDownError

TRIES: Final = 4
"""How often a store that is down is tried, with its rest (30 s) in between: hours of computation
may hang on it, and most outages are shorter."""


class _AbsentError(Exception):
    """The store has not got a scene."""


def locate(cache: SceneCache, keys: Collection[str]) -> set[str]:
    """Say which of many entries all hosts can fetch: one listing, nothing is opened.

    Parameters
    ----------
    cache : SceneCache
        The cache.
    keys : collection of str
        Keys.

    Returns
    -------
    set of str
        Those with an entry; whether it is good shows when it is fetched.

    Raises
    ------
    StoreDownError
        If the store does not answer.
    """
    if cache.durable is not None:
        return cache.durable.listed(keys)
    return cache.store.present(keys)


def bring(cache: SceneCache, key: str, into: Path) -> bool:
    """Fetch an entry without keeping a second copy on this host.

    Parameters
    ----------
    cache : SceneCache
        The cache.
    key : str
        Its key.
    into : Path
        Becomes the entry's folder.

    Returns
    -------
    bool
        Whether there was a good entry; if not, `into` is as it was.

    Raises
    ------
    StoreDownError
        If the store does not answer.
    """
    if cache.fetch(key, into, far=False) is not None:
        return True
    if cache.durable is None:
        return False
    try:
        with write_atomically(into) as temporary:
            remove(temporary)
            temporary.mkdir()
            _demand(cache.durable, key, temporary)
    except _AbsentError:
        return False
    return True


def _demand(durable: DurableTier, key: str, into: Path) -> Description:
    found = durable.demand(key, into)
    if found is None:
        raise _AbsentError
    return found


def keep(cache: SceneCache, key: str, folder: Path) -> None:
    """Make sure that all hosts can fetch an entry, once it has been made or fetched.

    Parameters
    ----------
    cache : SceneCache
        The cache.
    key : str
        Its key.
    folder : Path
        Its data.

    Raises
    ------
    BusyError
        If the cache does not take it.
    """
    durable = cache.durable
    if durable is None:
        if cache.lookup(key) is None and not cache.publish(key, folder):
            raise BusyError(
                f"{cache.folder}: the cache did not take entry {key[:12]}, through which other "
                "steps get it; make room, raise max_mb or correct its rights, then run again"
            )
        return
    for attempt in range(TRIES):
        if attempt:
            time.sleep(durable.objects.patience.rest_s)
        with contextlib.suppress(StoreDownError):
            if durable.describe(key) is not None:
                return
            if durable.push(describe(key, folder), folder):
                return
    raise BusyError(
        f"the scene store did not take entry {key[:12]} in {TRIES} tries, through which other "
        "steps get it; see to the store, then run again"
    )
