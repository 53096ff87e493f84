"""The last line of a program that failed, where the kubelet and its engine find it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mdpipe.failures.table import FailureClass

VARIABLE = "MDPIPE_TERMINATION_LOG"
"""Environment variable that names the file; none is written where it is not set."""

LIMIT = 1000


def last_words(row: FailureClass, message: str) -> str:
    """Return a failure in one line: its class, what went wrong, what to do.

    Parameters
    ----------
    row : FailureClass
        The class.
    message : str
        What went wrong, of any length and on any number of lines.

    Returns
    -------
    str
        `CLASS: message; remedy: …`, at most `LIMIT` characters; what is cut is the message's end.
    """
    end = f"; remedy: {row.remedy}"
    room = LIMIT - len(row.name) - len(end) - 2
    told = " ".join(message.split())
    if len(told) > room:
        told = told[: room - 1] + "…"
    return f"{row.name}: {told}{end}"


def leave_last_words(row: FailureClass, message: str) -> None:
    """Write a failure to the file that `MDPIPE_TERMINATION_LOG` names, instead of what is there.

    Parameters
    ----------
    row : FailureClass
        The class.
    message : str
        What went wrong.
    """
    named = os.environ.get(VARIABLE)
    if named:
        with contextlib.suppress(OSError):
            Path(named).write_text(last_words(row, message), "utf-8")
