"""The failure table as a retry strategy of Argo Workflows.

The expression asks what `failures.classify` asks, in the same order: exit codes that are believed
whatever the message says; the class that the program itself named in its last words; messages, in
the order of the table; other exit codes. Each class has its own number of retries. Argo has one
back-off for all of them and no jitter, and `lastRetry.exitCode` is `-1` where nothing is known of
the program: such a failure is judged by its message alone.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from typing import Final

from mdpipe.failures import TABLE, FailureClass, classify

MESSAGE: Final = "lastRetry.message"
CODE: Final = "lastRetry.exitCode"
EXIT_CODES: Final = range(1, 256)


def retry_strategy() -> dict[str, object]:
    """Return the retry strategy of every step.

    Returns
    -------
    dict
        `retryStrategy` of a template; numbers are strings, as the schema wants them.
    """
    rows = [row for row in TABLE if row.retries]
    base_s = statistics.median(row.backoff.base_s for row in rows)
    factor = statistics.median(row.backoff.factor for row in rows)
    return {
        "limit": str(max(row.retries for row in rows)),
        "retryPolicy": "Always",
        "expression": retry_expression(),
        "backoff": {
            "duration": f"{max(1, round(base_s))}s",
            "factor": f"{round(factor)}",
            "cap": f"{round(max(row.backoff.cap_s for row in rows))}s",
        },
    }


def retry_expression() -> str:
    """Return the expression that says whether a failed pod is tried again.

    Returns
    -------
    str
        Conditions in a row, `test ? answer : …`, the first that fits decides; in the language of
        `expr`, with regular expressions of RE2.
    """
    return " : ".join([*(f"{test} ? {answer}" for test, answer in _clauses()), "false"])


def _clauses() -> Iterator[tuple[str, str]]:
    """Yield each test and its answer."""
    decisive = [row for row in TABLE if row.decisive]
    for row in decisive:
        yield _code_is(row.exit_codes), _answer(row)
    for retries in sorted({row.retries for row in TABLE}):
        rows = [row for row in TABLE if row.retries == retries]
        names = "|".join(row.name for row in rows)
        yield _message_has(rf"^main: \w+ \(exit code \d+\): ({names}): "), _answer(rows[0])
    for row in TABLE:
        if row.messages:
            yield _message_has("(?i)" + "|".join(row.messages)), _answer(row)
    for row in TABLE:
        codes = [code for code in EXIT_CODES if classify(code, None, "") is row]
        if codes and row.retries and not row.decisive:
            yield _code_is(codes), _answer(row)


def _answer(row: FailureClass) -> str:
    """Return whether a class is tried again; `retries` counts those that were."""
    return f"asInt(retries) < {row.retries}" if row.retries else "false"


def _code_is(codes: Iterable[int]) -> str:
    return f"{CODE} in [{', '.join(_quoted(str(code)) for code in codes)}]"


def _message_has(pattern: str) -> str:
    return f"{MESSAGE} matches {_quoted(pattern)}"


def _quoted(text: str) -> str:
    """Return a string of `expr`."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
