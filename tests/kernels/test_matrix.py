"""Written-out 3 x 3 algebra agrees with LAPACK and BLAS."""

import numpy as np
import pytest

from mdpipe.kernels.matrix import inverse3, product3


@pytest.mark.parametrize("seed", range(5))
def test_inverse_and_product_agree_with_numpy(seed):
    random = np.random.default_rng(seed)
    left, right = random.normal(size=(3, 3)) + 2.0 * np.eye(3), random.normal(size=(3, 3))
    # a few roundings, amplified by the condition of the matrix (below 1e3 for these seeds)
    assert np.allclose(inverse3(left), np.linalg.inv(left), rtol=1e-12, atol=1e-12)
    assert np.allclose(product3(left, right), left @ right, rtol=1e-14, atol=1e-14)
