"""Pair histograms: against the plain twin, and what must not change them."""

from __future__ import annotations

import itertools

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.kernels.naive_observables import naive_pair_histograms
from mdpipe.kernels.rdf import half_width, pair_histograms, to_fractional

CELLS = {
    "cubic": np.diag([2.0, 2.0, 2.0]),
    "flat": np.diag([1.1, 2.3, 3.0]),
    "truncated octahedron": np.array(
        [[2.0, 0.0, 0.0], [2 / 3, 1.885618, 0.0], [-2 / 3, 0.942809, 1.632993]]
    ),
    "strongly sheared": np.array([[1.6, 0.0, 0.0], [0.8, 1.5, 0.0], [-0.8, 0.75, 1.4]]),
}


def molecules(rng, n, box, spread=0.1):
    """Random molecules anywhere in space, arms of any direction."""
    oxygens = rng.uniform(-2, 3, (n, 1, 3)) @ box
    arms = rng.normal(size=(n, 2, 3))
    arms *= spread / np.linalg.norm(arms, axis=2, keepdims=True)
    return np.concatenate([oxygens, oxygens + arms], axis=1)


def histogram(positions, box, r_max, n_bins):
    return pair_histograms(to_fractional(positions, box), box, r_max, n_bins)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("fraction", [1.0, 0.4])
def test_counts_equal_those_over_all_images_up_to_half_the_smallest_width(cell, fraction):
    box = CELLS[cell]
    positions = molecules(np.random.default_rng(5), 40, box)
    r_max = fraction * half_width(box)
    fast = histogram(positions, box, r_max, 37)
    naive = naive_pair_histograms(positions, box, r_max, 37)
    # Integers: equal, not close. A pair within rounding of an edge has odds of 1e-10.
    np.testing.assert_array_equal(fast, naive)
    assert fast.sum() > 0


def test_a_box_that_is_turned_in_space_has_the_same_counts():
    rng = np.random.default_rng(8)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for box in CELLS.values():
        positions = molecules(rng, 40, box)
        r_max = 0.9 * half_width(box)
        one = histogram(positions, box, r_max, 20)
        np.testing.assert_array_equal(histogram(positions @ turn, box @ turn, r_max, 20), one)


def test_a_dense_cluster_in_a_corner_of_a_large_box_is_counted_whole():
    # More neighbours than are binned at once, most cells empty, molecules on the faces.
    rng = np.random.default_rng(9)
    box = 8.0 * np.eye(3)
    oxygens = rng.uniform(-0.3, 0.3, (700, 1, 3))
    positions = oxygens + np.concatenate(
        [np.zeros((700, 1, 3)), rng.normal(0, 0.05, (700, 2, 3))], 1
    )
    counts = np.zeros((3, 30), dtype=np.int64)
    first, second = np.triu_indices(700, k=1)
    for a, b in itertools.product(range(3), repeat=2):
        r = np.linalg.norm(positions[first, a] - positions[second, b], axis=1)
        counts[(a > 0) + (b > 0)] += np.histogram(r, 30, (0.0, 1.5))[0]
    np.testing.assert_array_equal(histogram(positions, box, 1.5, 30), counts)


def test_beyond_half_the_box_every_image_of_another_molecule_counts():
    positions = np.zeros((2, 3, 3))
    positions[1] = [0.5, 0.0, 0.0]
    counts = histogram(positions, np.eye(3), 2.0, 8)
    images = np.array(list(itertools.product(range(-3, 4), repeat=3))) + positions[1, 0]
    expected = np.histogram(np.linalg.norm(images, axis=1), 8, (0.0, 2.0))[0]
    # The only distances on edges of bins are at the lower edges; 2.0 itself does not occur.
    np.testing.assert_array_equal(counts, np.outer([1, 4, 4], expected))


def test_half_width_is_that_of_the_narrowest_direction():
    assert half_width(CELLS["flat"]) == pytest.approx(0.55, rel=1e-14)
    # Truncated octahedron of edge d: all three widths are d √(2/3).
    octahedron = half_width(CELLS["truncated octahedron"])
    assert octahedron == pytest.approx(np.sqrt(2 / 3), rel=1e-5)


def test_counts_do_not_depend_on_the_number_of_threads():
    box = CELLS["cubic"]
    positions = molecules(np.random.default_rng(6), 120, box)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = histogram(positions, box, 0.9, 50)
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        two = histogram(positions, box, 0.9, 50)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(one, two)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cell=st.sampled_from(sorted(CELLS)),
    shift=st.tuples(*[st.floats(-5, 5)] * 3),
)
def test_counts_are_the_same_after_translation_image_shift_and_permutation(seed, cell, shift):
    rng = np.random.default_rng(seed)
    box = CELLS[cell]
    positions = molecules(rng, 24, box)
    moved = positions + np.array(shift)
    moved = moved + (rng.integers(-3, 4, (24, 1, 3)) @ box)
    moved = moved[rng.permutation(24)][:, [0, 2, 1]]
    r_max = half_width(box)
    one, two = histogram(positions, box, r_max, 20), histogram(moved, box, r_max, 20)
    # Rounding may carry a pair over the edge of a bin: at most into the neighbour, and rarely.
    assert np.abs(np.cumsum(one - two, axis=1)).max() <= 1
    assert np.abs(one - two).sum() <= 4
