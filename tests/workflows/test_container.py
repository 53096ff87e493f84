"""Steps in containers: the command line, what they may touch, how they die, and what is left."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mdpipe.failures import MdpipeError, UsageError
from mdpipe.image.settings import load_settings
from mdpipe.study import study_from_table
from mdpipe.workflows import container_entry
from mdpipe.workflows.container import LABEL, Box, ContainerRunner
from mdpipe.workflows.container_mounts import Mount, merge, study_mounts
from mdpipe.workflows.container_study import image_id, study_runner, user_flags
from mdpipe.workflows.graph import Graph, Resources
from mdpipe.workflows.runner import Launch


def launch(run, **other):
    return Launch(**({"threads": 2, "memory_mb": 600, "attempt": 1, "run": run,
                      "log": run / "logs" / "a.log", "progress": run / "logs" / "a.progress"}
                     | other))  # fmt: skip


def test_the_command_line_is_this_one_word_by_word():
    box = Box(tool=("podman", "--runtime", "runc"), image="localhost/mdpipe:1",
              label="mdpipe.run=ab",
              mounts=(Mount(Path("/study")), Mount(Path("/run-1"), writable=True)),
              user=("--user=7:8",), kernels=Path("/kernels"), run_flags=("--ulimit", "nofile=9:9"),
              environment={"MDPIPE_SCENE_CACHE": "/scenes"})  # fmt: skip
    words = ["mdpipe", "simulate", "/study/study.toml"]
    command = box.command("mdpipe-a", words, launch(Path("/run-1")), Path("/run-1/logs/a.usage"))
    assert command == [
        "podman", "--runtime", "runc", "run", "--rm", "--name", "mdpipe-a",
        "--label", "mdpipe.run=ab", "--pull=never",
        "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--pids-limit=1024",
        "--tmpfs=/tmp:rw,mode=1777", "--network=none", "--user=7:8", "--workdir=/tmp",
        "--log-driver=none", "--memory=600000000b", "--memory-swap=600000000b", "--cpus=2",
        "--volume", "/study:/study:ro", "--volume", "/run-1:/run-1:rw",
        "--volume", "/kernels:/var/cache/mdpipe:rw",
        "--env", "MDPIPE_CACHE_DIR=/var/cache/mdpipe", "--env", "MDPIPE_MEMORY_MB=600",
        "--env", "MDPIPE_PROGRESS=/run-1/logs/a.progress", "--env", "MDPIPE_SCENE_CACHE=/scenes",
        "--env", "MDPIPE_USAGE=/run-1/logs/a.usage", "--env", "MKL_NUM_THREADS=1",
        "--env", "OPENBLAS_NUM_THREADS=1",
        "--ulimit", "nofile=9:9", "localhost/mdpipe:1", *words,
    ]  # fmt: skip


def test_mounts_are_as_few_as_possible_and_only_products_can_be_written():
    read = [Path("/a"), Path("/a/b"), Path("/d/run/inputs"), Path("/d")]
    assert merge(read, [Path("/d/run"), Path("/a/cache"), Path("/a/cache/x")]) == (
        Mount(Path("/a")), Mount(Path("/d")),
        Mount(Path("/a/cache"), writable=True), Mount(Path("/d/run"), writable=True),
        Mount(Path("/d/run/inputs")),
    )  # fmt: skip
    with pytest.raises(UsageError, match="colon"):
        Mount(Path("/a:b")).words()


def test_a_study_shows_its_inputs_wherever_they_lie_and_nothing_else(tmp_path):
    for name in ("study", "data/deep", "far", "secret"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "far" / "x.gro").write_text("far\n")
    (tmp_path / "data" / "deep" / "y.gro").symlink_to(tmp_path / "far" / "x.gro")
    table = {"name": "s", "inputs": [{"path": "../data/*/y.gro"}]}
    file = tmp_path / "study" / "study.toml"
    file.write_text("")
    run, scenes = tmp_path / "run", tmp_path / "scenes"
    mounts = study_mounts(study_from_table(table, file), file, run, scenes)
    assert {(m.path, m.writable) for m in mounts} == {
        (tmp_path / "study", False), (tmp_path / "data", False), (tmp_path / "far", False),
        (run, True), (scenes, True),
    }  # fmt: skip


def test_podman_without_root_maps_the_caller_and_docker_is_told_the_numbers(monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    monkeypatch.setattr(os, "getgid", lambda: 100)
    assert user_flags(("/usr/bin/podman", "--x")) == ("--userns=keep-id", "--user=1000:100")
    assert user_flags(("docker",)) == ("--user=1000:100",)


def test_the_first_process_passes_codes_and_signals_on_and_notes_the_memory(tmp_path):
    entry = [sys.executable, "-I", "-S", container_entry.__file__]
    usage = tmp_path / "usage"
    environment = {"PATH": os.environ["PATH"], "MDPIPE_USAGE": str(usage)}

    def end(*words):
        return subprocess.run([*entry, *words], env=environment, check=False).returncode

    assert end("sh", "-c", "exit 75") == 75
    assert end("sh", "-c", "kill -9 $$") == 137
    assert json.loads(usage.read_text())["signal"] == 9
    assert end("no-such-program") == 127
    assert end(sys.executable, "-S", "-c", "x = bytearray(50_000_000); x[::4096] = x[::4096]") == 0
    assert json.loads(usage.read_text())["peak_bytes"] > 50_000_000
    asked = "trap 'exit 75' TERM; echo ready; while :; do sleep 0.01; done"
    process = subprocess.Popen([*entry, "sh", "-c", asked], env=environment, stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 75


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("sh", "-c", "kill -4 $$"), 132, "incompatible-image: sh was ended by signal 4"),
        (("sh", "-c", "kill -11 $$"), 139, "bug: sh was ended by signal 11"),
        (("sh", "-c", "kill -9 $$"), 137, "interrupted: sh was ended by signal 9"),
        (("no-such-program",), 127, "incompatible-image: no-such-program cannot be started"),
    ],
)
def test_the_first_process_speaks_for_a_program_that_was_killed(tmp_path, words, code, told):
    entry = [sys.executable, "-I", "-S", container_entry.__file__]
    log = tmp_path / "log"
    log.touch()
    environment = {"PATH": os.environ["PATH"], "MDPIPE_TERMINATION_LOG": str(log)}
    done = subprocess.run([*entry, *words], env=environment, check=False)
    assert done.returncode == code
    (line,) = log.read_text().splitlines()
    assert line.startswith(told)
    assert "; remedy: " in line


def test_the_first_process_leaves_the_last_words_of_a_program_that_could_speak(tmp_path):
    entry = [sys.executable, "-I", "-S", container_entry.__file__]
    log = tmp_path / "log"
    environment = {"PATH": os.environ["PATH"], "MDPIPE_TERMINATION_LOG": str(log)}
    spoken = f"echo spoken > {log}; exit"
    for code in (0, 1, 66, 75, 126, 127):
        subprocess.run([*entry, "sh", "-c", f"{spoken} {code}"], env=environment, check=False)
        assert log.read_text() == "spoken\n"


@pytest.mark.parametrize("version", [1, 2])
def test_an_oom_kill_is_told_with_the_limit_of_the_control_group(tmp_path, monkeypatch, version):
    root = tmp_path if version == 2 else tmp_path / "memory"
    names = {1: ("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.oom_control")}
    used, limit, events = names.get(version, ("memory.current", "memory.max", "memory.events"))
    root.mkdir(exist_ok=True)
    (root / used).write_text("1000\n")
    (root / limit).write_text(f"{512 << 20}\n")
    (root / events).write_text("oom 1\noom_kill 3\n")
    memory = container_entry.Memory(str(tmp_path))
    assert memory.limit == 512 << 20
    (root / limit).write_text("max\n" if version == 2 else f"{(1 << 63) - 4096}\n")
    assert memory.limit == 0
    log = tmp_path / "log"
    monkeypatch.setenv("MDPIPE_TERMINATION_LOG", str(log))
    container_entry.leave_last_words("mdpipe", -9, memory.oom_kills, 512 << 20)
    told = log.read_text()
    assert told.startswith("out-of-memory: the kernel killed mdpipe at the container's memory")
    assert "limit of 536 MB; remedy: give the step more memory" in told


def test_a_program_is_told_the_limit_of_its_container_unless_somebody_said_one(tmp_path):
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("512000000\n")
    code = (
        f"import sys; sys.path[:0] = [{str(Path(container_entry.__file__).parent)!r}]\n"
        "import container_entry as entry\n"
        f"entry.Memory.__init__.__defaults__ = ({str(tmp_path)!r},)\n"
        "sys.argv = ['entry', 'sh', '-c', 'echo $MDPIPE_MEMORY_MB']\n"
        "sys.exit(entry.main())"
    )

    def told(**more):
        environment = {"PATH": os.environ["PATH"], **more}
        command = [sys.executable, "-I", "-S", "-c", code]
        return subprocess.run(command, env=environment, capture_output=True, check=True).stdout

    assert told() == b"512\n"
    assert told(MDPIPE_MEMORY_MB="300") == b"300\n"
    (tmp_path / "memory.max").write_text("max\n")
    assert told() == b"\n"


def test_links_to_the_images_kernels_give_way_to_files_of_this_processor(tmp_path):
    warm, cache = tmp_path / "warm", tmp_path / "cache"
    (warm / "numba" / "x").mkdir(parents=True)
    (warm / "numba" / "x" / "a.nbi").write_text("of the image")
    container_entry.link_cache(str(warm), str(cache))
    place = cache / "numba" / "x" / "a.nbi"
    assert place.read_text() == "of the image"
    new = place.with_suffix(".new")
    new.write_text("of this processor")
    new.replace(place)
    container_entry.link_cache(str(warm), str(cache))
    assert place.read_text() == "of this processor"
    assert (warm / "numba" / "x" / "a.nbi").read_text() == "of the image"


# --- with a real container tool and image -------------------------------------------------------


@pytest.fixture(scope="module")
def settings():
    found = load_settings()
    try:
        image_id(found.command(), found.image)
    except MdpipeError as error:
        pytest.skip(f"needs a container tool and the image: {error}")
    probe = [*found.command(), "run", "--rm", *found.run_flags, found.image, "true"]
    tried = subprocess.run(probe, capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"no container can be run here: {tried.stderr.strip()[-200:]}")
    return found


class Ship:
    """A run folder whose steps are short Python programs in containers."""

    def __init__(self, bench, settings, label):
        self.bench = bench
        self.run = bench.run
        self.run.mkdir()
        self.box = Box(
            tool=settings.command(), image=settings.image, label=f"{LABEL}={label}",
            mounts=(Mount(self.run, writable=True),), user=user_flags(settings.command()),
            run_flags=settings.run_flags,
        )  # fmt: skip

    def step(self, name, code="", needs=(), **other):
        step = self.bench.step(name, code, needs, **other)
        return replace(step, command=("python3", *step.command[1:]))

    def go(self, *steps):
        return self.bench.go(*steps, runner=ContainerRunner(self.box))

    def left(self):
        asked = [*self.box.tool, "ps", "--all", "--quiet", "--filter", f"label={self.box.label}"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()


@pytest.fixture
def ship(bench, settings, request):
    made = Ship(bench, settings, f"test-{os.getpid()}-{abs(hash(request.node.name)):x}")
    yield made
    for name in made.left():
        subprocess.run([*made.box.tool, "rm", "--force", name], capture_output=True, check=False)


LOOK = """
import socket
def refused(action):
    try: action()
    except OSError as error: return type(error).__name__
    return ""
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
seen = {
    "root": refused(lambda: open("/etc/x", "w")),
    "home": refused(lambda: open("/opt/mdpipe/x", "w")),
    "network": refused(lambda: socket.create_connection(("192.0.2.1", 80), timeout=1)),
    "capabilities": int(status["CapEff"], 16),
    "privileges": status["NoNewPrivs"],
    "user": os.getuid(),
}
import json
(run / "seen").write_text(json.dumps(seen))
open("/tmp/x", "w").write("x")
"""


def test_a_step_sees_no_network_has_no_privileges_and_its_files_belong_to_the_caller(ship):
    outcome = ship.go(ship.step("a", LOOK))
    assert outcome.exit_code == 0, ship.bench.story()["a"]
    seen = json.loads((ship.run / "seen").read_text())
    assert all([seen.pop("root"), seen.pop("home"), seen.pop("network")])
    assert seen == {"capabilities": 0, "privileges": "1", "user": os.getuid()}
    made = (ship.run / "a.out").stat()
    assert (made.st_uid, made.st_gid) == (os.getuid(), os.getgid())
    assert ship.left() == []


def test_the_kernel_kills_a_step_at_its_limit_and_the_next_tier_is_enough(ship):
    code = "x = bytearray(150_000_000); x[::4096] = bytes(len(x[::4096]))"
    outcome = ship.go(ship.step("a", code, resources=Resources(memory_mb=100)))
    assert outcome.exit_code == 0, ship.bench.story()["a"]
    first, second = ship.bench.story()["a"]["attempts"]
    assert (first["failure"], first["exit_code"], first["memory_mb"]) == ("out-of-memory", 137, 100)
    assert "killed the step at the container's limit" in first["cause"]
    assert (second["failure"], second["memory_mb"]) == ("", 200)
    assert 150 < second["peak_memory_mb"] < 200
    assert list(ship.run.rglob("oom")) == []


def test_an_exit_code_and_the_last_words_come_out_as_they_are(ship):
    outcome = ship.go(ship.step("a", "sys.exit('bad.gro: cannot be read')", retry="restart"))
    assert outcome.exit_code == 70
    attempt = ship.bench.story()["a"]["attempts"][0]
    assert (attempt["exit_code"], attempt["cause"]) == (1, "bad.gro: cannot be read")


def test_a_signal_inside_the_container_is_told_as_one(ship):
    outcome = ship.go(ship.step("a", "os.kill(os.getpid(), signal.SIGILL)"))
    assert outcome.failures[0].failure == "incompatible-image"
    assert ship.bench.story()["a"]["attempts"][0]["signal"] == signal.SIGILL


SLEEP = "(run / f'up-{time.time_ns()}').touch(); time.sleep(60)"


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


ENGINE = """
import pathlib, pickle, sys
from mdpipe.workflows.container import ContainerRunner
from mdpipe.workflows.engine import Pace
from mdpipe.workflows.graph import Graph
from mdpipe.workflows.local import Settings, run_local
run = pathlib.Path(sys.argv[1])
box = pickle.loads((run / "box").read_bytes())
graph = Graph.from_json((run / "graph.json").read_text())
settings = Settings(workers=2, memory_mb=4000, pace=Pace(grace_s=5))
sys.exit(run_local(graph, run, settings=settings, runner=ContainerRunner(box)).exit_code)
"""


def start_engine(ship, *steps):
    (ship.run / "graph.json").write_text(Graph(steps).to_json())
    (ship.run / "box").write_bytes(pickle.dumps(ship.box))
    return subprocess.Popen([sys.executable, "-c", ENGINE, str(ship.run)])


def guard_of(engine):
    children = Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text().split()
    return next(
        int(c) for c in children if b"container_guard" in Path(f"/proc/{c}/cmdline").read_bytes()
    )


@pytest.mark.parametrize("with_guard", [False, True], ids=["engine", "engine-and-guard"])
def test_an_engine_killed_with_kill_9_leaves_no_container_and_its_run_resumes(ship, with_guard):
    engine = start_engine(ship, ship.step("a", SLEEP), ship.step("b", SLEEP))
    wait_for(lambda: len(list(ship.run.glob("up-*"))) == 2)
    if with_guard:
        os.kill(guard_of(engine), signal.SIGKILL)
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    if with_guard:
        assert ship.left(), "without a guard the containers stay until the next start"
    else:
        wait_for(lambda: ship.left() == [])
    assert ship.go(ship.step("a"), ship.step("b")).exit_code == 0
    assert ship.left() == []


def test_a_killed_container_tool_takes_its_container_along_and_the_step_is_tried_again(ship):
    once = "if not (run / 'once').exists(): (run / 'once').touch(); time.sleep(60)"
    engine = start_engine(ship, ship.step("a", once))
    wait_for((ship.run / "once").exists)
    children = Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text().split()
    client = next(int(c) for c in children if int(c) != guard_of(engine))
    os.kill(client, signal.SIGKILL)
    assert engine.wait(30) == 0
    attempts = ship.bench.story()["a"]["attempts"]
    assert [a["failure"] for a in attempts] == ["interrupted", ""]
    assert ship.left() == []


def test_a_step_in_a_container_is_asked_to_stop_before_it_is_killed(ship):
    code = "def stop(*_): (run / 'checkpoint').touch(); sys.exit(75)\n"
    engine = start_engine(
        ship, ship.step("a", code + "signal.signal(signal.SIGTERM, stop)\n" + SLEEP)
    )
    wait_for(lambda: list(ship.run.glob("up-*")))
    engine.send_signal(signal.SIGINT)
    assert engine.wait(20) == 130
    assert (ship.run / "checkpoint").exists()
    assert ship.left() == []


def test_an_image_that_is_not_there_is_one_line_with_the_remedy(settings, tmp_path):
    file = tmp_path / "study.toml"
    table = {"name": "s", "inputs": [{"path": "."}], "container": {"image": "localhost/none:0"}}
    with pytest.raises(UsageError, match=r"mdpipe image build"):
        study_runner(study_from_table(table, file), file, tmp_path, settings, tmp_path / "scenes")
