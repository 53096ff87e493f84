"""Errors with an exit code, and the one table of failure classes that every engine reads."""

from mdpipe.failures.classify import cause_line, classify, classify_error, exit_code_of
from mdpipe.failures.errors import (
    BusyError,
    IncompleteRunError,
    InputError,
    InterruptedRunError,
    MdpipeError,
    MemoryLimitError,
    NoSpaceError,
    StudyError,
    UsageError,
)
from mdpipe.failures.last_words import last_words, leave_last_words
from mdpipe.failures.signals import exit_on_sigterm
from mdpipe.failures.table import TABLE, Backoff, FailureClass, failure_class

__all__ = [
    "TABLE",
    "Backoff",
    "BusyError",
    "FailureClass",
    "IncompleteRunError",
    "InputError",
    "InterruptedRunError",
    "MdpipeError",
    "MemoryLimitError",
    "NoSpaceError",
    "StudyError",
    "UsageError",
    "cause_line",
    "classify",
    "classify_error",
    "exit_code_of",
    "exit_on_sigterm",
    "failure_class",
    "last_words",
    "leave_last_words",
]
