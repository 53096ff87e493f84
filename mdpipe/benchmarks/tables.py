"""Figures out of timings: medians, spreads, ratios of runs that stood beside each other."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

__all__ = ["Ratio", "Spread", "interleave", "linear_within", "ratio", "spread"]

T = TypeVar("T")


class Spread(NamedTuple):
    """Median, least and most of the repeats."""

    median: float
    low: float
    high: float

    @property
    def relative(self) -> float:
        """(Most - least) over the median."""
        return (self.high - self.low) / self.median

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}-{self.high:.3g})"


Ratio = Spread
"""The same of ratios, repeat by repeat."""


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and most.

    Parameters
    ----------
    values : sequence of float
        At least one.

    Returns
    -------
    Spread
        Of the values.
    """
    return Spread(statistics.median(values), min(values), max(values))


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Return how many times longer others took, repeat by repeat.

    Parameters
    ----------
    theirs, ours : sequence of float
        Times of runs that took turns: equal places stood beside each other.

    Returns
    -------
    Ratio
        Median and range of the ratios of neighbours, in which the noise of a minute cancels.
    """
    return spread([t / o for t, o in zip(theirs, ours, strict=True)])


def interleave(
    tasks: Mapping[str, Callable[[], T]],
    repeats: int,
    report: Callable[[str, int, T], None] = lambda *_: None,
) -> dict[str, list[T]]:
    """Run tasks in turns, so that a noisy minute hits all.

    Parameters
    ----------
    tasks : mapping of str to callable
        By name.
    repeats : int
        Rounds; every second one goes backwards, so that no task always follows the same one.
    report : callable
        Takes the name, the number of the round from 1, and the result.

    Returns
    -------
    dict of str to list
        The results of each task, in the order of the rounds.
    """
    results: dict[str, list[T]] = {name: [] for name in tasks}
    for done in range(repeats):
        for name in list(tasks)[:: 1 if done % 2 == 0 else -1]:
            result = tasks[name]()
            results[name].append(result)
            report(name, done + 1, result)
    return results


def linear_within(sizes: Sequence[int], times: Sequence[float]) -> float:
    """Return by how much times depart from a proportion to the sizes.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of atoms.
    times : sequence of float
        Time of each.

    Returns
    -------
    float
        The largest deviation of time/size from its median, relative to that.
    """
    each = [t / n for t, n in zip(times, sizes, strict=True)]
    middle = statistics.median(each)
    return max(abs(value / middle - 1.0) for value in each)
