"""How much memory each step gets: a first tier from its size, what was measured, and what failed.

On one machine a process is held to its tier only where a memory control group can be made for it
(`machine.MemoryGroup`); containers and pods always are. Elsewhere tiers decide what runs together.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mdpipe.workflows.graph import Step

MARGIN = 1.25
"""What a step gets over the peak measured of its like: allocators and page tables vary by a tenth,
and a picture of another moment of the same box by as much again."""

LEAST_MB = 64


@dataclass(frozen=True, slots=True)
class TierRule:
    """How tiers are made.

    `factor` from one tier to the next; `most` tiers in all, the first included; `by_hand` names
    the first tier in MB of a kind of step or of ids that match a pattern, whatever was measured.
    """

    factor: float = 2.0
    most: int = 4
    by_hand: Mapping[str, int] = field(default_factory=dict)


class Tiers:
    """The memory of each step now, MB (10⁶ bytes).

    Parameters
    ----------
    rule : TierRule
        How tiers are made.
    limit_mb : int
        What all steps may use together; no tier is above it.
    """

    def __init__(self, rule: TierRule, limit_mb: int) -> None:
        self.rule, self.limit_mb = rule, limit_mb
        self._learnt: dict[str, int] = {}
        self._raised: dict[str, int] = {}

    def learn(self, size: str, peak_mb: float) -> None:
        """Take over a measured peak; of several for one size the greatest counts.

        Parameters
        ----------
        size : str
            Kind and size of the step that was measured.
        peak_mb : float
            Its peak, MB.
        """
        if size and peak_mb > 0:
            wanted = max(LEAST_MB, math.ceil(MARGIN * peak_mb))
            self._learnt[size] = max(wanted, self._learnt.get(size, 0))

    def stay(self, step: str, raised_mb: int) -> None:
        """Take over the tier to which a step was raised in an earlier run.

        Parameters
        ----------
        step : str
            The step's id.
        raised_mb : int
            The tier, MB; 0 for none.
        """
        if raised_mb > 0:
            self._raised[step] = raised_mb

    def of(self, step: Step) -> int:
        """Return what a step gets now.

        Parameters
        ----------
        step : Step
            The step.

        Returns
        -------
        int
            MB: what was set by hand, else what was learnt of its like, else the graph's estimate;
            never less than the tier to which it was raised.
        """
        first = self._by_hand(step) or self._learnt.get(step.size) or step.resources.memory_mb
        return max(first, self._raised.get(step.id, 0))

    def rise(self, step: Step, granted_mb: int) -> int | None:
        """Raise a step that ran out of memory by one tier, where it stays.

        Parameters
        ----------
        step : Step
            The step.
        granted_mb : int
            What it had, MB.

        Returns
        -------
        int or None
            The next tier, MB; None if it had all that there is.
        """
        if granted_mb >= self.limit_mb:
            return None
        wanted = math.ceil(self.rule.factor * granted_mb)
        self._raised[step.id] = min(max(wanted, granted_mb + 1), self.limit_mb)
        return self._raised[step.id]

    def _by_hand(self, step: Step) -> int | None:
        exact = self.rule.by_hand.get(step.id)
        if exact is not None:
            return exact
        for pattern, memory_mb in self.rule.by_hand.items():
            if step.kind == pattern or fnmatch.fnmatchcase(step.id, pattern):
                return memory_mb
        return None
