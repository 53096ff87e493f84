"""Written-out 3 x 3 algebra agrees with LAPACK and BLAS."""

import numpy as np
import pytest

from mdpipe.kernels.matrix import determinant3, inverse3, least_stretch, product3, solve3


@pytest.mark.parametrize("seed", range(5))
def test_small_matrices_agree_with_numpy(seed):
    random = np.random.default_rng(seed)
    left, right = random.normal(size=(3, 3)) + 2.0 * np.eye(3), random.normal(size=(3, 3))
    # a few roundings, amplified by the condition of the matrix (below 1e3 for these seeds)
    assert np.allclose(inverse3(left), np.linalg.inv(left), rtol=1e-12, atol=1e-12)
    assert np.allclose(determinant3(left), np.linalg.det(left), rtol=1e-12, atol=1e-12)
    assert np.allclose(product3(left, right), left @ right, rtol=1e-14, atol=1e-14)
    rows = random.normal(size=(2, 5, 3))
    assert np.allclose(product3(rows, right), rows @ right, rtol=1e-14, atol=1e-14)
    assert np.allclose(product3(rows[0, 0], right), rows[0, 0] @ right, rtol=1e-14, atol=1e-14)
    many = random.normal(size=(7, 3, 3)) + 2.0 * np.eye(3)
    solved = np.linalg.solve(many, rows.reshape(-1, 3)[:7, :, None])[:, :, 0]
    assert np.allclose(solve3(many, rows.reshape(-1, 3)[:7]), solved, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-6, 1e-2, 1.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_least_stretch_is_the_smallest_singular_value(seed, size):
    strain = np.eye(3) + size * np.random.default_rng(seed).normal(size=(3, 3))
    singular = np.linalg.svd(strain, compute_uv=False)
    # its square is exact to a few roundings of the largest one
    assert least_stretch(strain) ** 2 == pytest.approx(
        singular[-1] ** 2, rel=0.0, abs=1e-14 * singular[0] ** 2
    )


def test_the_least_stretch_of_scaled_and_flat_boxes():
    assert least_stretch(1.25 * np.eye(3)) == 1.25
    assert least_stretch(np.diag([2.0, 0.5, 3.0])) == pytest.approx(0.5, rel=1e-14)
    assert least_stretch(np.diag([1.0, 1.0, 0.0])) == pytest.approx(0.0, abs=1e-7)
