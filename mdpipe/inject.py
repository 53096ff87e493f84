"""Faults on purpose, for drills and tests: what they are, how they are written, how they strike.

Nothing here acts unless somebody asked for it: an engine with `mdpipe run --inject FAULTS` hands
`MDPIPE_INJECT` to the steps that it chose, and the steps call `reached` where they report progress.
"""

from __future__ import annotations

import errno
import fnmatch
import os
import random
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from mdpipe.failures import InputError, UsageError
from mdpipe.memory import limit_mb

VARIABLE: Final = "MDPIPE_INJECT"
"""Environment variable of a step that a fault is to strike: `NAME:SHARE`."""

PIECE_MB: Final = 16


def _signal(number: signal.Signals) -> Callable[[], None]:
    def strike() -> None:
        os.kill(os.getpid(), number)
        time.sleep(10)  # until the signal has come

    return strike


def _fill_memory() -> NoReturn:
    """Use more than the limit that was set, so that the kernel kills; else say it in words."""
    limit = limit_mb() or 0
    if 0 < 2 * limit < _available_mb():
        held = []
        for _ in range(0, 5 * limit // 4, PIECE_MB):
            held.append(bytearray(PIECE_MB * 10**6))
            held[-1][::4096] = b"x" * len(held[-1][::4096])  # touched, or it would take nothing
        held.clear()
    raise MemoryError(f"injected: nothing enforced the limit of {limit} MB, so memory ends here")


def _available_mb() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as stream:  # noqa: PTH123
            found = re.search(r"MemAvailable:\s+(\d+)", stream.read())
    except OSError:
        return 0
    return int(found.group(1)) // 1000 if found else 0


def _drop_network() -> NoReturn:
    raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer (injected)")


def _fill_disk() -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device (injected)")


def _go_wrong() -> NoReturn:
    raise RuntimeError("injected fault of the program")


def _spoil_input() -> NoReturn:
    raise InputError("injected: an input that cannot be read; repair it")


IN_STEPS: Final[Mapping[str, Callable[[], None]]] = {
    "kill": _signal(signal.SIGKILL),
    "term": _signal(signal.SIGTERM),
    "oom": _fill_memory,
    "network": _drop_network,
    "full-disk": _fill_disk,
    "bad-image": _signal(signal.SIGILL),
    "bad-input": _spoil_input,
    "bug": _go_wrong,
}
"""Faults that strike inside a step."""

FAULTS: Final[Mapping[str, str]] = {
    "kill": "kill -9 of the step",
    "term": "SIGTERM, as from a preempted machine",
    "oom": "memory filled until the kernel kills at the limit; an error where nothing enforces it",
    "network": "a connection reset",
    "full-disk": "no space left on device",
    "bad-image": "an illegal instruction, as on a processor that lacks it",
    "bad-input": "an input that cannot be read",
    "bug": "a fault of the program",
    "time-limit": "the engine stops the step as if its time were over",
    "out-of-stock": "the engine says that no machine was free (simulated: there is only this one)",
    "corrupt-cache": "a byte of the cached scene is changed before it is fetched",
}
"""All faults, and what each does."""

CHANCES: Final = ("kill", "term", "oom", "network", "time-limit")
"""What `random` draws from: faults that a retry gets over on any engine."""

_SPEC = re.compile(r"(?P<name>[a-z-]+)@(?P<steps>[^:@]+?)(:(?P<share>[0-9.]+))?(x(?P<times>\d+))?$")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: which steps it strikes, after which share of their work, in how many attempts."""

    name: str
    steps: str
    share: float = 0.0
    times: int = 1

    @property
    def in_step(self) -> bool:
        """Whether it strikes inside the step, and not in the engine."""
        return self.name in IN_STEPS

    @property
    def environment(self) -> dict[str, str]:
        """What the step is told."""
        return {VARIABLE: f"{self.name}:{self.share:g}"} if self.in_step else {}

    def __str__(self) -> str:
        point = f":{self.share:g}" if self.share else ""
        return f"{self.name}@{self.steps}{point}" + (f"x{self.times}" if self.times > 1 else "")


@dataclass(slots=True)
class Plan:
    """The faults that were asked for; `chances` more are drawn once the steps are known."""

    text: str
    faults: list[Fault] = field(default_factory=list)
    chances: int = 0
    seed: int = 0

    def draw(self, steps: Sequence[str]) -> None:
        """Draw the random faults, the same ones for a seed and a set of steps.

        Parameters
        ----------
        steps : sequence of str
            Ids of all steps that they may strike.
        """
        rng = random.Random(self.seed)
        for _ in range(self.chances if steps else 0):
            step = rng.choice(sorted(steps))
            share = round(rng.uniform(0.0, 0.9), 2)
            self.faults.append(Fault(rng.choice(CHANCES), step, share))
        self.chances = 0


def parse(text: str) -> Plan:
    """Read what `--inject` was given.

    Parameters
    ----------
    text : str
        Comma-separated: `FAULT@STEPS`, with `:SHARE` of the step's work after which it strikes
        (0 to 1, at first 0) and `xTIMES` attempts that it strikes (at first 1); STEPS is an id or
        a pattern, such as `render-g000` or `simulate-*`. `random:COUNT,seed=SEED` draws faults.

    Returns
    -------
    Plan
        The faults.

    Raises
    ------
    UsageError
        One line, if it cannot be read.
    """
    plan = Plan(text)
    for word in (part.strip() for part in text.split(",")):
        kind, _, rest = word.partition(":")
        if kind == "random" and rest.isdigit():
            plan.chances += int(rest)
            continue
        if word.startswith("seed=") and word[5:].isdigit():
            plan.seed = int(word[5:])
            continue
        found = _SPEC.match(word)
        if found is None or found["name"] not in FAULTS:
            raise UsageError(
                f"--inject {word!r}: must be FAULT@STEPS[:SHARE][xTIMES] or "
                f"random:COUNT,seed=SEED; faults are {', '.join(FAULTS)}"
            )
        try:
            share = float(found["share"] or 0.0)
        except ValueError:
            share = -1.0
        if not 0.0 <= share <= 1.0:
            raise UsageError(f"--inject {word!r}: SHARE must be from 0 to 1, got {found['share']}")
        plan.faults.append(Fault(found["name"], found["steps"], share, int(found["times"] or 1)))
    return plan


def matching(faults: Sequence[Fault], step: str) -> list[Fault]:
    """Return the faults that may strike a step.

    Parameters
    ----------
    faults : sequence of Fault
        Some faults.
    step : str
        The step's id.

    Returns
    -------
    list of Fault
        In their order.
    """
    return [fault for fault in faults if fnmatch.fnmatchcase(step, fault.steps)]


def reached(share: float) -> None:
    """Let a fault strike if one is set and its point is reached; steps call this on their way.

    Parameters
    ----------
    share : float
        How much of the step's work is done, 0 to 1.
    """
    name, _, point = os.environ.get(VARIABLE, "").partition(":")
    if name not in IN_STEPS or share < float(point or 0.0):
        return
    del os.environ[VARIABLE]  # once
    IN_STEPS[name]()
