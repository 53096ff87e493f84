"""Faults on purpose: how they are written, that each strikes as it says, and never unasked."""

import json
import os
import signal
import subprocess
import sys

import pytest

from mdpipe import inject
from mdpipe.failures import UsageError, classify
from mdpipe.inject import Fault, parse
from mdpipe.workflows.graph import Graph, Resources, Step
from mdpipe.workflows.injection import Injector, change_a_byte
from mdpipe.workflows.job import Pace
from mdpipe.workflows.local import Settings

WALK = """
import sys
from mdpipe import inject
from mdpipe.failures import exit_code_of
try:
    for done in range(11):
        inject.reached(done / 10)
        print(done, flush=True)
except Exception as error:
    print(f"{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(exit_code_of(error))
"""


def walk(value, **more):
    environment = {k: v for k, v in os.environ.items() if k != inject.VARIABLE} | more
    if value:
        environment[inject.VARIABLE] = value
    return subprocess.run([sys.executable, "-c", WALK], env=environment, text=True,
                          capture_output=True, check=False)  # fmt: skip


def test_nothing_strikes_unless_it_is_asked_for():
    assert walk("").stdout.split()[-1] == "10"
    assert walk("no-such-fault:0").stdout.split()[-1] == "10"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("kill", "interrupted"), ("term", "interrupted"), ("oom", "out-of-memory"),
        ("network", "network"), ("full-disk", "disk-full"), ("bad-image", "incompatible-image"),
        ("bad-input", "bad-input"), ("bug", "bug"),
    ],
)  # fmt: skip
def test_a_fault_strikes_at_its_point_and_is_recognised_as_its_class(fault, expected):
    done = walk(f"{fault}:0.45", MDPIPE_MEMORY_MB="20")
    assert done.stdout.split() == ["0", "1", "2", "3", "4"]
    code = done.returncode
    assert classify(code, None, done.stderr).name == expected


def test_every_fault_is_explained_and_those_in_steps_are_a_part_of_all():
    assert set(inject.IN_STEPS) < set(inject.FAULTS)
    assert set(inject.CHANCES) < set(inject.FAULTS)


def test_what_was_asked_for_is_read_and_written_again():
    plan = parse("kill@simulate-*:0.5x2, oom@render-g000,random:3,seed=7")
    assert plan.faults == [Fault("kill", "simulate-*", 0.5, 2), Fault("oom", "render-g000")]
    assert [str(fault) for fault in plan.faults] == ["kill@simulate-*:0.5x2", "oom@render-g000"]
    assert (plan.chances, plan.seed) == (3, 7)
    assert parse(",".join(map(str, plan.faults))).faults == plan.faults


@pytest.mark.parametrize("text", ["", "kill", "kil@a", "kill@a:2", "kill@a:x", "random:x", "@a"])
def test_what_cannot_be_read_is_one_line_with_the_form(text):
    with pytest.raises(UsageError, match=r"FAULT@STEPS|SHARE") as error:
        parse(text)
    assert "\n" not in str(error.value)


def test_random_faults_are_the_same_for_a_seed_whatever_the_order_of_the_steps():
    steps = [f"simulate-g{i:03d}-nvt" for i in range(20)]
    drawn = []
    for names, seed in ((steps, 7), (steps[::-1], 7), (steps, 8)):
        plan = parse(f"random:5,seed={seed}")
        plan.draw(names)
        drawn.append(plan.faults)
    assert len(drawn[0]) == 5
    assert drawn[0] == drawn[1] != drawn[2]
    assert {fault.name for fault in drawn[0]} <= set(inject.CHANCES)


def with_faults(text, corrupt=None, **other):
    pace = Pace(grace_s=0.5, poll_s=0.005, delay_scale=0.01)
    return Settings(2, None, 4000, pace, injector=Injector(parse(text), corrupt), **other)


def step(name, **other):
    return Step(name, "simulate", ("true",), **other)


def test_each_step_gets_a_fault_as_often_as_was_asked_and_one_at_a_time():
    injector = Injector(parse("kill@a*x2,term@ab"))
    taken = [injector.take(step("ab")) for _ in range(4)]
    assert [str(fault)[:4] if fault else None for fault in taken] == ["kill", "kill", "term", None]
    assert injector.take(step("ac")).name == "kill", "each step counts for itself"
    assert injector.take(step("b")) is None


def test_a_cached_scene_is_damaged_before_it_is_fetched_and_the_step_runs(bench, tmp_path):
    entry = tmp_path / "entry"
    entry.mkdir()
    (entry / "data").write_bytes(b"scene" * 100)
    asked = []

    def corrupt(key):
        asked.append(key)
        return change_a_byte(entry)

    scene = bench.step("s", scene_key="ab" * 32)
    good = (entry / "data").read_bytes()
    outcome = bench.go(
        scene, cached=lambda _: (entry / "data").read_bytes() == good,
        settings=with_faults("corrupt-cache@s", corrupt),
    )  # fmt: skip
    assert outcome.counts["computed"] == 1
    assert asked == ["ab" * 32]
    assert not change_a_byte(tmp_path / "nowhere")


READS = "from mdpipe import inject\ninject.reached(0.0)\n"


def test_the_story_says_what_was_injected_and_the_run_gets_over_it(bench, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    code = READS + f"import pathlib\npathlib.Path({str(bench.run)!r}, 'a.out').write_text('a')"
    first = Step("a", "simulate", (sys.executable, "-c", code), (), ("a.out",))
    outcome = bench.go(first, bench.step("b"), settings=with_faults("kill@a,time-limit@b"))
    assert outcome.exit_code == 0
    story = json.loads((bench.run / "story.json").read_text())
    assert story["injected"]["asked"] == "kill@a,time-limit@b"
    assert {"step": "a", "attempt": 1, "fault": "kill@a"} in story["injected"]["struck"]
    attempts = bench.story()["a"]["attempts"]
    assert [a["injected"] for a in attempts] == ["kill@a", ""]
    assert [a["failure"] for a in attempts] == ["interrupted", ""]
    assert attempts[0]["signal"] == signal.SIGKILL
    assert any("injected" in line for line in bench.notes.lines)


def test_without_the_flag_the_story_says_that_nothing_was_injected(bench):
    bench.go(bench.step("a"))
    assert json.loads((bench.run / "story.json").read_text())["injected"] == {}


def test_a_step_for_which_no_machine_is_free_is_told_so_and_its_time_limit_is_obeyed(bench):
    outcome = bench.go(
        bench.step("a"), bench.step("b", "time.sleep(30)"),
        settings=with_faults("out-of-stock@a,time-limit@bx9"),
    )  # fmt: skip
    told = {failure.step: failure for failure in outcome.failures}
    assert told["a"].failure == "out-of-stock"
    assert "simulated" in told["a"].cause
    assert told["b"].failure == "time-limit"
    assert "time limit" in told["b"].cause


def test_faults_are_drawn_only_when_all_steps_are_known(bench):
    injector = Injector(parse("random:4,seed=1"))
    first = bench.step("plan")
    injector.know(Graph((first,), complete=False))
    assert injector.plan.faults == []
    injector.know(Graph((first, Step("b", "render", ("true",), ("plan",), (), Resources()))))
    assert {fault.steps for fault in injector.plan.faults} == {"b"}
