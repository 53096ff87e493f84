"""A study whose inputs, run folder, scenes and checkpoints all lie in a store."""

import json
import os
import re
import shutil
from pathlib import Path

import obstore
import pytest
from click.testing import CliRunner
from faulty_store import BUCKET, Proxy, address, serve
from small_study import SMALL

from mdpipe.cli import cli
from mdpipe.cli.options import STORE
from mdpipe.failures import BusyError, InputError
from mdpipe.run_folder import WORK
from mdpipe.scenes.tree import Tree
from mdpipe.steps.input_store import fetch_inputs, inputs_at_hand
from mdpipe.study import load_study

STUDY = f"""
name = "small"
[[inputs]]
path = "inputs/*.gro"
temperature_K = 280
{SMALL}"""
RUN = f"s3://{BUCKET}/runs/one"
INPUTS = f"s3://{BUCKET}/data"


class Listening(Proxy):
    """A store that remembers which objects were read and written."""

    def __init__(self, target):
        super().__init__(target)
        self.read, self.written = [], []

    def answer(self, request):
        path = request.path.partition("?")[0].removeprefix(f"/{BUCKET}/")
        if request.command == "GET" and path:
            self.read.append(path)
        if request.command in {"PUT", "POST"}:
            self.written.append(path)
        super().answer(request)

    def inputs_read(self):
        found = [path for path in self.read if path.startswith("data/")]
        self.read.clear()
        return found


@pytest.fixture
def gro(reference):
    lines = (reference / "conf_w216a.gro").read_text().splitlines()
    return "\n".join([*lines[:2], *(line[:56] for line in lines[2:-1]), lines[-1]]) + "\n"


@pytest.fixture
def store(tmp_path, monkeypatch, gro):
    """A store with the inputs, and the environment of a pod that has nothing else."""
    with serve(tmp_path / "bucket") as port:
        proxy = Listening(port)
        address(monkeypatch, proxy.port)
        local = tmp_path / "mine"
        (local / "inputs").mkdir(parents=True)
        (local / "inputs" / "a.gro").write_text(gro)
        (local / "inputs" / "unused.xtc").write_bytes(b"not to be read" * 1000)
        (local / "study.toml").write_text(STUDY)
        Tree(INPUTS).push(local, ["inputs/a.gro", "inputs/unused.xtc"])
        monkeypatch.setenv("MDPIPE_STORE", f"s3://{BUCKET}/cache")
        monkeypatch.setenv("MDPIPE_CHECKPOINTS", f"s3://{BUCKET}/cache")
        monkeypatch.setenv("MDPIPE_STUDY_FOLDER", INPUTS)
        monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
        monkeypatch.setattr("tempfile.tempdir", None)
        (tmp_path / "tmp").mkdir()
        proxy.study = tmp_path / "study.toml"
        proxy.study.write_text(STUDY)
        proxy.files = tmp_path / "bucket" / BUCKET
        proxy.local = local
        yield proxy
        proxy.close()
    left = list((tmp_path / "tmp").iterdir())
    assert left == [], "scratch must not stay"


def step(store, tmp_path, name, *words, run=RUN, code=0):
    shutil.rmtree(tmp_path / "scenes", ignore_errors=True)  # each pod has a disk of its own
    arguments = [name, str(store.study), "--run", run, "--cache", str(tmp_path / "scenes"), *words]
    told = tmp_path / "progress"
    told.unlink(missing_ok=True)
    result = CliRunner().invoke(cli, arguments, env={"ARGO_PROGRESS_FILE": str(told)})
    assert getattr(result.exception, "exit_code", result.exit_code) == code, result
    if code == 0 and told.exists():  # a cached plan or scene tells nothing
        done = [int(line.removesuffix("/100")) for line in told.read_text().splitlines()]
        assert done == sorted(set(done))
        assert done[-1] == 100 or name == "preprocess"
    return result


def stored(store, prefix="runs/one"):
    base = store.files / prefix
    return sorted(p.relative_to(base).as_posix() for p in base.rglob("*") if p.is_file())


def local_run(store, tmp_path, monkeypatch):
    """Run the same steps in a folder; return it."""
    run = tmp_path / "local"
    with monkeypatch.context() as patch:
        for name in ("MDPIPE_STORE", "MDPIPE_CHECKPOINTS", "MDPIPE_STUDY_FOLDER"):
            patch.delenv(name)
        store.study = store.local / "study.toml"
        step(store, tmp_path, "preprocess", run=str(run))
        for scene in ("nvt", "nve"):
            step(store, tmp_path, "simulate", "--group", "0", "--scene", scene, run=str(run))
        step(store, tmp_path, "render", "--group", "0", run=str(run))
        step(store, tmp_path, "combine", run=str(run))
    return run


def test_slices_in_a_store_make_the_bits_of_one_machine(store, tmp_path, monkeypatch):
    monkeypatch.setenv("MDPIPE_SCRATCH", str(tmp_path / "scratch"))
    step(store, tmp_path, "preprocess", "--pending")
    assert (tmp_path / "scratch/pending/parameters/rows").read_text() == "1", "for the workflow"
    assert store.inputs_read() == ["data/inputs/a.gro"]
    monkeypatch.delenv("MDPIPE_SCRATCH")
    line = json.loads((store.files / "runs/one/plan.jsonl").read_text())
    assert line["inputs"] == {f"{INPUTS}/inputs/a.gro": 1}
    assert line["start"]["file"] == f"{INPUTS}/inputs/a.gro"
    assert "pending/00000/plan.jsonl" in stored(store)
    row = f"{RUN}/pending/00000"
    before = stored(store)
    for nth in ("#0", "#1"):
        step(store, tmp_path, "simulate", "--group", "0", "--scene", nth, run=row)
    step(store, tmp_path, "render", "--group", "0", run=row)
    assert stored(store) == before, "what is in the cache is not stored twice"
    assert store.inputs_read() == []
    assert not list(store.files.glob("cache/checkpoints/*/*"))
    step(store, tmp_path, "combine", "--require-all")
    added = set(stored(store)) - set(before)
    assert {"film.mp4", "film.png", "report.html", "summary.csv", "summary.json"} <= added
    assert not [name for name in added if name.startswith("groups/")]
    once = local_run(store, tmp_path, monkeypatch)
    for name in ("film.mp4", "summary.csv"):
        assert (store.files / "runs/one" / name).read_bytes() == (once / name).read_bytes()


def test_a_run_without_slices_is_kept_whole_in_the_store(store, tmp_path, monkeypatch):
    step(store, tmp_path, "preprocess")
    plan = json.loads((store.files / "runs/one/plan.jsonl").read_text())
    for scene in ("nvt", "nve"):
        store.read.clear()
        step(store, tmp_path, "simulate", "--group", "0", "--scene", scene)
        run_reads = [path for path in store.read if path.startswith("runs/")]
        assert sorted(run_reads) == [
            f"runs/one/groups/{plan['id']}/start.npz",
            "runs/one/plan.jsonl",
        ]
    step(store, tmp_path, "render", "--group", "0")
    store.read.clear()
    step(store, tmp_path, "combine")
    assert not [path for path in store.read if path.endswith((".xtc", "start.npz"))]
    names = stored(store)
    for name in ("nvt/trajectory.xtc", "nve/scene.json", "nvt.mp4", "nve.png"):
        assert f"groups/{plan['id']}/{name}" in names
    assert not [name for name in names if f"/{WORK}/" in name or "/." in name]
    once = local_run(store, tmp_path, monkeypatch)
    for path in once.rglob("*.*"):
        name = path.relative_to(once).as_posix()
        if path.suffix in {".mp4", ".png", ".xtc", ".npz", ".csv"}:
            assert (store.files / "runs/one" / name).read_bytes() == path.read_bytes(), name


def test_a_step_that_fails_pushes_nothing(store, tmp_path):
    obstore.put(Tree(INPUTS).objects.client, "inputs/a.gro", b"no structure at all\n")
    step(store, tmp_path, "preprocess", "--pending", code=66)
    assert stored(store) == []


def test_a_run_that_is_not_whole_is_combined_and_told_by_the_exit_code(store, tmp_path):
    step(store, tmp_path, "preprocess", "--pending")
    row = f"{RUN}/pending/00000"
    step(store, tmp_path, "simulate", "--group", "0", "--scene", "#0", run=row)
    result = step(store, tmp_path, "combine", "--require-all", code=66)
    assert "1 of 1 groups" in str(result.exception)
    assert {"report.html", "summary.csv"} <= set(stored(store))


def test_inputs_are_fetched_once_and_not_at_all_where_the_plan_is_cached(store, tmp_path, gro):
    for _ in range(2):
        step(store, tmp_path, "preprocess", "--pending")
    assert store.inputs_read() == ["data/inputs/a.gro"]
    # of the same size, and within the same second
    moved = re.sub(r"( 1\.\d{3})", lambda found: found[1][:-1] + "7", gro, count=3)
    assert len(moved) == len(gro)
    obstore.put(Tree(INPUTS).objects.client, "inputs/a.gro", moved.encode())
    step(store, tmp_path, "preprocess", "--pending")
    assert store.inputs_read() == ["data/inputs/a.gro"], "changed inputs must be read"


def test_a_run_that_is_not_there_is_told_with_the_remedy(store, tmp_path):
    result = step(store, tmp_path, "combine", code=66)
    assert "preprocess" in str(result.exception)
    result = step(store, tmp_path, "render", "--group", "0", run=f"{RUN}/absent", code=66)
    assert f"{RUN}/absent/plan.jsonl: no plan there; run `mdpipe preprocess` first" in str(
        result.exception
    )


def test_a_store_that_does_not_answer_is_a_reason_to_try_again(store, tmp_path):
    store.probabilities = {"error": 1.0}
    result = step(store, tmp_path, "render", "--group", "0", code=75)
    assert isinstance(result.exception, BusyError)
    assert "127.0.0.1" not in str(result.exception)


@pytest.mark.parametrize("place", ["gs://bucket/x", "https://host/x"])
def test_another_kind_of_store_is_a_wrong_call(tmp_path, place):
    (tmp_path / "study.toml").write_text(STUDY)
    result = CliRunner().invoke(cli, ["combine", str(tmp_path / "study.toml"), "--run", place])
    assert result.exit_code == 2
    assert "must be a folder or s3://bucket/prefix" in result.output
    assert not Path(place.partition("/")[0]).exists()


def test_the_engine_of_one_machine_works_in_folders_only(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    result = CliRunner().invoke(cli, ["run", str(tmp_path / "study.toml"), "--run", STORE + "b/x"])
    assert result.exit_code == 2
    assert "must be a folder, got" in result.output


def test_a_folder_may_stand_for_the_folder_of_the_study(tmp_path, monkeypatch):
    (tmp_path / "study.toml").write_text(STUDY)
    monkeypatch.setenv("MDPIPE_STUDY_FOLDER", str(tmp_path / "elsewhere"))
    assert load_study(tmp_path / "study.toml").folder == tmp_path / "elsewhere"
    monkeypatch.setenv("MDPIPE_STUDY_FOLDER", INPUTS)
    assert load_study(tmp_path / "study.toml").folder == tmp_path


def study_of(store, **inputs):
    table = "\n".join(f"{key} = {json.dumps(value)}" for key, value in inputs.items())
    store.study.write_text(f'name = "x"\n[[inputs]]\n{table}\n')
    return load_study(store.study)


LAYOUT = {
    "deep/er/a.xtc": 10, "deep/er/a.gro": 20, "deep/er/b.xtc": 30, "deep/topology.pdb": 40,
    "deep/topology.gro": 50, "deep/c.xtc": 60, "other/named.gro": 70, "set/set.000/coord.npy": 80,
    "set/set.000/box.npy": 90, "set/type.raw": 100, "set/type_map.raw": 110, "set/large.bin": 120,
}  # fmt: skip


@pytest.mark.parametrize(
    ("inputs", "read", "wanted"),
    [
        ({"path": "deep/er/a.xtc"}, ["deep/er/a.xtc"], {"deep/er/a.xtc", "deep/er/a.gro"}),
        ({"path": "deep/*.xtc"}, ["deep/c.xtc"],
         {"deep/c.xtc", "deep/topology.pdb", "deep/topology.gro"}),
        ({"path": "deep/**/b.xtc", "topology": "other/named.gro"}, ["deep/er/b.xtc"],
         {"deep/er/b.xtc", "other/named.gro"}),
        ({"path": "set"}, ["set/set.000/coord.npy"],
         {"set/set.000/coord.npy", "set/set.000/box.npy", "set/type.raw", "set/type_map.raw"}),
        ({"path": "./deep/../other/named.gro"}, ["other/named.gro"], {"other/named.gro"}),
    ],
)  # fmt: skip
def test_of_the_inputs_those_that_are_read_are_fetched_with_what_lies_beside_them(
    store, inputs, read, wanted
):
    for name, size in LAYOUT.items():
        obstore.put(Tree(INPUTS).objects.client, name, os.urandom(size))
    with inputs_at_hand(study_of(store, **inputs)) as study:
        for name in wanted:
            assert (study.folder / name).stat().st_size == LAYOUT[name]
        assert store.inputs_read() == []
        assert fetch_inputs(study, [study.folder / name for name in read]) == sum(
            LAYOUT[name] for name in wanted
        )
        assert sorted(store.inputs_read()) == sorted(f"data/{name}" for name in wanted)
        assert fetch_inputs(study, [study.folder / name for name in read]) == 0
        for name in wanted:
            assert (study.folder / name).read_bytes() == (store.files / "data" / name).read_bytes()


@pytest.mark.parametrize(
    ("path", "words"), [("absent/*.xtc", "no files there"), ("../x.gro", "leads out of")]
)
def test_inputs_that_are_not_in_the_store_are_told(store, path, words):
    with pytest.raises(InputError, match=words), inputs_at_hand(study_of(store, path=path)):
        raise AssertionError
