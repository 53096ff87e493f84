"""Ctrl-C and SIGTERM as counters that a loop looks at, instead of exceptions anywhere."""

from __future__ import annotations

import contextlib
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered, counts the signals that ask the program to stop.

    Attributes
    ----------
    count : int
        How many came.
    first : int
        Number of the first, 0 if none came.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first = 0
        self._before: dict[signal.Signals, Any] = {}

    @property
    def exit_code(self) -> int:
        """Exit code of a program that a signal stopped: 130 for Ctrl-C, else 75, try again."""
        return 130 if self.first == signal.SIGINT else 75

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.first = self.first or number
        self.count += 1

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            with contextlib.suppress(TypeError):  # a handler that was not set from Python
                signal.signal(number, handler)
