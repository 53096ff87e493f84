"""Lines of JSON that carry a digest of themselves, for files that others carry."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

from mdpipe.failures import BusyError

SEAL: Final = b', "check": "'
"""Begins the digest of a sealed line."""


def seal(line: bytes) -> bytes:
    """Return the text of a line with a digest of itself.

    Parameters
    ----------
    line : bytes
        A JSON object.

    Returns
    -------
    bytes
        The same with one entry more, which `unseal` compares.
    """
    body = line.rstrip()[:-1]
    return body + SEAL + hashlib.sha256(body).hexdigest().encode() + b'"}\n'


def unseal(line: bytes, path: Path) -> dict[str, Any]:
    """Read a line, and compare it with its digest if it is sealed.

    Parameters
    ----------
    line : bytes
        A JSON object, sealed or not.
    path : Path
        Where it was read, for messages.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    BusyError
        If a line that was sealed has changed on its way.
    ValueError
        If it is no JSON.
    """
    body, mark, digest = line.rpartition(SEAL)
    if mark and digest[:64] != hashlib.sha256(body).hexdigest().encode():
        raise BusyError(
            f"{path}: its bytes are not those that were written: damaged on the way; try again, "
            "and if it stays so, preprocess again"
        )
    found: dict[str, Any] = json.loads(line)
    return found
