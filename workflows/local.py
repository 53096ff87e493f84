"""Run a graph on this machine: what can succeed is retried, what was begun is resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mdpipe import products
from mdpipe.failures import BusyError, UsageError
from mdpipe.scenes.lock import FileLock
from mdpipe.steps.first_tier import TierRule, rule_of
from mdpipe.study import Resources
from mdpipe.workflows import machine
from mdpipe.workflows.engine import Engine
from mdpipe.workflows.graph import Graph, Step
from mdpipe.workflows.injection import Injector
from mdpipe.workflows.job import Pace
from mdpipe.workflows.outcome import Outcome, QuietReporter, Reporter
from mdpipe.workflows.runner import ProcessRunner, Runner
from mdpipe.workflows.schedule import Limits


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run uses the machine; None means what the machine has.

    `enforce_memory` is for processes only: containers are always held to their tiers. `injector`
    hands out faults in drills.
    """

    workers: int | None = None
    threads: int | None = None
    memory_mb: int | None = None
    pace: Pace = field(default_factory=Pace)
    tiers: TierRule = field(default_factory=TierRule)
    enforce_memory: bool = False
    injector: Injector | None = None

    @classmethod
    def of_study(cls, wanted: Resources, injector: Injector | None = None) -> Settings:
        """Return what a study's `[resources]` says.

        Parameters
        ----------
        wanted : Resources
            The table.
        injector : Injector or None
            Hands out faults.

        Returns
        -------
        Settings
            The settings.
        """
        return cls(
            wanted.workers,
            wanted.threads,
            wanted.memory_mb,
            tiers=rule_of(wanted),
            enforce_memory=wanted.enforce_memory,
            injector=injector,
        )

    def limits(self) -> Limits:
        """Return the limits on this machine.

        Returns
        -------
        Limits
            Cores, workers and memory.
        """
        cores = machine.cores()
        return Limits(
            self.workers or cores, cores, self.memory_mb or machine.memory_mb(), self.threads
        )


def run_local(
    graph: Graph,
    run: Path,
    *,
    expand: Callable[[], Graph] | None = None,
    settings: Settings | None = None,
    reporter: Reporter | None = None,
    cached: Callable[[Step], bool] | None = None,
    runner: Runner | None = None,
) -> Outcome:
    """Run a graph on this machine.

    Parameters
    ----------
    graph : Graph
        What is known at first.
    run : Path
        The run folder.
    expand : callable or None
        Returns the whole graph once all steps of an incomplete one have ended well.
    settings : Settings or None
        How to use the machine.
    reporter : Reporter or None
        Who listens; None for nobody.
    cached : callable or None
        Puts a step's products in place if a cache has them, and says whether it did.
    runner : Runner or None
        How steps are started; None for processes.

    Returns
    -------
    Outcome
        Exit code, counts and failures. The same stands in `story.json`.

    Raises
    ------
    BusyError
        If another engine runs this folder.
    UsageError
        If the run folder cannot be made or written.
    """
    lock = FileLock(run / ".lock")
    try:
        with products.no_space_is_clear(run):
            held = lock.try_acquire()
    except OSError as error:
        raise UsageError(
            f"{run}: the run folder cannot be written ({error.strerror}); name another"
        ) from error
    if not held:
        raise BusyError(
            f"{run}: process {lock.holder() or '?'} runs this folder already; "
            "wait for it or end it, then run again"
        )
    with lock, contextlib.ExitStack() as stack:
        if lock.was_left_behind:
            products.sweep(run)
        wanted = settings or Settings()
        using = runner or ProcessRunner(enforce_memory=wanted.enforce_memory)
        stack.callback(using.close)
        listener = reporter or QuietReporter()
        stack.callback(listener.close)
        if wanted.injector is not None:
            listener.note(f"faults will be injected: {wanted.injector.plan.text}")
        if wanted.enforce_memory and runner is None and not ProcessRunner.can_enforce():
            listener.note(
                "memory tiers cannot be enforced here: no control group with a limit can be made; "
                "use --engine container"
            )
        engine = Engine(
            run, wanted.limits(), wanted.pace, using, listener,
            rule=wanted.tiers, injector=wanted.injector,
        )  # fmt: skip
        outcome = engine.run(graph, expand, cached)
        if engine.unclean:
            products.sweep(run)
        listener.close()
        listener.finish(outcome, run)
        return outcome
