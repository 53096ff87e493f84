"""Counter-based random numbers."""

import math

import numpy as np
import pytest

from mdpipe.kernels import rng
from mdpipe.kernels.naive_dynamics import naive_philox4x32

FULL = 0xFFFFFFFF

# The known answers of the Random123 distribution (kat_vectors), Salmon et al. 2011.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def philox(counter, key):
    words = rng.philox4x32(*(np.uint64(c) for c in counter), np.uint64(key[0] | key[1] << 32))
    return tuple(int(word) for word in words)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_philox_gives_the_published_words(counter, key, answer):
    assert philox(counter, key) == answer
    assert naive_philox4x32(counter, key) == answer


def test_philox_matches_its_twin_on_random_counters():
    draw = np.random.default_rng(5)
    for _ in range(50):
        words = [int(w) for w in draw.integers(0, 2**32, 6)]
        counter, key = tuple(words[:4]), tuple(words[4:])
        assert philox(counter, key) == naive_philox4x32(counter, key)


def numbers(seed, stream, step):
    return np.uint64(seed), np.uint64(stream), np.uint64(step)


def test_a_number_depends_on_its_name_alone():
    out = np.empty(100)
    rng.fill_normals(out, *numbers(7, 1, 3))
    tail = [rng.gaussian(*numbers(7, 1, 3), np.uint64(i)) for i in range(60, 100)]
    assert np.array_equal(out[60:], tail)


def test_seed_stream_and_step_each_give_other_numbers():
    names = [(7, 1, 3), (8, 1, 3), (7, 2, 3), (7, 1, 4), (7, 1, 3 + 2**32), (7 + 2**32, 1, 3)]
    drawn = {rng.gaussian(*numbers(*name), np.uint64(0)) for name in names}
    assert len(drawn) == len(names)


def test_normals_have_the_moments_of_the_normal_distribution():
    n = 200_000
    x = np.empty(n)
    rng.fill_normals(x, *numbers(1, 1, 0))
    # Standard errors of mean, variance and fourth moment are 1, sqrt(2) and sqrt(96) / sqrt(n);
    # the seed is fixed, so four of them is no matter of luck.
    for moment, mean, sigma in ((x, 0.0, 1.0), (x**2, 1.0, 2**0.5), (x**4, 3.0, 96**0.5)):
        assert abs(moment.mean() - mean) < 4.0 * sigma / math.sqrt(n)
    assert abs((x[1:] * x[:-1]).mean()) < 4.0 / math.sqrt(n)


@pytest.mark.parametrize("shape", [1.0, 2.5, 640.0])
def test_gamma_deviates_have_mean_and_variance_of_the_shape(shape):
    n = 20_000
    x = np.array([rng.gamma(shape, *numbers(3, 4, step)) for step in range(n)])
    assert abs(x.mean() - shape) < 4.0 * math.sqrt(shape / n)
    # var of the sample variance of a gamma distribution: (2 + 6/shape) shape² / n
    assert abs(x.var() - shape) < 4.0 * shape * math.sqrt((2.0 + 6.0 / shape) / n)


def test_uniform_deviates_fill_the_open_interval():
    x = np.array([rng.uniform(*numbers(3, 4, 0), np.uint64(i)) for i in range(5000)])
    assert 0.0 < x.min() < 0.002
    assert 0.998 < x.max() < 1.0
