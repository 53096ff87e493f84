"""Try a store from here, with the access that the pods have."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from mdpipe.failures import BusyError
from mdpipe.scenes.store_address import endpoint_of

HASTE_S: Final = 5.0
"""Longest silence of the store while it is tried."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a store: the rule, what was seen, and the remedy."""

    rule: str
    got: str
    fix: str


def try_store(url: str, variables: dict[str, str]) -> Problem | None:
    """Write an object, try to write it again, and delete it.

    Parameters
    ----------
    url : str
        `s3://bucket/prefix`.
    variables : dict
        Endpoint and credentials, by the names of their environment variables.

    Returns
    -------
    Problem or None
        None if the store does what mdpipe needs.

    Raises
    ------
    BusyError
        If it cannot be told from here, because the address is one of inside the cluster.
    UsageError
        If the library for stores is not installed.
    """
    host = urlsplit(endpoint_of(variables)).hostname or ""
    if (
        host
        and ("." not in host or host.endswith((".svc", ".cluster.local")))
        and host != "localhost"
    ):
        raise BusyError(f"the store's address {host} is known only inside the cluster")
    with _environment(variables):
        return _try(url)


def _try(url: str) -> Problem | None:
    import obstore
    from obstore import exceptions as known

    from mdpipe.scenes.objects import Objects, Patience, StoreDownError

    objects = Objects(url, Patience(attempts=2, silence_s=HASTE_S))
    path = f"doctor/{secrets.token_hex(8)}"
    conditional = Problem(
        "it must honour conditional writes, or two pods compute one scene at once",
        "a second `If-None-Match: *` write that succeeded",
        "use a store that has them: AWS, Ceph, MinIO and versitygw in recent versions",
    )
    try:
        objects.ask(lambda: obstore.put(objects.client, path, b"1", mode="create"))
        try:
            objects.ask(lambda: obstore.put(objects.client, path, b"2", mode="create"))
        except known.AlreadyExistsError:
            return None
        else:
            return conditional
    except FileNotFoundError:
        return Problem("its bucket must be there", "no such bucket", "make it, or correct the URL")
    except known.AlreadyExistsError:
        return conditional
    except StoreDownError as error:
        denied = "403" in str(error) or "Denied" in str(error) or "Unauth" in str(error)
        return Problem(
            "it must let the pods write" if denied else "it must answer",
            str(error),
            "correct the keys in the secret"
            if denied
            else "correct AWS_ENDPOINT_URL in the secret",
        )
    finally:
        with contextlib.suppress(StoreDownError, FileNotFoundError):
            objects.ask(lambda: obstore.delete(objects.client, path))


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Let this process see the pods' variables of the store, and none of its own."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    for name in kept:
        del os.environ[name]
    os.environ.update({name: value for name, value in variables.items() if name.startswith("AWS_")})
    try:
        yield
    finally:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(kept)
