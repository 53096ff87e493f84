"""Errors with an exit code, and the one table of failure classes that every engine reads."""

from mdpipe.failures.errors import (
    BusyError,
    InputError,
    InterruptedRunError,
    MdpipeError,
    NoSpaceError,
    StudyError,
    UsageError,
    exit_code_of,
)

__all__ = [
    "BusyError",
    "InputError",
    "InterruptedRunError",
    "MdpipeError",
    "NoSpaceError",
    "StudyError",
    "UsageError",
    "exit_code_of",
]
