"""Bonds and contacts under periodic images against searches over all images."""

import numpy as np
import pytest

from mdpipe.kernels import contacts, naive_io, recognise

BOXES = {
    "cube": np.diag([1.2, 1.2, 1.2]),
    "narrow": np.diag([0.45, 0.7, 2.0]),
    "skewed": np.array([[1.1, 0.0, 0.0], [0.5, 1.0, 0.0], [-0.5, 0.45, 0.9]]),
}


@pytest.mark.parametrize("name", BOXES)
def test_each_hydrogen_gets_its_nearest_oxygen(name):
    box = BOXES[name]
    rng = np.random.default_rng(11)
    oxygens = rng.random((40, 3)) @ box
    hydrogens = (rng.random((90, 3)) * 5 - 2) @ box
    owner, counts = np.empty(90, dtype=np.int64), np.empty(40, dtype=np.int64)
    recognise.match_hydrogens(oxygens, hydrogens, box, 0.13, owner, counts)
    expected, expected_counts = naive_io.match_hydrogens(oxygens, hydrogens, box, 0.13)
    assert (expected >= 0).any()
    np.testing.assert_array_equal(owner, expected)
    np.testing.assert_array_equal(counts, expected_counts)


@pytest.mark.parametrize("name", BOXES)
def test_points_on_the_faces_of_the_box_are_binned(name):
    box = BOXES[name]
    corners = np.array([(a, b, c) for a in (0, 1) for b in (0, 1) for c in (0, 1)], dtype=float)
    oxygens = np.ascontiguousarray(corners[:1] @ box)
    hydrogens = np.ascontiguousarray(corners @ box - 1e-17)
    owner, counts = np.empty(8, dtype=np.int64), np.empty(1, dtype=np.int64)
    recognise.match_hydrogens(oxygens, hydrogens, box, 0.13, owner, counts)
    np.testing.assert_array_equal(owner, 0)
    assert counts[0] == 8


@pytest.mark.parametrize("name", BOXES)
def test_gathered_hydrogens_lie_in_the_nearest_image_of_their_oxygen(name):
    box = BOXES[name]
    rng = np.random.default_rng(5)
    whole = rng.random((20, 1, 3)) @ box + rng.normal(0, 0.04, (20, 3, 3))
    moved = whole + rng.integers(-2, 3, (20, 3, 3)) @ box
    atoms = np.ascontiguousarray(moved.reshape(-1, 3))
    order = np.arange(60).reshape(-1, 3)
    out = np.empty((20, 3, 3))
    longest, worst = recognise.gather_whole(atoms, order, box, 0.1, out)
    np.testing.assert_array_equal(out[:, 0], moved[:, 0])
    bonds = out[:, 1:] - out[:, :1]
    for molecule in range(20):
        for h in (0, 1):
            expected = naive_io.nearest_image(bonds[molecule, h], box)
            # Shifts of two boxes cancel to the last digits of a position of a few nm.
            np.testing.assert_allclose(bonds[molecule, h], expected, atol=1e-14)
    lengths = np.linalg.norm(bonds, axis=2).max(axis=1)
    assert worst == np.argmax(lengths)
    assert longest == pytest.approx(lengths.max(), rel=1e-12)


def test_atoms_of_a_whole_molecule_keep_their_bits():
    atoms = np.random.default_rng(2).normal(5.0, 0.03, (3, 3))
    out = np.empty((1, 3, 3))
    recognise.gather_whole(atoms, np.array([[0, 1, 2]]), np.diag([3.0, 3.0, 3.0]), 0.1, out)
    np.testing.assert_array_equal(out[0], atoms)


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize(("per_molecule", "r_min"), [(1, 0.2), (3, 0.1)])
def test_close_contacts_are_those_of_a_search_over_all_pairs(name, per_molecule, r_min):
    box = BOXES[name]
    rng = np.random.default_rng(23)
    sites = (rng.random((90, 3)) * 3 - 1) @ box
    count, shortest, i, j = contacts.close_contacts(sites, per_molecule, box, r_min)
    expected, r = naive_io.close_contacts(sites, per_molecule, box, r_min)
    assert expected > 0
    assert count == expected
    assert shortest == pytest.approx(r, rel=1e-10)
    assert 0 <= i < j


def test_no_contact_gives_an_infinite_distance():
    sites = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
    assert contacts.close_contacts(sites, 1, np.eye(3), 0.2) == (0, np.inf, -1, -1)


def test_a_molecule_with_nan_is_misshapen():
    good = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [-0.033, 0.094, 0.0]])
    positions = np.stack([good, np.full((3, 3), np.nan), good])
    assert contacts.misshapen(positions, 0.07, 0.13, -0.9, 0.4) == (1, 1)
