"""Peaks of memory that were measured, beside the cache: from them later runs take first tiers.

A peak is an empty file or object whose name says all: `peaks/<version>/<size>/<MB>`. Any number of
steps may note theirs at once, and nothing is read to write one; equal ones are one.
"""

from __future__ import annotations

import contextlib
import math
import re
from typing import Final

from mdpipe import __version__
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.objects import StoreDownError

STEP_MB: Final = 10
"""Peaks are rounded up to so many MB, so that a size has few of them."""

_SIZE = re.compile(r"[A-Za-z0-9 .-]+")


def note_peak(cache: SceneCache, size: str, peak_mb: float) -> None:
    """Note the peak of a step; where it cannot be written, it is left out.

    Parameters
    ----------
    cache : SceneCache
        Beside which it is noted: in the durable tier if there is one.
    size : str
        Kind and size of the step, such as `simulate 216 pme`.
    peak_mb : float
        Its peak, MB.
    """
    if not _SIZE.fullmatch(size) or peak_mb <= 0.0:
        return
    rounded = STEP_MB * math.ceil(peak_mb / STEP_MB)
    name = f"{size.replace(' ', '_')}/{rounded}"
    with contextlib.suppress(OSError, StoreDownError):
        if cache.durable is not None:
            cache.durable.objects.put(f"{_prefix(cache)}/{name}", b"")
            return
        path = cache.folder / "peaks" / __version__ / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def read_peaks(cache: SceneCache) -> dict[str, float]:
    """Read the greatest peak of each size that was noted by this version.

    Parameters
    ----------
    cache : SceneCache
        The cache.

    Returns
    -------
    dict
        Size → MB; empty where nothing can be read.
    """
    names: list[str] = []
    with contextlib.suppress(OSError, StoreDownError):
        if cache.durable is not None:
            names = list(cache.durable.objects.list(_prefix(cache)))
        else:
            found = (cache.folder / "peaks" / __version__).glob("*/*")
            names = [path.as_posix() for path in found]
    peaks: dict[str, float] = {}
    for name in names:
        *_, size, number = name.split("/")
        if number.isdecimal():
            known = size.replace("_", " ")
            peaks[known] = max(float(number), peaks.get(known, 0.0))
    return peaks


def _prefix(cache: SceneCache) -> str:
    namespace = cache.durable.namespace if cache.durable is not None else ""
    return f"peaks/{namespace}/{__version__}"
