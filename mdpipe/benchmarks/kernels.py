"""`mdpipe bench pme` and `mdpipe bench pair`: parts of a force evaluation, molecules at rest."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from mdpipe.benchmarks.boxes import Report, prepare
from mdpipe.benchmarks.case import Case, Program, run_length
from mdpipe.benchmarks.child import run_worker
from mdpipe.benchmarks.md import Plan
from mdpipe.benchmarks.tables import interleave, ratio, spread
from mdpipe.kernels.rdf import pair_histograms, to_fractional
from mdpipe.kernels.simd_target import LANES
from mdpipe.state import load_state

Part = Literal["pme", "pair"]
Variant = tuple[str, dict[str, str]]

ATOM_CALLS: Final = 5e6
MOST_CALLS: Final = 2000
_BELONGS: Final = {"pme": ("PME",), "pair": ("pair",)}
"""How the names of the parts begin that a benchmark counts."""


def variants() -> list[Variant]:
    """Return the runs of mdpipe that a benchmark compares: each width of vectors, and none.

    Returns
    -------
    list of (name, environment)
        The first is what a user of this machine gets.
    """
    narrower = [n for n in (8, 4) if n < LANES]
    found: list[Variant] = [("mdpipe", {})]
    found += [(f"mdpipe {n} lanes", {"MDPIPE_SIMD": str(n)}) for n in narrower]
    return [*found, ("mdpipe no vectors", {"MDPIPE_SIMD": "0"})] if LANES else found


def part_ms(parts: Mapping[str, float], part: Part) -> float:
    """Return what the parts of a force evaluation that a benchmark is about take together.

    Parameters
    ----------
    parts : mapping of str to float
        ms by part.
    part : {"pme", "pair"}
        The benchmark.

    Returns
    -------
    float
        ms.
    """
    return sum(ms for name, ms in parts.items() if name.startswith(_BELONGS[part]))


def site_pairs(case: Case) -> int:
    """Count the pairs of atoms of different molecules within the cutoff.

    Parameters
    ----------
    case : Case
        Where the molecules stand.

    Returns
    -------
    int
        Pairs, each once.
    """
    state = load_state(case.start)
    fractional = to_fractional(state.positions, state.box)
    return int(pair_histograms(fractional, state.box, case.r_cut_nm, 1).sum())


def bench_part(
    part: Part, plan: Plan, peers: Sequence[Program], variants: Sequence[Variant], report: Report
) -> list[dict[str, Any]]:
    """Time the pair forces or the reciprocal sum alone, in interleaved processes.

    Parameters
    ----------
    part : {"pme", "pair"}
        Which.
    plan : Plan
        Boxes, threads, repeats.
    peers : sequence of Program
        Other programs, as far as they tell their parts.
    variants : sequence of (name, environment)
        Runs of mdpipe: a label and what is added to the environment.
    report : callable
        Takes lines of progress.

    Returns
    -------
    list of dict
        A row for each box, number of threads and program: times_ms, ms (median), spread, ratio
        (over the first variant), parts (ms, of the last repeat), and for mdpipe forcefield; for
        pairs also site_pairs and pairs_per_s; or program and missing.
    """
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="mdpipe-bench-") as name:
        for model in plan.models:
            for molecules in plan.molecules:
                base = prepare(molecules, model, Path(name), report)
                pairs = site_pairs(base) if part == "pair" else None
                for threads in plan.threads:
                    case = replace(base, threads=threads)
                    found = _rows(part, case, plan.repeats, peers, variants, Path(name), report)
                    for row in found:
                        if pairs is not None and "ms" in row:
                            row["site_pairs"] = pairs
                            row["pairs_per_s"] = pairs / row["ms"] * 1e3
                    rows += found
    return rows


def _own(case: Case, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    calls = run_length(case.atoms, ATOM_CALLS, MOST_CALLS)
    arguments = case.plain() | {"precision": "mixed", "calls": calls}
    return run_worker("mdpipe_forces", arguments, folder, environment)[0]


def _theirs(program: Program, case: Case, folder: Path) -> dict[str, Any]:
    return {"parts": program.parts(case, folder) or {}}


def _rows(
    part: Part,
    case: Case,
    repeats: int,
    peers: Sequence[Program],
    variants: Sequence[Variant],
    folder: Path,
    report: Report,
) -> list[dict[str, Any]]:
    absent = {p.name: reason for p in peers if (reason := p.missing(case)) is not None}
    tasks = {name: partial(_own, case, folder, added) for name, added in variants}
    tasks |= {p.name: partial(_theirs, p, case, folder) for p in peers if p.name not in absent}

    def tell(name: str, repeat: int, result: dict[str, Any]) -> None:
        where = f"{case.n_molecules} molecules, threads {case.threads}, {repeat}/{repeats}"
        report(f"{where}, {name}: {part_ms(result['parts'], part):.3f} ms")

    results = interleave(tasks, repeats, tell)
    times = {k: [part_ms(result["parts"], part) for result in v] for k, v in results.items()}
    labels = {
        "model": case.model_key,
        "molecules": case.n_molecules,
        "atoms": case.atoms,
        "threads": case.threads,
    }
    rows: list[dict[str, Any]] = [
        labels
        | {
            "program": name,
            "times_ms": times[name],
            "ms": spread(times[name]).median,
            "spread": spread(times[name]).relative,
            "ratio": list(ratio(times[name], times[variants[0][0]])),
        }
        | results[name][-1]
        for name in tasks
    ]
    return rows + [labels | {"program": k, "missing": why} for k, why in absent.items()]
