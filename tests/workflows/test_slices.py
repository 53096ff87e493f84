"""A study run as pods run it: every step in a scratch folder of its own, data through the cache."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner
from faulty_store import BUCKET, address, serve
from small_study import SMALL

from mdpipe.cli import cli

STUDY = f"""
name = "small"
[[inputs]]
path = "inputs/cold.gro"
temperature_K = 280
[[inputs]]
path = "inputs/warm.gro"
temperature_K = 340
{SMALL}[resources]
workers = 2
threads = 1
"""
PRODUCTS = ("film.mp4", "film.png", "summary.csv", "summary.json")


@pytest.fixture(scope="module")
def study(tmp_path_factory, reference):
    folder = tmp_path_factory.mktemp("study")
    (folder / "inputs").mkdir()
    lines = (reference / "conf_w216a.gro").read_text().splitlines()
    # without velocities the temperature is what the study says, so that there are two groups
    bare = [*lines[:2], *(line[:56] for line in lines[2:-1]), lines[-1]]
    for name in ("cold", "warm"):
        (folder / "inputs" / f"{name}.gro").write_text("\n".join(bare) + "\n")
    (folder / "study.toml").write_text(STUDY)
    return folder / "study.toml"


@pytest.fixture(scope="module")
def local(study, tmp_path_factory):
    """What the engine of one machine makes of the study, and its report without its story."""
    run = tmp_path_factory.mktemp("local") / "run"
    scenes = str(tmp_path_factory.mktemp("local-scenes"))
    command = [sys.executable, "-m", "mdpipe.cli"]
    environment = os.environ | {"MDPIPE_SCENE_CACHE": scenes, "MDPIPE_STORE": ""}
    done = subprocess.run(
        [*command, "run", str(study), "--run", str(run)],
        capture_output=True, text=True, check=False, timeout=600, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for told in ("story.json", "cache.jsonl"):
        (run / told).unlink()
    done = subprocess.run(
        [*command, "combine", str(study), "--run", str(run)],
        capture_output=True, text=True, check=False, timeout=600, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return run


class Pods:
    """Runs steps one by one, each in a scratch folder with copies of what a workflow hands on.

    `scratch_cache` says whether each pod's cache folder is its own, as where a store is common.
    """

    def __init__(self, study, base, *, scratch_cache, processes):
        self.study, self.base = study, base
        self.scratch_cache, self.processes = scratch_cache, processes
        self.artifacts = base / "artifacts"
        self.number = 0

    def pod(self, name, source, *words, code=0):
        """Run a step on a copy of an artifact; return its folder."""
        self.number += 1
        scratch = self.base / f"pod-{self.number}"
        run = scratch / "run"
        if source is None:
            run.mkdir(parents=True)
        else:
            shutil.copytree(source, run)
        cache = (scratch if self.scratch_cache else self.base) / "scenes"
        arguments = [name, str(self.study), "--run", str(run), "--cache", str(cache), *words]
        if self.processes:
            done = subprocess.run(
                [sys.executable, "-m", "mdpipe.cli", *arguments],
                capture_output=True, text=True, check=False, timeout=300, cwd=scratch,
            )  # fmt: skip
            assert done.returncode == code, done.stderr
        else:
            result = CliRunner().invoke(cli, arguments)
            got = getattr(result.exception, "exit_code", result.exit_code)
            assert got == code, result
        return run

    def preprocess(self):
        run = self.pod("preprocess", None, "--pending")
        shutil.rmtree(self.artifacts, ignore_errors=True)
        shutil.copytree(run, self.artifacts)
        told = self.artifacts / "pending" / "parameters"
        return {path.name: json.loads(path.read_text()) for path in told.iterdir()}

    def missing(self, told, row):
        """Count a row's missing scenes as the workflow does."""
        return sum(row < bound for bound in told["bounds"])

    def row(self, number, scenes):
        source = self.artifacts / "pending" / f"{number:05d}"
        for nth in range(scenes):
            self.pod("simulate", source, "--group", "0", "--scene", f"#{nth}")
        run = self.pod("render", source, "--group", "0")
        # on a shared volume all else would be traffic, and would stay
        assert [path.name for path in run.rglob("*") if path.is_file()] == ["plan.jsonl"]

    def combine(self, code=0):
        plan = self.base / "plan"
        shutil.rmtree(plan, ignore_errors=True)
        plan.mkdir()
        for name in ("plan.jsonl", "preprocess.json"):
            shutil.copy(self.artifacts / name, plan)
        return self.pod("combine", plan, "--require-all", code=code)


def check(pods, local):
    told = pods.preprocess()
    assert (told["rows"], told["bounds"]) == (2, [2, 2])
    for row in range(told["rows"]):
        pods.row(row, pods.missing(told, row))
    run = pods.combine()
    for name in PRODUCTS:
        assert (run / name).read_bytes() == (local / name).read_bytes(), name
    assert (run / "report.html").read_text() == (local / "report.html").read_text()
    films = sorted(path.relative_to(local) for path in local.glob("groups/*/*.*"))
    films = [path for path in films if path.suffix in {".mp4", ".png"}]
    assert len(films) == 8
    for path in films:
        assert (run / path).read_bytes() == (local / path).read_bytes(), path
    again = pods.preprocess()
    assert again["memory"]["combine"] != told["memory"]["combine"]  # learnt, not estimated
    assert (again["rows"], again["last"], again["bounds"]) == (0, -1, [0, 0])
    assert (pods.combine() / "film.mp4").read_bytes() == (local / "film.mp4").read_bytes()


def test_pods_around_a_shared_folder_make_the_bits_of_one_machine(study, local, tmp_path):
    check(Pods(study, tmp_path, scratch_cache=False, processes=True), local)


def test_pods_around_a_store_make_the_bits_of_one_machine(study, local, tmp_path, monkeypatch):
    with serve(tmp_path / "bucket") as port:
        address(monkeypatch, port)
        monkeypatch.setenv("MDPIPE_STORE", f"s3://{BUCKET}/runs")
        check(Pods(study, tmp_path, scratch_cache=True, processes=False), local)


def run_here(study, run, cache, store=""):
    """Run a study as one machine does; return what became of each step."""
    done = subprocess.run(
        [sys.executable, "-m", "mdpipe.cli", "run", str(study), "--run", str(run)],
        capture_output=True, text=True, check=False, timeout=600,
        env=os.environ | {"MDPIPE_SCENE_CACHE": str(cache), "MDPIPE_STORE": store},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    steps = json.loads((run / "story.json").read_text())["steps"]
    return {step["id"]: step["status"] for step in steps}


def made_by(pods):
    told = pods.preprocess()
    for row in range(told["rows"]):
        pods.row(row, pods.missing(told, row))


def check_films(run, local):
    films = [path.relative_to(local) for path in local.glob("**/*.mp4")]
    assert len(films) == 5
    for path in films:
        assert (run / path).read_bytes() == (local / path).read_bytes(), path


def test_one_machine_takes_scenes_and_films_that_pods_have_made(study, local, tmp_path):
    made_by(Pods(study, tmp_path, scratch_cache=False, processes=False))
    run, cache = tmp_path / "here", tmp_path / "scenes"
    found = run_here(study, run, cache)
    kinds = {"preprocess": "computed", "simulate": "cached", "render": "cached"}
    assert found == {step: kinds.get(step.split("-")[0], "computed") for step in found}
    assert len(found) == 2 + 4 + 2
    check_films(run, local)
    hits = [json.loads(line)["what"] for line in (run / "cache.jsonl").read_text().splitlines()]
    assert hits == ["hit"] * 4, "films do not count as scenes"
    wider = study.with_name("other.toml")
    wider.write_text(STUDY.replace("width = 160", "width = 200"))
    assert run_here(wider, run, cache)["render-g000"] == "computed"
    assert run_here(study, run, cache)["render-g000"] == "cached"
    check_films(run, local)  # in place of the wider ones


def test_one_machine_takes_films_from_the_store_that_its_own_cache_has_not(
    study, local, tmp_path, monkeypatch
):
    with serve(tmp_path / "bucket") as port:
        address(monkeypatch, port)
        store = f"s3://{BUCKET}/runs"
        monkeypatch.setenv("MDPIPE_STORE", store)
        made_by(Pods(study, tmp_path, scratch_cache=True, processes=False))
        found = run_here(study, tmp_path / "here", tmp_path / "mine", store)
        assert [step for step, how in found.items() if how == "computed"] == [
            "preprocess", "combine",
        ]  # fmt: skip
        check_films(tmp_path / "here", local)


def test_what_is_missing_is_told_after_the_rest_is_combined_and_is_all_that_a_second_round_does(
    study, local, tmp_path
):
    pods = Pods(study, tmp_path, scratch_cache=False, processes=False)
    told = pods.preprocess()
    pods.row(0, 2)
    source = pods.artifacts / "pending" / "00001"
    pods.pod("simulate", source, "--group", "0", "--scene", "#0")
    pods.pod("render", source, "--group", "0", code=66)
    run = pods.combine(code=66)
    assert (run / "film.mp4").is_file()
    groups = json.loads((pods.artifacts / "plan.jsonl").read_text().splitlines()[1])
    assert (run / "groups" / groups["id"] / "nvt" / "observables.json").is_file()
    assert not (run / "groups" / groups["id"] / "nvt" / "trajectory.xtc").exists()
    told = pods.preprocess()
    assert (told["rows"], told["bounds"]) == (1, [1, 0])
    pods.row(0, 1)
    assert (pods.combine() / "film.mp4").read_bytes() == (local / "film.mp4").read_bytes()


def test_other_pictures_are_rendered_from_the_cached_scenes(study, local, tmp_path):
    pods = Pods(study, tmp_path, scratch_cache=False, processes=False)
    told = pods.preprocess()
    for row in range(told["rows"]):
        pods.row(row, pods.missing(told, row))
    text = STUDY.replace("width = 160", "width = 200")
    other = study.with_name("wider.toml")
    other.write_text(text)
    pods.study = other
    before = told["memory"]
    told = pods.preprocess()
    assert (told["rows"], told["bounds"]) == (2, [0, 0])
    assert told["memory"]["render"] == before["render"]  # of that size nothing is known yet
    for row in range(told["rows"]):
        assert pods.missing(told, row) == 0
        pods.row(row, 0)
    run = pods.combine()
    assert (run / "summary.csv").read_bytes() == (local / "summary.csv").read_bytes()
    assert (run / "film.mp4").read_bytes() != (local / "film.mp4").read_bytes()


def test_a_second_submission_does_not_read_the_inputs_again_unless_they_have_changed(
    study, tmp_path, monkeypatch
):
    copy = tmp_path / "study"
    shutil.copytree(study.parent, copy)
    pods = Pods(copy / "study.toml", tmp_path, scratch_cache=False, processes=False)
    first = pods.preprocess()
    plan = (pods.artifacts / "plan.jsonl").read_bytes()
    starts = sorted(path.read_bytes() for path in pods.artifacts.rglob("start.npz"))
    assert len(starts) == 2
    cold = copy / "inputs" / "cold.gro"
    os.utime(cold)  # a workflow copies inputs, and a copy has the time of the copying

    def nobody_reads(*_, **__):
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr("mdpipe.steps.preprocess.read_frames", nobody_reads)
        assert pods.preprocess() == first
        monkeypatch.setattr("mdpipe.steps.plan_entry.BY_CONTENT_BYTES", 0)
        pods.pod("preprocess", None, "--pending", code=1)  # now the times count
    assert (pods.artifacts / "plan.jsonl").read_bytes() == plan
    assert sorted(path.read_bytes() for path in pods.artifacts.rglob("start.npz")) == starts
    cold.write_text(cold.read_text().replace("1.585025", "1.585026"))
    pods.preprocess()
    assert (pods.artifacts / "plan.jsonl").read_bytes() != plan
