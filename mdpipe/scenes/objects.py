"""Objects in a store that speaks the S3 protocol, asked with patience and with bounds."""

from __future__ import annotations

import hashlib
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mdpipe.failures import BusyError, UsageError
from mdpipe.products import FULL

if TYPE_CHECKING:
    from obstore.store import S3Store

STORE_VARIABLE = "MDPIPE_STORE"
STORE_VARIABLES = (
    STORE_VARIABLE, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
    "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_DEFAULT_REGION",
    "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CA_BUNDLE",
)  # fmt: skip
"""All that a process needs to reach the store; containers are given these and no others."""

Result = TypeVar("Result")


class StoreDownError(BusyError):
    """The store did not answer well, after all retries; the cache does without it."""


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


class Objects:
    """A bucket, or what lies below a prefix of one.

    Parameters
    ----------
    url : str
        `s3://bucket/prefix`. Endpoint and credentials are read from the environment
        (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`, …) and are never written anywhere.
    patience : Patience or None
        How long the store is waited for.

    Raises
    ------
    UsageError
        If the URL is not one of a bucket, or the library for stores is not installed.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self.patience = patience or Patience()
        self.client = _connect(url, self.patience)
        self._down_until = 0.0

    def read(self, path: str) -> bytes:
        """Read a small object.

        Parameters
        ----------
        path : str
            Its name.

        Returns
        -------
        bytes
            Its content.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        StoreDownError
            If the store does not answer.
        """
        import obstore

        return self.ask(lambda: bytes(obstore.get(self.client, path).bytes()))

    def ask(self, request: Callable[[], Result]) -> Result:
        """Make a request, again after a while if it fails for a reason that can pass.

        Parameters
        ----------
        request : callable
            The request.

        Returns
        -------
        object
            What it returns.

        Raises
        ------
        StoreDownError
            If it failed too often, or the store is resting after another that did.
        FileNotFoundError, obstore.exceptions.AlreadyExistsError or PreconditionError
            Answers, not failures.
        """
        from obstore import exceptions as known

        if time.monotonic() < self._down_until:
            raise StoreDownError("it failed a moment ago and is left alone for a while")
        final = (known.PermissionDeniedError, known.UnauthenticatedError)
        problem = ""
        for attempt in range(self.patience.attempts):
            if attempt:
                jitter = 0.5 + random.random()
                time.sleep(self.patience.first_delay_s * 2 ** (attempt - 1) * jitter)
            try:
                return request()
            except (FileNotFoundError, known.AlreadyExistsError, known.PreconditionError):
                raise
            except (known.BaseError, OSError) as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    raise
                problem = _clean(error)
                if isinstance(error, final):
                    break
        self._down_until = time.monotonic() + self.patience.rest_s
        raise StoreDownError(problem)

    def put(self, path: str, data: bytes | Path) -> None:
        """Write an object; it is there whole or not at all.

        Parameters
        ----------
        path : str
            Its name.
        data : bytes or Path
            Its content, or the file that has it.

        Raises
        ------
        StoreDownError
            If the store does not take it.
        """
        import obstore

        self.ask(lambda: obstore.put(self.client, path, data))

    def rename(self, path: str, new: str) -> None:
        """Rename an object.

        Parameters
        ----------
        path : str
            Its name.
        new : str
            Its new name.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        StoreDownError
            If the store does not answer.
        """
        import obstore

        self.ask(lambda: obstore.rename(self.client, path, new))

    def download(self, path: str, target: Path) -> str:
        """Write an object to a file.

        Parameters
        ----------
        path : str
            Its name.
        target : Path
            The file.

        Returns
        -------
        str
            SHA-256 of what came.

        Raises
        ------
        FileNotFoundError
            If it is not there.
        StoreDownError
            If the store does not answer.
        """
        return self.ask(lambda: self._download(path, target))

    def _download(self, path: str, target: Path) -> str:
        import obstore

        target.parent.mkdir(parents=True, exist_ok=True)
        began, size, digest = time.monotonic(), 0, hashlib.sha256()
        with target.open("wb") as stream:
            for chunk in obstore.get(self.client, path).stream():
                digest.update(chunk)
                stream.write(chunk)
                size += len(chunk)
                allowed = self.patience.silence_s + size / self.patience.slowest_bytes_per_s
                if time.monotonic() - began > allowed:
                    raise TimeoutError(f"only {size} bytes in {allowed:.0f} s")
        return digest.hexdigest()


def _connect(url: str, patience: Patience) -> S3Store:
    """Return the client; it makes no request yet."""
    if not re.fullmatch(r"s3://[A-Za-z0-9._-]+(/[A-Za-z0-9._/-]*)?", url):
        raise UsageError(
            "the store of the scene cache must be s3://bucket or s3://bucket/prefix; endpoint and "
            "credentials belong into AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    try:
        from obstore.store import S3Store
    except ImportError as error:
        raise UsageError(
            "the scene cache has a store, which needs an extra: pip install 'mdpipe[s3]'"
        ) from error
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    client: dict[str, Any] = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=min(5.0, patience.silence_s)),
        "read_timeout": timedelta(seconds=patience.silence_s),
        "timeout": timedelta(days=1),
    }
    if bundle := os.environ.get("AWS_CA_BUNDLE"):
        client["root_certificate"] = Path(bundle).read_bytes()
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    options: dict[str, Any] = {"conditional_put": "etag"}
    if endpoint:
        options["endpoint"] = endpoint
    if not (os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")):
        options["region"] = "us-east-1"
    return S3Store(
        bucket,
        prefix=prefix.strip("/") or None,
        client_options=client,  # type: ignore[arg-type]
        retry_config={"max_retries": 0},
        **options,
    )


def _clean(error: Exception) -> str:
    """Return an error in one line without addresses, which may tell more than they should."""
    text = re.sub(r"\w+://\S+", "the store", " ".join(str(error).split()))
    status = re.search(r"status(?: code)?:? (\d{3})", text)
    if status:
        return f"it answered {status.group(1)}"
    return f"{type(error).__name__}: {text[:120]}"
