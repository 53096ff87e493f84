"""The first memory tier of a step: set by hand, else learnt of its like, else estimated."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from mdpipe.study import Resources

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

    def first_mb(self, step: str, kind: str, estimate_mb: int, peak_mb: float | None) -> int:
        """Return the first tier of a step.

        Parameters
        ----------
        step, kind : str
            Its id and kind.
        estimate_mb : int
            What it is estimated to need, MB.
        peak_mb : float or None
            The greatest peak measured of its like, MB.

        Returns
        -------
        int
            MB: what was set by hand, else what was measured and a margin, else the estimate.
        """
        by_hand = self._by_hand(step, kind) if self.by_hand else None
        if by_hand is not None:
            return by_hand
        return with_margin(peak_mb) if peak_mb else estimate_mb

    def _by_hand(self, step: str, kind: str) -> int | None:
        exact = self.by_hand.get(step)
        if exact is not None:
            return exact
        for pattern, memory_mb in self.by_hand.items():
            if kind == pattern or fnmatch.fnmatchcase(step, pattern):
                return memory_mb
        return None

    def ladder(self, first_mb: int) -> list[int]:
        """Return all tiers of a step.

        Parameters
        ----------
        first_mb : int
            The first one, MB.

        Returns
        -------
        list of int
            MB, ascending.
        """
        return [math.ceil(first_mb * self.factor**number) for number in range(self.most)]


def rule_of(resources: Resources) -> TierRule:
    """Return the rule that a study's `[resources]` says.

    Parameters
    ----------
    resources : Resources
        The table.

    Returns
    -------
    TierRule
        The rule.
    """
    return TierRule(resources.memory_factor, resources.memory_tiers, resources.memory_mb_of)


def with_margin(peak_mb: float) -> int:
    """Return the tier that suits a measured peak.

    Parameters
    ----------
    peak_mb : float
        The peak, MB.

    Returns
    -------
    int
        MB.
    """
    return max(LEAST_MB, math.ceil(MARGIN * peak_mb))
