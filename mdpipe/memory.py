"""A process's own memory: its limit, its peak, and what it can give back."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import sys
import threading
from pathlib import Path

from mdpipe.failures import MemoryLimitError

LIMIT = "MDPIPE_MEMORY_MB"
"""Environment variable with the memory that an engine gives a step, MB (10⁶ bytes)."""

PEAK = "peak_memory_mb"
"""Key of the peak in the last line of a step's progress file."""

SAMPLE_S = 0.2


def limit_mb() -> int | None:
    """Return the memory that this process was told to keep to.

    Returns
    -------
    int or None
        MB; None where nobody set a limit.
    """
    text = os.environ.get(LIMIT, "")
    return int(text) if text.isdigit() and int(text) > 0 else None


def fitting(what: str, most: int, *, floor_mb: float, base_mb: float, each_mb: float) -> int:
    """Return how many threads fit into the memory that this process was told to keep to.

    Parameters
    ----------
    what : str
        The work, for the message.
    most : int
        Threads wanted.
    floor_mb : float
        What the work certainly needs, MB.
    base_mb : float
        What it needs without any thread, as measured, MB.
    each_mb : float
        What each thread adds, MB.

    Returns
    -------
    int
        From 1 to `most`; `most` where there is no limit.

    Raises
    ------
    MemoryLimitError
        If the limit is below the floor: better now than when the kernel says so.
    """
    limit = limit_mb()
    if limit is None:
        return most
    if limit < floor_mb:
        raise MemoryLimitError(
            f"{what} needs at least {floor_mb:.0f} MB, however little it does at once, and has "
            f"{limit} MB; raise resources.memory_mb or memory_mb_of"
        )
    return max(1, min(most, int((limit - base_mb) / each_mb)))


def peak_mb() -> float:
    """Return the most memory that this process has had resident.

    Returns
    -------
    float
        MB.

    Notes
    -----
    Linux's `VmHWM`, which begins at `exec`; `ru_maxrss`, its stand-in elsewhere, may include the
    parent at the moment of the fork.
    """
    own = _high_water_mb("self")
    if own:
        return own
    scale = 1e6 if sys.platform == "darwin" else 1e6 / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def _high_water_mb(process: str) -> float:
    """Return a process's peak in MB, 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc", process, "status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def give_back_freed() -> None:
    """Give memory that was freed back to the system, where the C library keeps it (glibc).

    Notes
    -----
    It keeps what lies below anything still in use: after a file was read or a box relaxed that may
    be more than the whole state.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


class PeakRecorder:
    """Watches the programs that this process starts, and writes the peak of all at the end.

    A limit holds for a step and its children together (an encoder beside the renderer), so the
    peak is the process's own and the greatest sum of its children's at any moment. Between two
    looks (0.2 s) a child may come and go unseen.

    Parameters
    ----------
    path : Path or None
        The step's progress file; None to write nothing.
    watch : bool
        Whether to watch without a file too, for who asks for `peak_mb`.
    """

    def __init__(self, path: Path | None, *, watch: bool = False) -> None:
        self.path = path
        self._children_mb = 0.0
        self._over = threading.Event()
        if (watch or path is not None) and Path("/proc/self/task").is_dir():
            threading.Thread(target=self._watch, name="memory", daemon=True).start()

    def close(self) -> float:
        """Watch no longer.

        Returns
        -------
        float
            The peak of this process and its children, MB.
        """
        self._over.set()
        return peak_mb() + self._children_mb

    def _watch(self) -> None:
        own_command = _command("self")
        while not self._over.wait(SAMPLE_S):
            total = sum(
                _high_water_mb(child)
                for child in _children()
                # between fork and exec a child is a second view of this process
                if _command(child) != own_command
            )
            self._children_mb = max(self._children_mb, total)

    def write(self) -> None:
        """Append the peak to the progress file; one that cannot be written is left out."""
        if self.path is None:
            return
        line = json.dumps({PEAK: round(self.close(), 1)})
        with contextlib.suppress(OSError), self.path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def _children() -> list[str]:
    """Return the process ids of this process's children."""
    found: list[str] = []
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += path.read_text("ascii").split()
    return found


def _command(process: str) -> bytes:
    """Return the command line of a process."""
    try:
        return Path("/proc", process, "cmdline").read_bytes()
    except OSError:
        return b""


def read_peak_mb(progress: Path) -> float | None:
    """Read the peak that a step has written at its end.

    Parameters
    ----------
    progress : Path
        Its progress file.

    Returns
    -------
    float or None
        MB; None where it ended without, as one that was killed.
    """
    try:
        with progress.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 256))
            last = stream.read().strip().rpartition(b"\n")[2]
        return float(json.loads(last)[PEAK])
    except (OSError, ValueError, KeyError, TypeError):
        return None
