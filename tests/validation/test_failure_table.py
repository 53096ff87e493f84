"""Every failure class, provoked: what happened, how many retries, and what the user read.

`python -m pytest -s -m validation tests/validation/test_failure_table.py` prints the table.
Each class is provoked for real, but for a machine out of stock: there is only this one machine, so
the engine is made to say it.
"""

import contextlib
import json
import os
import platform
import shutil
import socket
import struct
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from mdpipe.failures import TABLE, failure_class
from mdpipe.inject import parse
from mdpipe.scenes.lock import FileLock
from mdpipe.workflows.container import LABEL, Box, ContainerRunner
from mdpipe.workflows.graph import Graph, Step
from mdpipe.workflows.injection import Injector
from mdpipe.workflows.job import Pace
from mdpipe.workflows.local import Settings, run_local
from mdpipe.workflows.outcome import QuietReporter
from mdpipe.workflows.runner import ProcessRunner

pytestmark = pytest.mark.validation

ROWS = {}


class Notes(QuietReporter):
    def __init__(self):
        self.lines = []

    def note(self, line):
        self.lines.append(line)


def note_row(name, how, attempts, read, *, told=True):
    """Keep a row of the table, from the attempts of the story."""
    failed = [a for a in attempts if a["failure"]]
    happened = ", ".join(
        f"{a['failure']}" + (f" at {a['memory_mb']} MB" if name == "out-of-memory" else "")
        for a in failed
    )
    end = "then done" if attempts and not attempts[-1]["failure"] else "told at once"
    if len(failed) > 1 and end == "told at once":
        end = "then told"
    waits = [a["retry_in_s"] for a in failed if a["retry_in_s"] is not None]
    row = failure_class(name)
    ROWS.setdefault(name, []).append((how, f"{happened or name}; {end}", len(waits), read))
    assert all(a["failure"] == name for a in failed), failed
    assert len(waits) <= row.retries
    if told:
        assert "\n" not in read
        assert row.remedy in read or not attempts or not attempts[-1]["failure"]


@pytest.fixture(scope="module", autouse=True)
def _print_the_table():
    yield
    if ROWS:
        print("\n\n| class | how it was provoked | what happened | retries | what the user read |")
        print("|---|---|---|---|---|")
        for row in TABLE:
            for how, happened, retries, read in ROWS.get(row.name, [("-", "-", 0, "-")]):
                print(f"| {row.name} | {how} | {happened} | {retries} of {row.retries} | {read} |")


def go(run, step, runner=None, **more):
    """Run one step of another program with short waits; return outcome, attempts and notes."""
    notes = Notes()
    pace = Pace(grace_s=1.0, poll_s=0.01, delay_scale=0.01)
    outcome = run_local(
        Graph((step,)), run, settings=Settings(1, 1, 4000, pace, **more), reporter=notes,
        runner=runner,
    )  # fmt: skip
    (row,) = json.loads((run / "story.json").read_text())["steps"]
    read = outcome.failure_lines() or notes.lines
    return outcome, row["attempts"], read[-1].replace(str(run), "RUN")


def program(code, **more):
    return Step("a", "simulate", (sys.executable, "-S", "-c", code), **more)


@pytest.fixture
def mdpipe(small_study):
    """Return a function that runs a study as a user does.

    It returns the exit code, the attempts by step, and the lines that were read.
    """

    def run_it(folder, inputs, *words, more="", run=None):
        folder.mkdir(exist_ok=True)
        study = small_study(folder / "study.toml", inputs, more)
        run = run or folder / "run"
        done = subprocess.run(
            [sys.executable, "-m", "mdpipe.cli", "run", str(study), "--run", str(run), *words],
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        attempts = {}
        with contextlib.suppress(OSError):
            story = json.loads((run / "story.json").read_text())
            attempts = {row["id"]: row["attempts"] for row in story["steps"]}
        lines = [line.removeprefix("mdpipe: ") for line in done.stderr.splitlines()]
        return done.returncode, attempts, [line.replace(str(folder), "FOLDER") for line in lines]

    return run_it


def line_with(lines, *words):
    return next(line for line in lines if all(word in line for word in words))


@pytest.fixture(scope="module")
def water(reference):
    return reference / "conf_w216a.gro"


def test_wrong_usage(mdpipe, tmp_path, water):
    code, _, lines = mdpipe(tmp_path, water, "--inject", "oom")
    assert code == 2
    note_row("usage", "`--inject oom`, without a step", [], lines[-1], told=False)


def test_a_bad_study(mdpipe, tmp_path, water):
    code, _, lines = mdpipe(tmp_path, water, more="[resources]\nmemory = 5")
    assert code == 78
    note_row("bad-study", "a key that there is not", [], line_with(lines, "memory"), told=False)


def test_a_bad_input(mdpipe, tmp_path):
    (tmp_path / "broken.gro").write_text("water\n 3\n    1SOL     OW    1   0.1  nan   0.1\n")
    code, attempts, lines = mdpipe(tmp_path, tmp_path / "broken.gro")
    assert code == 66
    note_row("bad-input", "a truncated GRO file", attempts["preprocess"],
             line_with(lines, "failed:", "bad-input", "remedy"))  # fmt: skip


@contextlib.contextmanager
def small_disk(folder, size):
    """Mount a small file system in memory."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here (needs root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(mdpipe, tmp_path, water):
    with small_disk(tmp_path / "disk", "64k") as disk:
        code, attempts, lines = mdpipe(tmp_path / "study", water, run=disk / "run")
        left = [p.name for p in disk.rglob("*") if ".part" in p.name]
    assert code == 75
    assert not left
    failed = [a for rows in attempts.values() for a in rows if a["failure"]]
    read = line_with(lines, "failed:", "disk-full", "remedy").replace(str(tmp_path), "FOLDER")
    note_row("disk-full", "a run folder on a file system of 64 kB", failed, read)


def test_out_of_memory(mdpipe, tmp_path, water):
    if not ProcessRunner.can_enforce():
        pytest.skip("no memory control group can be made here")
    more = "[resources]\nenforce_memory = true\nmemory_factor = 1.5\nmemory_mb_of = {render = 110}"
    code, attempts, lines = mdpipe(tmp_path, water, more=more)
    assert code == 0
    assert [a["memory_mb"] for a in attempts["render-g000"]] == [110, 165]
    note_row("out-of-memory", "the renderer's first tier set to 110 MB; the kernel kills",
             attempts["render-g000"], line_with(lines, "out-of-memory", "110 MB"))  # fmt: skip


def test_a_program_for_another_architecture(tmp_path):
    other = tmp_path / "program"
    s390 = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 22, 1, 0, 64, 0, 0, 64, 56,
                       0, 0, 0, 0)  # fmt: skip
    other.write_bytes(s390)
    other.chmod(0o755)
    outcome, attempts, read = go(tmp_path / "run", Step("a", "simulate", (str(other),)))
    assert outcome.exit_code == 70
    note_row("incompatible-image", "a program for another processor (ELF, s390)", attempts,
             read.replace(str(tmp_path), "FOLDER"))  # fmt: skip


@pytest.mark.skipif(platform.machine() != "x86_64", reason="writes x86-64 machine code")
def test_an_instruction_that_the_processor_lacks(tmp_path):
    code = textwrap.dedent("""
        import ctypes, mmap
        page = mmap.mmap(-1, 4096, prot=7)
        page.write(bytes([0x0f, 0x0b]))
        ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
        """)
    outcome, attempts, read = go(tmp_path / "run", program(code))
    assert outcome.exit_code == 70
    assert attempts[0]["signal"] == 4
    note_row("incompatible-image", "an undefined instruction executed (SIGILL)", attempts, read)


def test_out_of_stock(tmp_path):
    outcome, attempts, read = go(
        tmp_path / "run", program("pass"), injector=Injector(parse("out-of-stock@ax9"))
    )
    assert outcome.exit_code == 75
    note_row("out-of-stock", "injected: the engine says it (simulated)", attempts, read)


@pytest.mark.parametrize(
    ("fault", "how"),
    [("kill@simulate-*:0.5", "kill -9 of a scene half way"),
     ("term@simulate-*:0.5", "SIGTERM to a scene half way, as in a preemption")],
)  # fmt: skip
def test_interrupted(mdpipe, tmp_path, water, fault, how):
    code, attempts, lines = mdpipe(tmp_path, water, "--inject", fault)
    assert code == 0
    note_row("interrupted", how, attempts["simulate-g000-npt"], line_with(lines, "again in"))


def test_over_the_time_limit(mdpipe, tmp_path, water):
    more = "[resources]\ntime_limit_s_of = {simulate = 0.3}"
    code, attempts, lines = mdpipe(tmp_path, water, more=more)
    assert code == 75
    note_row("time-limit", "0.3 s for a scene", attempts["simulate-g000-npt"],
             line_with(lines, "failed:", "time-limit", "remedy"))  # fmt: skip


def test_a_network_that_comes_back(tmp_path):
    tried = tmp_path / "tried"
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        code = f"open({str(tried)!r}, 'a').write('x')\nimport socket\n"
        code += f"socket.create_connection(('127.0.0.1', {port}), 5)"

        def come_back():
            while not tried.exists() or len(tried.read_text()) < 2:
                time.sleep(0.01)
            time.sleep(0.02)
            server.listen()

        thread = threading.Thread(target=come_back)
        thread.start()
        outcome, attempts, read = go(tmp_path / "run", program(code))
        thread.join()
    assert outcome.exit_code == 0
    assert len(attempts) >= 2
    note_row("network", "a port that refuses at first and listens later", attempts, read)


def test_a_container_tool_that_cannot_do_what_it_is_told(tmp_path):
    if shutil.which("podman") is None:
        pytest.skip("there is no podman")
    box = Box(("podman",), "localhost/none", f"{LABEL}=table-{os.getpid()}", run_flags=("--what",))
    runner = ContainerRunner(box)
    outcome, attempts, read = go(tmp_path / "run", program("pass"), runner)
    assert outcome.exit_code == 75
    assert "unknown flag: --what" in read
    note_row("container-tool", "podman with a flag that it does not know", attempts, read)


def test_somebody_else_is_at_work(mdpipe, tmp_path, water):
    run = tmp_path / "run"
    run.mkdir()
    with FileLock(run / ".lock"):
        code, _, lines = mdpipe(tmp_path, water)
    assert code == 75
    note_row("try-again", "a second run in the same folder", [], lines[-1], told=False)


def test_a_fault_of_the_program(tmp_path):
    outcome, attempts, read = go(tmp_path / "run", program("[][0]"))
    assert outcome.exit_code == 70
    note_row("bug", "an index out of range", attempts, read)


def test_every_class_has_been_provoked():
    wanted = {row.name for row in TABLE}
    if not ProcessRunner.can_enforce():
        wanted -= {"out-of-memory"}
    if shutil.which("podman") is None:
        wanted -= {"container-tool"}
    if os.geteuid() != 0:
        wanted -= {"disk-full"}
    assert not wanted - set(ROWS), "a class of the table that nobody has seen happen"
