"""The engine of one machine, with tiny steps: order, retries, resuming, and dying well."""

import os
import time

import pytest

from mdpipe import products
from mdpipe.failures import BusyError, UsageError, failure_class
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.lock import FileLock
from mdpipe.workflows.engine import Pace
from mdpipe.workflows.graph import Graph, Resources, Step
from mdpipe.workflows.local import Settings, run_local
from mdpipe.workflows.resume import cache_fetcher, forecast


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
    assert story["end"]["without"] == ["c"]
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
    assert bench.story()["end"]["without"] == []


def test_an_end_made_from_too_little_for_all_of_its_products_is_no_fault(bench):
    outcome = bench.go(
        bench.step("good"), bench.step("bad", "sys.exit(66)"),
        bench.step("end", needs=("good", "bad"), makes=False, partial=True),
    )  # fmt: skip
    assert outcome.exit_code == 66
    assert bench.story()["end"]["status"] == "computed"


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


def test_what_a_killed_step_left_half_written_is_gone_at_the_end(bench):
    death = "(run / '.film.part-1.mp4').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    assert bench.go(bench.step("a", FAIL_ONCE.format(death))).exit_code == 0
    assert not list(bench.run.glob(".film*"))


def test_retries_end_at_the_limit_of_the_class(bench):
    outcome = bench.go(bench.step("a", "sys.exit(75)"))
    assert outcome.exit_code == 75
    assert len(bench.story()["a"]["attempts"]) == 1 + failure_class("try-again").retries


def test_waits_before_retries_grow_with_jitter_up_to_the_cap_of_the_class(bench):
    bench.go(bench.step("a", "print('Connection reset by peer'); sys.exit(1)"))
    row, scale = failure_class("network"), bench.quick.pace.delay_scale
    waits = [a["retry_in_s"] for a in bench.story()["a"]["attempts"]]
    assert waits.pop() is None
    assert len(waits) == row.retries
    centres = [min(row.backoff.base_s * 2**n, row.backoff.cap_s) * scale for n in range(len(waits))]
    for wait, centre in zip(waits, centres, strict=True):
        assert abs(wait - centre) <= row.backoff.jitter * centre + 1e-4  # rounded in the story
        assert wait <= row.backoff.cap_s * scale
    assert any(abs(w - c) > 1e-4 for w, c in zip(waits, centres, strict=True)), "no jitter"


def test_out_of_memory_gets_the_next_tier_keeps_it_and_ends_at_the_machines_memory(bench):
    code = "t = run / 't'; n = len(t.read_text()) if t.exists() else 0; t.open('a').write('x')\n"
    code += "sys.exit((137, 75, 137, 137, 137)[n])"
    settings = Settings(workers=1, memory_mb=1500, pace=bench.quick.pace)
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
            Graph((first,), complete=False), bench.run, expand=expand, settings=bench.quick
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
    outcome = run_local(
        graph, bench.run, settings=bench.quick, cached=cache_fetcher(cache, bench.run)
    )
    assert outcome.counts["cached"] == 1
    assert (bench.run / "g" / "nvt" / "data").read_text() == "scene"
    assert not (bench.run / "logs" / "s.log").exists()
    entry = cache.lookup(key)
    raw = (entry.folder / "data").read_bytes()
    (entry.folder / "data").chmod(0o644)
    (entry.folder / "data").write_bytes(b"X" + raw[1:])
    (bench.run / "g" / "nvt" / "data").unlink()
    outcome = run_local(
        graph, bench.run, settings=bench.quick, cached=cache_fetcher(cache, bench.run)
    )
    assert outcome.failures[0].step == "s", "a damaged entry must lead to the step being run"


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


def test_a_step_is_told_its_threads_and_where_to_report(bench):
    code = "(run / 'seen').write_text(sys.argv[1] + ' ' + os.environ['MDPIPE_PROGRESS'])"
    step = bench.step("a", code)
    step = Step("a", "simulate", (*step.command, "{threads}"), (), ("a.out",),
                resources=Resources(3))  # fmt: skip
    bench.go(step, settings=Settings(1, 3, 4000, bench.quick.pace))
    threads, progress = (bench.run / "seen").read_text().split()
    assert threads == "3"
    assert progress == str(bench.run / "logs" / "a.progress")


def test_a_scene_takes_over_the_cores_of_one_that_has_ended(bench, monkeypatch):
    monkeypatch.setattr("mdpipe.workflows.machine.cores", lambda: 2)
    wait = """
file = pathlib.Path(os.environ["MDPIPE_THREADS_FILE"])
while not file.is_file() or file.read_text() != "2\\n":
    time.sleep(0.01)
"""
    several = {"resources": Resources(64)}
    outcome = bench.go(
        bench.step("long", wait, **several), bench.step("short", "time.sleep(0.2)", **several)
    )
    assert outcome.exit_code == 0
    rows = bench.story()
    assert rows["short"]["attempts"][0]["threads"] == 1
    assert rows["long"]["attempts"][0]["threads"] == 2
