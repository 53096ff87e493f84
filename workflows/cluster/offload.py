"""Node statuses that the controller has put into its Postgres database."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from mdpipe.failures import BusyError, UsageError
from mdpipe.workflows.cluster.nodes import PIECE, Node, parse_nodes

DATABASE: Final = "MDPIPE_ARGO_DATABASE"
"""Variable: `postgresql://user:password@host:port/database?table=…&sslmode=require`."""

TABLE: Final = "argo_workflows"
TIMEOUT_S: Final = 10


def database() -> str:
    """Return the database that is configured.

    Returns
    -------
    str
        An address; empty if there is none.
    """
    return os.environ.get(DATABASE, "")


def offloaded_nodes(address: str, uid: str, version: str) -> Iterator[Node]:
    """Yield the nodes of a workflow out of the controller's database.

    Parameters
    ----------
    address : str
        As in the variable `MDPIPE_ARGO_DATABASE`; what it leaves out is taken from `PGUSER`,
        `PGPASSWORD` and `PGHOST`.
    uid : str
        The workflow's `metadata.uid`.
    version : str
        Its `status.offloadNodeStatusVersion`.

    Yields
    ------
    dict
        A node status; nothing if the row is gone, which an older version is after five minutes.

    Raises
    ------
    BusyError
        If the database does not answer.
    UsageError
        If the address is wrong or the library is not installed.
    """
    options, table = _options(address)
    try:
        from pg8000.exceptions import DatabaseError, InterfaceError
        from pg8000.native import Connection
    except ImportError as error:
        raise UsageError(
            f"{DATABASE} is set, which needs an extra: pip install 'mdpipe[cluster]'"
        ) from error
    try:
        with Connection(**options) as connection:
            rows: Any = connection.run(
                # the name of a table cannot be a parameter; `_options` lets only names through
                f"select nodes::text from {table} where uid = :uid and version = :version",
                uid=uid,
                version=version,
            )
    except (DatabaseError, InterfaceError, OSError) as error:
        raise BusyError(
            f"the controller's database ({DATABASE}) does not answer: {_said(error)}; check the "
            "address and the password, or unset it"
        ) from error
    for (text,) in rows:
        yield from parse_nodes(text[at : at + PIECE] for at in range(0, len(text), PIECE))


def _options(address: str) -> tuple[dict[str, Any], str]:
    """Return how to connect, and the table."""
    parts = urlsplit(address)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    table = query.get("table", TABLE)
    if parts.scheme not in {"postgres", "postgresql"} or not re.fullmatch(r"\w+(\.\w+)?", table):
        raise UsageError(
            f"{DATABASE}: must be postgresql://user:password@host:port/database (?table=NAME if it "
            f"is not {TABLE})"
        )
    secure = query.get("sslmode", "prefer")
    context: ssl.SSLContext | bool | None = {"disable": False, "prefer": None}.get(secure)
    if context is None and secure != "prefer":
        context = ssl.create_default_context()
        if secure == "require":  # as libpq has it: encrypted, whoever it is
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    options = {
        "user": unquote(parts.username or "") or os.environ.get("PGUSER", "postgres"),
        "password": unquote(parts.password or "") or os.environ.get("PGPASSWORD"),
        "host": parts.hostname or os.environ.get("PGHOST", "localhost"),
        "port": parts.port or 5432,
        "database": parts.path.lstrip("/") or "postgres",
        "timeout": TIMEOUT_S,
        "ssl_context": context,
    }
    return options, table


def _said(error: Exception) -> str:
    """Return an error in one line; pg8000 gives the server's answer as a dictionary."""
    given = error.args[0] if error.args else ""
    text = given.get("M", "") if isinstance(given, dict) else str(error)
    return " ".join(str(text).split())[:200] or type(error).__name__
