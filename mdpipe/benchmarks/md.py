"""`mdpipe bench md`: the whole MD step, interleaved with other programs."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from mdpipe.benchmarks.accuracy import converged, drift, force_error
from mdpipe.benchmarks.boxes import Report, prepare
from mdpipe.benchmarks.case import Case, Program, Timing
from mdpipe.benchmarks.gromacs_peer import Gromacs
from mdpipe.benchmarks.openmm_peer import OpenMM
from mdpipe.benchmarks.own import Own, forces
from mdpipe.benchmarks.tables import interleave, ratio, spread
from mdpipe.failures import UsageError

PARTS_RUNS: Final = 3
PEERS: Final[dict[str, type[Program]]] = {"openmm": OpenMM, "gromacs": Gromacs}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a benchmark of the whole step covers.

    `drift_ps` is the length of an NVE run of mdpipe for each box, 0 leaves it out; `per_part` asks
    where the time of a step goes, `accuracy` for the errors of the forces.
    """

    molecules: tuple[int, ...]
    threads: tuple[int, ...] = (1,)
    models: tuple[str, ...] = ("spce",)
    repeats: int = 5
    drift_ps: float = 0.0
    per_part: bool = False
    accuracy: bool = True


def peers_named(names: Sequence[str]) -> list[Program]:
    """Return other programs by their names.

    Parameters
    ----------
    names : sequence of str
        Out of "openmm" and "gromacs".

    Returns
    -------
    list of Program
        In the order of the names.

    Raises
    ------
    UsageError
        If a name is not known.
    """
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise UsageError(
            f"--vs {','.join(unknown)}: no such program; choose from {', '.join(PEERS)}"
        )
    return [PEERS[name]() for name in names]


def bench_md(
    plan: Plan, peers: Sequence[Program], *, own: Program | None = None, report: Report = print
) -> list[dict[str, Any]]:
    """Time the whole step of mdpipe and of other programs in interleaved runs.

    Every run is a process of its own; the programs take turns, so that a noisy minute hits all.

    Parameters
    ----------
    plan : Plan
        Boxes, threads, repeats.
    peers : sequence of Program
        What mdpipe stands beside.
    own : Program, optional
        mdpipe, unless another program is to stand in its place.
    report : callable
        Takes lines of progress.

    Returns
    -------
    list of dict
        A row for each box, number of threads and program: model, molecules, atoms, threads,
        program, version, simd, times_ms (of the repeats), ms_per_step (their median), spread
        ((most - least)/median), ns_per_day, ratio (its time over mdpipe's: median, least, most,
        repeat by repeat), peak_mb, force_error (relative RMS against the converged sum),
        force_error_kj_mol_nm, drift (kT/ns per atom, or None), parts (ms by part, or None); or,
        of a program that cannot run, program and missing (the reason).
    """
    ours = own or Own()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mdpipe-bench-") as name:
        for model in plan.models:
            for molecules in plan.molecules:
                case = prepare(molecules, model, Path(name), report)
                rows += _box_rows(case, plan, [ours, *peers], Path(name), report)
                case.start.unlink()
    return rows


def _box_rows(
    case: Case, plan: Plan, programs: Sequence[Program], folder: Path, report: Report
) -> list[dict[str, Any]]:
    """Return the rows of one box; what does not depend on the threads is found once."""
    absent = {p.name: reason for p in programs if (reason := p.missing(case)) is not None}
    present = [program for program in programs if program.name not in absent]
    errors = _errors(case, present, folder) if plan.accuracy else {}
    drifted = drift(case, plan.drift_ps) if plan.drift_ps > 0 else None
    rows: list[dict[str, Any]] = []
    for threads in plan.threads:
        here = replace(case, threads=threads)
        found = _thread_rows(here, plan, present, folder, report)
        for row in found:
            row.update(errors.get(row["program"], {}))
            row["drift"] = drifted if row["program"] == programs[0].name else None
        rows += found
        rows += [_labels(here) | {"program": k, "missing": why} for k, why in absent.items()]
    return rows


def _labels(case: Case) -> dict[str, Any]:
    return {
        "model": case.model_key,
        "molecules": case.n_molecules,
        "atoms": case.atoms,
        "threads": case.threads,
    }


def _errors(case: Case, programs: Sequence[Program], folder: Path) -> dict[str, dict[str, float]]:
    reference = forces(case, converged(case), "double")
    found = {}
    for program in programs:
        error = force_error(program.forces(case, folder), reference)
        found[program.name] = {
            "force_error": error.relative,
            "force_error_kj_mol_nm": error.rms_kj_mol_nm,
        }
    return found


def _thread_rows(
    case: Case, plan: Plan, programs: Sequence[Program], folder: Path, report: Report
) -> list[dict[str, Any]]:
    where = f"{case.n_molecules} molecules of {case.model_key}, threads {case.threads}"

    def tell(name: str, repeat: int, timing: Timing) -> None:
        step = f"{timing.ms_per_step:.3f} ms/step"
        report(f"{where}, {repeat}/{plan.repeats}, {name}: {step}")

    tasks = {program.name: partial(program.time, case, folder) for program in programs}
    timings = interleave(tasks, plan.repeats, tell)
    own_times = [timing.ms_per_step for timing in timings[programs[0].name]]
    rows = []
    for program in programs:
        runs = timings[program.name]
        times = [timing.ms_per_step for timing in runs]
        of_times, of_ratios = spread(times), ratio(times, own_times)
        row: dict[str, Any] = _labels(case) | {
            "program": program.name,
            "version": program.version(),
            "simd": program.simd(),
            "times_ms": times,
            "ms_per_step": of_times.median,
            "spread": of_times.relative,
            "ns_per_day": 86.4 / of_times.median * case.dt_ps * 1e3,
            "ratio": list(of_ratios),
            "peak_mb": max(timing.peak_mb for timing in runs),
            "parts": _quietest_parts(program, case, folder, plan) if plan.per_part else None,
        }
        rows.append(row)
    return rows


def _quietest_parts(
    program: Program, case: Case, folder: Path, plan: Plan
) -> dict[str, float] | None:
    """Return the parts of the fastest of a few runs: one run alone may fall into a noisy minute."""
    runs = [program.parts(case, folder) for _ in range(min(PARTS_RUNS, plan.repeats))]
    return min((run for run in runs if run), key=lambda run: sum(run.values()), default=None)
