"""SIGTERM as an orderly end: what is half written is removed, and the exit code says so."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType

TERMINATED = 128 + signal.SIGTERM


def exit_on_sigterm() -> None:
    """Make SIGTERM end this program with exit code 143, through every `finally` on the way.

    Notes
    -----
    Python looks at signals between its own instructions: a kernel that runs is waited for.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    signal.signal(number, signal.SIG_IGN)  # a second one must not disturb the clearing up
    sys.stderr.write("mdpipe: terminated (SIGTERM); run again to resume\n")
    raise SystemExit(TERMINATED)
