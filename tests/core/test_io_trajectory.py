"""Trajectories of scenes."""

import subprocess
import sys

import numpy as np
import pytest

from mdpipe.failures import InputError, UsageError
from mdpipe.io.binary import dcd_box
from mdpipe.io.boxes import (
    box_from_cell,
    cell_from_box,
    is_degenerate,
    perpendicular_widths,
    standard_box,
)
from mdpipe.io.trajectory import read_scene_frames, write_topology, write_trajectory
from mdpipe.state import Frame


@pytest.fixture
def frames(reference):
    with np.load(reference / "conf_tro360.npz") as data:
        pos, box = data["pos"], data["box"]
    # Unwrapped trajectories leave the cell by many boxes.
    return [Frame(pos + 12.5 * k, box, 2.0 * (k + 1)) for k in range(5)]


@pytest.mark.parametrize("kind", ["xtc", "dcd"])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_scene_is_read_back_unwrapped(tmp_path, frames, kind, stride):
    path = tmp_path / f"trajectory.{kind}"
    assert write_trajectory(path, iter(frames), 360) == 5
    got = list(read_scene_frames(tmp_path, stride))
    assert [frame.number for frame in got] == list(range(0, 5, stride))
    for new, old in zip(got, frames[::stride], strict=True):
        # XTC: half of 1/1000 nm and float32 of 50 nm; DCD: float32 of 500 Å.
        atol = 5.1e-4 if kind == "xtc" else 4e-6
        np.testing.assert_allclose(new.positions, old.positions, rtol=0, atol=atol)
        assert new.time_ps == pytest.approx(old.time_ps, rel=1e-6)
        np.testing.assert_allclose(new.box, old.box, rtol=0, atol=2e-7)


def test_a_trajectory_of_three_molecules_is_stored_whole(tmp_path):
    """XTC stores up to 9 atoms without compression."""
    positions = np.random.default_rng(1).random((3, 3, 3))
    write_trajectory(tmp_path / "trajectory.xtc", [Frame(positions, np.eye(3))], 3)
    (frame,) = read_scene_frames(tmp_path)
    np.testing.assert_allclose(frame.positions, positions, atol=1e-7)


def test_a_scene_without_trajectory_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match=r"no trajectory.xtc or trajectory.dcd; run"):
        next(read_scene_frames(tmp_path))


def test_another_number_of_molecules_or_suffix_is_a_usage_error(tmp_path, frames):
    small = frames[1]._replace(positions=frames[1].positions[:9])
    with pytest.raises(UsageError, match="360 molecules takes"):
        write_trajectory(tmp_path / "t.xtc", [frames[0], small], 360)
    with pytest.raises(UsageError, match=r"\.xtc, \.trr or \.dcd"):
        write_trajectory(tmp_path / "t.gro", frames, 360)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "cell", [[2, 3, 4, 90, 90, 90], [2, 2, 2, 70.53, 109.47, 70.53], [2, 3, 4, 80, 100, 95]]
)
def test_cells_and_boxes_are_two_words_for_one_thing(cell):
    box = box_from_cell(np.array(cell, dtype=float))
    assert not np.triu(box, 1).any()
    np.testing.assert_allclose(cell_from_box(box), cell, rtol=1e-12)


def test_unit_cells_of_dcd_are_read_in_their_three_spellings():
    box = box_from_cell(np.array([2.0, 3.0, 4.0, 80.0, 100.0, 95.0]))
    degrees = np.array([20, 95, 30, 100, 80, 40.0])
    cosines = degrees.copy()
    cosines[[1, 3, 4]] = np.cos(np.radians(degrees[[1, 3, 4]]))
    np.testing.assert_allclose(dcd_box(degrees), box, atol=1e-14)
    np.testing.assert_allclose(dcd_box(cosines), box, atol=1e-14)
    symmetric = np.array([[30.0, -2.0, 3.0], [-2.0, 40.0, 1.0], [3.0, 1.0, 50.0]])
    triangle = symmetric[[0, 0, 1, 0, 1, 2], [0, 1, 1, 2, 2, 2]]
    np.testing.assert_allclose(dcd_box(triangle), 0.1 * symmetric)
    assert dcd_box(np.zeros(6)) is None


def test_a_box_is_reduced_without_changing_its_lattice():
    rng = np.random.default_rng(9)
    for _trial in range(20):
        box = np.tril(rng.normal(size=(3, 3))) + 3 * np.eye(3)
        skewed = box + np.array([[0, 0, 0], 2 * box[0], 3 * box[1] - box[0]])
        reduced, turn = standard_box(skewed)
        assert turn is None
        np.testing.assert_allclose(np.rint(reduced @ np.linalg.inv(box)) @ box, reduced, atol=1e-9)
        assert np.linalg.det(reduced) == pytest.approx(np.linalg.det(box))
        assert abs(reduced[1, 0]) <= 0.501 * reduced[0, 0]
        assert abs(reduced[2, 0]) <= 0.501 * reduced[0, 0]
        assert abs(reduced[2, 1]) <= 0.501 * reduced[1, 1]


def test_a_turned_box_is_turned_back_with_what_is_in_it():
    rng = np.random.default_rng(4)
    for _trial in range(20):
        lower = np.array([[3.0, 0, 0], [1.2, 2.8, 0], [-0.9, 1.3, 3.1]]) + 0.1 * rng.random()
        lower = np.tril(lower)
        rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        reduced, turn = standard_box(lower @ rotation)
        np.testing.assert_allclose(reduced, lower, atol=1e-14)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-15)
        np.testing.assert_allclose(turn, rotation.T, atol=1e-14)


def test_a_left_handed_box_becomes_a_right_handed_one():
    box = np.array([[0.0, 2.0, 0.0], [3.0, 0.0, 0.0], [0.0, 0.0, 4.0]])
    reduced, turn = standard_box(box)
    np.testing.assert_allclose(reduced, np.diag([2.0, 3.0, 4.0]), atol=1e-14)
    np.testing.assert_allclose(box @ turn, reduced, atol=1e-14)


def test_widths_are_those_between_faces_and_flat_boxes_are_degenerate():
    box = np.array([[2.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
    np.testing.assert_allclose(perpendicular_widths(box), [4 / np.sqrt(5), 2.0, 3.0])
    assert not is_degenerate(box)
    assert is_degenerate(np.array([[2.0, 0, 0], [4.0, 0, 0], [0, 0, 3.0]]))
    assert is_degenerate(0.1 * np.eye(3))
    assert is_degenerate(np.full((3, 3), np.nan))


ALONE = """
import sys
from mdpipe.io.trajectory import read_trajectory
before = [frame.positions for frame in read_trajectory(Path(sys.argv[1]))]
assert "MDAnalysis" not in sys.modules and "scipy" not in sys.modules, sorted(sys.modules)
import MDAnalysis
universe = MDAnalysis.Universe(sys.argv[2], sys.argv[1], to_guess=())
assert len(universe.trajectory) == len(before)
for frame, positions in zip(universe.trajectory, before):
    # MDAnalysis has float32 of Å.
    assert abs(0.1 * frame.positions - positions.reshape(-1, 3)).max() < 1e-5
assert MDAnalysis.lib.formats.libmdaxdr is sys.modules["MDAnalysis.lib.formats.libmdaxdr"]
"""


@pytest.mark.parametrize("kind", ["xtc", "trr", "dcd"])
def test_trajectories_are_read_without_the_rest_of_mdanalysis_and_leave_it_whole(
    tmp_path, frames, kind
):
    path, topology = tmp_path / f"t.{kind}", tmp_path / "t.gro"
    write_trajectory(path, frames[:2], 360)
    write_topology(topology, frames[0])
    code = "import warnings; from pathlib import Path\nwarnings.simplefilter('ignore')" + ALONE
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(topology)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
