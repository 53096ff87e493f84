"""Mean squared displacements by Fourier transform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.kernels.correlate import squared_displacements
from mdpipe.kernels.naive_observables import naive_squared_displacements


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(1, 40), n=st.integers(1, 9))
def test_every_lag_equals_the_direct_average(seed, steps, n):
    walk = np.random.default_rng(seed).normal(size=(steps, n, 3)).cumsum(axis=0)
    fast = squared_displacements(walk)[0]
    # Sums of up to 1e4 terms of size 1e3 in double: 1e-9 is a thousand times their rounding.
    np.testing.assert_allclose(fast, naive_squared_displacements(walk), rtol=1e-9, atol=1e-9)


def test_groups_split_the_particles_and_average_to_the_whole():
    walk = np.random.default_rng(1).normal(size=(30, 200, 3)).cumsum(axis=0)
    groups = squared_displacements(walk, 7)
    sizes = np.bincount(np.arange(200) % 7)
    whole = squared_displacements(walk)[0]
    np.testing.assert_allclose(np.average(groups, axis=0, weights=sizes), whole, rtol=1e-10)
    third = naive_squared_displacements(walk[:, 2::7])
    np.testing.assert_allclose(groups[2], third, rtol=1e-9, atol=1e-9)


def test_uniform_motion_gives_the_square_of_the_lag():
    t = np.arange(50.0)
    path = np.stack([0.3 * t, 0.0 * t, -0.4 * t], axis=1)[:, None, :]
    # The transform sums cancelling terms of 1e5; 1e-9 absolute is their rounding.
    np.testing.assert_allclose(squared_displacements(path)[0], 0.25 * t**2, rtol=1e-9, atol=1e-9)


def test_a_far_origin_costs_no_digits():
    walk = np.random.default_rng(2).normal(size=(40, 3, 3)).cumsum(axis=0)
    near, far = squared_displacements(walk)[0], squared_displacements(walk + 1e4)[0]
    # Adding 1e4 itself rounds the positions at 2e-12.
    assert near[1:] == pytest.approx(far[1:], rel=1e-9)
