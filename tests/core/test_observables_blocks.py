"""Block averaging: errors of correlated series."""

from __future__ import annotations

import numpy as np
import pytest

from mdpipe.observables.blocks import MIN_BLOCKS, ChunkedMean, block_error, jackknife
from mdpipe.observables.results import scalar_from_series


def ar1(phi, n, runs, seed):
    """Stationary AR(1) series of unit innovations, (runs, n), and the true error of their mean."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(runs, n))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0] / np.sqrt(1 - phi**2)
    for i in range(1, n):
        x[:, i] = phi * x[:, i - 1] + noise[:, i]
    return x, 1.0 / ((1.0 - phi) * np.sqrt(n))


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.95])
def test_errors_of_an_ar1_series_are_those_known(phi):
    series, true = ar1(phi, 8192, 100, seed=3)
    errors = np.array([block_error(x).error for x in series]) / true
    # 100 runs: standard error of the mean ratio ≤ 0.02; blocks that are just long enough leave a
    # bias of a few percent to the low side. Plain σ/√n would give 0.16 at phi = 0.95.
    assert errors.mean() == pytest.approx(1.0, abs=0.08)


def test_the_spread_of_means_agrees_with_the_errors_given():
    series, _ = ar1(0.8, 2000, 200, seed=4)
    spread = series.mean(axis=1).std(ddof=1)
    errors = np.array([block_error(x).error for x in series])
    # Spread of 200 means is known to 5 %, the mean error to 2 %, its bias is a few percent.
    assert np.sqrt((errors**2).mean()) == pytest.approx(spread, rel=0.15)


def test_a_series_shorter_than_its_correlations_gets_no_error_and_says_so():
    drift = np.linspace(0.0, 1.0, 500)
    estimate = block_error(drift)
    assert estimate.error is None
    assert estimate.mean == pytest.approx(0.5)
    scalar = scalar_from_series(drift, "K", "a note")
    assert scalar.error is None
    assert scalar.note == "a note; too few independent samples for an error"


@pytest.mark.parametrize("n", [1, 2, MIN_BLOCKS - 1])
def test_a_handful_of_samples_gets_no_error(n):
    assert block_error(np.random.default_rng(0).normal(size=n)).error is None


def test_a_constant_has_no_error_bar():
    assert block_error(np.full(100, 0.997)).error == 0.0


def test_the_error_scales_with_the_series_and_ignores_its_offset():
    x = ar1(0.7, 1000, 1, seed=5)[0][0]
    one, two = block_error(x), block_error(-3.0 * x + 7.0)
    assert two.error == pytest.approx(3.0 * one.error, rel=1e-9)
    assert (two.n_blocks, two.block_length) == (one.n_blocks, one.block_length)


def test_jackknife_of_a_mean_is_its_standard_error():
    blocks = np.random.default_rng(6).normal(size=(30, 1))
    expected = blocks.std(ddof=1) / np.sqrt(30)
    assert jackknife(blocks, lambda row: row)[0] == pytest.approx(expected, rel=1e-12)


def test_chunks_stay_few_and_their_mean_is_that_of_all_frames():
    chunked = ChunkedMean(limit=8)
    rows = np.random.default_rng(7).normal(size=(100, 3))
    for row in rows:
        chunked.add(row)
    assert len(chunked.chunks) < 8
    np.testing.assert_allclose(chunked.mean, rows.mean(axis=0), rtol=1e-12)
    whole = len(chunked.chunks) * chunked.length
    np.testing.assert_allclose(chunked.chunks.mean(axis=0), rows[:whole].mean(axis=0), rtol=1e-12)
