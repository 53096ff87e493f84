"""The engine of one machine, with tiny steps: order, retries, resuming, and dying well."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdpipe import products
from mdpipe.failures import BusyError, UsageError, failure_class
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.lock import FileLock
from mdpipe.workflows import runner as runner_module
from mdpipe.workflows.engine import Pace
from mdpipe.workflows.graph import Graph, Resources, Step
from mdpipe.workflows.local import Settings, run_local
from mdpipe.workflows.outcome import QuietReporter
from mdpipe.workflows.resume import forecast, scene_fetcher

# waits before retries are made a hundred times shorter
QUICK = Settings(workers=2, memory_mb=4000, pace=Pace(grace_s=0.5, poll_s=0.005, delay_scale=0.01))

PRELUDE = "import os, signal, sys, time, pathlib; run = pathlib.Path({run!r})\n"


class Notes(QuietReporter):
    def __init__(self):
        self.lines = []

    def note(self, line):
        self.lines.append(line)


class Bench:
    """A run folder and a way to write steps as short Python programs."""

    def __init__(self, run):
        self.run = run
        self.notes = Notes()

    def step(self, name, code="", needs=(), *, makes=True, **other):
        product = f"{name}.out"
        body = PRELUDE.format(run=str(self.run)) + code
        body += f"\nopen(run / 'order', 'a').write('{name}\\n')"
        if makes:
            body += f"\n(run / '{product}').write_text('{name}')"
        command = (sys.executable, "-S", "-c", body)
        return Step(name, other.pop("kind", "simulate"), command, tuple(needs),
                    (product,), settings=code, **other)  # fmt: skip

    def go(self, *steps, settings=QUICK, **other):
        return run_local(Graph(steps), self.run, settings=settings, reporter=self.notes, **other)

    def order(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.run / "order").read_text().split()
        return []

    def story(self):
        rows = json.loads((self.run / "story.json").read_text())["steps"]
        return {row["id"]: row for row in rows}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "run")


def test_steps_run_after_what_they_need_and_the_story_tells_of_each(bench):
    outcome = bench.go(
        bench.step("c", needs=("a", "b")), bench.step("a"), bench.step("b", needs=("a",))
    )
    assert outcome.exit_code == 0
    assert bench.order() == ["a", "b", "c"]
    story = bench.story()
    assert [story[n]["status"] for n in "abc"] == ["computed"] * 3
    assert story["a"]["peak_memory_mb"] > 1
    assert story["a"]["attempts"][0]["exit_code"] == 0
    assert not (bench.run / ".lock").exists()


def test_two_steps_run_at_once_and_not_more_than_asked(bench):
    code = "p = run / 'at-once'; f = run / (str(os.getpid()) + '.here'); f.touch()\n"
    code += "time.sleep(0.3); n = len(list(run.glob('*.here')))\n"
    code += "p.open('a').write(str(n) + chr(10)); time.sleep(0.1); f.unlink()"
    outcome = bench.go(*(bench.step(n, code) for n in "abcd"))
    assert outcome.exit_code == 0
    most = max(int(line) for line in (bench.run / "at-once").read_text().split())
    assert most == 2


def test_a_second_run_starts_no_process(bench):
    steps = [bench.step("a"), bench.step("b", needs=("a",))]
    bench.go(*steps)
    began = time.monotonic()
    outcome = bench.go(*steps)
    assert time.monotonic() - began < 1
    assert outcome.counts["kept"] == 2
    assert bench.order() == ["a", "b"]
    story = bench.story()
    assert story["a"]["status"] == "kept"
    assert story["a"]["attempts"], "a kept step tells how it was made"


@pytest.mark.parametrize("damage", ["removed", "changed", "settings"])
def test_what_no_longer_matches_is_made_again_and_so_is_what_needs_it_only_if_it_changed(
    bench, damage
):
    first = bench.step("a")
    steps = [first, bench.step("b", needs=("a",)), bench.step("c")]
    bench.go(*steps)
    if damage == "removed":
        (bench.run / "a.out").unlink()
    elif damage == "changed":
        (bench.run / "a.out").write_text("x")
    else:
        steps[0] = Step(**{f: getattr(first, f) for f in ("id", "kind", "command", "products")},
                        settings="other")  # fmt: skip
    assert forecast(Graph(tuple(steps)), bench.run, frozenset()) == {
        "a": "run", "c": "kept", "b": "run",
    }  # fmt: skip
    outcome = bench.go(*steps)
    assert outcome.counts["computed"] == 1
    assert sorted(bench.order()[:3]) == ["a", "b", "c"]
    assert bench.order()[3:] == ["a"], "b was made from the same a and stays"


def test_an_input_error_is_final_its_dependants_are_skipped_and_the_rest_goes_on(bench):
    bad = "print('mdpipe: x.gro: no box; add one', file=sys.stderr); sys.exit(66)"
    outcome = bench.go(
        bench.step("a", bad),
        bench.step("b", needs=("a",)),
        bench.step("c", needs=("b",)),
        bench.step("good"),
        bench.step("end", needs=("c", "good"), partial=True),
    )
    assert outcome.exit_code == 66
    story = bench.story()
    assert {n: row["status"] for n, row in story.items()} == {
        "a": "failed", "b": "skipped", "c": "skipped", "good": "computed", "end": "computed",
    }  # fmt: skip
    assert len(story["a"]["attempts"]) == 1
    assert "c" in story["end"]["reason"]
    (failure,) = outcome.failures
    assert failure.failure == "bad-input"
    assert failure.cause == "mdpipe: x.gro: no box; add one"
    told = "\n".join(outcome.lines(bench.run))
    for word in ("bad-input", "no box", failure.remedy, "a.log"):
        assert word in told


def test_the_partial_end_is_made_again_when_what_was_missing_has_come(bench):
    flag = "sys.exit(66) if not (run / 'repaired').exists() else None"
    steps = [bench.step("a", flag), bench.step("b"),
             bench.step("end", needs=("a", "b"), partial=True)]  # fmt: skip
    assert bench.go(*steps).exit_code == 66
    (bench.run / "repaired").touch()
    outcome = bench.go(*steps)
    assert outcome.exit_code == 0
    assert outcome.counts["computed"] == 2
    assert bench.story()["end"]["reason"] == ""


def test_when_nothing_is_there_the_end_does_not_run(bench):
    outcome = bench.go(
        bench.step("a", "sys.exit(78)"), bench.step("end", needs=("a",), partial=True)
    )
    assert outcome.exit_code == 78
    assert outcome.counts["skipped"] == 1


FAIL_ONCE = "f = run / 'tried'\nif not f.exists(): f.touch(); {}\n"


@pytest.mark.parametrize(
    ("death", "expected"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "interrupted"),
        ("print('ConnectionResetError: Connection reset by peer'); sys.exit(1)", "network"),
        ("sys.exit(75)", "try-again"),
        ("print('MemoryError: '); sys.exit(1)", "out-of-memory"),
    ],
)
def test_what_can_succeed_is_tried_again_as_its_class_says(bench, death, expected):
    outcome = bench.go(bench.step("a", FAIL_ONCE.format(death)))
    assert outcome.exit_code == 0
    first, second = bench.story()["a"]["attempts"]
    assert first["failure"] == expected
    assert first["retry_in_s"] is not None
    assert second["failure"] == ""
    assert expected in bench.notes.lines[0]
    log = (bench.run / "logs" / "a.log").read_text()
    assert "attempt 1" in log
    assert "attempt 2" in log


def test_retries_end_at_the_limit_of_the_class(bench):
    outcome = bench.go(bench.step("a", "sys.exit(75)"))
    assert outcome.exit_code == 75
    assert len(bench.story()["a"]["attempts"]) == 1 + failure_class("try-again").retries


def test_out_of_memory_gets_the_next_tier_keeps_it_and_ends_at_the_machines_memory(bench):
    code = "t = run / 't'; n = len(t.read_text()) if t.exists() else 0; t.open('a').write('x')\n"
    code += "sys.exit((137, 75, 137, 137, 137)[n])"
    settings = Settings(workers=1, memory_mb=1500, pace=QUICK.pace)
    outcome = bench.go(bench.step("a", code, resources=Resources(1, 500)), settings=settings)
    assert outcome.exit_code == 137
    attempts = bench.story()["a"]["attempts"]
    assert [a["memory_mb"] for a in attempts] == [500, 1000, 1000, 1500]


def test_a_change_that_the_engine_cannot_make_is_no_retry(bench):
    outcome = bench.go(bench.step("a", "print('No space left on device'); sys.exit(75)"))
    assert outcome.exit_code == 75
    assert [a["failure"] for a in bench.story()["a"]["attempts"]] == ["disk-full"]


def test_a_step_that_ends_well_without_its_products_is_a_fault(bench):
    outcome = bench.go(bench.step("a", makes=False))
    assert outcome.exit_code == 70
    assert "products" in outcome.failures[0].cause


def test_a_program_that_is_not_there_is_told_as_such(bench):
    outcome = bench.go(Step("a", "simulate", ("/no/such/program",)))
    assert outcome.failures[0].failure == "incompatible-image"
    assert "/no/such/program" in outcome.failures[0].cause


def test_a_step_over_its_time_limit_is_stopped_first_gently_and_then_not(bench):
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    pace = Pace(grace_s=0.1, poll_s=0.005, delay_scale=0.01)
    outcome = bench.go(
        bench.step("a", code, resources=Resources(time_limit_s=0.2)),
        settings=Settings(workers=1, memory_mb=4000, pace=pace),
    )
    assert outcome.failures[0].failure == "time-limit"


def test_the_graph_grows_when_its_first_step_has_ended(bench):
    first = bench.step("plan")
    calls = []

    def expand():
        calls.append(1)
        (bench.run / "extra").write_text("start state")
        grown = Step(first.id, first.kind, first.command, (), ("plan.out", "extra"), settings="")
        return Graph((grown, bench.step("a", needs=("plan",))))

    for expected in ({"computed": 2}, {"kept": 2}):
        outcome = run_local(
            Graph((first,), complete=False), bench.run, expand=expand, settings=QUICK
        )
        assert outcome.exit_code == 0
        assert {k: v for k, v in outcome.counts.items() if v} == expected
    assert len(calls) == 2
    (bench.run / "extra").unlink()
    assert not products.matches(bench.run, products.load_manifest(bench.run, "plan"))


def test_a_cached_scene_is_put_in_place_without_a_process(bench, tmp_path):
    key = "ab" * 32
    cache = SceneCache(tmp_path / "scenes")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "data").write_text("scene")
    cache.publish(key, tmp_path / "made")
    scene = Step("s", "simulate", ("false",), (), ("g/nvt/",), scene_key=key, settings=key)
    graph = Graph((scene, bench.step("r", needs=("s",))))
    assert forecast(graph, bench.run, frozenset({key})) == {"s": "cached", "r": "run"}
    outcome = run_local(graph, bench.run, settings=QUICK, cached=scene_fetcher(cache, bench.run))
    assert outcome.counts["cached"] == 1
    assert (bench.run / "g" / "nvt" / "data").read_text() == "scene"
    assert not (bench.run / "logs" / "s.log").exists()
    (entry,) = cache.ls()
    raw = (entry.folder / "data").read_bytes()
    (entry.folder / "data").chmod(0o644)
    (entry.folder / "data").write_bytes(b"X" + raw[1:])
    (bench.run / "g" / "nvt" / "data").unlink()
    outcome = run_local(graph, bench.run, settings=QUICK, cached=scene_fetcher(cache, bench.run))
    assert outcome.failures[0].step == "s", "a damaged entry must lead to the step being run"


ENGINE = """
import sys, pathlib
from mdpipe.workflows.graph import Graph
from mdpipe.workflows.local import run_local, Settings
from mdpipe.workflows.engine import Pace
run = pathlib.Path(sys.argv[1])
graph = Graph.from_json((run / "graph.json").read_text())
outcome = run_local(graph, run, settings=Settings(workers=2, memory_mb=4000, pace=Pace(grace_s=2)))
print("\\n".join(outcome.lines(run)))
sys.exit(outcome.exit_code)
"""

LONG = """
child = os.spawnvp(os.P_NOWAIT, "sleep", ["sleep", "60"])
(run / f"pids-{os.getpid()}.part").write_text(f"{os.getpid()} {child}")
(run / f"pids-{os.getpid()}.part").rename(run / f"pids-{os.getpid()}")
"""


def start_engine(bench, *steps):
    bench.run.mkdir(exist_ok=True)
    (bench.run / "graph.json").write_text(Graph(steps).to_json())
    return subprocess.Popen(
        [sys.executable, "-c", ENGINE, str(bench.run)], stdout=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def pids(bench, steps):
    wait_for(lambda: len(list(bench.run.glob("pids-*[0-9]"))) == steps)
    return [int(p) for f in bench.run.glob("pids-*[0-9]") for p in f.read_text().split()]


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes in /proc")
def test_an_engine_killed_with_kill_9_leaves_no_orphan_and_no_lock_and_its_run_resumes(bench):
    steps = [bench.step("a"), bench.step("b", LONG + "time.sleep(60)", needs=("a",)),
             bench.step("c", LONG + "time.sleep(60)", needs=("a",))]  # fmt: skip
    engine = start_engine(bench, *steps)
    left = pids(bench, 2)
    assert all(alive(pid) for pid in left)
    engine.send_signal(signal.SIGKILL)
    engine.communicate()
    wait_for(lambda: not any(alive(pid) for pid in left))
    (bench.run / ".half.part-1.npz").write_text("half written")
    outcome = bench.go(steps[0], bench.step("b", needs=("a",)), bench.step("c", needs=("a",)))
    assert outcome.exit_code == 0
    assert outcome.counts["kept"] == 1
    assert not (bench.run / ".half.part-1.npz").exists()
    assert not (bench.run / ".lock").exists()


def test_ctrl_c_lets_steps_stop_at_a_checkpoint_and_says_how_to_go_on(bench):
    code = "def stop(*_): (run / 'checkpoint').touch(); sys.exit(75)\n"
    code += "signal.signal(signal.SIGTERM, stop)" + LONG + "time.sleep(60)"
    engine = start_engine(bench, bench.step("a", code), bench.step("b", needs=("a",)))
    left = pids(bench, 1)
    engine.send_signal(signal.SIGINT)
    said, _ = engine.communicate(timeout=10)
    assert engine.returncode == 130
    assert "run again to resume" in said
    assert (bench.run / "checkpoint").exists()
    assert {row["status"] for row in bench.story().values()} == {"stopped"}
    wait_for(lambda: not any(alive(pid) for pid in left))


def test_a_step_that_ignores_the_request_is_killed_at_the_second_ctrl_c(bench):
    code = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" + LONG + "time.sleep(60)"
    engine = start_engine(bench, bench.step("a", code))
    left = pids(bench, 1)
    began = time.monotonic()
    engine.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    assert engine.poll() is None
    engine.send_signal(signal.SIGTERM)
    engine.communicate(timeout=10)
    assert engine.returncode == 75
    assert time.monotonic() - began < 2  # less than the grace time of 2 s
    wait_for(lambda: not any(alive(pid) for pid in left))


def test_a_second_engine_in_the_same_folder_is_refused_in_one_line(bench):
    bench.run.mkdir()
    with FileLock(bench.run / ".lock"), pytest.raises(BusyError, match=str(os.getpid())) as error:
        bench.go(bench.step("a"))
    assert "\n" not in str(error.value)
    assert bench.go(bench.step("a")).exit_code == 0


def test_a_run_folder_that_cannot_be_made_is_a_usage_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="name another"):
        run_local(Graph(()), tmp_path / "file" / "run")


def test_a_step_that_starts_after_its_engine_has_died_ends_at_once(tmp_path):
    script = Path(runner_module.__file__).with_name("launch.py")
    target = tmp_path / "ran"
    words = [sys.executable, "-I", "-S", str(script), "1", "touch", str(target)]
    assert subprocess.run(words, check=False).returncode == 75
    assert not target.exists()


def test_a_step_is_told_its_threads_and_where_to_report(bench):
    code = "(run / 'seen').write_text(sys.argv[1] + ' ' + os.environ['MDPIPE_PROGRESS'])"
    step = bench.step("a", code)
    step = Step("a", "simulate", (*step.command, "{threads}"), (), ("a.out",),
                resources=Resources(3))  # fmt: skip
    bench.go(step, settings=Settings(1, 3, 4000, QUICK.pace))
    threads, progress = (bench.run / "seen").read_text().split()
    assert threads == "3"
    assert progress == str(bench.run / "logs" / "a.progress")
