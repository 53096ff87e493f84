"""`mdpipe bench analysis`: the kernels of the observables on one frame, beside other programs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np

from mdpipe import __version__
from mdpipe.benchmarks.analysis_peers import (
    Analyser,
    AnalysisFrame,
    Floats,
    Freud,
    MDAnalysisPeer,
)
from mdpipe.benchmarks.boxes import Report, prepare
from mdpipe.benchmarks.tables import interleave, ratio, spread
from mdpipe.failures import UsageError
from mdpipe.kernels._jit import set_threads
from mdpipe.kernels.correlate import squared_displacements
from mdpipe.kernels.hbonds import count_hydrogen_bonds
from mdpipe.kernels.neighbours import nearest4, neighbour_list
from mdpipe.kernels.order import CHILL_RADIUS_NM, chill_plus, steinhardt_q6, tetrahedral_q
from mdpipe.kernels.rdf import half_width, pair_histograms, to_fractional
from mdpipe.preprocessing.classify import classify_frame
from mdpipe.state import Frame, load_state

ANALYSERS: Final[dict[str, type[Analyser]]] = {"freud": Freud, "mdanalysis": MDAnalysisPeer}
R_MAX_NM: Final = 1.5
"""How far g(r) goes, or half the box where that is less."""
BIN_NM: Final = 0.002
PATH_FRAMES: Final = 500


def analysers_named(names: Sequence[str]) -> list[Analyser]:
    """Return other programs by their names.

    Parameters
    ----------
    names : sequence of str
        Out of "freud" and "mdanalysis".

    Returns
    -------
    list of Analyser
        In the order of the names.

    Raises
    ------
    UsageError
        If a name is not known.
    """
    unknown = [name for name in names if name not in ANALYSERS]
    if unknown:
        raise UsageError(
            f"--vs {','.join(unknown)}: no such program; choose from {', '.join(ANALYSERS)}"
        )
    return [ANALYSERS[name]() for name in names]


class Own:
    """mdpipe's own kernels; each analysis finds its neighbours itself."""

    name = "mdpipe"

    def missing(self) -> None:
        """Return None."""

    def version(self) -> str:
        """Return mdpipe's version."""
        return __version__

    def prepare(self, frame: AnalysisFrame, threads: int) -> None:
        """Take the frame over."""
        set_threads(threads)
        self._frame = frame
        self._oxygens = np.ascontiguousarray(frame.positions[:, 0])

    def rdf(self, r_max: float, n_bins: int) -> Floats:
        """Return counts of O-O, O-H and H-H pairs, (3, bins)."""
        fractional = to_fractional(self._frame.positions, self._frame.box)
        return pair_histograms(fractional, self._frame.box, r_max, n_bins).astype(np.float64)

    def bonds_and_q(self) -> tuple[int, Floats]:
        """Return the number of hydrogen bonds and q of every molecule."""
        near = neighbour_list(self._oxygens, self._frame.box, CHILL_RADIUS_NM)
        bonds = count_hydrogen_bonds(near, self._frame.positions, 30.0)
        vectors = nearest4(self._oxygens, self._frame.box, near)[1]
        return int(bonds[:, 0].sum()), tetrahedral_q(vectors)

    def q6(self) -> Floats:
        """Return averaged q6 of every molecule."""
        near = neighbour_list(self._oxygens, self._frame.box, CHILL_RADIUS_NM)
        return steinhardt_q6(*nearest4(self._oxygens, self._frame.box, near))[1]

    def chill(self) -> Any:
        """Return the labels of CHILL+."""
        return chill_plus(neighbour_list(self._oxygens, self._frame.box, CHILL_RADIUS_NM))

    def classify(self) -> Any:
        """Return what preprocessing says of the frame."""
        return classify_frame(Frame(self._frame.positions, self._frame.box))

    def msd(self) -> Floats:
        """Return the mean squared displacement at every lag."""
        displacements: Floats = squared_displacements(self._frame.paths)[0]
        return displacements


def _rdf_gap(ours: Floats, theirs: Floats) -> float:
    return float(np.abs(np.cumsum(ours - theirs, axis=1)).max() / ours.sum())


def _bonds_gap(ours: tuple[int, Floats], theirs: tuple[int, Floats]) -> float:
    return max(abs(ours[0] - theirs[0]) / ours[0], float(np.abs(ours[1] - theirs[1]).max()))


def _largest_gap(ours: Floats, theirs: Floats) -> float:
    return float(np.abs(ours - theirs).max() / max(1.0, np.abs(ours).max()))


TASKS: Final[dict[str, tuple[str, Callable[..., float]]]] = {
    "rdf": ("g(r) OO, OH and HH", _rdf_gap),
    "bonds_and_q": ("hydrogen bonds and q", _bonds_gap),
    "q6": ("averaged q6", _largest_gap),
    "chill": ("CHILL+", _largest_gap),
    "classify": ("class of a frame (preprocessing)", _largest_gap),
    "msd": (f"MSD, a frame of {PATH_FRAMES}", _largest_gap),
}
"""Method -> title, and the deviation of another program's result from ours.

g(r): the largest difference of the cumulated counts over all pairs; bonds and q: the relative
difference of the number of bonds or the largest of q; else the largest, relative to the largest
value where that is above 1.
"""


def bench_analysis(
    molecules: int, threads: int, peers: Sequence[Analyser], repeats: int, report: Report
) -> list[dict[str, Any]]:
    """Time the analysis of one frame of liquid, the programs taking turns.

    Parameters
    ----------
    molecules, threads, repeats : int
        Size of the frame, threads of each program that has some, rounds.
    peers : sequence of Analyser
        What mdpipe stands beside.
    report : callable
        Takes lines of progress.

    Returns
    -------
    list of dict
        A row for each analysis and program that has it: analysis, molecules, threads, program,
        version, times_ms, ms (median), spread, ratio (over mdpipe's) and deviation (from mdpipe's
        result; see `TASKS`); or program and missing.
    """
    frame = _frame(molecules, report)
    rows: list[dict[str, Any]] = []
    programs: list[Analyser] = [Own()]
    for peer in peers:
        reason = peer.missing()
        if reason is None:
            programs.append(peer)
        else:
            rows.append({"program": peer.name, "missing": reason})
    for program in programs:
        program.prepare(frame, threads)
    n_bins = int(min(R_MAX_NM, half_width(frame.box)) / BIN_NM)
    for task in TASKS:
        span = (n_bins * BIN_NM, n_bins)
        rows += _task_rows(task, molecules, threads, programs, repeats, span, report)
    return rows


def _frame(molecules: int, report: Report) -> AnalysisFrame:
    with tempfile.TemporaryDirectory(prefix="mdpipe-bench-") as name:
        case = prepare(molecules, "spce", Path(name), report)
        state = load_state(case.start)
    steps = np.random.default_rng(1).normal(0.0, 0.02, (PATH_FRAMES, molecules, 3))
    paths = (state.positions[:, 0] + np.cumsum(steps, axis=0)).astype(np.float32)
    return AnalysisFrame(state.positions, state.box, paths)


def _task_rows(
    task: str,
    molecules: int,
    threads: int,
    programs: Sequence[Analyser],
    repeats: int,
    span: tuple[float, int],
    report: Report,
) -> list[dict[str, Any]]:
    title, gap = TASKS[task]
    able = {p.name: p for p in programs if hasattr(p, task)}
    arguments = span if task == "rdf" else ()
    calls = {name: partial(getattr(p, task), *arguments) for name, p in able.items()}
    results = {name: call() for name, call in calls.items()}
    frames = PATH_FRAMES if task == "msd" else 1

    def timed(call: Callable[[], Any]) -> float:
        began = perf_counter()
        call()
        return (perf_counter() - began) * 1e3 / frames

    times = interleave({name: partial(timed, call) for name, call in calls.items()}, repeats)
    rows = []
    for name, program in able.items():
        own = name == programs[0].name
        taken = spread(times[name])
        report(f"{title}, {name}: {taken.median:.3f} ms")
        rows.append(
            {
                "analysis": title,
                "molecules": molecules,
                "threads": threads,
                "program": name,
                "version": program.version(),
                "times_ms": times[name],
                "ms": taken.median,
                "spread": taken.relative,
                "ratio": list(ratio(times[name], times[programs[0].name])),
                "deviation": None if own else gap(results[programs[0].name], results[name]),
            }
        )
    return rows
