"""Benchmarks: what is counted, compared and printed. No time is asserted here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mdpipe.benchmarks import analysis, kernels, md
from mdpipe.benchmarks.accuracy import converged, force_error
from mdpipe.benchmarks.analysis_peers import AnalysisFrame, MDAnalysisPeer
from mdpipe.benchmarks.case import Case, Timing, run_length
from mdpipe.benchmarks.child import run_child, run_worker
from mdpipe.benchmarks.gromacs_peer import parts_of_log
from mdpipe.benchmarks.own import Mark, timed_stretch
from mdpipe.benchmarks.parts import REST, Stopwatch, part_of
from mdpipe.benchmarks.plotting import lines_of
from mdpipe.benchmarks.tables import interleave, linear_within, ratio, spread
from mdpipe.cli.bench import bench
from mdpipe.failures import MdpipeError, UsageError
from mdpipe.render.timings import FORMATS, Line, timings_plot
from mdpipe.state import State, save_state


def test_spread_and_ratio_are_of_neighbours_in_time():
    assert spread([3.0, 1.0, 2.0]) == (2.0, 1.0, 3.0)
    assert spread([3.0, 1.0, 2.0]).relative == pytest.approx(1.0)
    # The machine became twice as slow: the times spread, the ratio does not.
    assert ratio([4.0, 8.0, 8.0], [1.0, 2.0, 2.0]) == (4.0, 4.0, 4.0)
    with pytest.raises(ValueError, match="zip"):
        ratio([1.0], [1.0, 2.0])


def test_programs_take_turns_and_every_second_round_goes_backwards():
    order, told = [], []
    tasks = {name: (lambda name=name: order.append(name) or len(order)) for name in "abc"}
    results = interleave(tasks, 3, lambda *row: told.append(row))
    assert "".join(order) == "abccbaabc"
    assert results == {"a": [1, 6, 7], "b": [2, 5, 8], "c": [3, 4, 9]}
    assert told[:4] == [("a", 1, 1), ("b", 1, 2), ("c", 1, 3), ("c", 2, 4)]


def test_departure_from_proportion_is_that_of_the_worst_size():
    assert linear_within([10, 100, 1000], [1.0, 10.0, 100.0]) == pytest.approx(0.0)
    assert linear_within([10, 100, 1000], [1.3, 10.0, 100.0]) == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("atoms", "multiple", "steps"),
    [(24000, 1000, 1000), (200_000, 1000, 1000), (3000, 1000, 8000), (600, 1000, 10_000),
     (24000, 1, 1000), (96000, 1, 250), (10**9, 1, 1)],
)  # fmt: skip
def test_runs_are_of_like_length_and_hold_whole_intervals_of_output(atoms, multiple, steps):
    assert run_length(atoms, 24e6, 10_000, multiple) == steps


def test_the_timed_stretch_leaves_out_the_warm_up_and_the_end():
    marks = [Mark(10, 0.0), Mark(90, 1.0), Mark(110, 2.0), Mark(300, 3.0), Mark(320, 9.0)]
    assert timed_stretch(marks, 100) == (marks[2], marks[3])
    with pytest.raises(MdpipeError, match="too few to time it"):
        timed_stretch(marks[:4], 100)


@pytest.mark.parametrize(
    ("file", "name", "part"),
    [("pair_vector", "add_forces", "pair"), ("pairlist", "build_pairs", "list"),
     ("pairlist", "prune_pairs", "prune"), ("pme", "spread_charges", "PME spread"),
     ("pme", "gather_forces", "PME gather"), ("waves", "convolve", "PME solve"),
     ("matrix", "inverse3", REST)],
)  # fmt: skip
def test_kernels_belong_to_parts_of_a_step(file, name, part):
    assert part_of(file, name) == part


def test_parts_add_up_to_the_whole_and_nested_kernels_count_once():
    watch = Stopwatch()
    inner = watch.timed(lambda x: 2 * x, "inner")
    outer = watch.timed(lambda x: inner(x) + 1, "outer")
    assert outer(3) == 7
    assert set(watch.seconds) == {"outer"}
    inner(1)
    shares = watch.shares(0.5, 10)
    assert set(shares) == {"outer", "inner", REST}
    assert sum(shares.values()) == pytest.approx(50.0)
    watch.reset()
    assert not watch.seconds


LOG = """
     R E A L   C Y C L E   A N D   T I M E   A C C O U N T I N G

 Computing:          Num   Num      Call    Wall time         Giga-Cycles
                     Ranks Threads  Count      (s)         total sum    %
-----------------------------------------------------------------------------
 Domain decomp.         1    1         51       0.036          0.094   0.4
 Neighbor search        1    1         51       0.427          1.110   4.4
 Force                  1    1       2001       7.427         19.281  75.9
 PME mesh               1    1       2001       1.562          4.056  16.0
 Constraints            1    1       2001       0.108          0.280   1.1
 Rest                                           0.054          0.140   0.6
-----------------------------------------------------------------------------
 Total                                          9.782         25.397 100.0
-----------------------------------------------------------------------------
 Breakdown of PME mesh computation
-----------------------------------------------------------------------------
 PME spread             1    1       2001       0.353          0.917   3.6
 PME 3D-FFT             1    1       4002       0.577          1.498   5.9
"""


def test_the_accounting_of_gromacs_is_told_by_the_same_parts():
    parts = parts_of_log(LOG, 2000)
    assert parts["list"] == pytest.approx(0.5 * (0.036 + 0.427))
    assert parts["pair"] == pytest.approx(0.5 * 7.427)
    assert parts["PME FFT"] == pytest.approx(0.5 * 0.577)
    assert sum(parts.values()) == pytest.approx(0.5 * 9.782)


def test_force_errors_are_relative_to_all_forces_and_per_atom():
    reference = np.array([[[3.0, 0, 0], [0, 4.0, 0], [0, 0, 0]]])
    error = force_error(reference + np.array([0.0, 0.0, 0.5]), reference)
    assert error.relative == pytest.approx(0.5 * np.sqrt(3.0) / 5.0)
    assert error.rms_kj_mol_nm == pytest.approx(0.5)
    assert converged(Case("spce", Path("x"), 216, 1, r_cut_nm=0.8)).r_cut_nm == 0.8


class Fake:
    """A program that takes given times."""

    def __init__(self, name, times=(), absent=None):
        self.name, self._times, self._absent = name, list(times), absent

    def missing(self, case):
        del case
        return self._absent

    def version(self):
        return "1.2"

    def simd(self):
        return "abacus"

    def time(self, case, folder):
        assert folder.is_dir()
        return Timing(self._times.pop(0) / case.threads, 10.0 * case.threads)

    def forces(self, case, folder):
        del folder
        return np.full((case.n_molecules, 3, 3), 1.0 + 0.01 * len(self.name))

    def parts(self, case, folder):
        del case, folder
        return {"pair": 1.0, REST: 0.25}


@pytest.fixture
def resting(monkeypatch):
    """Boxes that take no time to build, and a reference force."""

    def prepare(molecules, model, folder, report):
        report(f"building {molecules}")
        start = folder / "start.npz"
        start.touch()
        return Case(model, start, molecules, 1)

    monkeypatch.setattr(md, "prepare", prepare)
    monkeypatch.setattr(md, "forces", lambda case, *_: np.ones((case.n_molecules, 3, 3)))


@pytest.mark.usefixtures("resting")
def test_every_box_and_number_of_threads_has_a_row_of_each_program():
    said = []
    plan = md.Plan((216, 300), threads=(1, 2), repeats=2, per_part=True)
    own, peer = Fake("own", [1.0] * 8), Fake("other", [3.0, 5.0] * 4)
    absent = Fake("gone", absent="not here")
    rows = md.bench_md(plan, [peer, absent], own=own, report=said.append)
    assert [(r["molecules"], r["threads"], r["program"]) for r in rows[:6]] == [
        (216, 1, "own"), (216, 1, "other"), (216, 1, "gone"),
        (216, 2, "own"), (216, 2, "other"), (216, 2, "gone"),
    ]  # fmt: skip
    assert len(rows) == 12
    first, second = rows[0], rows[1]
    assert second["ms_per_step"] == pytest.approx(4.0)
    assert second["ratio"] == pytest.approx([4.0, 3.0, 5.0])
    assert second["spread"] == pytest.approx(0.5)
    # 4 ms a step of 2 fs are 43.2 ns/day.
    assert second["ns_per_day"] == pytest.approx(43.2)
    assert second["force_error"] == pytest.approx(0.05)
    assert first["force_error"] == pytest.approx(0.03)
    assert first["parts"] == {"pair": 1.0, REST: 0.25}
    assert rows[2]["missing"] == "not here"
    assert rows[4]["peak_mb"] == 20.0
    assert sum("building" in line for line in said) == 2


@pytest.mark.usefixtures("resting")
def test_the_command_prints_a_table_with_ratios_parts_and_what_is_absent(monkeypatch):
    monkeypatch.setattr(md, "Own", lambda: Fake("mdpipe", [2.0] * 2))
    peers = {
        "openmm": lambda: Fake("openmm", absent="not importable"),
        "gromacs": lambda: Fake("gromacs", [6.0, 7.0]),
    }
    monkeypatch.setattr(md, "PEERS", peers)
    arguments = ["md", "--molecules", "216", "--vs", "gromacs,openmm", "--repeats", "2"]
    done = CliRunner().invoke(bench, [*arguments, "--per-part"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "3.25 (3.00-3.50)" in done.output
    assert "not run: not importable" in done.output
    assert "median of the runs" in done.output
    monkeypatch.setattr(md, "Own", lambda: Fake("mdpipe", [2.0] * 2))
    peers["gromacs"] = lambda: Fake("gromacs", [6.0, 7.0])
    result = CliRunner().invoke(bench, [*arguments, "--json"], catch_exceptions=False)
    told = json.loads(result.stdout)
    assert told["machine"]["cores"] >= 1
    assert told["rows"][1]["times_ms"] == [6.0, 7.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("md", "--molecules", "many"), "whole numbers with commas"),
        (("md", "--molecules", "298,100"), "must be at least 216, got 100"),
        (("md", "--threads", "0"), "must be at least 1, got 0"),
        (("md", "--threads", "4096"), "cores only"),
        (("md", "--model", "spce,nonsense"), "no water model 'nonsense'"),
        (("md", "--vs", "amber"), "no such program; choose from openmm, gromacs"),
        (("md", "--plot", "times.txt"), "must end in .svg, .png, .pdf"),
        (("md", "--plot", "nowhere/times.svg"), "no folder nowhere"),
        (("pme", "--vs", "amber"), "no such program"),
        (("pair", "--repeats", "0"), "repeats"),
        (("analysis", "--vs", "gromacs"), "no such program; choose from freud, mdanalysis"),
    ],
)
def test_a_wrong_call_is_told_before_anything_runs(arguments, words, monkeypatch):
    monkeypatch.setattr(md, "prepare", None)
    monkeypatch.setattr(kernels, "prepare", None)
    monkeypatch.setattr(analysis, "prepare", None)
    result = CliRunner().invoke(bench, arguments)
    assert result.exit_code != 0
    assert words in (result.output if result.exit_code == 2 else str(result.exception))
    assert isinstance(result.exception, SystemExit | UsageError)


def test_lines_of_a_plot_are_programs_with_their_threads():
    rows = [
        {"model": "spce", "program": p, "threads": t, "atoms": n, "times_ms": [n / 1e3],
         "ms_per_step": n / 1e3}
        for p in ("mdpipe", "gromacs") for t in (1, 2) for n in (600, 6000, 60000)
    ]  # fmt: skip
    rows.append({"model": "spce", "program": "openmm", "missing": "not here"})
    lines = lines_of(rows)
    assert [line.label for line in lines] == [
        "mdpipe, 1 thread (proportional within 0%)", "mdpipe, 2 threads (proportional within 0%)",
        "gromacs, 1 thread", "gromacs, 2 threads",
    ]  # fmt: skip
    assert lines[0].atoms == [600, 6000, 60000]


@pytest.mark.parametrize("ending", FORMATS)
def test_plots_are_written_in_each_format(ending):
    lines = [Line("one", [600, 6000], [[0.3, 0.4], [3.0, 3.1]]), Line("two", [600], [[1.0]])]
    content = timings_plot(lines, ending)
    head = {".svg": b"<?xml", ".png": b"\x89PNG", ".pdf": b"%PDF"}[ending]
    assert content.startswith(head)
    if ending == ".svg":
        assert timings_plot(lines, ending) == content


def test_what_a_user_gets_is_compared_with_narrower_vectors_and_with_none():
    names, environments = zip(*kernels.variants(), strict=True)
    assert names[0] == "mdpipe"
    assert environments[0] == {}
    if len(names) > 1:
        assert environments[-1] == {"MDPIPE_SIMD": "0"}
        assert len(set(names)) == len(names)


def test_a_child_that_fails_is_told_with_the_end_of_its_output(tmp_path):
    with pytest.raises(MdpipeError, match=r"ended with code 3: .*it broke"):
        run_child(["sh", "-c", "echo it broke; exit 3"], tmp_path, {})


def test_parts_of_force_evaluations_are_found_whatever_the_kernels_are_called(tmp_path, reference):
    with np.load(reference / "conf_w216a.npz") as data:
        positions, box = data["pos"].astype(float), data["box"].astype(float)
    start = tmp_path / "start.npz"
    save_state(start, State(positions, np.zeros_like(positions), box))
    case = Case("spce", start, len(positions), 1)
    arguments = case.plain() | {"precision": "mixed", "calls": 3}
    result, peak_mb = run_worker("mdpipe_forces", arguments, tmp_path)
    assert {"pair", "collect", REST} <= set(result["parts"])
    assert kernels.part_ms(result["parts"], "pme") > 0.0
    assert "PME gather" in result["parts"]
    assert all(ms >= 0.0 for name, ms in result["parts"].items() if name != REST)
    assert result["forcefield"]["electrostatics"] == "pme"
    assert peak_mb > 50.0
    # Each pair of molecules nearer than the cutoff has nine pairs of sites, about.
    expected = 0.5 * 216 * 9 * (4.19 * 0.9**3 * 216 / np.prod(np.diag(box)))
    assert kernels.site_pairs(case) == pytest.approx(expected, rel=0.05)


def test_analyses_agree_with_mdanalysis_and_each_program_has_a_row(monkeypatch, reference):
    with np.load(reference / "conf_w512.npz") as data:
        positions, box = data["pos"].astype(float), data["box"].astype(float)
    paths = np.random.default_rng(1).normal(size=(30, 512, 3)).cumsum(0).astype(np.float32)
    monkeypatch.setattr(analysis, "_frame", lambda *_: AnalysisFrame(positions, box, paths))
    peer = MDAnalysisPeer()
    gone = type("Gone", (), {"name": "gone", "missing": lambda _: "not here"})()
    rows = analysis.bench_analysis(512, 1, [peer, gone], 1, lambda _: None)
    assert {"program": "gone", "missing": "not here"} in rows
    timed = [row for row in rows if "ms" in row]
    assert sum(row["program"] == "mdpipe" for row in timed) == len(analysis.TASKS)
    theirs = [row for row in timed if row["program"] == "MDAnalysis"]
    assert len(theirs) == 2
    # Their positions are in single precision.
    assert all(row["deviation"] < 1e-4 for row in theirs)
