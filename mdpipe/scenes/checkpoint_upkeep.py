"""Checkpoints in a store of scenes that were never finished, and taking the old ones away."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mdpipe.scenes.checkpoint_store import FOLDER, MANIFEST
from mdpipe.scenes.entry import KEY
from mdpipe.scenes.objects import Listed, Objects

ASIDE: Final = f"quarantine/{FOLDER}"


@dataclass(frozen=True, slots=True)
class Left:
    """What a scene has left in the store: objects below `prefix`, and when the last was written."""

    key: str
    prefix: str
    objects: int
    bytes: int
    age_s: float


def prune(
    objects: Objects, older_than_s: float, *, dry_run: bool = False, now: float | None = None
) -> list[Left]:
    """Remove the checkpoints of scenes that nobody has gone on with for long.

    Parameters
    ----------
    objects : Objects
        The store, as `MDPIPE_CHECKPOINTS` names it.
    older_than_s : float
        Those go of which nothing has been written for so long, seconds. A scene under way writes
        its own each minute, or as often as it makes a checkpoint.
    dry_run : bool
        Whether to remove nothing.
    now : float or None
        The time, seconds since 1970; None for that of this machine.

    Returns
    -------
    list of Left
        What went, or would go, damaged ones that were set aside included; the oldest first.

    Raises
    ------
    StoreDownError
        If the store does not answer.

    Notes
    -----
    Before one is removed it is looked at once more, and its manifest goes first: a scene that is
    begun again meanwhile begins anew, and never with half of its state.
    """
    moment = time.time() if now is None else now
    gone = []
    for base in (FOLDER, ASIDE):
        for prefix, listed in _by_scene(objects.list(base), base).items():
            left = _left(prefix, listed, moment)
            if left.age_s <= older_than_s:
                continue
            if not dry_run:
                again = objects.list(prefix)
                if not again or _left(prefix, again, moment).age_s <= older_than_s:
                    continue
                objects.delete(sorted(again, key=lambda path: not path.endswith("/" + MANIFEST)))
            gone.append(left)
    return sorted(gone, key=lambda left: -left.age_s)


def _by_scene(listed: Mapping[str, Listed], base: str) -> dict[str, dict[str, Listed]]:
    """Sort objects by the scene they belong to; what is none of a scene's is left alone."""
    found: dict[str, dict[str, Listed]] = defaultdict(dict)
    for path, row in listed.items():
        name, _, file = path.removeprefix(base + "/").partition("/")
        if file and KEY.fullmatch(name.partition(".")[0]):
            found[f"{base}/{name}"][path] = row
    return found


def _left(prefix: str, listed: Mapping[str, Listed], now: float) -> Left:
    key = prefix.rpartition("/")[2].partition(".")[0]
    newest = max(row.time_ns for row in listed.values()) / 1e9
    return Left(key, prefix, len(listed), sum(row.size for row in listed.values()), now - newest)
