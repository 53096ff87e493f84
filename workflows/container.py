"""Run steps in containers, through podman or docker: limits, nothing writable but the products."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mdpipe.failures.table import Change
from mdpipe.progress import VARIABLE
from mdpipe.workflows import container_guard, machine
from mdpipe.workflows.container_mounts import Mount
from mdpipe.workflows.graph import Step
from mdpipe.workflows.runner import TAIL_BYTES, Ended, Launch

LABEL = "mdpipe.run"
KERNELS_INSIDE = "/var/cache/mdpipe"
"""Where the image looks for compiled kernels when a folder of this machine is mounted there."""

TOOL_FAILED = 125
"""Exit code of podman and docker where they themselves failed, not what they ran."""

HELP = re.compile(r"^See '\S+ run --help'\.?$", re.MULTILINE)
"""What podman and docker say last, after the line that tells what is wrong."""

PIDS = 1024
LOCKED_DOWN = (
    "--read-only",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    f"--pids-limit={PIDS}",
    "--tmpfs=/tmp:rw,mode=1777",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Box:
    """What all containers of a run share.

    Attributes
    ----------
    tool : tuple of str
        Container tool and global flags.
    image : str
        The image.
    label : str
        `name=value`, by which leftovers of this run are found.
    mounts : tuple of Mount
        Folders under their own names.
    user : tuple of str
        Flags that make files belong to the caller.
    kernels : Path or None
        Folder of this machine where kernels are kept that the image lacks for this processor.
    network : tuple of str
        Flags; by default no network at all.
    run_flags : tuple of str
        Flags of the user's settings; they come last and so win.
    environment : mapping
        Variables of all steps.
    """

    tool: tuple[str, ...]
    image: str
    label: str
    mounts: tuple[Mount, ...] = ()
    user: tuple[str, ...] = ()
    kernels: Path | None = None
    network: tuple[str, ...] = ("--network=none",)
    run_flags: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, name: str, words: list[str], launch: Launch, usage: Path) -> list[str]:
        """Return the command that runs a step.

        Parameters
        ----------
        name : str
            The container's name.
        words : list of str
            The step's command.
        launch : Launch
            Threads and memory.
        usage : Path
            The file where the container says what it took.

        Returns
        -------
        list of str
            Program and arguments.
        """
        variables = {
            **self.environment,
            **launch.environment,
            VARIABLE: str(launch.progress.resolve()),
            "MDPIPE_USAGE": str(usage),
            "MDPIPE_MEMORY_MB": str(launch.memory_mb),
            # linear algebra is no part of the work; its idle threads cost memory
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        mounts = [word for mount in self.mounts for word in mount.words()]
        if self.kernels is not None:
            mounts += Mount(self.kernels, writable=True).words(KERNELS_INSIDE)
            variables["MDPIPE_CACHE_DIR"] = KERNELS_INSIDE
        memory = launch.memory_mb * 10**6
        return [
            *self.tool, "run", "--rm", "--name", name, "--label", self.label, "--pull=never",
            *LOCKED_DOWN, *self.network, *self.user, "--workdir=/tmp", "--log-driver=none",
            # no swap: a step that needs more than its tier is to fail, not to crawl
            f"--memory={memory}b", f"--memory-swap={memory}b", f"--cpus={launch.threads}",
            *mounts,
            *(word for key in sorted(variables) for word in ("--env", f"{key}={variables[key]}")),
            *self.run_flags, self.image, *words,
        ]  # fmt: skip


class ContainerRunner:
    """Start each step in a container of its own.

    Parameters
    ----------
    box : Box
        What all containers share.
    """

    changes: frozenset[Change] = frozenset({"nothing", "resume", "more-memory"})

    def __init__(self, box: Box) -> None:
        self.box = box
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, step: Step, launch: Launch) -> ContainerHandle:
        """Start a step.

        Parameters
        ----------
        step : Step
            What to run.
        launch : Launch
            What to run it with.

        Returns
        -------
        ContainerHandle
            The running step.
        """
        if self._guard is None:
            # only now: whoever asks for a first step holds the run folder, and what still runs
            # there belongs to an engine that was killed together with its guard
            container_guard.remove_labelled([*self.box.tool], self.box.label)
            self._guard = self._start_guard()
        words = [word.replace("{threads}", str(launch.threads)) for word in step.command]
        name = f"mdpipe-{_safe(step.id)}-{launch.attempt}-{secrets.token_hex(4)}"
        usage = launch.log.resolve().with_suffix(".usage")
        launch.log.parent.mkdir(parents=True, exist_ok=True)
        for left in (launch.progress, usage):
            left.unlink(missing_ok=True)
        command = self.box.command(name, words, launch, usage)
        with launch.log.open("ab") as log:
            log.write(f"== attempt {launch.attempt}: {' '.join(words)}\n".encode())
            log.flush()
            offset = log.tell()
            client = subprocess.Popen(
                [*_script("launch.py"), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # podman's monitor leaves an empty file `oom` where it was started
                cwd=launch.log.parent,
                process_group=0,
            )
        return ContainerHandle(client, (*self.box.tool, "rm", "--force", name), launch, offset)

    def close(self) -> None:
        """Send the guard home; nothing runs any more."""
        if self._guard is not None and self._guard.stdin is not None:
            with contextlib.suppress(OSError):
                self._guard.stdin.write(b"-\n")
                self._guard.stdin.close()
            self._guard.wait()

    def _start_guard(self) -> subprocess.Popen[bytes]:
        guard = subprocess.Popen(
            [*_script("container_guard.py"), self.box.label, *self.box.tool],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        if guard.stdin is not None:
            guard.stdin.write(b"+\n")
            guard.stdin.flush()
        return guard


class ContainerHandle:
    """A step that runs in a container; made by `ContainerRunner`.

    The container is no child of this process: when the tool that started it has been killed, the
    container is removed before the step counts as ended.
    """

    def __init__(
        self, client: subprocess.Popen[bytes], remove: tuple[str, ...], launch: Launch, offset: int
    ) -> None:
        self._client = client
        self._remove = remove
        self._launch = launch
        self._offset = offset
        self._removing: subprocess.Popen[bytes] | None = None
        self._oom_kills = machine.oom_kill_count()

    @property
    def pid(self) -> int:
        """Process id of the container tool."""
        return self._client.pid

    def poll(self) -> Ended | None:
        """Return how the step ended.

        Returns
        -------
        Ended or None
            None while it runs.
        """
        code = self._client.poll()
        if code is None:
            return None
        if (code < 0 or code == TOOL_FAILED) and self._removing is None:
            self._begin_removal()
        if self._removing is not None and self._removing.poll() is None:
            return None
        return self._ended(code)

    def _ended(self, code: int) -> Ended:
        """Put together what is known of the end."""
        usage = self._usage()
        self._launch.log.with_name("oom").unlink(missing_ok=True)
        kills = int(usage.get("oom_kills", 0))
        if code == 128 + signal.SIGKILL and not usage:
            # the first process of the container was killed as well; the machine's count tells
            kills = machine.oom_kill_count() - self._oom_kills
        # the exit code of a container says 128 + signal; its first process knows which it was
        number = -code if code < 0 else int(usage.get("signal", 0))
        return Ended(
            exit_code=None if number else code,
            signal=number or None,
            tail=self._tail(),
            peak_memory_mb=round(float(usage.get("peak_bytes", 0)) / 1e6, 1),
            oom_kills=kills if code != 0 else 0,
        )

    def allow(self, threads: int) -> bool:
        """Return False: a container keeps the cores that it was started with."""
        del threads
        return False

    def stop(self) -> None:
        """Send SIGTERM; tool and first process of the container pass it on."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._client.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Remove the container with all that runs in it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._client.pid, signal.SIGKILL)
        self._begin_removal()

    def _begin_removal(self) -> None:
        """Remove the container, without waiting for it; once is enough."""
        if self._removing is None:
            self._removing = subprocess.Popen(
                self._remove,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def _usage(self) -> dict[str, float]:
        """Return what the container's first process has noted."""
        try:
            noted = json.loads(self._launch.log.with_suffix(".usage").read_text("utf-8"))
            return {str(key): float(value) for key, value in noted.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _tail(self) -> str:
        """Return the end of what this attempt wrote to the log."""
        try:
            with self._launch.log.open("rb") as stream:
                end = stream.seek(0, os.SEEK_END)
                stream.seek(max(self._offset, end - TAIL_BYTES))
                return HELP.sub("", stream.read().decode("utf-8", "replace"))
        except OSError:
            return ""


def _safe(name: str) -> str:
    """Return a name that container tools take."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)[:80]


def _script(name: str) -> tuple[str, ...]:
    """Return the words that run a script of this package without importing anything else."""
    return (sys.executable, "-I", "-S", str(Path(__file__).with_name(name)))
