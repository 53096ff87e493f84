"""First process of a container: `entry.py PROGRAM ARGUMENT…`.

Run as a plain script, so that it starts in a few milliseconds. It puts links to the compiled
kernels of the image into the writable cache folder (Numba only reads a cache that it can write, and
replaces a link by a file where the processor wants other code), passes signals on, reaps what is
left behind, and looks at the memory of the container's control group: the peak without cached files
goes to the file that `MDPIPE_USAGE` names, and a program that the kernel killed for lack of memory
ends as exit code 137, whatever the container tool makes of it. The program is told the limit of the
group unless `MDPIPE_MEMORY_MB` says another one, and for a program that was killed, and so could
not speak, the last words are left where `MDPIPE_TERMINATION_LOG` says.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys

CGROUP = "/sys/fs/cgroup"
PERIOD_S = 0.2
NO_LIMIT = 1 << 60
"""Version 1 writes a number about this great where there is no limit."""

CANNOT_START = (126, 127)
PASSED_ON = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}


def link_cache(source: str, target: str) -> None:
    """Put links to all files below one folder into another; what is there stays.

    Parameters
    ----------
    source : str
        Folder of the image, read only.
    target : str
        Writable folder.
    """
    for folder, _, names in os.walk(source):
        into = os.path.join(target, os.path.relpath(folder, source))  # noqa: PTH118
        os.makedirs(into, exist_ok=True)  # noqa: PTH103
        for name in names:
            with contextlib.suppress(FileExistsError):
                os.symlink(f"{folder}/{name}", f"{into}/{name}")  # noqa: PTH211


class Memory:
    """Memory of this container's control group, version 1 or 2; zeros where it cannot be seen.

    Parameters
    ----------
    root : str
        Where control groups are mounted.
    """

    def __init__(self, root: str = CGROUP) -> None:
        new = os.path.exists(f"{root}/memory.current")  # noqa: PTH110
        folder = root if new else f"{root}/memory"
        self._used = f"{folder}/memory.current" if new else f"{folder}/memory.usage_in_bytes"
        self._most = f"{folder}/memory.peak" if new else f"{folder}/memory.max_usage_in_bytes"
        self._limit = f"{folder}/memory.max" if new else f"{folder}/memory.limit_in_bytes"
        self._events = f"{folder}/memory.events" if new else f"{folder}/memory.oom_control"
        self._stat = f"{folder}/memory.stat"
        self._files = (b"active_file", b"inactive_file") if new else (
            b"total_active_file", b"total_inactive_file",
        )  # fmt: skip
        self.peak = 0

    def sample(self) -> None:
        """Look once; cached files do not count, for the kernel takes them back."""
        files = sum(_field(self._stat, name) for name in self._files)
        self.peak = max(self.peak, _number(self._used) - files)

    @property
    def oom_kills(self) -> int:
        """How many processes of the container the kernel has killed for lack of memory."""
        return _field(self._events, b"oom_kill")

    @property
    def limit(self) -> int:
        """Bytes that the container may use, 0 for any number."""
        limit = _number(self._limit)
        return limit if limit < NO_LIMIT else 0

    @property
    def most(self) -> int:
        """Bytes at the highest moment, cached files included."""
        return _number(self._most)


def _number(path: str) -> int:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            return int(stream.read())
    except (OSError, ValueError):
        return 0


def _field(path: str, name: bytes) -> int:
    try:
        with open(path, "rb") as stream:  # noqa: PTH123
            for line in stream:
                words = line.split()
                if len(words) == 2 and words[0] == name:
                    return int(words[1])
    except (OSError, ValueError):
        pass
    return 0


def start(program: list[str]) -> int:
    """Start the program, as the kernel's first choice when memory runs out.

    Parameters
    ----------
    program : list of str
        The program and its arguments.

    Returns
    -------
    int
        Its process id.
    """
    child = os.fork()
    if child:
        return child
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as stream:  # noqa: PTH123
        stream.write("500")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [*PASSED_ON, signal.SIGCHLD])
    try:
        os.execvp(program[0], program)
    except OSError as error:
        sys.stderr.write(f"{program[0]}: cannot be started: {error.strerror}\n")
        sys.stderr.flush()
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)


def wait(child: int, memory: Memory) -> int:
    """Pass signals on and look at the memory until the program has ended.

    Parameters
    ----------
    child : int
        Its process id.
    memory : Memory
        Is sampled.

    Returns
    -------
    int
        Exit code; minus the signal that ended it.
    """
    awaited = [*PASSED_ON, signal.SIGCHLD]
    while True:
        memory.sample()
        came = signal.sigtimedwait(awaited, PERIOD_S)
        if came is not None and came.si_signo != signal.SIGCHLD:
            os.kill(child, came.si_signo)
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid == child:
                    return os.waitstatus_to_exitcode(status)


def leave_last_words(program: str, code: int, kills: int, limit: int) -> None:
    """Speak for a program that could not: one that was killed, or never started.

    Parameters
    ----------
    program : str
        Its name.
    code : int
        Its exit code; minus the signal that ended it.
    kills : int
        How many processes the kernel has killed for lack of memory.
    limit : int
        Bytes that the container may use, 0 if that is not known.
    """
    named = os.environ.get("MDPIPE_TERMINATION_LOG", "")
    if code == 0 or not named:
        return
    if kills:
        what = f"the kernel killed {program} at the container's memory limit"
        what += f" of {limit // 10**6} MB" if limit else ""
    elif code < 0:
        what = f"{program} was ended by signal {-code} ({signal.strsignal(-code)})"
    elif code in CANNOT_START and _number_of_bytes(named) == 0:
        what = f"{program} cannot be started"
    else:
        return
    with contextlib.suppress(Exception):
        import site

        site.main()  # started without it, for speed; the libraries are looked for only now
        from mdpipe.failures import classify, last_words

        what = last_words(classify(code, None, what, kills), what)
    with contextlib.suppress(OSError), open(named, "w") as stream:  # noqa: PTH123
        stream.write(what)


def _number_of_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116
    except OSError:
        return 0


def main() -> int:
    """Run the program and say how it ended; see the module's text."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [*PASSED_ON, signal.SIGCHLD])
    warm, cache = os.environ.get("MDPIPE_WARM_CACHE"), os.environ.get("MDPIPE_CACHE_DIR")
    if warm and cache:
        try:
            link_cache(warm, cache)
        except OSError as error:
            sys.stderr.write(f"{cache}: cannot be written ({error.strerror}); mount a folder\n")
    memory = Memory()
    before = memory.oom_kills
    if memory.limit:
        os.environ.setdefault("MDPIPE_MEMORY_MB", str(memory.limit // 10**6))
    code = wait(start(sys.argv[1:]), memory)
    kills = memory.oom_kills - before
    peak = max(memory.peak, 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    leave_last_words(sys.argv[1], code, kills, memory.limit)
    if kills and code != 0:
        peak = max(peak, memory.most)
        sys.stderr.write("out of memory: the kernel killed the step at the container's limit\n")
        code = 137
    if usage := os.environ.get("MDPIPE_USAGE"):
        noted = {"peak_bytes": peak, "with_files_bytes": memory.most, "oom_kills": kills}
        noted["signal"] = max(0, -code)
        with contextlib.suppress(OSError), open(usage, "w") as stream:  # noqa: PTH123
            json.dump(noted, stream)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
