"""`mdpipe bench md`: the whole MD step, interleaved with other programs."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from mdpipe.benchmarks.case import Case, Program, Timing
from mdpipe.benchmarks.gromacs_peer import Gromacs
from mdpipe.benchmarks.openmm_peer import OpenMM
from mdpipe.benchmarks.own import Own, forces, scene_of
from mdpipe.building.liquid import liquid
from mdpipe.failures import UsageError
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import load_state, save_state
from mdpipe.units import BOLTZMANN

PEERS: Final[dict[str, type[Program]]] = {"openmm": OpenMM, "gromacs": Gromacs}
DRIFT_EVERY: Final = 50
Report = Callable[[str], None]


def bench_md(
    molecules: int,
    threads: int,
    model: str,
    peers: Sequence[str],
    repeats: int,
    *,
    drift_ps: float = 0.0,
    report: Report = lambda _: None,
) -> list[dict[str, Any]]:
    """Time the whole step of mdpipe and of other programs in interleaved runs.

    Every run is a process of its own; the programs take turns, so that a noisy minute hits all.

    Parameters
    ----------
    molecules : int
        Number of water molecules, 0.997 g/cm³.
    threads : int
        Threads of each program.
    model : str
        Key of the water model.
    peers : sequence of str
        Out of "openmm" and "gromacs".
    repeats : int
        Runs of each program.
    drift_ps : float
        Length of an NVE run of mdpipe that measures the energy drift; 0 leaves it out.
    report : callable
        Takes lines of progress.

    Returns
    -------
    list of dict
        A row for each program: program, version, simd, atoms, threads, ms_per_step (median),
        spread ((max - min)/median), ns_per_day, peak_mb, force_error (relative RMS against the
        converged sum), drift (kT/ns per atom, or None); or program and missing (the reason).

    Raises
    ------
    UsageError
        If a peer is not known.
    """
    unknown = [name for name in peers if name not in PEERS]
    if unknown:
        raise UsageError(
            f"--vs {','.join(unknown)}: no such program; choose from {', '.join(PEERS)}"
        )
    with tempfile.TemporaryDirectory(prefix="mdpipe-bench-") as name:
        folder = Path(name)
        case = prepare(molecules, threads, model, folder, report)
        programs: list[Program] = [Own(), *(PEERS[peer]() for peer in peers)]
        rows = [_row(program, case) for program in programs]
        present = [p for p, row in zip(programs, rows, strict=True) if "missing" not in row]
        timings = _interleave(present, case, repeats, folder, report)
        reference = forces(case, converged(case), "double")
        for program, row in zip(programs, rows, strict=True):
            if program in present:
                row.update(_figures(timings[program.name], case))
                row["force_error"] = relative_rms(program.forces(case, folder), reference)
                row["drift"] = None
        if drift_ps > 0:
            rows[0]["drift"] = drift(case, drift_ps)
    return rows


def converged(case: Case) -> Nonbonded:
    """Return the settings of the reference forces: PME converged to 1e-6.

    Parameters
    ----------
    case : Case
        What the programs run.

    Returns
    -------
    Nonbonded
        Same cutoff.
    """
    return Nonbonded(r_cut_nm=case.r_cut_nm, pme_tolerance=1e-6, pme_order=5)


def relative_rms(values: Any, reference: Any) -> float:
    """Return the root of Σ(values - reference)² / Σ reference².

    Parameters
    ----------
    values, reference : array
        Of one shape.

    Returns
    -------
    float
        The relative RMS deviation.
    """
    return float(np.sqrt(((values - reference) ** 2).sum() / (reference**2).sum()))


def prepare(molecules: int, threads: int, model: str, folder: Path, report: Report) -> Case:
    """Build and equilibrate the box that every program starts from.

    Parameters
    ----------
    molecules, threads, model : int, int, str
        As in `bench_md`.
    folder : Path
        Where the start state is written.
    report : callable
        Takes lines of progress.

    Returns
    -------
    Case
        With as many steps as a few seconds of a fast program hold.
    """
    start = folder / "start.npz"
    steps = max(100, min(5000, 1_000_000 // molecules))
    case = Case(model, start, molecules, threads, steps, warmup=max(20, steps // 10))
    report(f"building and equilibrating {molecules} molecules")
    state = liquid(molecules, 0.997, case.model, seed=1)
    scene = scene_of(case, "mixed")
    simulation = Simulation(scene, state, threads=threads)
    simulation.minimise(200)
    simulation.step(max(500, min(5000, 4_000_000 // molecules)))
    save_state(start, simulation.state)
    return case


def drift(case: Case, length_ps: float) -> float:
    """Return mdpipe's NVE energy drift.

    Parameters
    ----------
    case : Case
        What to run.
    length_ps : float
        Length of the run.

    Returns
    -------
    float
        Slope of a straight line through the total energy, kT/ns per atom.
    """
    simulation = Simulation(
        scene_of(case, "mixed", "nve"), load_state(case.start), threads=case.threads
    )
    times, totals = [], []
    for _ in range(round(length_ps / case.dt_ps) // DRIFT_EVERY):
        simulation.step(DRIFT_EVERY, evaluate_last=True)
        row = simulation.energies()
        times.append(row.time_ps)
        totals.append(row.total_kj_mol)
    slope = np.polyfit(times, totals, 1)[0]
    atoms = 3 * case.n_molecules
    return float(slope * 1000.0 / (atoms * BOLTZMANN * case.temperature_K))


def _row(program: Program, case: Case) -> dict[str, Any]:
    reason = program.missing(case)
    if reason is not None:
        return {"program": program.name, "missing": reason}
    return {
        "program": program.name,
        "version": program.version(),
        "simd": program.simd(),
        "atoms": 3 * case.n_molecules,
        "threads": case.threads,
    }


def _interleave(
    programs: Sequence[Program], case: Case, repeats: int, folder: Path, report: Report
) -> dict[str, list[Timing]]:
    timings: dict[str, list[Timing]] = {program.name: [] for program in programs}
    for repeat in range(repeats):
        for program in programs:
            timing = program.time(case, folder)
            timings[program.name].append(timing)
            report(f"{repeat + 1}/{repeats} {program.name}: {timing.ms_per_step:.3f} ms/step")
    return timings


def _figures(timings: Sequence[Timing], case: Case) -> dict[str, Any]:
    times = [timing.ms_per_step for timing in timings]
    median = statistics.median(times)
    return {
        "ms_per_step": median,
        "spread": (max(times) - min(times)) / median,
        "ns_per_day": 86400.0 / (median * 1e-3) * case.dt_ps * 1e-3,
        "peak_mb": max(timing.peak_mb for timing in timings),
    }
