"""Order parameters against their plain twins, on crystals, liquids and under symmetry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.building.ice import ice
from mdpipe.building.liquid import liquid
from mdpipe.kernels import naive_order
from mdpipe.kernels.neighbours import nearest4, neighbour_list
from mdpipe.kernels.order import (
    CHILL_RADIUS_NM,
    CUBIC,
    HEXAGONAL,
    INTERFACIAL_ICE,
    chill_plus,
    largest_cluster,
    steinhardt_q6,
    tetrahedral_q,
)
from mdpipe.models import load_model

MODEL = load_model("spce")


def oxygens_of(reference, name):
    data = np.load(reference / f"conf_{name}.npz")
    return np.ascontiguousarray(data["pos"][:, 0], np.float64), data["box"].astype(np.float64)


def parameters(oxygens, box):
    indices, vectors = nearest4(oxygens, box)
    labels = chill_plus(neighbour_list(oxygens, box, CHILL_RADIUS_NM))
    return tetrahedral_q(vectors), *steinhardt_q6(indices, vectors), labels


@pytest.mark.parametrize("name", ["w216a", "tro360", "ortho480", "ice432"])
def test_liquid_and_ice_agree_with_the_plain_twins(reference, name):
    oxygens, box = oxygens_of(reference, name)
    q, q6, averaged, labels = parameters(oxygens, box)
    indices, vectors = naive_order.nearest4(oxygens, box)
    # Sums of a few dozen terms of order 1 in another order; P6 by recurrence costs some digits.
    assert np.allclose(q, naive_order.tetrahedral_q(vectors), atol=1e-12)
    twin6, twin_averaged = naive_order.steinhardt_q6(indices, vectors)
    assert np.allclose(q6, twin6, atol=1e-10)
    assert np.allclose(averaged, twin_averaged, atol=1e-10)
    rows = naive_order.neighbour_pairs(oxygens, box, CHILL_RADIUS_NM)
    assert np.array_equal(labels, naive_order.chill_plus(rows))


@pytest.mark.parametrize(
    ("phase", "repeats", "label", "averaged_q6"),
    [("ice-Ih", (3, 2, 2), HEXAGONAL, 0.5677), ("ice-Ic", (2, 3, 2), CUBIC, 0.6285)],
)
def test_perfect_ice_has_q_1_and_one_label(phase, repeats, label, averaged_q6):
    crystal = ice(repeats, 0.92, MODEL, 1, phase)
    oxygens = np.ascontiguousarray(crystal.positions[:, 0])
    q, q6, averaged, labels = parameters(oxygens, crystal.box)
    assert np.allclose(q, 1.0, atol=1e-12)
    # Four bonds of a tetrahedron: q6² = 1/4 + 3/4 P6(-1/3).
    assert np.allclose(q6, 0.6285393610547089, atol=1e-12)
    assert np.allclose(averaged, averaged_q6, atol=1e-4)
    assert (labels == label).all()


def test_liquid_water_at_room_temperature_has_the_published_order(reference):
    oxygens, box = oxygens_of(reference, "w4096")
    q, _, averaged, labels = parameters(oxygens, box)
    # 0.63 is SPC/E's mean q at 298 K; its standard error over 4096 molecules is 0.003.
    assert q.mean() == pytest.approx(0.633, abs=0.01)
    assert averaged.mean() == pytest.approx(0.260, abs=0.005)
    assert np.isin(labels, (HEXAGONAL, CUBIC, INTERFACIAL_ICE)).mean() < 0.005


def test_an_ideal_gas_has_q_0_on_average():
    oxygens = np.random.default_rng(8).uniform(0, 20, (8000, 3))
    q = tetrahedral_q(nearest4(oxygens, 20.0 * np.eye(3))[1])
    # The standard deviation of q in a gas is 0.58: four standard errors.
    assert q.mean() == pytest.approx(0.0, abs=4 * 0.58 / np.sqrt(8000))


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_is_invariant_under_permutation_translation_rotation_and_image_shift(seed):
    random = np.random.default_rng(seed)
    state = liquid(60, 0.9, MODEL, seed, "truncated-octahedron")
    oxygens = state.positions[:, 0] + random.normal(scale=0.03, size=(60, 3))
    reference_values = parameters(np.ascontiguousarray(oxygens), state.box)
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    order = random.permutation(60)
    moved = oxygens + random.normal(size=3) + random.integers(-3, 4, (60, 3)) @ state.box
    moved = np.ascontiguousarray((moved @ rotation)[order])
    values = parameters(moved, state.box @ rotation)
    for ours, theirs in zip(values[:3], reference_values[:3], strict=True):
        assert np.allclose(ours, theirs[order], atol=1e-9)
    assert np.array_equal(values[3], reference_values[3][order])


def test_repeating_a_box_repeats_its_order(reference):
    oxygens, box = oxygens_of(reference, "w216a")
    twice = np.concatenate([oxygens, oxygens + box[1]])
    values = parameters(oxygens, box)
    repeated = parameters(twice, box * np.array([[1.0], [2.0], [1.0]]))
    for once, both in zip(values, repeated, strict=True):
        assert np.allclose(np.tile(once, 2), both, atol=1e-10)


def test_noise_turns_ice_into_interfacial_ice_before_liquid():
    crystal = ice((4, 3, 3), 0.92, MODEL, 1)
    noise = np.random.default_rng(6).normal(scale=0.02, size=(crystal.n_molecules, 3))
    labels = parameters(np.ascontiguousarray(crystal.positions[:, 0]) + noise, crystal.box)[3]
    # 80 to 99.9 % hexagonal at 0.015 and 0.025 nm, measured with another program.
    assert 0.8 < (labels == HEXAGONAL).mean() < 0.99
    assert (labels == INTERFACIAL_ICE).any()


def test_the_largest_cluster_counts_connected_molecules_only():
    line = np.array([[0.3 * k, 1.0, 1.0] for k in (0, 1, 2, 3, 6, 7)])
    near = neighbour_list(line, np.diag([9.0, 3.0, 3.0]), 0.35)
    assert largest_cluster(near, np.array([1, 1, 1, 1, 1, 1])) == 4
    assert largest_cluster(near, np.array([1, 1, 0, 1, 1, 1])) == 2
    assert largest_cluster(near, np.zeros(6, np.int64)) == 0
