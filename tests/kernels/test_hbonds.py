"""Hydrogen bonds: against the plain twin, in ice, and at the limits of the definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.kernels.hbonds import count_hydrogen_bonds
from mdpipe.kernels.naive_observables import naive_hydrogen_bonds
from mdpipe.kernels.neighbours import neighbour_list

REFERENCE = Path(__file__).parents[2] / "data" / "reference"


def bonds(positions, box, r_oo=0.35, angle=30.0):
    oxygens = np.ascontiguousarray(positions[:, 0])
    return count_hydrogen_bonds(neighbour_list(oxygens, box, r_oo), positions, angle)


def configuration(name):
    with np.load(REFERENCE / f"conf_{name}.npz") as data:
        return data["pos"].astype(np.float64), data["box"].astype(np.float64)


def test_bonds_equal_those_of_the_plain_twin():
    positions, box = configuration("tro360")
    keep = np.arange(0, 360, 3)  # a third of the molecules: the twin tries all images of all pairs
    np.testing.assert_array_equal(
        bonds(positions[keep], box, 0.5, 40.0),
        naive_hydrogen_bonds(positions[keep], box, 0.5, 40.0),
    )


def test_ice_has_four_bonds_per_molecule_two_donated_and_two_accepted():
    positions, box = configuration("ice432")
    counts = bonds(positions, box)
    # Thermal motion at 250 K breaks or bends a few: 3.97 on this configuration.
    assert counts.sum() / 432 == pytest.approx(4.0, abs=0.05)
    assert np.mean((counts == 2).all(axis=1)) > 0.95


def test_liquid_water_has_about_three_and_a_half_bonds():
    positions, box = configuration("w512")
    # 3.58 is published for SPC/E and this definition on one frame; frames differ by about 0.05.
    assert bonds(positions, box).sum() / 512 == pytest.approx(3.58, abs=0.1)


def dimer(r_oo, angle_deg):
    angle = np.radians(angle_deg)
    donor = [[0, 0, 0], [0.1 * np.cos(angle), 0.1 * np.sin(angle), 0], [-0.03, -0.095, 0]]
    acceptor = [[r_oo, 0, 0], [r_oo + 0.06, 0.08, 0], [r_oo + 0.06, -0.08, 0]]
    return np.array([donor, acceptor], dtype=np.float64) + 1.0


@pytest.mark.parametrize(
    ("r_oo", "angle", "expected"),
    [(0.28, 0.0, 1), (0.3499, 29.9, 1), (0.3501, 0.0, 0), (0.28, 30.1, 0), (0.28, 180.0, 0)],
)
def test_a_dimer_is_bonded_only_within_distance_and_angle(r_oo, angle, expected):
    counts = bonds(dimer(r_oo, angle), np.diag([3.0, 3.0, 3.0]))
    assert counts.tolist() == [[expected, 0], [0, expected]]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_bonds_follow_the_molecules_through_translation_images_and_permutation(seed):
    rng = np.random.default_rng(seed)
    positions, box = configuration("w216a")
    order = rng.permutation(216)
    moved = positions + rng.uniform(-3, 3, 3) + rng.integers(-2, 3, (216, 1, 3)) @ box
    np.testing.assert_array_equal(bonds(moved[order], box), bonds(positions, box)[order])
