"""Sample data: made in any size and format, and the set that lies in the repository."""

import json
import math

import numpy as np
import pytest

from mdpipe.failures import UsageError
from mdpipe.io.inputs import Problem, discover, read_frames
from mdpipe.preprocessing.checks import check_frame
from mdpipe.preprocessing.classify import classify_frame
from mdpipe.products import file_digest
from mdpipe.state import Frame
from mdpipe.steps.data import DataRequest, _replayed, make_data, split_size
from mdpipe.steps.samples import CHECKSUMS, SAMPLES
from mdpipe.study import Groups, Inputs


@pytest.fixture(scope="session")
def inputs(reference):
    return reference.parent / "inputs"


def sound(path, topology=None):
    frames = list(read_frames(path, topology))
    assert not [item for item in frames if isinstance(item, Problem)]
    return frames


def test_a_small_box_is_made_simulated_and_read_back(tmp_path):
    request = DataRequest(90, 3, "trr", interval_ps=0.01, equilibration_ps=0.05)
    told = []
    facts = make_data(request, tmp_path, progress=lambda *report: told.append(report))
    frames = sound(tmp_path / "liquid-298K-90.trr")
    assert [frame.time_ps for frame in frames] == pytest.approx([0.0, 0.01, 0.02], abs=1e-6)
    assert {len(frame.positions) for frame in frames} == {90}
    assert not np.array_equal(frames[0].positions, frames[1].positions)
    assert classify_frame(frames[2]).density_g_cm3 == pytest.approx(0.997, rel=1e-4)
    assert told[-1] == ("write", 3, 3)
    assert {stage for stage, _, _ in told} == {"minimise", "equilibrate", "write"}
    assert json.loads((tmp_path / "liquid-298K-90.made.json").read_text()) == facts
    assert facts["bytes"] == (tmp_path / "liquid-298K-90.trr").stat().st_size
    assert not list(tmp_path.glob(".*"))


def test_a_large_box_repeats_a_small_one_and_a_long_run_a_short_one(tmp_path):
    request = DataRequest(
        1200, 5, "npy", interval_ps=0.01, equilibration_ps=0.01, simulated_frames=3
    )
    facts = make_data(request, tmp_path, name="large")
    assert (facts["n_molecules"], facts["frames"]) == (1200, 5)
    assert (facts["simulated_molecules"], facts["copies"]) == (600, [1, 1, 2])
    frames = sound(tmp_path / "large.npy")
    assert len(frames) == 5
    # There and back again: 0 1 2 1 0.
    assert np.array_equal(frames[3].positions, frames[1].positions)
    assert np.array_equal(frames[4].positions, frames[0].positions)
    assert not np.array_equal(frames[2].positions, frames[1].positions)
    shift = frames[0].positions[600:] - frames[0].positions[:600]
    assert np.allclose(shift, frames[0].box[2] / 2, atol=1e-5)


def test_a_suffix_names_its_format(tmp_path):
    facts = make_data(DataRequest(90, 1, "lammpstrj", equilibration_ps=0.01), tmp_path, name="a")
    assert facts["request"]["format"] == "lammpsdump"
    assert len(sound(tmp_path / "a.lammpstrj")) == 1


def test_frames_gone_through_backwards_have_reversed_velocities():
    speeds = [np.full((1, 3, 3), k + 1.0) for k in range(3)]
    frames = [Frame(v, np.eye(3), 0.0, v) for v in speeds]
    seen = list(_replayed(frames, 8, 0.5))
    assert [frame.positions[0, 0, 0] for frame in seen] == [1, 2, 3, 2, 1, 2, 3, 2]
    assert [frame.velocities[0, 0, 0] for frame in seen] == [1, 2, 3, -2, 1, 2, 3, -2]
    assert [frame.time_ps for frame in seen] == [0.5 * k for k in range(8)]
    assert len(list(_replayed(frames[:1], 4, 0.5))) == 4


@pytest.mark.parametrize("molecules", [64, 1000, 1001, 4096, 8000, 33000, 100_003, 1_000_000])
def test_a_size_is_split_into_a_box_that_can_be_simulated(molecules):
    base, repeats = split_size(molecules)
    assert base <= 1000
    assert base * math.prod(repeats) == pytest.approx(molecules, rel=0.005)
    if molecules in {4096, 8000, 33000, 1_000_000}:
        assert base * math.prod(repeats) == molecules


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"format": "doc"}, "format must be one of xtc, .*got 'doc'"),
        ({"phase": "steam"}, "phase must be one of liquid, .*got 'steam'"),
        ({"box": "sphere"}, "box must be one of cubic, .*got 'sphere'"),
        ({"frames": 0}, "frames must be above 0, got 0"),
        ({"molecules": 20}, r"20 molecules make a box only 0\.8"),
        ({"phase": "interface", "density_g_cm3": 1.0}, "follows from ice and liquid"),
    ],
)
def test_what_cannot_be_made_says_why_and_leaves_nothing(tmp_path, wrong, said):
    request = DataRequest(**({"molecules": 100, "frames": 1} | wrong))
    with pytest.raises(UsageError, match=said):
        make_data(request, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["inputs", "flawed"])
def test_the_samples_match_their_checksums(inputs, folder):
    place = inputs.parent / folder
    lines = (place / CHECKSUMS).read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    there = {path.name for path in place.iterdir() if path.name not in {CHECKSUMS, "README.md"}}
    assert set(listed) == there
    assert {name: file_digest(place / name) for name in listed} == listed
    assert sum((place / name).stat().st_size for name in listed) < 6e6


def test_the_folder_of_samples_is_an_input_as_it_stands(inputs):
    files = [path.name for path in discover(Inputs(path="inputs"), inputs.parent)]
    assert sorted(path.partition(".")[0] for path in files) == sorted(SAMPLES)


@pytest.mark.parametrize(
    ("file", "structure", "shape", "n_molecules", "density"),
    [
        ("liquid-298K.xtc", "liquid", "cubic", 216, 0.997),
        ("hot-340K.extxyz", "liquid", "cubic", 216, 0.979),
        ("supercooled-240K.lammpstrj", "supercooled", "cubic", 216, 0.997),
        ("expanded-320K.npy", "liquid", "orthorhombic", 343, 0.90),
        ("octahedron-298K.trr", "liquid", "truncated-octahedron", 360, 0.997),
        ("ice-Ih-250K.gro", "ice-Ih", "orthorhombic", 432, 0.92),
        ("ice-Ic-240K.pdb", "ice-Ic", "cubic", 216, 0.92),
        ("interface-220K.dcd", "interface", "orthorhombic", 756, 0.953),
    ],
)
def test_every_sample_is_what_its_name_says(inputs, file, structure, shape, n_molecules, density):
    frames = sound(inputs / file)
    request = SAMPLES[file.partition(".")[0]]
    assert len(frames) == request.frames
    found = [classify_frame(frame) for frame in frames]
    assert {(one.structure, one.box_shape, one.n_molecules) for one in found} == {
        (structure, shape, n_molecules)
    }
    assert found[0].density_g_cm3 == pytest.approx(density, abs=0.001)
    # Every box takes a cutoff of 0.9 nm.
    assert min(1 / np.linalg.norm(np.linalg.inv(frames[0].box), axis=0)) >= 1.86
    known = [one.temperature_K for one in found if one.temperature_K is not None]
    assert len(known) == (
        len(frames) if request.format in {"extxyz", "lammpsdump", "trr", "gro"} else 0
    )
    if known:
        # Eight frames 0.5 ps apart with a thermostat of 0.5 ps are worth about five independent.
        noise = request.temperature_K / np.sqrt(3 * n_molecules) / np.sqrt(5)
        assert np.mean(known) == pytest.approx(request.temperature_K, abs=4 * noise)


@pytest.mark.parametrize(
    ("file", "sound_frames"), [("truncated.xtc", 12), ("no-box.pdb", 0), ("nan.extxyz", None)]
)
def test_the_flawed_samples_are_flawed(inputs, file, sound_frames):
    items = list(read_frames(inputs.parent / "flawed" / file))
    problems = [item for item in items if isinstance(item, Problem)]
    frames = [item for item in items if not isinstance(item, Problem)]
    problems += [fault for frame in frames for fault in check_frame(frame, Groups())]
    assert problems
    if sound_frames is not None:
        assert len(frames) == sound_frames
