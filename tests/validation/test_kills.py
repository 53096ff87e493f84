"""Runs killed with kill -9 at random: every one resumes to the same products, and leaves nothing.

Twenty runs by default; `MDPIPE_KILL_RUNS=200` makes it as many as you have patience for. With
`-s` it says at the end how many runs were killed, which process of the tree was hit, and how long
it took. `MDPIPE_KILL_SEED` makes the drill another one.
"""

import collections
import contextlib
import filecmp
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.validation

MORE = """
ambient_occlusion = false
[resources]
workers = 2
threads = 1
"""
COMMAND = (sys.executable, "-m", "mdpipe.cli")
TOKEN = "MDPIPE_DRILL"
LONGEST_S = 120.0
MOST_RESUMES = 5


def processes(token):
    """Return the processes that were started under a token, dead ones left out: id to command."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{TOKEN}={token}".encode() not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            if (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found[int(folder.name)] = words
    return found


def part_of(words):
    """Say which part of the tree a command is."""
    for name in ("guard.py", "launch.py", "ffmpeg"):
        if name in words:
            return name
    for name in ("run", "preprocess", "simulate", "render", "combine"):
        if f"mdpipe.cli {name} " in words:
            return "engine" if name == "run" else name
    return "other"


def products_of(run):
    """Return what must be the same each time: digests of scenes, and the files that people get."""
    scenes = {str(p.relative_to(run)): json.loads(p.read_text())["digest"]
              for p in sorted(run.glob("groups/*/*/scene.json"))}  # fmt: skip
    files = [*run.glob("groups/*/*.mp4"), *run.glob("groups/*/*.png"), run / "film.mp4",
             run / "summary.csv"]  # fmt: skip
    return scenes, sorted(str(path.relative_to(run)) for path in files)


def left_behind(folder):
    """Return locks and temporary files below a folder."""
    return [p for p in folder.rglob("*")
            if p.is_file() and (p.name == ".lock" or p.suffix == ".lock" or ".part" in p.name
                                or p.parent.name in {"tmp", "locks", "work"})]  # fmt: skip


class Drill:
    """A study and a place for its runs, each with a scene cache of its own."""

    def __init__(self, folder, study):
        self.folder = folder
        self.study = study

    def start(self, name):
        """Start the run of a name, for the first time or again."""
        environment = os.environ | {
            "MDPIPE_SCENE_CACHE": str(self.folder / name / "scenes"), TOKEN: self.token(name),
        }  # fmt: skip
        (self.folder / name).mkdir(exist_ok=True)
        with (self.folder / name / "said").open("ab") as said:
            return subprocess.Popen(
                [*COMMAND, "run", str(self.study), "--run", str(self.folder / name / "run")],
                stdout=said, stderr=said, env=environment,
            )  # fmt: skip

    def token(self, name):
        """Return what marks the processes of a run."""
        return f"{self.folder.name}-{os.getpid()}-{name}"

    def killed(self, name, after_s, rng):
        """Run once, kill one process of the tree after a time, resume; say who and how often."""
        engine = self.start(name)
        with contextlib.suppress(subprocess.TimeoutExpired):
            engine.wait(after_s)
        tree = processes(self.token(name))
        hit = "nobody"
        if tree:
            pid = rng.choice(sorted(tree))
            hit = part_of(tree[pid])
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        resumes = 0
        while engine.wait(LONGEST_S) != 0:
            resumes += 1
            assert resumes <= MOST_RESUMES, (self.folder / name / "said").read_text()
            engine = self.start(name)
        return hit, resumes


def assert_same(drill, name, reference):
    run, first = drill.folder / name / "run", drill.folder / "undisturbed" / "run"
    scenes, files = products_of(run)
    assert (scenes, files) == reference, name
    differing = [f for f in files if not filecmp.cmp(run / f, first / f, shallow=False)]
    assert not differing, f"{name}: other bytes in {differing}"
    end = time.monotonic() + 5
    while (orphans := processes(drill.token(name))) and time.monotonic() < end:
        time.sleep(0.05)
    assert not orphans, f"{name}: still running: {orphans}"
    assert not left_behind(drill.folder / name), name


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks at processes in /proc")
def test_runs_killed_at_random_moments_end_with_the_same_products_and_leave_nothing(
    tmp_path, reference, small_study
):
    count = int(os.environ.get("MDPIPE_KILL_RUNS", "20"))
    rng = random.Random(int(os.environ.get("MDPIPE_KILL_SEED", "1")))
    study = small_study(tmp_path / "study.toml", reference / "conf_w216a.gro", MORE)
    drill = Drill(tmp_path, study)
    began = time.monotonic()
    assert drill.start("undisturbed").wait(LONGEST_S) == 0
    whole_s = time.monotonic() - began
    expected = products_of(tmp_path / "undisturbed" / "run")
    assert expected[0]
    hits, resumes = collections.Counter(), collections.Counter()
    for number in range(count):
        name, hit, latest_s = f"killed-{number}", "nobody", whole_s
        while hit == "nobody":  # it had ended before its moment came: another one
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            hit, resumed = drill.killed(name, rng.uniform(0.0, latest_s), rng)
            latest_s *= 0.9
        hits[hit] += 1
        resumes[resumed] += 1
        assert_same(drill, name, expected)
        shutil.rmtree(tmp_path / name)
        if number % 10 == 9:
            print(f"{number + 1} runs, {time.monotonic() - began:.0f} s, {dict(hits)}", flush=True)
    print(f"\n{count} runs killed, {count} times the same products, no orphan, nothing left; "
          f"{time.monotonic() - began:.0f} s in all, {whole_s:.1f} s undisturbed")  # fmt: skip
    print(f"hit: {dict(hits)}; resumed by hand so often: {dict(sorted(resumes.items()))}")
