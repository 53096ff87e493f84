"""The study file is checked once, and every fault is one line."""

import json
from pathlib import Path

import pytest

from mdpipe.failures import BusyError, StudyError
from mdpipe.scenes.spec import Scene, scene_key
from mdpipe.sealed import seal
from mdpipe.steps.plan import scenes_for_group
from mdpipe.study import load_study

MINIMAL = 'name = "a"\n[[inputs]]\npath = "in"\n'


def write(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return path


def test_a_minimal_study_has_three_scenes(tmp_path):
    study = load_study(write(tmp_path, MINIMAL))
    assert [scene.ensemble for scene in study.scenes] == ["nvt", "npt", "nve"]
    assert study.folder == tmp_path


def test_simulation_table_holds_for_all_scenes_and_a_scene_overrides_it(tmp_path):
    text = MINIMAL + (
        '[simulation]\nmodel = "opc"\nsteps = 7\n'
        '[[scenes]]\nname = "x"\nensemble = "nvt"\n'
        '[[scenes]]\nname = "y"\nensemble = "nve"\nmodel = "spce"\n'
    )
    first, second = load_study(write(tmp_path, text)).scenes
    assert (first.model, first.steps, second.model, second.steps) == ("opc", 7, "spce", 7)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = ", "cannot read the study file"),
        ('name = "a"\n', "inputs: Field required"),
        (MINIMAL + "[groups]\ndensity_bin = 0.1\n", "groups.density_bin: no such key"),
        (MINIMAL + "[simulation]\nsteps = -5\n", "simulation.steps: "),
        (
            MINIMAL + "[simulation]\nstepps = 5\n",
            "simulation.stepps: no such key; remove it or check its spelling",
        ),
        (MINIMAL + '[simulation]\ntemperature_K = "hot"\n', "got 'hot'"),
        ("scenes = 3\n" + MINIMAL, "[[scenes]] must be"),
        (
            MINIMAL + '[simulation]\nintegrator = "leapfrog"\nthermostat = "langevin"\n',
            "Langevin middle",
        ),
        (
            MINIMAL + ('[[scenes]]\nname = "x"\nensemble = "nvt"\nsteps = 1\n' * 2),
            "scene names must differ",
        ),
    ],
)
def test_every_fault_is_one_line_that_names_the_key(tmp_path, text, words):
    path = write(tmp_path, text)
    with pytest.raises(StudyError) as caught:
        load_study(path)
    message = str(caught.value)
    assert words in message
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_missing_study_is_a_study_error(tmp_path):
    with pytest.raises(StudyError, match="cannot read"):
        load_study(tmp_path / "absent.toml")


def test_scenes_run_at_the_temperature_of_their_group_unless_the_study_names_one(tmp_path):
    study = load_study(write(tmp_path, MINIMAL))
    assert {scene.temperature_K for scene in scenes_for_group(study, 250.0)} == {250.0}
    assert {scene.temperature_K for scene in scenes_for_group(study, None)} == {298.15}
    fixed = load_study(write(tmp_path, MINIMAL + "[simulation]\ntemperature_K = 310\n"))
    assert {scene.temperature_K for scene in scenes_for_group(fixed, 250.0)} == {310.0}


def test_a_scene_key_depends_on_all_that_decides_bits_and_on_nothing_else():
    scene = Scene(name="a", ensemble="nvt", steps=10)
    key = scene_key(scene, "start")
    assert key == scene_key(scene.model_copy(update={"name": "b"}), "start")
    assert key != scene_key(scene, "other")
    for change in ({"seed": 2}, {"steps": 11}, {"precision": "double"}, {"model": "opc"}):
        assert key != scene_key(scene.model_copy(update=change), "start")


def test_the_demo_study_is_sound(reference):
    study = load_study(Path(reference).parent / "demo" / "study.toml")
    assert all((study.folder / entry.path).is_file() for entry in study.inputs)


def test_a_pod_without_a_study_file_takes_its_text_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MDPIPE_STUDY_TEXT", 'name = "told"\n[[inputs]]\npath = "a.gro"\n')
    assert load_study(tmp_path / "study.toml").name == "told"
    (tmp_path / "study.toml").write_text('name = "file"\n[[inputs]]\npath = "a.gro"\n')
    assert load_study(tmp_path / "study.toml").name == "file"


def test_the_plan_of_a_slice_stands_for_the_study_that_it_carries(tmp_path):
    plan = tmp_path / "plan.jsonl"
    plan.write_bytes(seal(json.dumps({"study": 'name = "s"\n[[inputs]]\npath = "a"\n'}).encode()))
    assert load_study(plan).name == "s"
    plan.write_bytes(plan.read_bytes().replace(b"= ", b"@ ", 1))
    with pytest.raises(BusyError, match="damaged on the way"):
        load_study(plan)
    plan.write_text('{"id": "g000"}\n')
    with pytest.raises(StudyError, match=r"no plan of a slice, .*name the study's TOML file"):
        load_study(plan)
