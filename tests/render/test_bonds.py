"""Hydrogen bonds for pictures."""

import itertools

import numpy as np
import pytest

from mdpipe.render.bonds import dashes, find_hydrogen_bonds, nearest_image


def brute_force(positions, box):
    found = set()
    shifts = [np.array(s) @ box for s in itertools.product((-1, 0, 1), repeat=3)]
    for i, donor in enumerate(positions):
        for j, acceptor in enumerate(positions):
            for shift in shifts:
                between = acceptor[0] + shift - donor[0]
                r = np.linalg.norm(between)
                if not 0 < r < 0.35:
                    continue
                for h in (1, 2):
                    arm = donor[h] - donor[0]
                    cosine = arm @ between / (r * np.linalg.norm(arm))
                    if cosine > np.cos(np.radians(30)):
                        found.add((i, h, j))
    return found


@pytest.mark.parametrize("name", ["w216a", "tro360"])
def test_bonds_agree_with_all_images_of_all_pairs(reference, name):
    with np.load(reference / f"conf_{name}.npz") as data:
        positions, box = data["pos"].astype(float), data["box"].astype(float)
    oxygens = positions[:, 0]
    close = np.linalg.norm(nearest_image(oxygens[None] - oxygens[:1], box), axis=-1)[0] < 0.9
    some = positions[close]
    bonds = find_hydrogen_bonds(some, box)
    assert {tuple(map(int, b)) for b in bonds} == brute_force(some, box)
    assert len(bonds) > 20


def test_liquid_water_has_about_three_and_a_half_bonds_for_each_molecule(reference):
    with np.load(reference / "conf_w216a.npz") as data:
        positions, box = data["pos"].astype(float), data["box"].astype(float)
    # each bond has two ends; published for this definition: 3.3 to 3.9
    assert 3.3 < 2 * len(find_hydrogen_bonds(positions, box)) / len(positions) < 3.9


def test_a_bond_across_the_border_is_drawn_half_from_each_end():
    box = 2.0 * np.eye(3)
    donor = np.array([[1.95, 1, 1], [2.05, 1, 1], [1.95, 1.1, 1]])
    acceptor = np.array([[0.2, 1, 1], [0.25, 1.08, 1], [0.25, 0.92, 1]])
    positions = np.stack([donor, acceptor])
    bonds = find_hydrogen_bonds(positions, box)
    assert bonds.tolist() == [[0, 1, 1]]
    lines = dashes(positions, box, bonds, 0.01)
    # from the hydrogen at 2.05 to the middle at 2.125, from the oxygen at 0.2 back to 0.125
    x = np.sort(lines[:, [0, 3]].ravel())
    assert x[0] >= 0.125
    assert x[-1] <= 2.125
    assert not ((x > 0.2) & (x < 2.05)).any()
    moved = positions.copy()
    moved[1] += [2.0, 0, 0]
    whole = dashes(moved, box, bonds, 0.01)
    assert whole[:, [0, 3]].min() >= 2.05
    assert whole[:, [0, 3]].max() <= 2.2


def test_no_bonds_make_no_dashes():
    assert dashes(np.zeros((1, 3, 3)), np.eye(3), np.empty((0, 3), np.int64), 0.01).shape == (0, 7)
