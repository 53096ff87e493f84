"""How a step gets started: one small class for each way, with the same two protocols."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mdpipe.allowance import VARIABLE as THREADS_VARIABLE
from mdpipe.allowance import write_allowance
from mdpipe.failures.table import Change
from mdpipe.progress import VARIABLE
from mdpipe.workflows import machine
from mdpipe.workflows.graph import Step
from mdpipe.workflows.memory_group import MemoryGroup, make_memory_group

TAIL_BYTES = 8192


@dataclass(frozen=True, slots=True)
class Launch:
    """What a step is started with: threads, memory, where its log and progress go.

    A runner puts `environment` into the step's environment as it is, tells it `memory_mb` as
    `MDPIPE_MEMORY_MB`, and the progress file as `MDPIPE_PROGRESS`.
    """

    threads: int
    memory_mb: int
    attempt: int
    run: Path
    log: Path
    progress: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a step ended.

    `exit_code` is None where a signal ended it; `tail` is the end of its log; `oom_kills` counts
    out-of-memory kills by the kernel that can have hit it. `peak_memory_mb` is what the runner saw
    from outside; a step that wrote its own figure (`mdpipe.memory`) is believed instead.
    """

    exit_code: int | None
    signal: int | None
    tail: str
    peak_memory_mb: float
    oom_kills: int = 0

    @property
    def good(self) -> bool:
        """Whether it ended well."""
        return self.exit_code == 0


class Handle(Protocol):
    """A step that runs."""

    def poll(self) -> Ended | None:
        """Return how it ended, None while it runs; never wait."""

    def allow(self, threads: int) -> bool:
        """Change how many threads it may use; say whether that can be done at all."""

    def stop(self) -> None:
        """Ask it to stop at a checkpoint."""

    def kill(self) -> None:
        """End it and all that it has started, at once."""


class Runner(Protocol):
    """A way to start steps."""

    changes: frozenset[Change]
    """What a retry can do differently here; a class that asks for another change is final."""

    def start(self, step: Step, launch: Launch) -> Handle:
        """Start a step."""

    def close(self) -> None:
        """Give back what the runner holds; nothing that it started runs any more."""


class ProcessRunner:
    """Start steps as processes of this machine, each in a process group of its own.

    Parameters
    ----------
    programs : mapping or None
        Program name in a step's command to the words that start it; `mdpipe` is this Python's.
    enforce_memory : bool
        Whether the kernel is to hold each step to its memory, where control groups can be made
        (`can_enforce` says so); otherwise a step is only told what it has.
    """

    changes: frozenset[Change] = frozenset({"nothing", "resume", "more-memory"})

    def __init__(
        self,
        programs: Mapping[str, tuple[str, ...]] | None = None,
        *,
        enforce_memory: bool = False,
    ) -> None:
        self.enforce_memory = enforce_memory
        self.programs = {"mdpipe": (sys.executable, "-m", "mdpipe.cli")} | dict(programs or {})
        self._guard = subprocess.Popen(
            [*_script("guard.py")], stdin=subprocess.PIPE, start_new_session=True
        )

    def start(self, step: Step, launch: Launch) -> ProcessHandle:
        """Start a step.

        Parameters
        ----------
        step : Step
            What to run.
        launch : Launch
            What to run it with.

        Returns
        -------
        ProcessHandle
            The running step.
        """
        words = [word.replace("{threads}", str(launch.threads)) for word in step.command]
        program = self.programs.get(words[0], (words[0],))
        allowance = launch.progress.with_suffix(".threads")
        environment = os.environ | {
            VARIABLE: str(launch.progress),
            THREADS_VARIABLE: str(allowance),
            "MDPIPE_MEMORY_MB": str(launch.memory_mb),
            # linear algebra is no part of the work; its idle threads cost memory
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
            **launch.environment,
        }
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        for left in (launch.progress, allowance):
            left.unlink(missing_ok=True)
        with launch.log.open("ab") as log:
            log.write(f"== attempt {launch.attempt}: {' '.join(words)}\n".encode())
            log.flush()
            process = subprocess.Popen(
                [*_script("launch.py"), str(os.getpid()), *program, *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                process_group=0,
            )
            offset = log.tell()
        self._tell(f"+{process.pid}\n")
        group = None
        if self.enforce_memory:
            # it has only just begun to start: what it has touched so far is not worth counting
            group = make_memory_group(f"{step.id}-{launch.attempt}", launch.memory_mb)
        if group is not None:
            group.add(process.pid)
        return ProcessHandle(process, launch.log, offset, self._tell, allowance, group)

    @staticmethod
    def can_enforce() -> bool:
        """Say whether control groups with limits can be made here.

        Returns
        -------
        bool
            True if so.
        """
        group = make_memory_group("try", 1000)
        if group is not None:
            group.close()
        return group is not None

    def close(self) -> None:
        """End the guard."""
        if self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.close()
        self._guard.wait()

    def _tell(self, line: str) -> None:
        """Tell the guard; without a guard the kernel's own signal is left."""
        if self._guard.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._guard.stdin.write(line.encode())
                self._guard.stdin.flush()


class ProcessHandle:
    """A step that runs as a process; made by `ProcessRunner`."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        log: Path,
        offset: int,
        tell: _Tell,
        allowance: Path,
        group: MemoryGroup | None = None,
    ) -> None:
        self._process = process
        self._log = log
        self._offset = offset
        self._tell = tell
        self._allowance = allowance
        self._memory = group
        self._oom_kills = machine.oom_kill_count()

    @property
    def pid(self) -> int:
        """Process id, and id of the process group."""
        return self._process.pid

    def poll(self) -> Ended | None:
        """Return how the step ended.

        Returns
        -------
        Ended or None
            None while it runs.
        """
        pid = self._process.pid
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        # what it has started and not waited for; before the wait, while the number is still its own
        self._group(signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        self._tell(f"-{pid}\n")
        code = os.waitstatus_to_exitcode(status)
        # subprocess must not wait for a process that is gone
        self._process.returncode = code
        oom_kills = self._end_group()
        if oom_kills is None:
            killed = code in {-signal.SIGKILL, 128 + signal.SIGKILL}
            oom_kills = machine.oom_kill_count() - self._oom_kills if killed else 0
        peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
        return Ended(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            tail=self._tail(),
            peak_memory_mb=round(peak, 1),
            oom_kills=oom_kills if code else 0,
        )

    def _end_group(self) -> int | None:
        """Remove the memory group; return its count of kills, None without one."""
        if self._memory is None:
            return None
        kills = self._memory.oom_kills()
        self._memory.close()
        return kills

    def allow(self, threads: int) -> bool:
        """Write down how many threads it may use; a scene looks there, other steps do not."""
        write_allowance(self._allowance, threads)
        return True

    def stop(self) -> None:
        """Send SIGTERM to the process; what it has started is its own to end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the process group."""
        self._group(signal.SIGKILL)

    def _group(self, number: int) -> None:
        """Send a signal to the process group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _tail(self) -> str:
        """Return the end of what this attempt wrote to the log."""
        try:
            with self._log.open("rb") as stream:
                end = stream.seek(0, os.SEEK_END)
                stream.seek(max(self._offset, end - TAIL_BYTES))
                return stream.read().decode("utf-8", "replace")
        except OSError:
            return ""


class _Tell(Protocol):
    def __call__(self, line: str, /) -> None: ...


def _script(name: str) -> tuple[str, ...]:
    """Return the words that run a script of this package without importing anything else."""
    return (sys.executable, "-I", "-S", str(Path(__file__).with_name(name)))
