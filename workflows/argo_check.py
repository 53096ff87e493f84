"""What must hold of a study and its settings before a workflow is written."""

from __future__ import annotations

import re
from typing import Final, Literal, get_args

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import StudyError, UsageError
from mdpipe.study import Study

Target = Literal["3.7", "4.0", "4.1"]
TARGETS: Final[tuple[str, ...]] = get_args(Target)
"""Versions of Argo Workflows that workflows are written for."""

MAX_TEXT: Final = 60_000
"""Bytes of a study: its text is in each pod twice, and Linux takes 128 KiB for a variable."""


def check_study(study: Study, text: str, settings: ClusterSettings, target: str) -> None:
    """See that a study can be handed over, and that the target can do what its settings say.

    Parameters
    ----------
    study : Study
        The checked study.
    text : str
        Its file's text.
    settings : ClusterSettings
        How it runs on the cluster.
    target : str
        Version of Argo Workflows.

    Raises
    ------
    StudyError
        If study and settings do not fit together.
    UsageError
        If the target cannot do what the settings say.
    """
    if "{{" in text:
        raise StudyError(
            "the study has `{{`, which begins a reference in a workflow; write the path or name "
            "that has it in another way"
        )
    if len(text.encode()) > MAX_TEXT:
        raise StudyError(
            f"the study has {len(text.encode())} bytes, pods take {MAX_TEXT}; shorten it, for "
            "example by globs instead of lists of files"
        )
    if target not in TARGETS:
        raise UsageError(f"--argo {target}: must be one of {', '.join(TARGETS)}")
    if settings.quota_timeout_s is not None and target != "4.1":
        raise UsageError(
            f"cluster.quota_timeout_s: Argo Workflows knows it since 4.1, got --argo {target}; "
            "leave it out"
        )
    if settings.memoize and study.cache.policy != "guaranteed":
        raise StudyError(
            "cluster.memoize: Argo skips a scene without looking whether its data are still "
            f"there, so cache.policy must be 'guaranteed', got {study.cache.policy!r}; leave "
            "memoize out, or set the policy"
        )
    if settings.memoize and settings.shard:
        raise StudyError(
            "cluster.memoize is for small studies and cluster.shard for large ones; leave one out"
        )


def check_storage(study: Study, settings: ClusterSettings) -> None:
    """See that study and storage profile fit.

    Parameters
    ----------
    study : Study
        The checked study.
    settings : ClusterSettings
        How it runs on the cluster.

    Raises
    ------
    StudyError
        One line with the key and the remedy.
    """
    if settings.storage == "volume":
        return
    if not settings.store:
        raise StudyError(
            f"cluster.store: storage = {settings.storage!r} needs a store, got none; set "
            's3://bucket/prefix, or storage = "volume"'
        )
    if study.cache.store not in {None, settings.store}:
        raise StudyError(
            f"cache.store: pods share their scenes through cluster.store ({settings.store}), got "
            f"{study.cache.store!r}; leave it out"
        )
    if study.cache.push != "always":
        raise StudyError(
            f"cache.push: pods share their scenes through the store, got {study.cache.push!r}; "
            'leave it out, or set cluster.storage = "volume"'
        )


def dns_name(text: str) -> str:
    """Return a name as Kubernetes takes it, with room for what it is made longer by.

    Parameters
    ----------
    text : str
        Any name.

    Returns
    -------
    str
        At most 40 lower-case letters, digits and `-`.
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].rstrip("-") or "study"


def label_value(text: str) -> str:
    """Return a text as the value of a label.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        At most 63 letters, digits, `-`, `_` and `.`, the ends letters or digits.
    """
    return re.sub(r"[^A-Za-z0-9._-]", "-", text)[:63].strip("-_.")
