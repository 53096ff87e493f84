"""The errors that mdpipe raises on purpose: one clear line each, and an exit code."""

from __future__ import annotations


class MdpipeError(Exception):
    """An error whose one-line message says what is wrong, where, the value and the remedy."""

    exit_code = 70


class UsageError(MdpipeError):
    """A command or function was called with arguments that cannot work together."""

    exit_code = 2


class InputError(MdpipeError):
    """An input file is missing, unreadable or not physical."""

    exit_code = 66


class IncompleteRunError(InputError):
    """All was made of a run that could be made, but something of it is missing."""


class StudyError(MdpipeError):
    """The study file has a wrong key, unit or value."""

    exit_code = 78


class BusyError(MdpipeError):
    """Something outside the program stood in the way for now; trying again can succeed."""

    exit_code = 75


class InterruptedRunError(BusyError):
    """The run was told to stop (Ctrl-C, SIGTERM) and stopped at a checkpoint."""


class NoSpaceError(BusyError):
    """The disk is full; what was half written has been removed."""


class MemoryLimitError(MdpipeError):
    """The memory that the program may use is less than the least that the work needs."""

    exit_code = 137
