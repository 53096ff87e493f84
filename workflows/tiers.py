"""How much memory each step gets: a first tier from its size, what was measured, and what failed.

On one machine a process is held to its tier only where a memory control group can be made for it
(`machine.MemoryGroup`); containers and pods always are. Elsewhere tiers decide what runs together.
"""

from __future__ import annotations

import math

from mdpipe.steps.first_tier import TierRule
from mdpipe.workflows.graph import Step


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
        self._learnt: dict[str, float] = {}
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
            self._learnt[size] = max(peak_mb, self._learnt.get(size, 0.0))

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
        first = self.rule.first_mb(
            step.id, step.kind, step.resources.memory_mb, self._learnt.get(step.size)
        )
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
