"""Locks between processes that the kernel gives back when their holder dies, however it dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from mdpipe.failures import BusyError

Notice = Callable[[str], None]


def silent(message: str) -> None:
    """Take a notice and say nothing.

    Parameters
    ----------
    message : str
        What would have been said.
    """
    del message


class FileLock:
    """An exclusive `flock` on a file that exists only while somebody uses it.

    A lock file that a killed process left behind holds nothing: the next taker gets it at once and
    removes it at the end. Works between the processes of one host, and between hosts where the
    file system says so.

    Parameters
    ----------
    path : Path
        The lock file; its folder is made if need be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.was_left_behind = False
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def try_acquire(self) -> bool:
        """Take the lock if it is free.

        Returns
        -------
        bool
            Whether it is held now.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            existed = self.path.exists()
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            except BaseException:
                os.close(descriptor)
                raise
            if self._is_current(descriptor):
                self._descriptor = descriptor
                self.was_left_behind = existed
                with contextlib.suppress(OSError):  # only for messages; the disk may be full
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                return True
            # its last holder removed the file between our open and our lock
            os.close(descriptor)

    def acquire(
        self, timeout_s: float, *, waiting: Callable[[], None] | None = None, poll_s: float = 0.5
    ) -> None:
        """Take the lock, waiting for it if need be.

        Parameters
        ----------
        timeout_s : float
            How long to wait at most, seconds.
        waiting : callable or None
            Called once when the lock is not free at once.
        poll_s : float
            Longest time between two tries, seconds.

        Raises
        ------
        BusyError
            If the lock is still held by another after that time.
        """
        end = time.monotonic() + timeout_s
        pause = min(0.01, poll_s)
        told = False
        while not self.try_acquire():
            if not told and waiting is not None:
                waiting()
            told = True
            left = end - time.monotonic()
            if left <= 0:
                raise BusyError(
                    f"{self.path}: still held by process {self.holder() or '?'} after "
                    f"{timeout_s:g} s; wait for that process or end it, then run again"
                )
            time.sleep(min(pause, left))
            pause = min(2 * pause, poll_s)

    def holder(self) -> str:
        """Return the process id that the holder wrote, for messages.

        Returns
        -------
        str
            Digits, or nothing.
        """
        try:
            return self.path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""

    def release(self) -> None:
        """Remove the lock file and give the lock back."""
        if self._descriptor is None:
            return
        try:
            # removed while held: nobody can take the lock on a name that is about to vanish,
            # because takers look whether the name still means the file that they locked
            if self._is_current(self._descriptor):
                self.path.unlink(missing_ok=True)
        except OSError:
            pass
        finally:
            os.close(self._descriptor)
            self._descriptor = None

    def _is_current(self, descriptor: int) -> bool:
        """Say whether the name of the lock still means the open file."""
        try:
            named = self.path.stat()
        except FileNotFoundError:
            return False
        opened = os.fstat(descriptor)
        return (named.st_dev, named.st_ino) == (opened.st_dev, opened.st_ino)

    def __enter__(self) -> FileLock:
        if not self.held:
            self.acquire(0.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
