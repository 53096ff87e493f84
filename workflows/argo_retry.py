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

from mdpipe.failures import TABLE, classify

MESSAGE: Final = "lastRetry.message"
CODE: Final = "lastRetry.exitCode"
EXIT_CODES: Final = range(1, 256)
LAST_WORDS: Final = r"^main: \w+ \(exit code \d+\): "
"""Begins a message in which the program itself names the class."""


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
        Whether fewer retries were made than the class of the failure has; in the language of
        `expr`, with regular expressions of RE2. The text stands three times in each pod.
    """
    decisive = [code for row in TABLE if row.decisive for code in row.exit_codes]
    named = ", ".join(f"{_quoted(row.name)}: {row.retries}" for row in TABLE)
    tests = " : ".join([*(f"{test} ? {retries}" for test, retries in _clauses()), "0"])
    return (
        f"let m = {MESSAGE}; let c = {CODE}; "
        f"let k = {_message_has(LAST_WORDS)} ? split(m, ': ')[2] : ''; "
        f"asInt(retries) < ({_code_is(decisive)} ? 0 : get({{{named}}}, k) ?? ({tests}))"
    )


def _clauses() -> Iterator[tuple[str, int]]:
    """Yield each test where the program has not named a class, and the retries of its class."""
    for row in TABLE:
        if row.messages:
            yield _message_has("(?i)" + "|".join(row.messages)), row.retries
    codes: dict[int, list[int]] = {}
    for code in EXIT_CODES:
        row = classify(code, None, "")
        if row.retries and not row.decisive:
            codes.setdefault(row.retries, []).append(code)
    for retries in sorted(codes):
        yield _code_is(codes[retries]), retries


def _code_is(codes: Iterable[int]) -> str:
    return f"c in [{', '.join(_quoted(str(code)) for code in codes)}]"


def _message_has(pattern: str) -> str:
    return f"m matches {_quoted(pattern)}"


def _quoted(text: str) -> str:
    """Return a string of `expr`."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
