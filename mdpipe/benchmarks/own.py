"""mdpipe itself, as a program of the benchmark."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mdpipe import __version__
from mdpipe.benchmarks.case import Case, Timing
from mdpipe.benchmarks.child import run_worker
from mdpipe.kernels._jit import set_threads
from mdpipe.scenes.spec import Nonbonded, Scene
from mdpipe.simulation.forcefield import ForceField
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import load_state

Precision = Literal["double", "mixed"]


class Own:
    """mdpipe, NVT with the Bussi thermostat, energies every 100 steps."""

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
        """Return the widest vector instructions of this machine, which Numba compiles for."""
        from llvmlite import binding

        features = binding.get_host_cpu_features()
        for flag, name in (
            ("avx512f", "AVX-512"),
            ("avx2", "AVX2"),
            ("avx", "AVX"),
            ("neon", "NEON"),
        ):
            if features.get(flag):
                return name
        return "SSE2"

    def time(self, case: Case, folder: Path) -> Timing:
        """Run the case once in a process of its own."""
        plain = asdict(case) | {"start": str(case.start), "precision": self._precision}
        result, peak = run_worker("mdpipe_time", plain, folder)
        return Timing(result["ms_per_step"], peak)

    def forces(self, case: Case, folder: Path) -> NDArray[np.float64]:
        """Return the forces at the start."""
        del folder
        return forces(case, scene_of(case, self._precision).nonbonded, self._precision)


def scene_of(case: Case, precision: Precision, ensemble: Literal["nve", "nvt"] = "nvt") -> Scene:
    """Return the scene that a case means.

    Parameters
    ----------
    case : Case
        What to run.
    precision : {"double", "mixed"}
        Precision of the pair forces.
    ensemble : {"nve", "nvt"}
        Ensemble.

    Returns
    -------
    Scene
        With the default settings for everything that the case does not name.
    """
    return Scene(
        name="bench",
        model=case.model_key,
        ensemble=ensemble,
        steps=case.steps,
        dt_ps=case.dt_ps,
        temperature_K=case.temperature_K,
        precision=precision,
        energy_every=100,
        frame_every=1000,
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


def time_mdpipe(case: Case, precision: Precision) -> float:
    """Return mdpipe's ms a step; runs in a process of its own.

    Parameters
    ----------
    case : Case
        What to run.
    precision : {"double", "mixed"}
        Precision of the pair forces.

    Returns
    -------
    float
        Wall time of the timed steps divided by their number, ms.
    """
    set_threads(case.threads)
    simulation = Simulation(scene_of(case, precision), load_state(case.start), threads=case.threads)
    simulation.step(case.warmup)
    began = time.perf_counter()
    simulation.step(case.steps)
    return (time.perf_counter() - began) / case.steps * 1e3
