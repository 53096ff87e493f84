"""What a cluster answers instead of what was asked for."""

from __future__ import annotations

from mdpipe.failures import InputError, UsageError


class AbsentError(InputError):
    """There is no such object, or no such kind of object."""


class RefusedError(UsageError):
    """The user is not known to the cluster, or has no right to what was asked."""


class ConflictError(InputError):
    """There is such an object already, or it has changed meanwhile."""


class InvalidError(InputError, ValueError):
    """The cluster finds the request wrong."""
