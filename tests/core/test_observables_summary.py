"""Measurements of a whole scene, their files, and the table beside published values."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from mdpipe.failures import InputError
from mdpipe.models import model_keys
from mdpipe.observables import (
    OBSERVABLES,
    Measurements,
    Row,
    Scalar,
    load_measurements,
    measure_scene,
    summarise,
    write_summary,
)
from mdpipe.observables.published import published
from mdpipe.scenes.spec import Scene
from mdpipe.state import Frame
from mdpipe.units import density_g_cm3

INFO = {"ensemble": "nvt", "model": "spce", "temperature_K": 298.15, "pressure_bar": 1.0}


def scene(ensemble, scalars, **info):
    table = {name: Scalar(*entry) for name, entry in scalars.items()}
    return Measurements(table, {}, INFO | {"ensemble": ensemble} | info)


def by_name(rows):
    return {row.observable: row for row in rows}


@pytest.fixture(scope="module")
def liquid(reference):
    """A short "trajectory": one configuration that drifts through space, and its energies."""
    with np.load(reference / "conf_w216a.npz") as data:
        positions, box = data["pos"].astype(np.float64), data["box"].astype(np.float64)
    rng = np.random.default_rng(20)
    jumps = rng.normal(size=(30, 216, 1, 3)).cumsum(axis=0) * 0.02
    frames = [Frame(positions + jumps[k], box, 0.2 * k) for k in range(30)]
    t = np.arange(300) * 0.02
    energies = {
        "time_ps": t,
        "temperature_K": 298.0 + rng.normal(size=300),
        "pressure_bar": rng.normal(size=300) * 100.0,
        "density_g_cm3": np.full(300, density_g_cm3(216, float(np.linalg.det(box)))),
        "potential_kj_mol": 216 * (-46.8 + 0.1 * rng.normal(size=300)),
        "conserved_kj_mol": rng.normal(size=300),
    }
    return measure_scene(iter(frames), energies, Scene(name="a", ensemble="nve", steps=300))


def test_every_observable_of_the_table_is_measured_or_says_why_not(liquid):
    assert set(OBSERVABLES) <= set(liquid.scalars)
    for name, scalar in liquid.scalars.items():
        assert scalar.value is not None or scalar.note, name
        assert scalar.error is not None or scalar.note, name
    assert liquid.scalars["potential_energy"].value == pytest.approx(-46.8, abs=0.05)
    assert liquid.info["frames"] == 30
    assert liquid.info["length_ps"] == pytest.approx(5.8)


def test_measurements_survive_their_files(liquid, tmp_path):
    liquid.save(tmp_path)
    again = load_measurements(tmp_path)
    assert again.scalars == liquid.scalars
    assert again.info == liquid.info
    assert again.curves.keys() == liquid.curves.keys()
    for name, curve in liquid.curves.items():
        np.testing.assert_array_equal(again.curves[name], curve)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["observables.json", "observables.npz"]


def test_the_same_scene_gives_the_same_bytes(liquid, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        liquid.save(tmp_path / name)
    for file in ("observables.json", "observables.npz"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_damaged_measurements_are_an_input_error(liquid, tmp_path):
    liquid.save(tmp_path)
    whole = (tmp_path / "observables.npz").read_bytes()
    (tmp_path / "observables.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="measure the scene again"):
        load_measurements(tmp_path)


def test_a_scene_without_frames_is_an_input_error():
    with pytest.raises(InputError, match="no frame to measure"):
        measure_scene(iter(()), {}, Scene(name="empty", ensemble="nvt", steps=1))


def test_each_observable_comes_from_the_scene_that_speaks_for_it():
    every = dict.fromkeys(OBSERVABLES, (1.0, 0.1, ""))
    scenes = {e: scene(e, every) for e in ("nve", "npt", "nvt")}
    rows = by_name(summarise("g", scenes))
    assert rows["goo_peak_height"].scene == "nvt"
    assert rows["density"].scene == "npt"
    assert rows["diffusion"].scene == "nve"
    assert [row.observable for row in summarise("g", scenes)] == list(OBSERVABLES)


def test_another_scene_stands_in_where_the_authority_is_absent_or_has_no_value():
    scenes = {
        "a": scene("nve", {"diffusion": (None, None, "", 0, "run too short")}),
        "b": scene("nvt", {"diffusion": (2.4, 0.1, "")}),
    }
    assert by_name(summarise("g", scenes))["diffusion"].scene == "b"
    del scenes["b"]
    row = by_name(summarise("g", scenes))["diffusion"]
    assert (row.value, row.note) == (None, "run too short")


def test_deviations_are_in_joint_standard_errors():
    rows = by_name(summarise("g", {"npt": scene("npt", {"density": (1.003, 0.004, "g/cm³")})}))
    row, entry = rows["density"], published("spce", "density")
    assert row.published == entry.value == 0.999
    joint = np.hypot(0.004, entry.uncertainty)
    assert row.deviation_sigma == pytest.approx((1.003 - 0.999) / joint)
    assert row.deviation_percent == pytest.approx(100 * 0.004 / 0.999)
    assert row.experiment == 0.99705
    assert "from memory" in row.published_source


def test_a_value_without_error_has_no_deviation_in_sigma():
    rows = by_name(summarise("g", {"npt": scene("npt", {"density": (1.003, None, "g/cm³")})}))
    assert rows["density"].deviation_sigma is None
    assert rows["density"].deviation_percent is not None


@pytest.mark.parametrize(
    ("ensemble", "scalars", "info"),
    [
        ("npt", {}, {"temperature_K": 250.0}),
        ("npt", {}, {"pressure_bar": 2000.0}),
        ("npt", {"ice_fraction": (0.9, 0.01, "")}, {}),
        ("nvt", {"density": (1.2, 0.0, "")}, {}),
    ],
)
def test_published_values_are_not_set_beside_another_state(ensemble, scalars, info):
    one = scene(ensemble, {"goo_peak_height": (3.1, 0.01, "")} | scalars, **info)
    row = by_name(summarise("g", {"x": one}))["goo_peak_height"]
    assert (row.published, row.experiment) == (None, None)


def test_a_density_that_the_box_fixes_is_not_compared():
    one = scene("nvt", {"density": (0.997, 0.0, "g/cm³")})
    assert by_name(summarise("g", {"x": one}))["density"].published is None


def test_every_model_has_published_values_with_known_sources():
    for key in [*model_keys(), "experiment"]:
        entry = published(key, "density")
        assert entry is not None, key
        assert entry.status in {"verified", "from memory"}
        assert entry.source != "source not known"
    assert published("spce", "no such thing") is None


def test_summary_files_hold_all_rows(tmp_path):
    rows = summarise("liquid, 298 K", {"n": scene("npt", {"density": (1.0, None, "", 0, "a; b")})})
    write_summary(tmp_path, rows, {"study": "demo"})
    table = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert table["study"] == "demo"
    assert Row(**table["rows"][0]) == rows[0]
    with (tmp_path / "summary.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert lines[0]["group"] == "liquid, 298 K"
    assert float(lines[0]["value"]) == 1.0
    assert lines[0]["error"] == ""
