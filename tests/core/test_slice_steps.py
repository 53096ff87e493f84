"""Steps in a slice: scenes by their number, and nothing that only the slice has."""

import json

import numpy as np
import pytest

from mdpipe.building.liquid import liquid
from mdpipe.failures import BusyError, UsageError
from mdpipe.models import load_model
from mdpipe.progress import ProgressWriter
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.policy import Policy
from mdpipe.scenes.spec import Scene, scene_key
from mdpipe.sealed import seal
from mdpipe.state import save_state, state_digest
from mdpipe.steps.plan import read_group, scene_of_group
from mdpipe.steps.simulate import simulate_group

NAMES = ("nvt", "nve")


@pytest.fixture
def slice_folder(tmp_path):
    """A slice of a group of which only the second scene is missing."""
    run = RunFolder(tmp_path / "00000")
    state = liquid(216, 0.997, load_model("spce"), seed=1)
    run.start("g000").parent.mkdir(parents=True)
    save_state(run.start("g000"), state)
    scenes = [
        Scene(
            name=name, ensemble=name, steps=4, frame_every=2, energy_every=2,
            nonbonded={"electrostatics": "rf"},
        )
        for name in NAMES
    ]  # fmt: skip
    rows = [
        {
            "name": scene.name,
            "key": scene_key(scene, state_digest(state)),
            "spec": scene.model_dump(mode="json"),
        }
        for scene in scenes
    ]
    line = {"id": "g000", "label": "liquid", "n_molecules": 216, "scenes": rows}
    run.plan.write_text(json.dumps(line | {"missing": ["nve"]}) + "\n")
    return run


def simulate(run, name, cache):
    return simulate_group(run.path, 0, name, cache, threads=1, progress=ProgressWriter(None))


def test_a_number_means_a_missing_scene_and_its_data_end_in_the_cache_alone(
    slice_folder, tmp_path, monkeypatch
):
    cache = SceneCache(tmp_path / "scenes")
    key = json.loads(slice_folder.plan.read_text())["scenes"][1]["key"]
    with monkeypatch.context() as patch:
        # where both are on one volume nothing is written twice
        patch.setattr("mdpipe.scenes.entry.hash_copy", None)
        assert simulate(slice_folder, "#0", cache) == "computed"
    assert cache.present([key]) == {key}
    assert not slice_folder.scene("g000", "nve").exists()
    assert simulate(slice_folder, "#0", cache) == "hit"
    assert cache.fetch(key, tmp_path / "scene") is not None
    with np.load(tmp_path / "scene" / "energies.npz") as energies:
        assert len(energies["time_ps"]) == 3


def test_a_scene_that_the_cache_refuses_fails_for_now_and_stays_for_the_next_attempt(
    slice_folder, tmp_path, monkeypatch
):
    full = SceneCache(tmp_path / "full", policy=Policy("guaranteed", max_bytes=1))
    with pytest.raises(BusyError, match="did not take entry"):
        simulate(slice_folder, "#0", full)
    assert (slice_folder.scene("g000", "nve") / "scene.json").is_file()
    roomy = SceneCache(tmp_path / "roomy")
    monkeypatch.setattr("mdpipe.simulation.run._Run", None)  # nothing is to be simulated again
    assert simulate(slice_folder, "#0", roomy) == "computed"
    key = json.loads(slice_folder.plan.read_text())["scenes"][1]["key"]
    assert roomy.present([key]) == {key}
    assert not slice_folder.scene("g000", "nve").exists()


@pytest.mark.parametrize("name", ["#1", "#", "#-1", "#x"])
def test_a_number_beyond_the_missing_scenes_is_refused(slice_folder, name):
    line = json.loads(slice_folder.plan.read_text())
    with pytest.raises(UsageError, match="has 1 missing scenes"):
        scene_of_group(line, name)
    del line["missing"]
    with pytest.raises(UsageError, match="only a slice knows"):
        scene_of_group(line, name)


def change_start(run):
    path = run.start("g000")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_settings(run):
    run.plan.write_text(run.plan.read_text().replace('"steps": 4', '"steps": 6'))


def change_name(run):
    run.plan.write_bytes(seal(run.plan.read_bytes()).replace(b'"nve"', b'"jve"', 1))


def change_form(run):
    run.plan.write_bytes(seal(run.plan.read_bytes()).replace(b"{", b"{{", 1))


@pytest.mark.parametrize("change", [change_start, change_settings, change_name, change_form])
def test_a_slice_that_was_changed_on_its_way_is_not_simulated(slice_folder, tmp_path, change):
    cache = SceneCache(tmp_path / "scenes")
    key = json.loads(slice_folder.plan.read_text())["scenes"][1]["key"]
    change(slice_folder)
    with pytest.raises(BusyError, match="damaged on the way"):
        simulate(slice_folder, "#0", cache)
    assert cache.present([key]) == set()


def test_a_sealed_slice_is_read_as_it_was_written(slice_folder):
    plain = read_group(slice_folder.path, 0)
    slice_folder.plan.write_bytes(seal(slice_folder.plan.read_bytes()))
    assert read_group(slice_folder.path, 0).items() > plain.items()
