"""The client of a store: how it is reached, and for how long it is waited for."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mdpipe.failures import UsageError
from mdpipe.scenes.store_address import endpoint_of, faults, shown, store_fault

if TYPE_CHECKING:
    from obstore.store import S3Store


STORE_VARIABLE = "MDPIPE_STORE"
STORE_VARIABLES = (
    STORE_VARIABLE, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE",
)  # fmt: skip
"""All that a process needs to reach the store; containers are given these and no others."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store is waited for.

    A request is tried `attempts` times with waits of `first_delay_s`, doubled each time, with
    jitter. It fails when nothing comes for `silence_s`, or a body is slower than
    `slowest_bytes_per_s` beyond the first `silence_s`. After a failed request the store is left
    alone for `rest_s`.
    """

    attempts: int = 4
    first_delay_s: float = 0.2
    silence_s: float = 20.0
    slowest_bytes_per_s: float = 100e3
    rest_s: float = 30.0


def connect(url: str, patience: Patience) -> S3Store:
    """Return the client of a bucket; it makes no request yet.

    Parameters
    ----------
    url : str
        `s3://bucket/prefix`. Endpoint and credentials are read from the environment.
    patience : Patience
        How long the store is waited for.

    Returns
    -------
    S3Store
        The client.

    Raises
    ------
    UsageError
        If the URL is not one of a bucket, a variable has a value that cannot be used, or the
        library for stores is not installed.
    """
    if rule := store_fault(url):
        raise UsageError(
            f"a store {rule}, got {shown(url)}; endpoint and credentials belong into "
            "AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ImportError as error:
        raise UsageError(
            "a store is named, and stores need an extra: pip install 'mdpipe[s3]'"
        ) from error
    _look_at_variables()
    endpoint = endpoint_of(os.environ)
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    options: dict[str, Any] = {"conditional_put": "etag"}
    if endpoint:
        options["endpoint"] = endpoint
    if not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        options["region"] = "us-east-1"
    try:
        return S3Store(
            bucket,
            prefix=prefix.strip("/") or None,
            client_options=_client_options(endpoint, patience),  # type: ignore[arg-type]
            retry_config={"max_retries": 0},
            **options,
        )
    except (BaseError, ValueError) as error:
        raise UsageError(
            f"the store's client cannot be made ({without_addresses(error)}); correct the "
            "variables AWS_… of the environment, of which AWS_CA_BUNDLE must name certificates"
        ) from error


def _client_options(endpoint: str, patience: Patience) -> dict[str, Any]:
    """Return how connections are made: for how long they are waited for, and whom they trust."""
    options: dict[str, Any] = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(5.0, patience.silence_s)),
        "read_timeout": timedelta(seconds=patience.silence_s),
        "timeout": timedelta(days=1),
    }
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        try:
            options["root_certificate"] = Path(bundle).read_bytes()
        except OSError as error:
            raise UsageError(
                f"AWS_CA_BUNDLE must name a file with certificates, got {bundle!r} "
                f"({error.strerror}); correct the variable, or put the file there"
            ) from error
    return options


def _look_at_variables() -> None:
    """Forget variables that are empty, which the client takes as set, and refuse bad ones."""
    for name in STORE_VARIABLES:
        if os.environ.get(name) == "":
            os.environ.pop(name, None)
    for fault in faults(os.environ):
        raise UsageError(
            f"the store's {fault.variable} {fault.rule}, got {fault.got}; correct it where it is "
            "set: in the environment, or in the secret that it comes from"
        )


def without_addresses(error: BaseException) -> str:
    """Return an error in one line without addresses, which may tell more than they should.

    Parameters
    ----------
    error : BaseException
        What the client raised.

    Returns
    -------
    str
        One short line.
    """
    text = re.sub(r"\w+://\S+", "the store", " ".join(str(error).split()))
    status = re.search(r"status(?: code)?:? (\d{3})", text)
    if status:
        return f"it answered {status.group(1)}"
    return f"{type(error).__name__}: {text[:120]}"
