"""Evaluates the retry expressions that are generated, and nothing more of Argo's language.

An expression names the message, the exit code and the class that the program itself named, and
compares `retries` with the number of that class, or else with that of the first test that holds in
a row of `test ? number : …`. A test is `c in ['a', …]` or `m matches 'PATTERN'`. Patterns are
written in what RE2 and Python's `re` have in common.
"""

import re

STRING = r"'(?:\\.|[^'\\])*'"
LIST = rf"\[{STRING}(?:, {STRING})*\]"
WHOLE = re.compile(
    r"let m = lastRetry\.message; let c = lastRetry\.exitCode; "
    rf"let k = m matches (?P<words>{STRING}) \? split\(m, ': '\)\[2\] : ''; "
    rf"asInt\(retries\) < \(c in (?P<decisive>{LIST}) \? 0 : "
    rf"get\(\{{(?P<named>{STRING}: \d+(?:, {STRING}: \d+)*)\}}, k\) \?\? "
    r"\((?P<clauses>.*)0\)\)"
)
CLAUSE = re.compile(
    rf"(?:c in (?P<list>{LIST})|m matches (?P<pattern>{STRING})) \? (?P<number>\d+) : "
)


def evaluate(expression, *, message, exit_code, retries):
    """Return what the expression says, as Argo would."""
    whole = WHOLE.fullmatch(expression)
    assert whole, f"not of the form that is generated: {expression}"
    return retries < _limit(whole, message, exit_code)


def _limit(whole, message, exit_code):
    if exit_code in _plain_list(whole["decisive"]):
        return 0
    if re.search(_plain(whole["words"]), message):
        name = message.split(": ")[2]
        for pair in re.finditer(rf"({STRING}): (\d+)", whole["named"]):
            if _plain(pair[1]) == name:
                return int(pair[2])
    position, clauses = 0, whole["clauses"]
    while position < len(clauses):
        clause = CLAUSE.match(clauses, position)
        assert clause, f"not of the forms that are generated: {clauses[position:]}"
        position = clause.end()
        if clause["list"] is not None:
            holds = exit_code in _plain_list(clause["list"])
        else:
            holds = re.search(_plain(clause["pattern"]), message) is not None
        if holds:
            return int(clause["number"])
    return 0


def _plain_list(quoted):
    return [_plain(text) for text in re.findall(STRING, quoted)]


def _plain(quoted):
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])
