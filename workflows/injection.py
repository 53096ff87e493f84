"""The engine's part of injected faults: which attempt gets which, and what was done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdpipe import inject
from mdpipe.inject import Fault, Plan
from mdpipe.workflows.graph import Graph, Step
from mdpipe.workflows.runner import Ended

NO_MACHINE = "0/1 nodes are available: insufficient memory (injected; simulated on one machine)"


class Injector:
    """Hands out the faults of a plan, each as often as it was asked for.

    Parameters
    ----------
    plan : Plan
        The faults.
    corrupt : callable or None
        Changes a byte of the cached scene of a key and says whether there was one.
    """

    def __init__(self, plan: Plan, corrupt: Callable[[str], bool] | None = None) -> None:
        self.plan = plan
        self._corrupt = corrupt
        self._used: dict[tuple[int, str], int] = {}
        self.struck: list[dict[str, Any]] = []

    def know(self, graph: Graph) -> None:
        """Draw the random faults, once all steps are known.

        Parameters
        ----------
        graph : Graph
            The graph.
        """
        if graph.complete:
            self.plan.draw([step.id for step in graph.steps if step.needs])

    def take(self, step: Step) -> Fault | None:
        """Return the fault that strikes the next attempt of a step, and count it.

        Parameters
        ----------
        step : Step
            The step.

        Returns
        -------
        Fault or None
            One at most: others wait for the attempts after.
        """
        return self._next(step, lambda fault: fault.name != "corrupt-cache")

    def corrupt(self, step: Step) -> Fault | None:
        """Damage the cached scene of a step, if that was asked for and there is one.

        Parameters
        ----------
        step : Step
            The step that is about to be fetched.

        Returns
        -------
        Fault or None
            What was done.
        """
        if self._corrupt is None or not step.scene_key:
            return None
        fault = self._next(step, lambda fault: fault.name == "corrupt-cache")
        return fault if fault is not None and self._corrupt(step.scene_key) else None

    def told(self) -> dict[str, Any]:
        """Return what the story says of the faults.

        Returns
        -------
        dict
            What was `asked` for, and each fault that `struck`: step, attempt, fault.
        """
        return {"asked": self.plan.text, "struck": list(self.struck)}

    def note(self, step: Step, attempt: int, fault: Fault) -> str:
        """Remember a fault and say it in a line.

        Parameters
        ----------
        step : Step
            The step.
        attempt : int
            Its attempt, from 1; 0 before the first.
        fault : Fault
            The fault.

        Returns
        -------
        str
            For the user.
        """
        self.struck.append({"step": step.id, "attempt": attempt, "fault": str(fault)})
        return f"{step.label}: injected fault: {fault.name} ({inject.FAULTS[fault.name]})"

    def _next(self, step: Step, wanted: Callable[[Fault], bool]) -> Fault | None:
        for number, fault in enumerate(self.plan.faults):
            if wanted(fault) and inject.matching([fault], step.id):
                used = self._used.get((number, step.id), 0)
                if used < fault.times:
                    self._used[number, step.id] = used + 1
                    return fault
        return None


def no_machine() -> Ended:
    """Return how a step ends for which no machine was free.

    Returns
    -------
    Ended
        Without exit code or signal, as a pod that was never placed.
    """
    return Ended(None, None, NO_MACHINE, 0.0)


def change_a_byte(entry: Path) -> bool:
    """Change a byte in the middle of the largest file of a cache entry.

    Parameters
    ----------
    entry : Path
        The entry's folder.

    Returns
    -------
    bool
        Whether there was one.
    """
    files = [path for path in entry.rglob("*") if path.is_file() and path.name != "entry.json"]
    if not files:
        return False
    largest = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 0x10
    largest.chmod(0o644)
    largest.write_bytes(content)
    return True
