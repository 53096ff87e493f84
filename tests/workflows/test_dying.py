"""Dying well: killed or asked to stop, the engine leaves no process and no lock behind."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mdpipe.workflows import runner as runner_module
from mdpipe.workflows.graph import Graph

ENGINE = """
import signal, sys, pathlib
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs tests behind
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


def test_a_step_that_starts_after_its_engine_has_died_ends_at_once(tmp_path):
    script = Path(runner_module.__file__).with_name("launch.py")
    target = tmp_path / "ran"
    words = [sys.executable, "-I", "-S", str(script), "1", "touch", str(target)]
    assert subprocess.run(words, check=False).returncode == 75
    assert not target.exists()
