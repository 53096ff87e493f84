"""Checks of frames: sound water passes, each fault is named."""

import numpy as np
import pytest

from mdpipe.preprocessing.checks import check_frame
from mdpipe.state import Frame
from mdpipe.study import Groups


@pytest.fixture
def frame(reference):
    with np.load(reference / "conf_tro360.npz") as data:
        return Frame(data["pos"], data["box"], source="water.xtc", number=4)


def changed(frame, where, value):
    positions = frame.positions.astype(np.float64)
    positions[where] = value
    return frame._replace(positions=positions)


def words(frame, settings=None, **more):
    problems = check_frame(frame, settings or Groups(), **more)
    assert {(p.file, p.frame) for p in problems} <= {("water.xtc", 4)}
    assert all(p.remedy for p in problems)
    return [problem.what for problem in problems]


@pytest.mark.parametrize("name", ["w216a", "ortho480", "tro360", "ice432", "w512"])
def test_sound_water_and_ice_pass(reference, name):
    with np.load(reference / f"conf_{name}.npz") as data:
        good = Frame(data["pos"], data["box"], source="water.xtc", number=4)
    assert words(good, r_cut_nm=0.9) == []


def test_sound_water_passes_in_any_image(frame):
    shifts = np.random.default_rng(0).integers(-2, 3, (360, 1, 3)) @ frame.box
    assert words(frame._replace(positions=frame.positions + shifts)) == []


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_the_only_fault(frame, value):
    (what,) = words(changed(frame, (17, 2, 0), value))
    assert "positions are not finite (first: molecule 17)" in what
    velocities = np.zeros((360, 3, 3))
    velocities[3, 1, 1] = value
    (what,) = words(frame._replace(velocities=velocities))
    assert "velocities are not finite (first: molecule 3)" in what


@pytest.mark.parametrize("box", [np.zeros((3, 3)), 0.1 * np.eye(3), np.full((3, 3), np.nan)])
def test_a_box_without_volume_is_the_only_fault(frame, box):
    assert words(frame._replace(box=box)) == ["no periodic box"]


def test_two_molecules_on_one_place_overlap_across_the_boundary(frame):
    moved = frame.positions[5] + [0.02, 0.0, 0.0] + frame.box[1] - frame.box[2]
    overlaps = [what for what in words(changed(frame, 9, moved)) if "overlaps" in what]
    assert len(overlaps) == 2
    assert "O-O closer than 0.2 nm (shortest 0.020 nm, molecules 5 and 9)" in overlaps[0]
    assert "atoms of different molecules closer than 0.1 nm" in overlaps[1]


def test_hydrogens_that_touch_are_found_where_oxygens_do_not():
    water = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [-0.033, 0.094, 0.0]])
    other = water * [-1.0, 1.0, 1.0] + [0.28, 0.0, 0.0]
    pair = Frame(np.stack([water, other]), 1.5 * np.eye(3), source="water.xtc", number=4)
    (what,) = words(pair, Groups(density_range_g_cm3=(0.0, 2.0)))
    assert what.startswith("1 overlaps: atoms of different molecules")


@pytest.mark.parametrize("atom", [[0.06, 0.0, 0.0], [0.14, 0.0, 0.0]])
def test_a_bond_of_the_wrong_length_is_a_broken_molecule(frame, atom):
    broken = changed(frame, (33, 1), frame.positions[33, 0] + atom)
    assert any("1 molecules are broken (first: molecule 33)" in what for what in words(broken))


def test_a_straight_molecule_is_broken(frame):
    arm = frame.positions[33, 1] - frame.positions[33, 0]
    broken = changed(frame, (33, 2), frame.positions[33, 0] - arm)
    assert any("molecule 33" in what for what in words(broken))


def test_density_out_of_range_says_both(frame):
    (what,) = words(frame._replace(box=1.3 * frame.box))
    assert what.startswith("density 0.45")
    assert "0.5-1.5" in what
    assert words(frame, Groups(density_range_g_cm3=(1.1, 1.2)))


def test_a_box_too_small_for_the_cutoff_says_both(frame):
    # The octahedron is 2.17 nm wide between its faces, though its edges are 2.41 nm long.
    (what,) = words(frame, r_cut_nm=1.1)
    assert "less than 2 r_cut = 2.200 nm" in what
