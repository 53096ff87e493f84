"""The layer of explicit vectors, operation by operation, against NumPy."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from mdpipe.kernels import simd_target
from mdpipe.kernels.simd import LANES, Scalar, traced
from mdpipe.kernels.simd_rows import (
    add_to_rows,
    add_whole_rows,
    gather_columns,
    gather_rows,
    sum_columns,
    turn,
)

pytestmark = pytest.mark.skipif(
    numba.config.DISABLE_JIT or LANES == 0, reason="needs compiled code and a known vector unit"
)

WIDTHS = [w for w in (4, 8, 16) if w <= LANES]


def compiled(body):
    """A Numba function that calls the traced body; compiled afresh."""
    intrinsic = traced(body)
    return numba.njit(lambda *arguments: intrinsic(*arguments))  # noqa: PLW0108


def unary(operation, x, lanes, kind=np.float32):
    """Apply an operation of vectors to an array of one vector."""

    def body(trace, source, target):  # noqa: ARG001
        target.store(0, operation(source.load(0, lanes)))

    y = np.zeros(lanes, kind)
    compiled(body)(x, y)
    return y


def binary(operation, a, b, lanes, kind=np.float32):
    def body(trace, first, second, target):  # noqa: ARG001
        target.store(0, operation(first.load(0, lanes), second.load(0, lanes)))

    y = np.zeros(lanes, kind)
    compiled(body)(a, b, y)
    return y


@pytest.fixture(params=WIDTHS, ids=lambda w: f"{w} lanes")
def lanes(request):
    return request.param


@pytest.fixture
def two(lanes):
    rng = np.random.default_rng(lanes)
    return rng.normal(size=(2, lanes)).astype(np.float32)


@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: -a * 2.5 + (1.0 - b),
        lambda a, b: 2.0 / a - b,
    ],
)
def test_arithmetic_rounds_as_numpy_does(operation, two, lanes):
    a, b = two
    assert np.array_equal(binary(operation, a, b, lanes), operation(a, b))


def test_doubles_have_vectors_of_their_own(lanes):
    a, b = np.random.default_rng(2).normal(size=(2, lanes))
    assert np.array_equal(binary(lambda a, b: a * b - a, a, b, lanes, np.float64), a * b - a)


def test_a_fused_product_and_sum_is_rounded_once(lanes):
    a = np.full(lanes, 1 + 2**-12, np.float32)
    found = binary(lambda a, b: a.fma(b, -1.0), a, a, lanes)
    exact = np.float32((1 + 2**-12) ** 2 - 1)
    twice = a * a - np.float32(1)
    assert np.array_equal(found, np.full(lanes, exact) if simd_target.FUSED else twice)
    assert np.array_equal(binary(lambda a, b: a.fnma(b, 1.0), a, a, lanes), -found)


def test_the_reciprocal_root_is_good_to_23_bits(lanes):
    x = np.geomspace(1e-30, 1e30, 4096).astype(np.float32)

    def body(trace, source, target):
        with trace.loop(0, 4096, lanes) as i:
            target.store(i, source.load(i, lanes).rsqrt_twice())

    y = np.zeros(4096, np.float32)
    compiled(body)(x, y)
    # One Newton step from an estimate good to 11 bits, and four roundings.
    assert np.abs(y * np.sqrt(x.astype(float)) / 2 - 1).max() < 2.5e-7


def test_masks_select_and_count(two, lanes):
    a, b = two

    def body(trace, first, second, target) -> Scalar:  # noqa: ARG001
        x, y = first.load(0, lanes), second.load(0, lanes)
        mask = (x < y) & (y <= 1.0) | x.equals(y)
        target.store(0, mask.select(x, 0.0))
        return mask.mask_bits()

    y = np.zeros(lanes, np.float32)
    bits = compiled(body)(a, b, y)
    expected = (a < b) & (b <= 1)
    assert np.array_equal(y, np.where(expected, a, 0))
    assert bits == sum(1 << k for k in range(lanes) if expected[k])


def test_a_comparison_with_nan_is_false(lanes):
    x = np.full(lanes, np.nan, np.float32)
    assert np.all(unary(lambda v: (v < 1.0).select(v, 3.0), x, lanes) == 3)


def test_integers_wrap_and_convert(lanes):
    a = np.linspace(-(2**31), 2**31 - 1, lanes).astype(np.int32)
    b = np.full(lanes, 2**31 - 1, np.int32)
    with np.errstate(over="ignore"):
        difference = a - b
    found = binary(lambda a, b: (a - b).to("f32"), a, b, lanes)
    assert np.array_equal(found, difference.astype(np.float32))
    x = np.linspace(-9.7, 9.7, lanes).astype(np.float32)
    assert np.array_equal(unary(lambda v: v.to("i32"), x, lanes, np.int32), x.astype(np.int32))
    assert np.array_equal(unary(lambda v: v.to("f64"), x, lanes, np.float64), x.astype(float))
    assert np.array_equal(unary(lambda v: v.bits_as("i32"), x, lanes, np.int32), x.view(np.int32))
    assert np.array_equal(
        unary(lambda v: (v << 3) >> 1, a, lanes, np.int32), (a << np.int32(3)) >> np.int32(1)
    )


def test_shuffles_parts_and_sums(two, lanes):
    a, b = two
    both = np.concatenate([a, b])
    places = np.random.default_rng(1).integers(0, 2 * lanes, lanes)
    found = binary(lambda a, b: a.shuffle(b, places.tolist()), a, b, lanes)
    assert np.array_equal(found, both[places])
    found = binary(
        lambda a, b: a.part(0, lanes // 2).beside(b.part(lanes // 2, lanes // 2)), a, b, lanes
    )
    assert np.array_equal(found, np.concatenate([a[: lanes // 2], b[lanes // 2 :]]))
    total = a
    while len(total) > 1:
        total = total[: len(total) // 2] + total[len(total) // 2 :]
    assert unary(lambda v: v.sum().spread(lanes), a, lanes)[0] == total[0]


def test_packing_closes_the_gaps(lanes):
    a = np.arange(100, 100 + lanes, dtype=np.int32)
    limit = np.int32(100 + lanes // 2)

    def body(trace, source, limit, target) -> Scalar:
        v = source.load(0, lanes)
        end = v.pack(v < limit, target, trace.index(0))
        return v.pack(v > limit, target, end)

    y = np.zeros(3 * lanes, np.int32)
    end = compiled(body)(a, limit, y)
    assert end == lanes - 1
    assert np.array_equal(y[:end], a[a != limit])


def test_loops_change_variables_and_conditions_hold_them_back(lanes):
    x = np.random.default_rng(5).normal(size=7 * lanes).astype(np.float32)

    def body(trace, source, target):
        total = trace.variable(trace.constant(0.0, lanes=lanes))
        with trace.loop(0, 7 * lanes, lanes) as i, trace.when(i < 5 * lanes):
            total.value = total.value + source.load(i, lanes)
        target.store(0, total.value)

    y = np.zeros(lanes, np.float32)
    compiled(body)(x, y)
    expected = np.zeros(lanes, np.float32)
    for row in x.reshape(7, lanes)[:5]:
        expected = expected + row
    assert np.array_equal(y, expected)


def test_rows_become_columns_and_columns_are_added_to_rows(lanes):
    rng = np.random.default_rng(6)
    rows = rng.normal(size=(40, 12)).astype(np.float32)
    # Twice the same row: both lanes must count.
    index = rng.integers(0, 40, lanes).astype(np.int32)
    index[1] = index[0]
    target = np.zeros((40, 12), np.float32)

    def body(trace, source, index, target):  # noqa: ARG001
        places = [index[k] * 12 for k in range(lanes)]
        columns = gather_columns(source, places, 4)
        add_to_rows(target, places, [c * 2.0 for c in columns], 8)

    compiled(body)(rows, index, target)
    expected = np.zeros_like(target)
    for i in index:
        expected[i, 8:] += rows[i, 4:8] * np.float32(2)
    assert np.array_equal(target, expected)


@pytest.mark.skipif(LANES < 16, reason="rows of 16 elements fill vectors of 16 lanes")
def test_whole_rows_become_columns_and_are_added_to():
    rng = np.random.default_rng(16)
    rows = rng.normal(size=(40, 16)).astype(np.float32)
    index = rng.integers(0, 40, 16).astype(np.int32)
    index[1] = index[0]
    target = np.zeros((40, 16), np.float32)

    def body(trace, source, index, target):  # noqa: ARG001
        places = [index[k] * 16 for k in range(16)]
        columns = gather_rows(source, places)
        scaled = [column * (k + 1.0) for k, column in enumerate(columns)]
        add_whole_rows(target, places, scaled)

    compiled(body)(rows, index, target)
    expected = np.zeros_like(target)
    for i in index:
        expected[i] += rows[i] * np.arange(1, 17, dtype=np.float32)
    assert np.array_equal(target, expected)


def test_turning_twice_changes_nothing_and_columns_are_summed(lanes):
    x = np.random.default_rng(7).normal(size=(4, lanes)).astype(np.float32)

    def body(trace, source, target):  # noqa: ARG001
        vectors = [source.load(k * lanes, lanes) for k in range(4)]
        for k, v in enumerate(turn(turn(vectors))):
            target.store(k * lanes, v)
        target.store(4 * lanes, sum_columns(vectors))

    y = np.zeros(4 * lanes + 4, np.float32)
    compiled(body)(x, y)
    assert np.array_equal(y[:-4].reshape(4, lanes), x)
    assert np.allclose(y[-4:], x.sum(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("features", "machine", "asked", "expected"),
    [
        ({"avx512f", "avx512vl", "avx512dq", "avx2", "fma"}, "x86_64", "", 16),
        ({"avx512f", "avx512vl", "avx512dq", "avx2", "fma"}, "x86_64", "8", 8),
        ({"avx2", "fma"}, "x86_64", "", 8),
        ({"avx2", "fma"}, "x86_64", "16", 8),
        ({"avx2"}, "AMD64", "", 4),
        (set(), "x86_64", "0", 0),
        (set(), "aarch64", "", 4),
        (set(), "riscv64", "", 0),
    ],
)
def test_the_width_is_the_machines_or_the_narrower_one_asked_for(
    features, machine, asked, expected
):
    assert simd_target.choose_lanes(frozenset(features), machine, asked) == expected


def test_a_width_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match="MDPIPE_SIMD must be 0, 4, 8 or 16, got '12'"):
        simd_target.choose_lanes(frozenset(), "x86_64", "12")
