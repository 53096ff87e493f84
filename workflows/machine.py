"""What this machine gives: cores, memory, and the kernel's count of out-of-memory kills."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
SHARE = 0.8
"""Part of the memory that steps may plan with; the rest is for the engine and the page cache."""


def cores() -> int:
    """Return the cores that this process may use: its affinity and its cgroup's quota.

    Returns
    -------
    int
        At least 1.
    """
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:
        count = os.cpu_count() or 1
    for folder in own_cgroups("cpu"):
        quota = _words(folder / "cpu.max")
        if len(quota) == 2 and quota[0].isdigit():
            count = min(count, int(quota[0]) // int(quota[1]) or 1)
    return max(1, count)


def memory_mb() -> int:
    """Return the memory that steps may plan with.

    Returns
    -------
    int
        MB: 80 % of what is available on the machine or left below the cgroup's limit.
    """
    available = [_available_bytes()]
    for folder in own_cgroups("memory"):
        for limit_name, used_name in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, used = _words(folder / limit_name), _words(folder / used_name)
            if limit and used and limit[0].isdigit():
                # cached files count as used but give way
                cached = field_of(folder / "memory.stat", ("inactive_file", "total_inactive_file"))
                available.append(int(limit[0]) - int(used[0]) + cached)
    return max(256, int(SHARE * min(available) / 1e6))


def oom_kill_count() -> int:
    """Return how often the kernel has killed a process of this memory group for lack of memory.

    Returns
    -------
    int
        A counter that only grows; 0 where the system does not tell.
    """
    for folder in own_cgroups("memory"):
        for name in ("memory.events", "memory.oom_control"):
            if (folder / name).is_file():
                return field_of(folder / name, ("oom_kill",))
    return field_of(Path("/proc/vmstat"), ("oom_kill",))


def own_cgroups(controller: str) -> list[Path]:
    """Return the folders of this process's group for a controller, its parents included.

    Parameters
    ----------
    controller : str
        `memory` or `cpu`.

    Returns
    -------
    list of Path
        Its own group first.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text("utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        _, names, where = line.split(":", 2)
        # inside a container the group is often mounted as the root itself
        root = CGROUP if not names else CGROUP / names
        if names == "" or controller in names.split(","):
            leaf = root / where.lstrip("/")
            chain = [p for p in (leaf, *leaf.parents) if p == root or root in p.parents]
            found = [p for p in chain if any(p.glob(f"{controller}.*"))]
            if found:
                return found
    return []


def _available_bytes() -> int:
    """Return the machine's available memory."""
    kb = field_of(Path("/proc/meminfo"), ("MemAvailable:",))
    if kb:
        return kb * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def field_of(path: Path, names: tuple[str, ...]) -> int:
    """Return a number of a file of `name value` lines.

    Parameters
    ----------
    path : Path
        The file.
    names : tuple of str
        The names that the number may have.

    Returns
    -------
    int
        0 if it is not there.
    """
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text("utf-8").splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] in names:
                return int(words[1])
    return 0


def _words(path: Path) -> list[str]:
    """Return the words of a small file, none if it is not there."""
    try:
        return path.read_text("utf-8").split()
    except OSError:
        return []
