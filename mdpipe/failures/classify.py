"""From what is seen of a dead step (exit code, signal, last words) to its failure class."""

from __future__ import annotations

import errno
import re

from mdpipe.failures.errors import InterruptedRunError, MdpipeError, NoSpaceError
from mdpipe.failures.table import TABLE, FailureClass, failure_class

LAST_LINES = 12
"""How many of the last lines are searched: an old warning is not the cause of death."""

_PATTERNS = tuple(
    (row, re.compile("|".join(row.messages), re.IGNORECASE)) for row in TABLE if row.messages
)


def classify(
    exit_code: int | None, signal: int | None, stderr_tail: str, oom_kill_count: int = 0
) -> FailureClass:
    """Return the class of a failure.

    Parameters
    ----------
    exit_code : int or None
        Exit code, None when a signal ended the process or nothing is known. A negative one is
        taken as minus the signal.
    signal : int or None
        The signal that ended the process.
    stderr_tail : str
        The end of standard error, or the message of a pod.
    oom_kill_count : int
        By how much the kernel's count of OOM kills in the step's memory group has grown.

    Returns
    -------
    FailureClass
        A row of the table; `bug` when nothing else fits.

    Notes
    -----
    Order: the kernel's own count; exit codes that mdpipe's commands give on purpose; messages, in
    the order of the table; the signal; the exit code; an exit code of 128 + signal, as shells and
    containers report one. Messages come before the other codes because
    one code (75, 1, -1) covers several classes, and only the last `LAST_LINES` lines are read.
    """
    if exit_code is not None and exit_code < 0:
        signal, exit_code = -exit_code, None
    if oom_kill_count > 0:
        return failure_class("out-of-memory")
    for row in TABLE:
        if row.decisive and exit_code in row.exit_codes:
            return row
    tail = "\n".join(stderr_tail.strip().splitlines()[-LAST_LINES:])
    for row, pattern in _PATTERNS:
        if pattern.search(tail):
            return row
    ends: list[tuple[int | None, int | None]]
    ends = [(signal, None)] if signal is not None else [(None, exit_code)]
    if exit_code is not None:
        ends.append((exit_code - 128, None))
    for number, code in ends:
        for row in TABLE:
            if number in row.signals or code in row.exit_codes:
                return row
    return failure_class("bug")


def classify_error(error: BaseException) -> FailureClass:
    """Return the class of an exception, before it has become an exit code.

    Parameters
    ----------
    error : BaseException
        What was caught.

    Returns
    -------
    FailureClass
        A row of the table.
    """
    name = "bug"
    if isinstance(error, NoSpaceError) or (
        isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    ):
        name = "disk-full"
    elif isinstance(error, InterruptedRunError | KeyboardInterrupt):
        name = "interrupted"
    elif isinstance(error, MemoryError):
        name = "out-of-memory"
    elif isinstance(error, ConnectionError | TimeoutError):
        name = "network"
    elif isinstance(error, MdpipeError):
        return classify(error.exit_code, None, str(error))
    return failure_class(name)


def exit_code_of(error: BaseException) -> int:
    """Return the exit code that a program ends with for an exception.

    Parameters
    ----------
    error : BaseException
        What was caught.

    Returns
    -------
    int
        The exit code of its class.
    """
    return classify_error(error).exit_code


def cause_line(stderr_tail: str, limit: int = 400) -> str:
    """Return the line of a step's last words that says why it died.

    Parameters
    ----------
    stderr_tail : str
        The end of standard error.
    limit : int
        Longest line returned, characters.

    Returns
    -------
    str
        The last line that is not blank, `no message` when there is none.
    """
    lines = [line.strip() for line in stderr_tail.splitlines() if line.strip()]
    return lines[-1][:limit] if lines else "no message"
