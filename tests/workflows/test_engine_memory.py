"""Memory tiers: estimated, measured, set by hand, raised, remembered, and enforced."""

import json
import subprocess
import sys

import pytest

from mdpipe import memory
from mdpipe.failures import MemoryLimitError
from mdpipe.steps import estimates
from mdpipe.steps.first_tier import MARGIN, TierRule
from mdpipe.study import study_from_table
from mdpipe.workflows.graph import Resources, Step
from mdpipe.workflows.local import Settings
from mdpipe.workflows.memory_group import make_memory_group
from mdpipe.workflows.runner import ProcessRunner
from mdpipe.workflows.tiers import Tiers


def step(name="a", mb=400, size="simulate 216", kind="simulate"):
    return Step(name, kind, ("true",), resources=Resources(memory_mb=mb), size=size)


@pytest.mark.parametrize(
    ("estimate", "measured_mb"),
    [
        (estimates.simulate_mb(216), 223), (estimates.simulate_mb(4096), 232),
        (estimates.simulate_mb(32768), 317), (estimates.preprocess_mb(), 262),
        (estimates.render_mb(216, 128, 96), 260), (estimates.render_mb(216, 1280, 720), 311),
        (estimates.render_mb(216, 3840, 2160), 592), (estimates.render_mb(4096, 1280, 720), 370),
        (estimates.render_mb(32768, 1280, 720), 389),
    ],
)  # fmt: skip
def test_a_first_estimate_is_above_the_measured_peak_but_not_far(estimate, measured_mb):
    assert measured_mb < estimate < 1.6 * measured_mb


def test_a_measured_peak_with_its_margin_takes_the_place_of_the_estimate_for_all_of_that_size():
    tiers = Tiers(TierRule(), 4000)
    tiers.learn("simulate 216", 200.0)
    tiers.learn("simulate 216", 180.0)
    assert tiers.of(step("a")) == tiers.of(step("b")) == MARGIN * 200
    assert tiers.of(step("c", size="simulate 1000")) == 400


def test_a_tier_set_by_hand_counts_before_what_was_measured_by_id_by_pattern_or_by_kind():
    rule = TierRule(by_hand={"render": 200, "simulate-g0*": 300, "simulate-g001": 350})
    tiers = Tiers(rule, 4000)
    tiers.learn("simulate 216", 100.0)
    named = {"render-g000": 200, "simulate-g000": 300, "simulate-g001": 350, "simulate-h": 125}
    for name, expected in named.items():
        assert tiers.of(step(name, kind=name.partition("-")[0])) == expected


def test_tiers_grow_by_the_factor_up_to_what_there_is_and_what_was_raised_stays():
    tiers = Tiers(TierRule(factor=1.5), 1000)
    assert [tiers.rise(step(), mb) for mb in (400, 600, 900, 1000)] == [600, 900, 1000, None]
    tiers.learn("simulate 216", 100.0)
    assert tiers.of(step()) == 1000
    assert tiers.of(step("b")) == 125


OWN_PEAK = """open(os.environ['MDPIPE_PROGRESS'], 'a').write('{"peak_memory_mb": 100.0}\\n')\n"""
OOM_ONCE = "t = run / 'tried'; n = len(t.read_text()) if t.exists() else 0\n"
OOM_ONCE += "t.open('a').write('x'); code = (137, 66, 0)[n]\nif code: sys.exit(code)\n"


def test_a_raised_tier_is_kept_when_the_run_is_resumed_after_another_failure(bench):
    low = step("a", 500)
    # the step tells its own peak: in the kernel's figure the process of this test counts too
    again = bench.step("a", OWN_PEAK + OOM_ONCE, resources=low.resources, size=low.size)
    assert bench.go(again).exit_code == 66
    assert bench.story()["a"]["raised_mb"] == 1000
    assert bench.go(again).exit_code == 0
    assert [a["memory_mb"] for a in bench.story()["a"]["attempts"]] == [1000]


def test_the_number_of_tiers_is_the_users(bench):
    settings = Settings(1, None, 100_000, bench.quick.pace, TierRule(1.5, 3))
    outcome = bench.go(
        bench.step("a", "sys.exit(137)", resources=Resources(memory_mb=100)), settings=settings
    )
    assert outcome.exit_code == 137
    assert [a["memory_mb"] for a in bench.story()["a"]["attempts"]] == [100, 150, 225]


def test_the_steps_own_figure_is_believed_and_kept_beside_the_products_for_the_next_run(bench):
    code = "open(os.environ['MDPIPE_PROGRESS'], 'a').write('{\"peak_memory_mb\": 321.5}\\n')"
    one = bench.step("a", code, size="x 1")
    bench.go(one)
    assert bench.story()["a"]["peak_memory_mb"] == 321.5
    made = json.loads((bench.run / ".steps" / "a.json").read_text())["made"]
    assert (made["size"], made["peak_memory_mb"]) == ("x 1", 321.5)
    (bench.run / "story.json").unlink()
    bench.go(one, bench.step("b", needs=("a",), size="x 1"))
    assert bench.story()["b"]["attempts"][0]["memory_mb"] == 402


def test_a_process_tells_its_peak_and_that_of_its_children(tmp_path):
    code = "import sys, pathlib; from mdpipe.memory import *; r = PeakRecorder(pathlib.Path("
    code += "sys.argv[1])); import subprocess, os; held = bytearray(b'x') * 100_000_000\n"
    child = "import time; held = bytearray(b'x') * 150_000_000; time.sleep(1)"
    code += f"subprocess.run([{sys.executable!r} + '', '-S', '-c', {child!r}])\nr.write()"
    alone, both = tmp_path / "alone", tmp_path / "both"
    subprocess.run([sys.executable, "-c", code.replace(child, "0"), str(alone)], check=True)
    subprocess.run([sys.executable, "-c", code, str(both)], check=True)
    peaks = [memory.read_peak_mb(path) or 0.0 for path in (alone, both)]
    assert 100 < peaks[0] < 160
    assert peaks[1] > peaks[0] + 120
    assert memory.read_peak_mb(tmp_path / "absent") is None


@pytest.mark.parametrize(("limit", "expected"), [("", 8), ("150", 1), ("240", 4), ("9999", 8)])
def test_work_takes_as_many_threads_as_fit_into_its_limit(monkeypatch, limit, expected):
    monkeypatch.setenv(memory.LIMIT, limit)
    assert memory.fitting("x", 8, floor_mb=100, base_mb=200, each_mb=10) == expected


def test_work_that_cannot_fit_says_so_before_it_starts(monkeypatch):
    monkeypatch.setenv(memory.LIMIT, "90")
    with pytest.raises(MemoryLimitError, match="at least 100 MB") as error:
        memory.fitting("x", 8, floor_mb=100, base_mb=200, each_mb=10)
    assert error.value.exit_code == 137


def test_the_kernel_really_kills_at_the_limit_and_the_next_tier_is_enough(bench):
    if not ProcessRunner.can_enforce():
        pytest.skip("no memory control group can be made here")
    settings = Settings(1, None, 4000, bench.quick.pace, enforce_memory=True)
    code = "held = bytearray(b'x') * 100_000_000"
    outcome = bench.go(bench.step("a", code, resources=Resources(memory_mb=80)), settings=settings)
    assert outcome.exit_code == 0
    first, second = bench.story()["a"]["attempts"]
    assert first["failure"] == "out-of-memory"
    assert first["cause"] == "killed by the kernel at its limit of 80 MB"
    assert (second["memory_mb"], second["failure"]) == (160, "")
    group = make_memory_group("left", 100)
    assert group is not None
    assert not list(group.folder.parent.glob("mdpipe-*-a-*")), "no group is left behind"
    group.close()


def test_a_study_names_tiers_and_time_limits(tmp_path):
    table = {"name": "x", "inputs": [{"path": "a"}],
             "resources": {"memory_mb_of": {"render": 200}, "memory_factor": 1.5,
                           "memory_tiers": 3, "enforce_memory": True,
                           "time_limit_s_of": {"simulate": 60}}}  # fmt: skip
    study = study_from_table(table, tmp_path / "study.toml")
    settings = Settings.of_study(study.resources)
    assert settings.tiers == TierRule(1.5, 3, {"render": 200})
    assert settings.enforce_memory
