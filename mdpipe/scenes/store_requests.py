"""Requests to a store, made with patience and with bounds."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from mdpipe.failures import BusyError, InputError
from mdpipe.products import FULL
from mdpipe.scenes.store_client import Patience, connect, without_addresses

__all__ = ["Requests", "StoreDownError"]

Result = TypeVar("Result")
PANIC = "PanicException"
"""What the library raises where its own code breaks off; no class of it can be imported."""


class StoreDownError(BusyError):
    """The store did not answer well, after all retries; the cache does without it."""


class Requests:
    """Asks the store of a bucket, or of what lies below a prefix of one.

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
        self.client = connect(url, self.patience)
        self._down_until = 0.0

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
        InputError
            If a store cannot have an object of this name.
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
                problem = without_addresses(error)
                if isinstance(error, final):
                    break
            except ValueError as error:
                raise InputError(
                    f"a store cannot have this name ({str(error)[:200]!r}); rename the file"
                ) from error
            except BaseException as error:
                if type(error).__name__ != PANIC:
                    raise
                problem = without_addresses(error)
                break
        self._down_until = time.monotonic() + self.patience.rest_s
        raise StoreDownError(problem)

    def brings(self, fetch: Callable[[], str], good: Callable[[str], bool]) -> bool:
        """Fetch until the digest is right, or wrong twice alike: the way may have damaged it.

        Parameters
        ----------
        fetch : callable
            Makes the request and returns the digest of what came.
        good : callable
            Says whether a digest is the right one.

        Returns
        -------
        bool
            False if the object is not there, or is damaged in the store.

        Raises
        ------
        StoreDownError
            If the store does not answer, or differently each time.
        """
        seen = ""
        for _ in range(self.patience.attempts):
            try:
                digest = fetch()
            except FileNotFoundError:
                return False
            if good(digest):
                return True
            if digest == seen:
                return False
            seen = digest
        raise StoreDownError("its answers differ from each other")
