import re

import pytest
from retry_language import evaluate

from mdpipe.failures import TABLE, classify
from mdpipe.failures.last_words import last_words
from mdpipe.workflows.argo_retry import retry_expression, retry_strategy

EXPRESSION = retry_expression()

# What Argo 4.1.2 says of a pod, and how often it is to be tried again.
MESSAGES = [
    ("main: OOMKilled (exit code 137)", "137", "out-of-memory"),
    ("main: Error (exit code 137)", "137", "out-of-memory"),
    ("init: OOMKilled (exit code 137)", "-1", "out-of-memory"),
    ("wait: OOMKilled (exit code 137)", "-1", "out-of-memory"),
    ("wait: OOMKilled (exit code 137)", "0", "out-of-memory"),
    ("main: Error (exit code 75)", "75", "try-again"),
    ("main: Error (exit code 66)", "66", "bad-input"),
    ("main: Error (exit code 70)", "70", "bug"),
    ("main: Error (exit code 78)", "78", "bad-study"),
    ("main: Error (exit code 2)", "2", "usage"),
    ("main: Error (exit code 1)", "1", "bug"),
    ("main: Error (exit code 64)", "64", "bug"),
    ("main: Error (exit code 143)", "143", "interrupted"),
    ("main: Error (exit code 132)", "132", "incompatible-image"),
    ("main: Error (exit code 126)", "126", "incompatible-image"),
    ("The node was low on resource: memory. Threshold quantity: 100Mi", "-1", "interrupted"),
    ("The node was low on resource: memory. Threshold quantity: 100Mi", "137", "interrupted"),
    ("Pod was terminated in response to imminent node shutdown.", "-1", "interrupted"),
    ("workflow shutdown with strategy:  Terminate", "-1", "interrupted"),
    ("pod deleted", "-1", "interrupted"),
    ("Pod failed before main container starts due to ErrImagePull: x", "-1", "out-of-stock"),
    ("Pod failed before main container starts due to ImagePullBackOff: x", "-1", "out-of-stock"),
    ("Pod failed before main container starts due to PodInitializing: x", "-1", "interrupted"),
    ("Pod failed before main container starts due to ContainerCreating: x", "-1", "interrupted"),
    ("Pod was rejected: The node had condition: [DiskPressure].", "-1", "interrupted"),
    ("can't find failed message for pod a namespace b", "-1", "out-of-stock"),
    ("Pod was active on the node longer than the specified deadline", "-1", "time-limit"),
    ("Pod was active on the node longer than the specified deadline", "143", "time-limit"),
    ("timeout", "-1", "out-of-stock"),
    ('failed to load artifacts: Get "http://x": dial tcp: connection refused', "-1", "network"),
    ("failed to put file: SlowDown: reduce your request rate", "-1", "network"),
    ("failed to load artifacts: The specified key does not exist.", "-1", "bad-input"),
    ("artifact inputs failed to load: no key found of name g/inputs", "64", "bad-input"),
    ("init: Error (exit code 64): artifact slice failed to load: XML error", "64", "network"),
    ("wait: Error (exit code 64): failed to put file: Internal Server Error", "64", "network"),
    ('secrets "a" is forbidden', "-1", "bug"),
    ("artifact b failed to save: write /tmp/x: no space left on device", "-1", "disk-full"),
]  # fmt: skip


def tries(message, exit_code):
    """Return how often a step is tried again that fails in the same way for ever."""
    count = 0
    while evaluate(EXPRESSION, message=message, exit_code=exit_code, retries=count):
        count += 1
    return count


@pytest.mark.parametrize(("message", "exit_code", "name"), MESSAGES)
def test_what_argo_says_is_retried_as_often_as_the_table_says(message, exit_code, name):
    expected = next(row.retries for row in TABLE if row.name == name)
    assert tries(message, exit_code) == expected


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_the_class_that_the_program_names_is_believed_over_words_of_its_message(row):
    others = "out of memory, connection reset, no space left on device, pod deleted, interrupted"
    said = last_words(row, others)
    assert tries(f"main: Error (exit code {row.exit_code}): {said}", f"{row.exit_code}") == (
        row.retries
    )


@pytest.mark.parametrize("code", range(1, 256))
def test_every_exit_code_is_judged_as_the_local_engine_judges_it(code):
    assert tries(f"main: Error (exit code {code})", str(code)) == classify(code, None, "").retries


def test_words_of_every_pattern_are_judged_as_the_local_engine_judges_them():
    for row in TABLE:
        for pattern in row.messages:
            words = re.sub(r"\\b|\^|\$|\(\?i\)", "", pattern).replace(".*", " x ")
            words = re.sub(r"\(([^|)]*)[^)]*\)", r"\1", words).replace("50[0234]", "503")
            said = words if pattern.startswith("^") else f"artifact a failed: {words.upper()}"
            assert re.search(pattern, said, re.IGNORECASE), (pattern, said)
            assert tries(said, "-1") == classify(None, None, said).retries, said


def test_an_unknown_exit_code_is_no_signal():
    assert tries("something else", "-1") == 0


def test_limit_and_back_off_leave_room_for_every_class():
    strategy = retry_strategy()
    assert strategy["limit"] == str(max(row.retries for row in TABLE))
    assert strategy["retryPolicy"] == "Always"
    assert {type(value) for value in strategy["backoff"].values()} == {str}


def test_the_evaluator_refuses_what_is_not_generated():
    with pytest.raises(AssertionError, match="not of the form"):
        evaluate("lastRetry.status == 'x' ? false : false", message="", exit_code="1", retries=0)
