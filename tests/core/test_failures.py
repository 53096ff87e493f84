"""The failure table and the classification of dead steps."""

import errno
import re
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdpipe.failures import (
    TABLE,
    Backoff,
    BusyError,
    InputError,
    InterruptedRunError,
    NoSpaceError,
    StudyError,
    UsageError,
    cause_line,
    classify,
    classify_error,
    exit_code_of,
    failure_class,
    last_words,
)


@pytest.mark.parametrize(
    ("exit_code", "sig", "tail", "oom", "expected"),
    [
        (66, None, "Connection reset by peer", 0, "bad-input"),
        (78, None, "", 0, "bad-study"),
        (2, None, "no such option", 0, "usage"),
        (70, None, "", 0, "bug"),
        (1, None, "ValueError: x", 0, "bug"),
        (99, None, "", 0, "bug"),
        (None, signal.SIGSEGV, "", 0, "bug"),
        (75, None, "", 0, "try-again"),
        (75, None, "error: /run: the disk is full; free space", 0, "disk-full"),
        (1, None, "OSError: [Errno 28] No space left on device", 0, "disk-full"),
        (75, None, "error: interrupted at step 5000; run again", 0, "interrupted"),
        (75, None, "mdpipe: stopped; run the same command again to resume", 0, "interrupted"),
        (None, signal.SIGTERM, "", 0, "interrupted"),
        (None, signal.SIGKILL, "", 0, "interrupted"),
        (-9, None, "", 0, "interrupted"),
        (None, signal.SIGKILL, "", 1, "out-of-memory"),
        (137, None, "", 0, "out-of-memory"),
        (1, None, "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 9 GiB", 0,
         "out-of-memory"),
        (None, None, "main: OOMKilled (exit code 137)", 0, "out-of-memory"),
        (None, signal.SIGILL, "", 0, "incompatible-image"),
        (128 + signal.SIGILL, None, "", 0, "incompatible-image"),
        (128 + signal.SIGSEGV, None, "", 0, "bug"),
        (143, None, "mdpipe: terminated (SIGTERM); run again to resume", 0, "interrupted"),
        (126, None, "exec /usr/bin/mdpipe: exec format error", 0, "incompatible-image"),
        (-1, None, "pod deleted", 0, "interrupted"),
        (None, None, "Pod was terminated in response to imminent node shutdown.", 0,
         "interrupted"),
        (None, None, "can't find failed message for pod x", 0, "out-of-stock"),
        (1, None, "ConnectionResetError: [Errno 104] Connection reset by peer", 0, "network"),
        (124, None, "", 0, "time-limit"),
        (125, None, "Error: unknown flag: --x", 0, "container-tool"),
        (125, None, "Error: storage: write: no space left on device", 0, "disk-full"),
    ],
)  # fmt: skip
def test_a_dead_step_gets_the_class_that_its_code_signal_or_last_words_name(
    exit_code, sig, tail, oom, expected
):
    assert classify(exit_code, sig, tail, oom).name == expected


def test_an_old_warning_far_above_the_last_lines_is_not_taken_for_the_cause():
    tail = "warning: connection reset, tried again\n" + "step 1\n" * 50 + "ValueError: x"
    assert classify(1, None, tail).name == "bug"


def test_the_table_never_uses_the_two_codes_of_the_workflow_executor():
    for row in TABLE:
        assert not {64, 65} & {*row.exit_codes, row.exit_code}
        assert row.remedy


def test_no_exit_code_and_no_signal_belongs_to_two_classes():
    codes = [code for row in TABLE for code in row.exit_codes]
    signals = [number for row in TABLE for number in row.signals]
    assert len(set(codes)) == len(codes)
    assert len(set(signals)) == len(signals)


def test_every_class_that_is_asked_for_is_there_and_its_patterns_compile():
    names = {row.name for row in TABLE}
    assert names == {
        "usage", "bad-study", "bad-input", "disk-full", "out-of-memory", "incompatible-image",
        "out-of-stock", "interrupted", "time-limit", "network", "container-tool",
        "try-again", "bug",
    }  # fmt: skip
    for row in TABLE:
        for pattern in row.messages:
            re.compile(pattern)
            assert "(?" not in pattern, "RE2 has no look-around; keep to the common subset"


def test_what_cannot_succeed_is_never_retried_and_what_can_is():
    assert all(failure_class(n).retries == 0 for n in ("usage", "bad-study", "bad-input", "bug"))
    assert all(
        failure_class(n).retries > 0
        for n in ("interrupted", "network", "out-of-memory", "try-again", "time-limit")
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk-full"),
        (NoSpaceError("out.npz: could not be written"), "disk-full"),
        (InterruptedRunError("stopped"), "interrupted"),
        (MemoryError(), "out-of-memory"),
        (ConnectionResetError(), "network"),
        (InputError("x"), "bad-input"),
        (StudyError("x"), "bad-study"),
        (UsageError("x"), "usage"),
        (BusyError("x"), "try-again"),
        (ZeroDivisionError(), "bug"),
    ],
)
def test_an_exception_has_the_class_that_its_exit_code_will_have(error, expected):
    assert classify_error(error).name == expected
    assert exit_code_of(error) == failure_class(expected).exit_code


@given(
    st.integers(1, 10_000),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.01, 100),
    st.floats(1, 4),
    st.floats(0, 1),
)
def test_a_delay_is_within_its_jitter_and_never_above_the_cap(retry, uniform, base, factor, jitter):
    backoff = Backoff(base, factor, 300.0, jitter)
    delay = backoff.delay_s(retry, uniform)
    centre = min(base * factor ** min(retry - 1, 64), 300.0)
    assert 0 <= delay <= 300.0
    assert abs(delay - centre) <= (jitter + 1e-12) * centre  # rounding of the product


def test_the_cause_is_the_last_line_that_is_not_blank():
    assert cause_line("Traceback\n  x\nValueError: wrong\n\n") == "ValueError: wrong"
    assert cause_line("") == "no message"


SLEEPER = """
import sys, time
from pathlib import Path
from mdpipe.failures import exit_on_sigterm
from mdpipe.products import write_atomically
exit_on_sigterm()
with write_atomically(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_step_told_to_terminate_ends_at_once_with_143_and_leaves_nothing_half_written(tmp_path):
    step = subprocess.Popen(
        [sys.executable, "-c", SLEEPER, str(tmp_path / "product")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert step.stdout is not None
    step.stdout.readline()
    began = time.monotonic()
    step.terminate()
    _, said = step.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert step.returncode == 143
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_last_words_are_one_line_that_ends_with_the_whole_remedy(row):
    line = last_words(row, "what\nwent wrong " * 500)
    assert "\n" not in line
    assert 900 < len(line) <= 1000
    assert line.startswith(f"{row.name}: what went wrong")
    assert line.endswith(f"; remedy: {row.remedy}")


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_last_words_are_never_taken_for_another_class(row):
    code = row.exit_codes[0] if row.exit_codes else None
    assert classify(code, None, last_words(row, "it went wrong")).name in {row.name, "bug"}
    found = [r.name for r in TABLE for m in r.messages
             if re.search(m, last_words(row, "it went wrong"), re.IGNORECASE)]  # fmt: skip
    assert set(found) <= {row.name}
