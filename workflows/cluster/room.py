"""Pods that wait for room: on a cluster that is smaller than a study that is nobody's fault.

A pod that the scheduler finds nodes for, all of them full, is in a queue as long as a pod runs that
asks for no less of what they lack: there is a node that can take it, and it will be free.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, NamedTuple

_FULL: Final = re.compile(r"Insufficient ([\w./-]*\w)|Too many pods")
_SUFFIXES: Final = {
    "": 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


class Demand(NamedTuple):
    """What a pod asks of a node."""

    selector: frozenset[tuple[str, str]]
    cpu: float
    memory: float

    def makes_room_for(self, other: Demand, lacking: Collection[str]) -> bool:
        """Say whether a node that takes this one can take another one, once this one has ended."""
        return self.selector >= other.selector and all(
            getattr(self, what) >= getattr(other, what) for what in lacking if what in self._fields
        )


def demand_of(pod: Mapping[str, Any]) -> Demand:
    """Return what a pod asks of a node.

    Parameters
    ----------
    pod : mapping
        The pod.

    Returns
    -------
    Demand
        Its node selector, and the sum of what its containers request.
    """
    spec = pod.get("spec") or {}
    asked = [
        (container.get("resources") or {}).get("requests") or {}
        for container in spec.get("containers") or ()
    ]
    return Demand(
        frozenset((spec.get("nodeSelector") or {}).items()),
        sum(quantity(one.get("cpu", "0")) for one in asked),
        sum(quantity(one.get("memory", "0")) for one in asked),
    )


def is_queued(why: str, demand: Demand, holders: Iterable[Demand]) -> bool:
    """Say whether a pod that has no node only waits for others to end.

    Parameters
    ----------
    why : str
        What the scheduler says of it.
    demand : Demand
        What it asks for.
    holders : iterable of Demand
        What pods on nodes ask for.

    Returns
    -------
    bool
        False if no node would take it even if it were empty, as far as that can be seen.
    """
    lacking = {found[1] or "pods" for found in _FULL.finditer(why)}
    return bool(lacking) and any(one.makes_room_for(demand, lacking) for one in holders)


def quantity(text: str) -> float:
    """Return the number that Kubernetes writes with a suffix.

    Parameters
    ----------
    text : str
        Such as `500m` or `1228Mi`.

    Returns
    -------
    float
        In the unit without suffix.
    """
    found = re.fullmatch(r"([\d.]+(?:e\d+)?)([a-zA-Z]*)", text)
    if found is None or found[2] not in _SUFFIXES:
        raise ValueError(f"not a quantity of Kubernetes: {text!r}")
    return float(found[1]) * _SUFFIXES[found[2]]
