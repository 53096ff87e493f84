"""Evaluates the retry expressions that are generated, and nothing more of Argo's language.

An expression is a row of `test ? answer : …` with `false` at its end. A test is `VARIABLE in
['a', …]` or `VARIABLE matches 'PATTERN'`, an answer `false` or `asInt(retries) < N`. Patterns are
written in what RE2 and Python's `re` have in common.
"""

import re

STRING = r"'(?:\\.|[^'\\])*'"
CLAUSE = re.compile(
    rf"lastRetry\.(?P<variable>message|exitCode)"
    rf" (?:in \[(?P<list>{STRING}(?:, {STRING})*)\]|matches (?P<pattern>{STRING}))"
    r" \? (?:asInt\(retries\) < (?P<limit>\d+)|false) : "
)


def evaluate(expression, *, message, exit_code, retries):
    """Return what the expression says, as Argo would."""
    values = {"message": message, "exitCode": exit_code}
    position = 0
    while expression[position:] != "false":
        clause = CLAUSE.match(expression, position)
        assert clause, (
            f"not of the forms that are generated: {expression[position : position + 80]}"
        )
        position = clause.end()
        value = values[clause["variable"]]
        if clause["list"] is not None:
            holds = value in [_plain(text) for text in re.findall(STRING, clause["list"])]
        else:
            holds = re.search(_plain(clause["pattern"]), value) is not None
        if holds:
            return clause["limit"] is not None and retries < int(clause["limit"])
    return False


def _plain(quoted):
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])
