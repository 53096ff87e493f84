"""What may be said of a store, and which rule it breaks: its client ends the process at less."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
"""Variables with the endpoint; the first one that is set and not empty counts."""

_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")

_ENDPOINT: Final = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?(?:/[A-Za-z0-9._~/-]*)?"
)
_LARGEST_PORT: Final = 65535
_PART = r"\.*[A-Za-z0-9_-][A-Za-z0-9._-]*"
_NAMES = "of letters, digits, `.`, `_` and `-`, with no folder that is empty, `.` or `..`"
_FOLDER = rf"{_PART}(?:/{_PART})*"
_STORE: Final = re.compile(rf"s3://[A-Za-z0-9][A-Za-z0-9._-]*(?:/+{_FOLDER})?/*")


class Fault(NamedTuple):
    """A variable, the rule that its value breaks, and the value as it can be shown."""

    variable: str
    rule: str
    got: str


def faults(variables: Mapping[str, str]) -> Iterator[Fault]:
    """Look at variables before a client of stores does.

    Parameters
    ----------
    variables : mapping
        Such as the environment, or a secret. One that is empty counts as not set.

    Yields
    ------
    Fault
        What cannot be used.
    """
    for name in ENDPOINTS:
        text = variables.get(name)
        if text and (rule := endpoint_fault(text)):
            yield Fault(name, rule, shown(text))
    for name in _REGIONS:
        text = variables.get(name)
        if text and not re.fullmatch(r"[A-Za-z0-9._-]+", text):
            yield Fault(name, "must be of letters, digits, `.`, `_` and `-`", repr(text))
    for name in _KEYS:
        if odd := re.search(r"[^!-~]", variables.get(name, "")):
            # the rest of it is a secret
            got = f"{odd[0]!r} as character {odd.start() + 1} of {len(variables[name])}"
            yield Fault(name, "must have no spaces, line breaks or other than ASCII", got)


def store_fault(text: str) -> str:
    """Say which rule the address of a store breaks.

    Parameters
    ----------
    text : str
        The address, not empty.

    Returns
    -------
    str
        Empty if it is good.
    """
    if _STORE.fullmatch(text):
        return ""
    return f"must be s3://bucket or s3://bucket/prefix, {_NAMES}"


def folder_fault(text: str) -> str:
    """Say which rule a folder of a store breaks.

    Parameters
    ----------
    text : str
        The folder, not empty.

    Returns
    -------
    str
        Empty if it is good.
    """
    good = re.fullmatch(rf"{_FOLDER}/*", text)
    return "" if good else f"must be a folder of a store such as inputs or lab/inputs, {_NAMES}"


def endpoint_of(variables: Mapping[str, str]) -> str:
    """Return the endpoint that variables name.

    Parameters
    ----------
    variables : mapping
        Such as the environment.

    Returns
    -------
    str
        Empty for the default one.
    """
    return next((variables[name] for name in ENDPOINTS if variables.get(name)), "")


def endpoint_fault(text: str) -> str:
    """Say which rule an endpoint breaks.

    Parameters
    ----------
    text : str
        The endpoint, not empty.

    Returns
    -------
    str
        Empty if it is good.
    """
    found = _ENDPOINT.fullmatch(text)
    if found and int(found[2] or 0) <= _LARGEST_PORT and _is_host(found[1]):
        return ""
    return "must be http:// or https:// with a host, such as http://minio:9000"


def _is_host(host: str) -> bool:
    """Say whether a host that looks like a number is one."""
    last = host.rstrip(".").rpartition(".")[2]
    if not host.startswith("[") and not re.fullmatch(r"[0-9]+|0[xX][0-9A-Fa-f]*", last):
        return True
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def shown(text: str) -> str:
    """Return an address for a message.

    Parameters
    ----------
    text : str
        The address.

    Returns
    -------
    str
        In quotes, without name and password of a user.
    """
    return repr(re.sub(r"[^/@]*@", "…@", text))


def keeping(fault: Callable[[str], str]) -> AfterValidator:
    """Return what lets a setting be empty or keep a rule.

    Parameters
    ----------
    fault : callable
        Returns the rule that a text breaks, or an empty text.

    Returns
    -------
    AfterValidator
        For the annotation of the setting.
    """

    def check(text: str | None) -> str | None:
        if text and (rule := fault(text)):
            raise PydanticCustomError("store", "{rule}", {"rule": rule})
        return text

    return AfterValidator(check)
