"""How many of the allowed threads a run uses, found by timing its own steps.

The bits of a run do not depend on the number of threads, so it may change at any step. A second
thread costs a few microseconds for each parallel loop: small boxes can be faster without it. And
where other programs want the same cores, threads that wait for one another lose whole time slices,
so that one thread is faster than two. Neither can be known beforehand, both can be measured.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Final

from mdpipe.kernels._jit import set_threads

__all__ = ["ThreadChoice"]

FIRST_STEPS: Final = 3
"""Steps before the first trial: they load kernels, build the first list and touch the memory."""

TURN: Final = 4
"""Steps that a candidate does in a row; a trial gives two turns to each."""

MARGIN: Final = 0.97
"""A candidate replaces the present number if its median step takes less than this part."""

SHORTEST_HOLD_S: Final = 2.0
LONGEST_HOLD_S: Final = 60.0
HOLD_PER_TRIAL: Final = 40.0
"""A choice stands for at least so many times what its trial took: a trial costs at most 2 %."""


class ThreadChoice:
    """The number of threads of a run, tried out at first and again now and then.

    Parameters
    ----------
    most : int
        Threads that the run may use.
    apply : callable
        Sets the number; for tests.

    Attributes
    ----------
    threads : int
        The number in use outside of trials.

    Notes
    -----
    A trial compares the present number with its half and its double, by the medians of their
    steps, for a step in which the neighbour list is built takes longer. After a change to a number
    with a neighbour that has not been tried the next trial follows at once, else after a hold that
    doubles each time that nothing changes.
    """

    def __init__(self, most: int, apply: Callable[[int], None] = set_threads) -> None:
        self.most = most
        self.threads = most
        self._apply = apply
        self._left = FIRST_STEPS
        self._hold_s = 0.0
        self._until = 0.0
        self._began = 0.0
        self._turns: list[int] = []
        self._times: dict[int, list[float]] = {}
        apply(most)

    def allow(self, most: int) -> None:
        """Change how many threads the run may use; more are tried at once.

        Parameters
        ----------
        most : int
            At least 1.
        """
        if most == self.most:
            return
        if most > self.most:
            self._until = 0.0
        self.most = most
        self.threads = min(self.threads, most)
        self._turns = []
        self._left = 1
        self._apply(self.threads)

    def note(self, seconds: float, now: float) -> None:
        """Learn what a step took, and set the threads of the next one.

        Parameters
        ----------
        seconds : float
            Wall time of the step.
        now : float
            Seconds on any clock.
        """
        if self.most == 1:
            return
        if self._turns:
            self._times[self._turns[0]].append(seconds)
        self._left -= 1
        if self._left > 0:
            return
        if self._turns:
            del self._turns[0]
            if not self._turns:
                self._decide(now)
        elif now >= self._until:
            around = _neighbours(self.threads, self.most)
            self._turns = 2 * sorted(around, reverse=True)
            self._times = {threads: [] for threads in around}
            self._began = now
        if self._turns:
            self._apply(self._turns[0])
            self._left = TURN

    def _decide(self, now: float) -> None:
        """Take the fastest number, and say how long it stands."""
        medians = {threads: statistics.median(times) for threads, times in self._times.items()}
        best = min(medians, key=lambda threads: medians[threads])
        changes = medians[best] < MARGIN * medians[self.threads]
        if changes:
            self.threads = best
        self._apply(self.threads)
        if changes and _neighbours(best, self.most) - set(medians):
            self._until = now
            return
        self._hold_s = SHORTEST_HOLD_S if changes else max(SHORTEST_HOLD_S, 2.0 * self._hold_s)
        self._hold_s = min(self._hold_s, LONGEST_HOLD_S)
        self._until = now + max(self._hold_s, HOLD_PER_TRIAL * (now - self._began))


def _neighbours(threads: int, most: int) -> set[int]:
    """Return a number of threads, its half and its double, as far as they are allowed."""
    return {max(1, threads // 2), threads, min(most, 2 * threads)}
