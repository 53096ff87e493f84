"""Built boxes: right density and geometry, ice rules, no dipole, the same bits from a seed."""

from collections import Counter

import numpy as np
import pytest

from mdpipe.building.ice import ice, ice_in_liquid, ice_repeats
from mdpipe.building.liquid import liquid
from mdpipe.building.molecules import supercell
from mdpipe.failures import UsageError
from mdpipe.kernels.neighbours import nearest4, neighbour_list
from mdpipe.models import load_model
from mdpipe.state import state_digest

SPCE = load_model("spce")


def geometry(positions):
    arms = positions[:, 1:] - positions[:, :1]
    lengths = np.linalg.norm(arms, axis=2)
    cosines = (arms[:, 0] * arms[:, 1]).sum(axis=1) / lengths.prod(axis=1)
    return lengths, np.degrees(np.arccos(cosines))


@pytest.mark.parametrize("model", ["spce", "tip3p", "tip4p2005", "opc"])
@pytest.mark.parametrize("box", ["cubic", "orthorhombic", "truncated-octahedron"])
def test_a_liquid_has_the_models_geometry_and_the_density(model, box):
    water = load_model(model)
    state = liquid(150, 0.95, water, 7, box)
    lengths, angles = geometry(state.positions)
    assert np.allclose(lengths, water.r_oh_nm, atol=1e-12)
    assert np.allclose(angles, water.angle_hoh_deg, atol=1e-9)
    assert state.density_g_cm3 == pytest.approx(0.95, rel=1e-12)
    assert np.allclose(state.box, np.tril(state.box))
    oxygens = np.ascontiguousarray(state.positions[:, 0])
    # Lattice sites: nothing nearer than where a minimiser still gets hold of it.
    assert np.linalg.norm(nearest4(oxygens, state.box)[1][:, 0], axis=1).min() > 0.22


def test_a_liquid_points_its_molecules_everywhere():
    state = liquid(1000, 1.0, SPCE, 3)
    bisectors = state.positions[:, 1:].mean(axis=1) - state.positions[:, 0]
    mean = (bisectors / np.linalg.norm(bisectors, axis=1, keepdims=True)).mean(axis=0)
    # The standard error of a component of 1000 random directions is 0.018.
    assert np.abs(mean).max() < 4 * 0.018


@pytest.mark.parametrize(
    "build",
    [
        lambda seed: liquid(50, 1.0, SPCE, seed),
        lambda seed: ice((3, 2, 2), 0.92, SPCE, seed),
        lambda seed: ice_in_liquid((3, 2, 2), 40, SPCE, seed),
    ],
)
def test_the_same_seed_gives_the_same_bits_and_another_seed_another_box(build):
    assert state_digest(build(5)) == state_digest(build(5))
    assert state_digest(build(5)) != state_digest(build(6))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    ("phase", "repeats"),
    [("ice-Ih", (2, 2, 2)), ("ice-Ih", (3, 3, 3)), ("ice-Ih", (6, 3, 3)), ("ice-Ic", (3, 3, 3))],
)
def test_ice_obeys_the_rules_of_bernal_and_fowler_without_a_dipole(phase, repeats, seed):
    state = ice(repeats, 0.92, SPCE, seed, phase)
    assert state.n_molecules == 8 * np.prod(repeats)
    assert state.density_g_cm3 == pytest.approx(0.92, rel=1e-12)
    lengths, angles = geometry(state.positions)
    assert np.allclose(lengths, 0.1, atol=1e-12)
    assert np.allclose(angles, 109.47, atol=1e-9)

    # Which oxygen each hydrogen points to, from the coordinates alone.
    oxygens = np.ascontiguousarray(state.positions[:, 0])
    indices, vectors = nearest4(oxygens, state.box)
    donated, accepted, bonds = Counter(), Counter(), Counter()
    for i in range(state.n_molecules):
        for arm in state.positions[i, 1:] - state.positions[i, 0]:
            slot = int(np.argmax(vectors[i] @ arm))
            j = int(indices[i, slot])
            donated[i] += 1
            accepted[j] += 1
            middle = oxygens[i] + vectors[i, slot] / 2
            middle = (middle @ np.linalg.inv(state.box)) % 1.0
            bonds[tuple(np.round(middle, 6) % 1.0)] += 1
    assert set(donated.values()) == {2}
    assert len(accepted) == state.n_molecules
    assert set(accepted.values()) == {2}
    assert len(bonds) == 2 * state.n_molecules
    assert set(bonds.values()) == {1}

    dipole = (state.positions[:, 1:] - state.positions[:, :1]).sum(axis=(0, 1))
    assert np.abs(dipole).max() < 1e-10


def test_the_protons_of_ice_are_disordered():
    state = ice((6, 3, 3), 0.92, SPCE, 1)
    bisectors = state.positions[:, 1:].mean(axis=1) - state.positions[:, 0]
    directions = Counter(tuple(np.round(b / np.linalg.norm(b), 3) + 0.0) for b in bisectors)
    # Each of the four kinds of site has six orientations; 72 molecules to each direction and
    # its like would be equal shares, an ordered crystal has at most four directions in all.
    assert len(directions) >= 12
    assert max(directions.values()) < 0.2 * state.n_molecules


def test_no_two_hydrogens_come_close_in_ice():
    state = ice((3, 2, 2), 0.92, SPCE, 4)
    hydrogens = np.ascontiguousarray(state.positions[:, 1:].reshape(-1, 3))
    _, _, vectors = neighbour_list(hydrogens, state.box, 0.3)
    assert np.linalg.norm(vectors, axis=1).min() > 0.15


def test_a_supercell_has_the_same_density_and_neighbours():
    state = liquid(40, 1.0, SPCE, 2, "truncated-octahedron")
    state.velocities += np.arange(360.0).reshape(40, 3, 3)
    double = supercell(state, (2, 1, 3))
    assert double.n_molecules == 240
    assert double.density_g_cm3 == pytest.approx(1.0, rel=1e-12)
    assert np.array_equal(double.velocities[40:80], state.velocities)
    once = nearest4(np.ascontiguousarray(state.positions[:, 0]), state.box)[1]
    more = nearest4(np.ascontiguousarray(double.positions[:, 0]), double.box)[1]
    lengths = np.linalg.norm(once, axis=2)
    assert np.allclose(np.tile(lengths, (6, 1)), np.linalg.norm(more, axis=2), atol=1e-10)


def test_the_block_of_ice_is_compact_and_large_enough():
    for n in (1, 64, 216, 432, 1000, 4096):
        for phase in ("ice-Ih", "ice-Ic"):
            assert n <= 8 * np.prod(ice_repeats(n, phase)) <= max(1.35 * n, 120)
    assert ice_repeats(432) == (6, 3, 3)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: liquid(0, 1.0, SPCE, 1), "at least 1 molecule, got 0"),
        (lambda: liquid(10, 997.0, SPCE, 1), r"0\.05 to 1\.6 g/cm³ for water, got 997"),
        (lambda: ice((6, 1, 3), 0.92, SPCE, 1), r"at least 2 unit cells .* got \(6, 1, 3\)"),
        (lambda: supercell(liquid(1, 1.0, SPCE, 1), (1, 0, 1)), r"got \(1, 0, 1\)"),
    ],
)
def test_what_cannot_be_built_says_the_value_and_the_rule(build, said):
    with pytest.raises(UsageError, match=said):
        build()
