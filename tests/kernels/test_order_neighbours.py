"""The neighbour searches find what brute force over images finds, in every cell."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.kernels import naive_order
from mdpipe.kernels.neighbours import nearest4, neighbour_list

CUBE = np.eye(3)
CELLS = {
    "cubic": 2.0 * CUBE,
    "flat": np.diag([3.0, 2.5, 0.4]),
    "long": np.diag([0.5, 0.6, 9.0]),
    "octahedron": 2.2
    * np.array([[1, 0, 0], [1 / 3, 8**0.5 / 3, 0], [-1 / 3, 2**0.5 / 3, 6**0.5 / 3]]),
    "not reduced": np.array([[1.2, 0, 0], [2.9, 1.1, 0], [-1.7, 3.3, 1.4]]),
    "rotated": np.array([[0.6, 1.3, 0.2], [-1.4, 0.5, 0.4], [0.1, -0.3, 1.7]]),
}


def in_order(entries):
    """Sort rows (j, x, y, z) by columns rounded far below any distance between points."""
    table = np.array(entries, np.float64).reshape(-1, 4)
    return table[np.lexsort(np.round(table, 7).T[::-1])]


def same_neighbours(points, box, r_max):
    found = neighbour_list(points, box, r_max)
    expected = naive_order.neighbour_pairs(points, box, r_max)
    for i, row in enumerate(expected):
        mine = slice(found.offsets[i], found.offsets[i + 1])
        ours = in_order(np.column_stack([found.indices[mine], found.vectors[mine]]))
        theirs = in_order([(j, *v) for j, v in row])
        assert ours.shape == theirs.shape
        # Wrapping in another order of operations moves vectors by a few rounding errors.
        assert np.allclose(ours, theirs, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("r_max", [0.2, 0.7, 1.9])
def test_every_pair_within_the_radius_is_found_in_every_cell(name, r_max):
    random = np.random.default_rng(3)
    points = random.uniform(-2, 3, (25, 3)) @ CELLS[name]
    same_neighbours(points, CELLS[name], r_max)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 40), r_max=st.floats(0.05, 2.0))
def test_pairs_agree_with_brute_force_in_random_triclinic_cells(seed, n, r_max):
    random = np.random.default_rng(seed)
    box = np.tril(random.uniform(-0.9, 0.9, (3, 3)), -1) + np.diag(random.uniform(0.5, 2.0, 3))
    points = random.uniform(-1, 2, (n, 3)) @ box
    same_neighbours(points, box, r_max)


def test_pairs_are_listed_both_ways_with_exactly_opposite_vectors():
    random = np.random.default_rng(5)
    points = random.uniform(-1, 2, (200, 3)) @ CELLS["octahedron"]
    offsets, indices, vectors = neighbour_list(points, CELLS["octahedron"], 0.8)
    owner = np.repeat(np.arange(200), np.diff(offsets))
    there = {(i, j, *v) for i, j, v in zip(owner, indices, map(tuple, vectors), strict=True)}
    back = {(j, i, *(-v)) for i, j, v in zip(owner, indices, vectors, strict=True)}
    assert there == back


def test_points_on_cell_faces_and_far_outside_lose_no_neighbour():
    grid = np.stack(np.meshgrid(*[np.arange(4) * 0.5] * 3), axis=-1).reshape(-1, 3)
    shift = np.random.default_rng(1).integers(-5, 6, grid.shape) * 2.0
    for points in (grid, grid + shift, grid - 1e-16):
        assert set(np.diff(neighbour_list(points, 2.0 * CUBE, 0.5000001).offsets)) == {6}
        assert set(np.diff(neighbour_list(points, 2.0 * CUBE, 0.4999999).offsets)) == {0}


@pytest.mark.parametrize("name", CELLS)
def test_the_four_nearest_are_the_four_nearest_in_every_cell(name):
    random = np.random.default_rng(11)
    for n in (1, 2, 7, 60):
        points = random.uniform(-2, 3, (n, 3)) @ CELLS[name]
        indices, vectors = nearest4(points, CELLS[name])
        expected, reach = naive_order.nearest4(points, CELLS[name])
        lengths, others = (np.linalg.norm(v, axis=2) for v in (vectors, reach))
        assert np.allclose(lengths, others, atol=1e-12)
        if n > 7:  # with fewer points images tie
            assert np.array_equal(indices, expected)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("r_max", [0.1, 0.45, 0.8])
def test_the_four_nearest_out_of_a_list_are_those_of_the_search(name, r_max):
    random = np.random.default_rng(12)
    points = random.uniform(-2, 3, (60, 3)) @ CELLS[name]
    near = neighbour_list(points, CELLS[name], r_max)
    searched, listed = nearest4(points, CELLS[name]), nearest4(points, CELLS[name], near)
    np.testing.assert_array_equal(listed[0], searched[0])
    np.testing.assert_array_equal(listed[1], searched[1])


def test_a_fourth_neighbour_outside_the_searched_cells_is_found():
    # A dense cluster in a large cell, and three points far from it: their fourth neighbour lies
    # many cells away.
    random = np.random.default_rng(2)
    points = np.vstack([random.uniform(0, 1, (300, 3)), [[5, 5, 5], [5.1, 5, 5], [9, 0.5, 5]]])
    box = 10.0 * CUBE
    indices, vectors = nearest4(points, box)
    expected, reach = naive_order.nearest4(points, box)
    assert np.array_equal(indices, expected)
    assert np.allclose(vectors, reach, atol=1e-12)
    assert np.linalg.norm(vectors[300, 3]) > 3.0


def test_an_empty_box_has_no_neighbours():
    nothing = np.zeros((0, 3))
    assert neighbour_list(nothing, CUBE, 0.3).indices.size == 0
    assert nearest4(nothing, CUBE)[0].shape == (0, 4)


def test_a_dense_box_overflows_no_estimate():
    # All points in one corner: far more pairs than the mean density suggests.
    points = np.random.default_rng(4).uniform(0, 0.1, (80, 3))
    assert neighbour_list(points, 3.0 * CUBE, 0.5).indices.size == 80 * 79
