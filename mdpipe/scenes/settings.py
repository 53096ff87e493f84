"""The `[cache]` section of a study, and the cache that it means."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mdpipe.failures import UsageError
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.durable import DurableTier
from mdpipe.scenes.lock import Notice, silent
from mdpipe.scenes.objects import STORE_VARIABLE
from mdpipe.scenes.policy import Policy
from mdpipe.scenes.spec import Frozen
from mdpipe.scenes.statistics import Recorder, forget
from mdpipe.scenes.store_address import keeping, store_fault


def _tier_fault(text: str) -> str:
    rule = "" if re.fullmatch(r"env:\w+", text) else store_fault(text)
    return rule and f"{rule}; or env:NAME"


class CacheSettings(Frozen):
    """Where scenes are kept and for how long.

    `folder` is relative to the study file; none means the user's own cache folder. Scenes of one
    `namespace` are shared with no other. `policy` says what happens when `max_mb` is reached or
    data were not used for `max_age_days`: best-effort evicts the coldest data and fetches or
    computes them again; guaranteed evicts nothing before it expires and stores no more. `store` is
    the second, durable tier: `s3://bucket/prefix`, or `env:NAME` for the variable that has it; none
    means `$MDPIPE_STORE`, empty means no store. Endpoint and credentials are only ever read from
    the environment (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, …).
    """

    folder: str | None = None
    namespace: str = Field("", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?$")
    policy: Literal["best-effort", "guaranteed"] = "best-effort"
    max_mb: float | None = Field(None, gt=0)
    max_age_days: float | None = Field(None, gt=0)
    store: Annotated[str | None, keeping(_tier_fault)] = None
    push: Literal["always", "on-demand"] = Field(
        "always", description="on-demand: only `mdpipe cache push` writes to the store"
    )

    @property
    def limits(self) -> Policy | None:
        """The policy of the folder; None where nothing is said, so that what held there holds."""
        if not self.model_fields_set & {"policy", "max_mb", "max_age_days"}:
            return None
        return Policy(
            self.policy,
            None if self.max_mb is None else int(self.max_mb * 1e6),
            None if self.max_age_days is None else self.max_age_days * 86400.0,
        )


def folder_alone(value: Any) -> Any:
    """Turn `cache = "folder"`, the short form, into a table.

    Parameters
    ----------
    value : object
        What the study file says.

    Returns
    -------
    object
        A table, if it was a string.
    """
    return {"folder": value} if isinstance(value, str) else value


def open_cache(
    settings: CacheSettings,
    base: Path,
    notice: Notice = silent,
    *,
    folder: Path | None = None,
    record: Recorder = forget,
) -> SceneCache:
    """Open the scene cache that a study means.

    Parameters
    ----------
    settings : CacheSettings
        The study's `[cache]`.
    base : Path
        The folder of the study file.
    notice : callable
        Told, in one line, what the user should know but need not act on.
    folder : Path or None
        Used instead of the study's folder.
    record : callable
        Told what happens.

    Returns
    -------
    SceneCache
        Nothing has been read or written yet.

    Raises
    ------
    UsageError
        If the store cannot be used as it is named, or its variable is not set.
    """
    place = folder or (base / settings.folder if settings.folder else None)
    url = store_url(settings.store)
    durable = DurableTier(url, settings.namespace or "default", notice, record) if url else None
    cache = SceneCache(
        place,
        notice,
        namespace=settings.namespace,
        policy=settings.limits,
        durable=durable,
        record=record,
    )
    cache.push_always = settings.push == "always"
    return cache


def store_url(named: str | None) -> str:
    """Return the address of the durable tier.

    Parameters
    ----------
    named : str or None
        An address, `env:NAME`, empty for no store, or None for `$MDPIPE_STORE`.

    Returns
    -------
    str
        Empty if there is none.

    Raises
    ------
    UsageError
        If a variable that was named is not set.
    """
    if named is None:
        return os.environ.get(STORE_VARIABLE, "")
    if not named.startswith("env:"):
        return named
    name = named.removeprefix("env:")
    if not os.environ.get(name):
        raise UsageError(f"cache.store = {named!r}: the variable {name} is not set; set it")
    return os.environ[name]
