"""Slices of a plan: what is missing, where it lies, and what a workflow is told."""

import hashlib
import json
import math
import zipfile

import pytest

from mdpipe.failures import BusyError
from mdpipe.progress import ProgressWriter
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.objects import StoreDownError
from mdpipe.scenes.peaks import note_peak, read_peaks
from mdpipe.scenes.policy import Policy
from mdpipe.scenes.shared import bring, keep, locate
from mdpipe.steps.pending import EXECUTOR_MB, write_slices
from mdpipe.steps.plan import group_key
from mdpipe.study import study_from_table, study_text

SCENES = ("nvt", "npt", "nve")
TEXT = 'name = "x"\n'
SPEC = {"nonbonded": {"electrostatics": "pme"}}


def key_of(*parts):
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def plan_line(index, molecules=216):
    return {
        "index": index,
        "id": f"g{index:03d}",
        "label": f"liquid {index}",
        "n_molecules": molecules,
        "scenes": [{"name": s, "key": key_of(index, s), "spec": SPEC} for s in SCENES],
    }


def make_study(folder, **tables):
    return study_from_table({"name": "x", "inputs": [{"path": "in"}], **tables}, folder / "s.toml")


@pytest.fixture
def study(tmp_path):
    return make_study(tmp_path)


@pytest.fixture
def cache(tmp_path):
    return SceneCache(tmp_path / "scenes")


@pytest.fixture
def plan(tmp_path):
    """A run folder with the plan of four groups, and their start states."""
    run = tmp_path / "run"
    run.mkdir()

    def write(*molecules):
        lines = [plan_line(i, n) for i, n in enumerate(molecules)]
        (run / "plan.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        with zipfile.ZipFile(run / "starts.zip", "w") as packed:
            for line in lines:
                packed.writestr(f"{line['id']}.npz", f"start of {line['id']}")
        return run, lines

    return write


def publish(cache, tmp_path, *keys):
    folder = tmp_path / "made"
    folder.mkdir(exist_ok=True)
    (folder / "data").write_text("data")
    for key in keys:
        assert cache.publish(key, folder)


def look(study, run, cache, **other):
    write_slices(study, run, run / "starts.zip", cache, ProgressWriter(None), text=TEXT, **other)
    told = RunFolder(run).parameters
    return {path.name: json.loads(path.read_text()) for path in told.iterdir()}


def test_a_slice_carries_the_text_of_its_study(study, plan, cache):
    run, _ = plan(216, 216)
    look(study, run, cache)
    assert study_text(RunFolder(run).slice(1) / "plan.jsonl") == TEXT


def slices(run):
    rows = sorted(p for p in RunFolder(run).pending.iterdir() if p.name != "parameters")
    return [json.loads((row / "plan.jsonl").read_text()) for row in rows]


def test_slices_are_the_groups_that_are_not_whole_the_ones_with_most_to_do_first(
    study, plan, cache, tmp_path
):
    run, lines = plan(216, 216, 216, 216)
    publish(cache, tmp_path, group_key(study.render, lines[1]))  # whole, though without scenes
    publish(cache, tmp_path, key_of(0, "npt"))
    publish(cache, tmp_path, *(key_of(2, name) for name in SCENES))  # only pictures are missing
    told = look(study, run, cache)
    found = slices(run)
    assert [line["id"] for line in found] == ["g003", "g000", "g002"]
    assert [line["missing"] for line in found] == [list(SCENES), ["nvt", "nve"], []]
    assert (told["rows"], told["last"], told["bounds"]) == (3, 2, [2, 2, 1])
    starts = sorted(p.relative_to(run / "pending").as_posix() for p in run.rglob("start.npz"))
    assert starts == ["00000/groups/g003/start.npz", "00001/groups/g000/start.npz"]
    assert (run / "pending" / starts[1]).read_text() == "start of g000"


def test_every_line_of_the_plan_has_its_groups_key_which_another_picture_size_changes(
    study, plan, cache, tmp_path
):
    run, lines = plan(216, 216)
    look(study, run, cache)
    first = [
        json.loads(text)["group_key"] for text in (run / "plan.jsonl").read_text().splitlines()
    ]
    assert first == [group_key(study.render, line) for line in lines]
    look(make_study(tmp_path, render={"width": 640}), run, cache)
    again = [
        json.loads(text)["group_key"] for text in (run / "plan.jsonl").read_text().splitlines()
    ]
    assert not set(again) & set(first)


def test_a_second_look_leaves_nothing_of_the_first(study, plan, cache, tmp_path):
    run, lines = plan(216, 216)
    look(study, run, cache)
    publish(cache, tmp_path, *(group_key(study.render, line) for line in lines))
    told = look(study, run, cache)
    assert (told["rows"], told["last"], told["bounds"]) == (0, -1, [0, 0, 0])
    assert [p.name for p in (run / "pending").iterdir()] == ["parameters"]
    assert set(told["memory"]) == {"simulate", "render", "combine"}


def test_memory_is_that_of_the_largest_pending_group_in_tiers_of_whole_mebibytes(
    study, plan, cache, tmp_path
):
    run, lines = plan(216, 32768, 500_000)
    publish(cache, tmp_path, group_key(study.render, lines[2]))
    tiers = look(study, run, cache)["memory"]
    first = math.ceil((390 + EXECUTOR_MB) * 1e6 / 2**20)  # 390 MB: 320 by the table, and a fifth
    assert tiers["simulate"][0] == first
    assert tiers["simulate"] == [
        math.ceil((390 * 2**n + EXECUTOR_MB) * 1e6 / 2**20) for n in range(4)
    ]
    assert len(tiers["render"]) == len(tiers["combine"]) == 4


def test_measured_peaks_and_tiers_by_hand_take_the_place_of_estimates(plan, cache, tmp_path):
    run, _ = plan(216)
    resources = {"memory_mb_of": {"render-g0*": 300}, "memory_factor": 3.0, "memory_tiers": 2}
    study = make_study(tmp_path, resources=resources)
    tiers = look(study, run, cache, peaks={"simulate 216 pme": 400.0})["memory"]
    expected = {"simulate": [500, 1500], "render": [300, 900]}
    for kind, values in expected.items():
        assert tiers[kind] == [math.ceil((mb + EXECUTOR_MB) * 1e6 / 2**20) for mb in values]


def test_of_the_peaks_of_a_size_the_greatest_counts_and_what_is_no_size_is_left_out(cache):
    assert read_peaks(cache) == {}
    for peak in (203.0, 187.2, 209.9, 12.0):
        note_peak(cache, "simulate 216 pme", peak)
    note_peak(cache, "render 216 960x540 2", 300.0)
    note_peak(cache, "../../etc", 300.0)
    note_peak(cache, "simulate 216 rf", 0.0)
    assert read_peaks(cache) == {"simulate 216 pme": 210.0, "render 216 960x540 2": 300.0}
    names = sorted(path.name for path in cache.folder.rglob("*") if path.is_file())
    assert names == ["190", "20", "210", "300"]


class Down:
    """A durable tier that does not answer, or takes nothing."""

    def __init__(self, *, there=False):
        self.there, self.pushed = there, 0
        self.objects = type("Objects", (), {"patience": type("P", (), {"rest_s": 0.0})})

    def listed(self, *_):
        raise StoreDownError("it does not answer")

    demand = describe = listed

    def push(self, *_):
        self.pushed += 1
        return False


def test_a_store_that_is_down_fails_the_look_up_for_now_instead_of_making_everything_pending(
    study, plan, cache
):
    run, _ = plan(216)
    cache.durable = Down()
    with pytest.raises(BusyError):
        look(study, run, cache)
    assert not (run / "pending").exists()


def test_what_no_other_host_could_fetch_fails_for_now(cache, tmp_path, monkeypatch):
    publish(cache, tmp_path, key_of(1))
    keep(cache, key_of(1), tmp_path / "made")
    small = SceneCache(tmp_path / "small", policy=Policy("guaranteed", max_bytes=1))
    with pytest.raises(BusyError, match="did not take"):
        keep(small, key_of(1), tmp_path / "made")
    cache.durable = Down()
    monkeypatch.setattr(Down, "describe", lambda *_: None)
    with pytest.raises(BusyError, match="did not take"):
        keep(cache, key_of(1), tmp_path / "made")
    assert cache.durable.pushed > 1
    with pytest.raises(StoreDownError):
        bring(cache, key_of(2), tmp_path / "into")


def test_a_fetched_entry_is_the_published_one_and_an_absent_one_changes_nothing(cache, tmp_path):
    publish(cache, tmp_path, key_of(1))
    assert locate(cache, {key_of(1), key_of(2)}) == {key_of(1)}
    assert bring(cache, key_of(1), tmp_path / "a")
    assert (tmp_path / "a" / "data").read_text() == "data"
    assert not bring(cache, key_of(2), tmp_path / "a")
    assert (tmp_path / "a" / "data").read_text() == "data"
