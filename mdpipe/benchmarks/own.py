"""mdpipe itself, as a program of the benchmark."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from mdpipe import __version__
from mdpipe.benchmarks.case import Case, Timing, run_length
from mdpipe.benchmarks.child import run_worker
from mdpipe.benchmarks.parts import watch_kernels
from mdpipe.failures import MdpipeError
from mdpipe.kernels._jit import set_threads
from mdpipe.kernels.simd_target import NAME
from mdpipe.scenes.spec import Nonbonded, Scene
from mdpipe.simulation.forcefield import ForceField
from mdpipe.simulation.run import Progress, run_scene
from mdpipe.state import load_state

Precision = Literal["double", "mixed"]

FRAME_EVERY: Final = 1000
WARMUP_STEPS: Final = 100
ATOM_STEPS: Final = 24e6
MOST_STEPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Mark:
    """That a run had done so many steps at some moment, in seconds."""

    step: int
    seconds: float


class Own:
    """mdpipe, NVT with the Bussi thermostat, run as a scene is: frames, energies, checkpoints."""

    name = "mdpipe"

    def __init__(self, precision: Precision = "mixed") -> None:
        self._precision: Precision = precision

    def missing(self, case: Case) -> None:
        """Return None: mdpipe runs every case."""
        del case

    def version(self) -> str:
        """Return mdpipe's version."""
        return __version__

    def simd(self) -> str:
        """Return the explicit vectors that the kernels of this machine use."""
        return NAME

    def time(self, case: Case, folder: Path) -> Timing:
        """Run the case once in a process of its own."""
        plain = case.plain() | {"precision": self._precision, "folder": str(folder)}
        result, peak = run_worker("mdpipe_time", plain, folder)
        return Timing(result["ms_per_step"], peak)

    def forces(self, case: Case, folder: Path) -> NDArray[np.float64]:
        """Return the forces at the start."""
        del folder
        return forces(case, scene_of(case, self._precision).nonbonded, self._precision)

    def parts(self, case: Case, folder: Path) -> dict[str, float]:
        """Return where the time of a step goes, ms."""
        plain = case.plain() | {"precision": self._precision, "folder": str(folder)}
        result, _ = run_worker("mdpipe_parts", plain, folder)
        parts: dict[str, float] = result["parts"]
        return parts


def scene_of(
    case: Case, precision: Precision, ensemble: Literal["nve", "nvt"] = "nvt", steps: int = 1000
) -> Scene:
    """Return the scene that a case means.

    Parameters
    ----------
    case : Case
        What to run.
    precision : {"double", "mixed"}
        Precision of the pair forces.
    ensemble : {"nve", "nvt"}
        Ensemble.
    steps : int
        Length.

    Returns
    -------
    Scene
        With the default settings for everything that the case does not name.
    """
    return Scene(
        name="bench",
        model=case.model_key,
        ensemble=ensemble,
        steps=steps,
        dt_ps=case.dt_ps,
        temperature_K=case.temperature_K,
        precision=precision,
        energy_every=100,
        frame_every=FRAME_EVERY,
        nonbonded=Nonbonded(r_cut_nm=case.r_cut_nm),
    )


def forces(case: Case, nonbonded: Nonbonded, precision: Precision) -> NDArray[np.float64]:
    """Return mdpipe's forces at the start of a case.

    Parameters
    ----------
    case : Case
        What to evaluate.
    nonbonded : Nonbonded
        Cutoff and electrostatics.
    precision : {"double", "mixed"}
        Precision of the pair forces.

    Returns
    -------
    (n, 3, 3) float64
        kJ/mol/nm.
    """
    state = load_state(case.start)
    field = ForceField(case.model, nonbonded, state.box, state.n_molecules, precision=precision)
    result = np.empty_like(state.positions)
    field.compute(state.positions, state.box, result)
    return result


def timed_stretch(marks: Sequence[Mark], warmup: int) -> tuple[Mark, Mark]:
    """Return the two marks of a run between which its steps are timed.

    Parameters
    ----------
    marks : sequence of Mark
        As the run went; the last is of its end, where products are about to be written.
    warmup : int
        Steps that are not timed.

    Returns
    -------
    first, last : Mark
        The first after the warm-up and the last before the end.

    Raises
    ------
    MdpipeError
        If the run was too short for both.
    """
    inside = [mark for mark in marks[:-1] if mark.step >= warmup]
    if len(inside) < 2:
        raise MdpipeError(
            f"the run was over after {len(marks)} reports, too few to time it; this machine is "
            "faster than the benchmark expects: report it"
        )
    return inside[0], inside[-1]


def time_mdpipe(
    case: Case, precision: Precision, folder: Path, marked: Callable[[int], None] | None = None
) -> tuple[Mark, Mark]:
    """Run a case as a scene is run, and time it; in a process of its own.

    Parameters
    ----------
    case : Case
        What to run.
    precision : {"double", "mixed"}
        Precision of the pair forces.
    folder : Path
        Where the scene's products may go.
    marked : callable or None
        Told the step at each mark.

    Returns
    -------
    first, last : Mark
        The stretch that counts.
    """
    steps = run_length(case.atoms, ATOM_STEPS, MOST_STEPS, FRAME_EVERY)
    # A few steps more than are timed: the last mark before the end is up to a quarter second early.
    scene = scene_of(case, precision, steps=steps + WARMUP_STEPS + steps // 20)
    marks: list[Mark] = []

    def mark(progress: Progress) -> None:
        marks.append(Mark(progress.step, perf_counter()))
        if marked is not None:
            marked(progress.step)

    out = folder / "scene"
    run_scene(scene, load_state(case.start), out, threads=case.threads, progress=mark)
    shutil.rmtree(out)
    return timed_stretch(marks, WARMUP_STEPS)


def parts_of_mdpipe(case: Case, precision: Precision, folder: Path) -> dict[str, float]:
    """Return where the time of mdpipe's steps goes; in a process of its own.

    Parameters
    ----------
    case, precision, folder
        As in `time_mdpipe`.

    Returns
    -------
    dict of str to float
        ms a step by part; their sum is the whole step.
    """
    watch = watch_kernels()
    began: list[int] = []
    at: dict[int, dict[str, float]] = {}

    def marked(step: int) -> None:
        if not began and step >= WARMUP_STEPS:
            began.append(step)
            watch.reset()
        at[step] = dict(watch.seconds)

    first, last = time_mdpipe(case, precision, folder, marked)
    watch.reset()
    watch.seconds.update(at[last.step])
    return watch.shares(last.seconds - first.seconds, last.step - first.step)


def evaluate_parts(case: Case, precision: Precision, calls: int) -> dict[str, object]:
    """Return where the time of force evaluations without motion goes; in a process of its own.

    Parameters
    ----------
    case : Case
        Where the molecules stand.
    precision : {"double", "mixed"}
        Precision of the pair forces.
    calls : int
        How many.

    Returns
    -------
    dict
        `parts`, ms a call by part, and `forcefield`, what was chosen.
    """
    watch = watch_kernels()
    set_threads(case.threads)
    state = load_state(case.start)
    nonbonded = scene_of(case, precision).nonbonded
    # Looked up here: the module knows the watched kernels only from now on.
    field = ForceField(case.model, nonbonded, state.box, state.n_molecules, precision=precision)
    result = np.empty_like(state.positions)
    for _ in range(2):
        field.compute(state.positions, state.box, result)
    watch.reset()
    began = perf_counter()
    for _ in range(calls):
        field.compute(state.positions, state.box, result)
    return {
        "parts": watch.shares(perf_counter() - began, calls),
        "forcefield": field.describe(),
    }
