"""Run one scene: minimise, equilibrate, produce; resume where an earlier run was killed.

The bits of the products do not depend on where, or how often, a run was interrupted: checkpoints
come at fixed steps, and at each the undisturbed run, too, forgets its neighbour list, as a resumed
one must. A run that is told to stop therefore stops at once, without writing a checkpoint out of
turn: it loses the steps since the last one (`Scene.checkpoint_every`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InterruptedRunError
from mdpipe.kernels._jit import set_threads
from mdpipe.memory import give_back_freed
from mdpipe.models import load_model
from mdpipe.products import no_space_is_clear, remove
from mdpipe.run_folder import WORK
from mdpipe.scenes.spec import Scene, scene_key
from mdpipe.simulation.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mdpipe.simulation.forcefield import ForceField
from mdpipe.simulation.output import Marks, Recorder
from mdpipe.simulation.products import is_finished, scene_digest, write_products
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import State, state_digest

__all__ = ["Progress", "run_scene", "scene_digest"]

PIECE = 10
"""Steps between looks at the clock and at `stop`."""

PERIOD_S = 0.25


class Progress(NamedTuple):
    """How far a scene is: steps done of all (equilibration included), speed, and what it does."""

    step: int
    total: int
    ns_per_day: float
    stage: Literal["minimise", "equilibrate", "produce"]


def run_scene(
    scene: Scene,
    start: State,
    out: Path,
    *,
    threads: int = 1,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
    allowed: Callable[[], int] | None = None,
) -> None:
    """Run one scene to its end, from its last checkpoint if there is one.

    Parameters
    ----------
    scene : Scene
        What to run.
    start : State
        Where it starts; its step and time do not matter.
    out : Path
        Folder for the products: `energies.npz`, `final.npz`, `trajectory.xtc` or `.dcd`,
        `topology.gro`, and last `scene.json`. A folder that is complete is left as it is.
    threads : int
        The most threads of the kernels; no bit of the products depends on it.
    progress : callable or None
        Told at most four times a second.
    stop : callable or None
        Asked every few steps; when it says True the run stops.
    allowed : callable or None
        Asked every few steps for what to use as `threads` from now on.

    Raises
    ------
    InterruptedRunError
        If `stop` said True.
    InputError
        If the start state cannot be used, the run blows up, or all checkpoints are damaged.
    NoSpaceError
        If the disk is full.
    """
    digest = state_digest(start)
    key = scene_key(scene, digest)
    if is_finished(out, key):
        remove(out / WORK)
        return
    give_back_freed()
    run = _Run(scene, start, out, key, threads, progress)
    try:
        run.go(stop or (lambda: False), allowed or (lambda: threads))
    finally:
        run.close()
    state, facts = run.simulation.state, run.facts()
    del run  # the products get the room of its lists and grids
    give_back_freed()
    write_products(scene, state, out, key=key, start=digest, facts=facts)


class _Run:
    """A scene under way."""

    def __init__(
        self,
        scene: Scene,
        start: State,
        out: Path,
        key: str,
        threads: int,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        set_threads(threads)
        self.scene = scene
        self.key = key
        self.work = out / WORK
        self.recorder: Recorder | None = None
        self._threads = threads
        self._tell = progress
        self._told = self._began = 0.0
        self._began_at = 0
        found = load_checkpoint(self.work, key)
        if found is None:
            self._start(start)
        else:
            self._resume(found)

    def _start(self, start: State) -> None:
        scene = self.scene
        before = -scene.equilibration_steps
        first = replace(start, step=before, time_ps=before * scene.dt_ps)
        self._make_forcefield(first.box, first.n_molecules)
        self.simulation = Simulation(
            scene, first, threads=self._threads, forcefield=self.forcefield
        )
        remove(self.work)  # only now: a start that cannot be used leaves nothing behind
        with no_space_is_clear(self.work):
            self.work.mkdir(parents=True)
        self.recorder = Recorder(self.work, first.n_molecules, Marks())
        self._report("minimise" if scene.minimise_steps else None)
        if scene.minimise_steps:
            self.simulation.minimise(scene.minimise_steps)
            give_back_freed()
        self._arrive(first.step)

    def _resume(self, found: Checkpoint) -> None:
        self._make_forcefield(found.forcefield_box, found.state.n_molecules)
        self.simulation = Simulation(
            self.scene,
            found.state,
            threads=self._threads,
            forcefield=self.forcefield,
            coupling=found.coupling,
        )
        self.recorder = Recorder(self.work, found.state.n_molecules, found.marks)

    def _make_forcefield(self, box: NDArray[np.float64], n_molecules: int) -> None:
        scene = self.scene
        self.forcefield_box = box.copy()
        self.forcefield = ForceField(
            load_model(scene.model), scene.nonbonded, box, n_molecules, precision=scene.precision
        )

    def go(self, stop: Callable[[], bool], allowed: Callable[[], int]) -> None:
        """Do all steps that are left."""
        state = self.simulation.state
        while state.step < self.scene.steps:
            target = self._next_event(state.step)
            self.simulation.step(target - state.step, evaluate_last=self._wants_row(target))
            if self._is_event(target):
                self._arrive(target)
            self._report(None)
            self.simulation.threads.allow(allowed())
            if state.step < self.scene.steps and stop():
                raise InterruptedRunError(
                    f"stopped at step {state.step} of {self.scene.steps}; "
                    "run again to go on from the last checkpoint"
                )

    def facts(self) -> dict[str, Any]:
        """Return what the products tell of the run."""
        return {
            "degrees_of_freedom": self.simulation.dof,
            "forcefield": self.forcefield.describe(),
            "forcefield_box_nm": self.forcefield_box,
        }

    def close(self) -> None:
        """Close the files that grow."""
        if self.recorder is not None:
            self.recorder.close()

    def _wants_row(self, step: int) -> bool:
        return step >= 0 and step % self.scene.energy_every == 0

    def _wants_frame(self, step: int) -> bool:
        return step >= 0 and step % self.scene.frame_every == 0

    def _wants_checkpoint(self, step: int) -> bool:
        ends = (-self.scene.equilibration_steps, 0, self.scene.steps)
        return step in ends or step % self.scene.checkpoint_every == 0

    def _is_event(self, step: int) -> bool:
        return self._wants_row(step) or self._wants_frame(step) or self._wants_checkpoint(step)

    def _next_event(self, step: int) -> int:
        """Return the next step at which something is due, at most a piece away."""
        for ahead in range(step + 1, min(step + PIECE, self.scene.steps)):
            if self._is_event(ahead):
                return ahead
        return min(step + PIECE, self.scene.steps)

    def _arrive(self, step: int) -> None:
        """Write what is due at a step: row and frame, then the checkpoint that counts them."""
        simulation, recorder = self.simulation, self.recorder
        if recorder is None:
            raise AssertionError
        if step == 0 and self.scene.equilibration_steps and self.scene.ensemble == "npt":
            # The box has found its size: choose the grid for it.
            self._make_forcefield(simulation.state.box, simulation.state.n_molecules)
            simulation.rebuild_forcefield(self.forcefield)
        if self._wants_row(step):
            recorder.row(simulation.energies())
        if self._wants_frame(step):
            recorder.frame(simulation.state)
        if self._wants_checkpoint(step):
            marks = recorder.marks()
            save_checkpoint(
                self.work,
                Checkpoint(
                    self.key, simulation.state, simulation.coupling, self.forcefield_box, marks
                ),
            )
            simulation.refresh()

    def _report(self, stage: Literal["minimise"] | None) -> None:
        if self._tell is None:
            return
        now = time.monotonic()
        done = self.simulation.state.step + self.scene.equilibration_steps
        if self._began == 0.0 and stage is None:
            # The first piece compiles or loads kernels; speed is counted from its end.
            self._began, self._began_at = now, done
        last = self.simulation.state.step >= self.scene.steps
        if stage is None and now - self._told < PERIOD_S and not last:
            return
        self._told = now
        seconds = now - self._began
        steps = done - self._began_at
        speed = steps * self.scene.dt_ps * 86.4 / seconds if steps and seconds > 0.0 else 0.0
        total = self.scene.steps + self.scene.equilibration_steps
        named = stage or ("equilibrate" if self.simulation.state.step < 0 else "produce")
        self._tell(Progress(done, total, speed, named))
