"""How many threads a running step may use: a number in a file that an engine changes.

The bits of a scene do not depend on its threads, so a scene may take over the cores of another one
that has ended, and give them back.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["VARIABLE", "Allowance", "write_allowance"]

VARIABLE: Final = "MDPIPE_THREADS_FILE"
"""Environment variable that names the file."""

PERIOD_S: Final = 1.0


class Allowance:
    """The threads that this process may use, looked up at most once a second.

    Parameters
    ----------
    path : Path or None
        The file; without one, and as long as it holds no number, nothing changes.
    threads : int
        What is allowed at first.
    clock : callable
        Seconds, for tests.
    """

    def __init__(
        self, path: Path | None, threads: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._threads = threads
        self._clock = clock
        self._looked = float("-inf")

    @classmethod
    def from_environment(cls, threads: int) -> Allowance:
        """Return the allowance in the file that `MDPIPE_THREADS_FILE` names.

        Parameters
        ----------
        threads : int
            What is allowed at first.

        Returns
        -------
        Allowance
            One that never changes if the variable is not set.
        """
        named = os.environ.get(VARIABLE)
        return cls(Path(named) if named else None, threads)

    def threads(self) -> int:
        """Return what is allowed now.

        Returns
        -------
        int
            At least 1.
        """
        now = self._clock()
        if self._path is not None and now - self._looked >= PERIOD_S:
            self._looked = now
            with contextlib.suppress(OSError, ValueError):
                self._threads = max(1, int(self._path.read_text("ascii")))
        return self._threads


def write_allowance(path: Path, threads: int) -> None:
    """Allow a running step so many threads.

    Parameters
    ----------
    path : Path
        The file that the step looks at; where it cannot be written the step goes on as it does.
    threads : int
        At least 1.
    """
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(f"{threads}\n", "ascii")
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
