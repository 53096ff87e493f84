"""The store of a workflow, as the user who submits it or fetches from it reaches it."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import MdpipeError, UsageError
from mdpipe.scenes.objects import DIGEST, Listed, Objects
from mdpipe.scenes.store_address import ENDPOINTS, endpoint_of
from mdpipe.scenes.store_client import Patience
from mdpipe.workflows.cluster.door import Door, KubernetesDoor

KEY_ID: Final = "AWS_ACCESS_KEY_ID"
MIB: Final = 1 << 20
PART_SIZES: Final = tuple(n * MIB for n in (5, 8, 10, 15, 16, 32, 64, 100, 128, 256, 512))
"""Sizes of parts with which programs upload large objects."""


def open_store(settings: ClusterSettings, door: Door, patience: Patience | None = None) -> Objects:
    """Open the store of a workflow.

    Parameters
    ----------
    settings : ClusterSettings
        Its address and the name of its secret.
    door : Door
        The way to the cluster, whose secret is read where the environment has no keys.
    patience : Patience or None
        How long the store is waited for.

    Returns
    -------
    Objects
        No request has been made to it.

    Raises
    ------
    UsageError
        If there is no store, or nothing to reach it with.
    """
    if not settings.store:
        raise UsageError(
            f"the storage profile {settings.storage} has no store; set [cluster] store = "
            '"s3://bucket/prefix"'
        )
    if not os.environ.get(KEY_ID):
        for name, value in _secret(settings, door).items():
            # only this process sees them; the store's client reads nothing but the environment
            os.environ[name] = os.environ.get(name) or value
    use_endpoint(settings)
    return Objects(settings.store, patience)


def use_endpoint(settings: ClusterSettings) -> None:
    """Let this process look for the store where the settings say, if the environment does not.

    Parameters
    ----------
    settings : ClusterSettings
        May have an endpoint.
    """
    if settings.store_endpoint and not endpoint_of(os.environ):
        os.environ[ENDPOINTS[1]] = settings.store_endpoint


def _secret(settings: ClusterSettings, door: Door) -> dict[str, str]:
    """Return the variables that the pods get, if the user may read them."""
    name = settings.store_secret
    hint = f"set {KEY_ID}, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL"
    if not isinstance(door, KubernetesDoor):
        raise UsageError(f"the store {settings.store} needs keys; {hint}")
    try:
        path = f"/api/v1/namespaces/{door.namespace}/secrets/{name}"
        data: dict[str, str] = door.kubernetes.get(path).get("data") or {}
    except MdpipeError as error:
        raise type(error)(f"the store's keys: {error}; or {hint}") from error
    found, unreadable = secret_texts(data)
    for key in unreadable:
        raise UsageError(
            f"the store's keys: {key} of the secret {name} is no text; mend it, or {hint}"
        )
    return found


def secret_texts(data: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Decode what a secret has for the client of a store.

    Parameters
    ----------
    data : mapping
        Its values in base64, by their keys.

    Returns
    -------
    texts : dict
        Variables with their values.
    unreadable : list of str
        Variables with a value that is no text.
    """
    texts, unreadable = {}, []
    for key in filter(lambda key: key.startswith("AWS_"), data):
        try:
            texts[key] = base64.b64decode(data[key]).decode()
        except ValueError:
            unreadable.append(key)
    return texts, unreadable


def same_content(path: Path, listed: Listed) -> bool | None:
    """Say whether a file has the content of an object.

    Parameters
    ----------
    path : Path
        The file.
    listed : Listed
        What the store says of the object.

    Returns
    -------
    bool or None
        By size and by the digest that the store has made; None if the sizes are the same and the
        store's tag is none that can be computed here.
    """
    size = path.stat().st_size
    if size != listed.size:
        return False
    tag = (listed.tag or "").strip('"')
    digest, _, parts = tag.partition("-")
    if len(digest) != 32:
        return None
    if not parts:
        return _md5(path) == digest
    if not parts.isdigit():
        return None
    count = int(parts)
    fitting = [part for part in PART_SIZES if -(-size // part) == count]
    if not fitting:
        return None
    # a part size that is none of the usual ones would look like other content
    return True if any(_multipart(path, part) == digest for part in fitting) else None


def carried_digest(store: Objects, key: str) -> str:
    """Return the digest that an object carries.

    Parameters
    ----------
    store : Objects
        The store.
    key : str
        Its name.

    Returns
    -------
    str
        SHA-256 of its content; empty if it carries none.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    BusyError
        If the store does not answer.
    """
    import obstore

    return store.ask(lambda: str(obstore.get(store.client, key).attributes.get(DIGEST, "")))


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, _new).hexdigest()


def _new() -> Any:
    return hashlib.md5(usedforsecurity=False)


def _multipart(path: Path, part: int) -> str:
    whole = _new()
    with path.open("rb") as stream:
        while piece := stream.read(part):
            whole.update(hashlib.md5(piece, usedforsecurity=False).digest())
    return str(whole.hexdigest())
