"""The whole pipeline on a small box, as a user runs it: complete, resumed, killed, cached."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

STUDY = """
name = "small"
[[inputs]]
path = "{folder}"
temperature_K = 298
[simulation]
steps = 120
equilibration_steps = 20
frame_every = 10
energy_every = 5
checkpoint_every = 40
nonbonded = {{electrostatics = "rf"}}
[render]
width = 160
height = 120
frames = 3
samples = 1
[resources]
workers = 2
threads = 1
"""


def mdpipe(*arguments, **options):
    command = [sys.executable, "-m", "mdpipe.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, **options
    )


@pytest.fixture(scope="module")
def study(tmp_path_factory, reference):
    folder = tmp_path_factory.mktemp("study")
    inputs = folder / "inputs"
    inputs.mkdir()
    (inputs / "water.gro").write_bytes((reference / "conf_w216a.gro").read_bytes())
    path = folder / "study.toml"
    path.write_text(STUDY.format(folder=inputs))
    return path


@pytest.fixture(scope="module")
def undisturbed(study, tmp_path_factory):
    """A run that nobody disturbed, with a scene cache of its own."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    cache = tmp_path_factory.mktemp("cache")
    done = mdpipe("run", study, "--run", run, env=environment(cache))
    assert done.returncode == 0, done.stderr
    return run, cache


def environment(cache):
    return os.environ | {"MDPIPE_SCENE_CACHE": str(cache)}


def digests(run):
    found = {}
    for scene in ("nvt", "npt", "nve"):
        done = mdpipe("digest", run / "groups" / "g000" / scene)
        assert done.returncode == 0, done.stderr
        found[scene] = done.stdout.strip()
    for name in ("summary.csv", "film.mp4"):
        found[name] = (run / name).read_bytes()
    return found


def test_a_run_leaves_film_report_summary_and_plan(undisturbed):
    run, _ = undisturbed
    for name in ("film.mp4", "report.html", "summary.json", "summary.csv", "plan.jsonl"):
        assert (run / name).stat().st_size > 0
    (line,) = [json.loads(text) for text in (run / "plan.jsonl").read_text().splitlines()]
    assert line["class"] == "liquid"
    assert [scene["name"] for scene in line["scenes"]] == ["nvt", "npt", "nve"]
    rows = json.loads((run / "summary.json").read_text())["rows"]
    assert {"density", "potential_energy", "temperature"} <= {row["observable"] for row in rows}


def test_a_second_run_starts_no_process(undisturbed, study):
    run, cache = undisturbed
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*.*") if path.is_file()}
    done = mdpipe("run", study, "--run", run, env=environment(cache))
    assert done.returncode == 0, done.stderr
    story = json.loads((run / "story.json").read_text())
    assert {step["status"] for step in story["steps"]} == {"kept"}
    products = [path for path in before if path.suffix in {".mp4", ".html", ".npz", ".xtc"}]
    assert products
    assert all(path.stat().st_mtime_ns == before[path] for path in products)


def test_another_run_folder_takes_every_scene_from_the_cache(undisturbed, study, tmp_path):
    run, cache = undisturbed
    done = mdpipe("run", study, "--run", tmp_path / "again", env=environment(cache))
    assert done.returncode == 0, done.stderr
    story = json.loads((tmp_path / "again" / "story.json").read_text())
    status = {step["id"]: step["status"] for step in story["steps"]}
    assert {status[f"simulate-g000-{name}"] for name in ("nvt", "npt", "nve")} == {"cached"}
    assert digests(tmp_path / "again") == digests(run)


def test_a_run_killed_at_random_moments_and_resumed_gives_the_same_bits(
    undisturbed, study, tmp_path
):
    run, _ = undisturbed
    chance = random.Random(5)
    other, cache = tmp_path / "run", tmp_path / "cache"
    command = [sys.executable, "-m", "mdpipe.cli", "run", str(study), "--run", str(other)]
    for _ in range(3):
        engine = subprocess.Popen(
            command, env=environment(cache), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        time.sleep(chance.uniform(2.0, 7.0))
        engine.send_signal(signal.SIGKILL)
        engine.wait()
    done = mdpipe("run", study, "--run", other, env=environment(cache))
    assert done.returncode == 0, done.stderr
    assert digests(other) == digests(run)
    assert not list(other.rglob("work"))


def test_a_failing_scene_is_named_with_its_remedy_and_the_rest_goes_on(study, tmp_path):
    text = study.read_text().replace(
        "[render]",
        '[[scenes]]\nname = "good"\nensemble = "nvt"\n'
        '[[scenes]]\nname = "bad"\nensemble = "nvt"\nnonbonded = {r_cut_nm = 1.2}\n[render]',
    )
    path = tmp_path / "study.toml"
    path.write_text(text)
    done = mdpipe("run", path, "--run", tmp_path / "run")
    assert done.returncode == 66
    assert "box must be at least 2 r_cut" in done.stderr
    assert (tmp_path / "run" / "groups" / "g000" / "good" / "scene.json").is_file()
    assert not (tmp_path / "run" / "groups" / "g000" / "bad" / "scene.json").exists()
