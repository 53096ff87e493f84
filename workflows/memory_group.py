"""Hold a process to its memory with a control group of the kernel, where one can be made.

Version 1 makes the group below this process's own. Version 2 forbids that (a group with processes
has no children with limits), so there it is made beside the own one; that needs a delegated parent
(`systemd-run --user --scope -p Delegate=yes mdpipe run …`). `RLIMIT_AS` is no stand-in: it counts
addresses, of which compiled code and threads reserve gigabytes that they never touch.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from mdpipe.workflows import machine

PREFIX = "mdpipe-"


class MemoryGroup:
    """One group with a limit; made by `make_memory_group`.

    Parameters
    ----------
    folder : Path
        The group's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, pid: int) -> None:
        """Put a process in; what it starts from now on belongs to the group too.

        Parameters
        ----------
        pid : int
            The process.
        """
        with contextlib.suppress(OSError):
            (self.folder / "cgroup.procs").write_text(str(pid), "ascii")

    def oom_kills(self) -> int:
        """Return how often the kernel has killed in the group for lack of memory.

        Returns
        -------
        int
            The count.
        """
        return max(
            machine.field_of(self.folder / name, ("oom_kill",))
            for name in ("memory.events", "memory.oom_control")
        )

    def close(self) -> None:
        """Remove the group; its processes have ended."""
        for _ in range(50):
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)  # the last process is still being buried
            else:
                return


def make_memory_group(name: str, limit_mb: int) -> MemoryGroup | None:
    """Make a group with a limit.

    Parameters
    ----------
    name : str
        Part of its name.
    limit_mb : int
        The limit, MB of 10⁶ bytes; there is no swap beyond it.

    Returns
    -------
    MemoryGroup or None
        None where this system, or this user, cannot make one.
    """
    chain = machine.own_cgroups("memory")
    if not chain:
        return None
    first = (chain[0] / "memory.limit_in_bytes").is_file()
    parent = chain[0] if first else chain[0].parent
    folder = parent / f"{PREFIX}{os.getpid()}-{name}"
    try:
        _sweep(parent)
        folder.mkdir()
        limit = str(limit_mb * 10**6)
        (folder / ("memory.limit_in_bytes" if first else "memory.max")).write_text(limit, "ascii")
        for swap in ("memory.memsw.limit_in_bytes",) if first else ("memory.swap.max",):
            with contextlib.suppress(OSError):  # a kernel without swap accounting
                (folder / swap).write_text(limit if first else "0", "ascii")
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        return None
    return MemoryGroup(folder)


def _sweep(parent: Path) -> None:
    """Remove empty groups of engines that were killed; one in use cannot be removed."""
    for left in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            pid = left.name.removeprefix(PREFIX).partition("-")[0]
            if not Path("/proc", pid).exists():
                left.rmdir()
