"""The text parsers against `float` and `str.split`."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.kernels import naive_io, text


def buffer_of(content):
    return np.frombuffer(content.encode(), dtype=np.uint8).copy()


def parse(content, slots):
    buffer = buffer_of(content)
    n = content.count("\n")
    starts = np.empty(n + 1, dtype=np.int64)
    assert text.index_lines(buffer, 0, len(buffer), starts) == n
    values = np.zeros((n, max([*slots, -1]) + 1))
    labels = np.zeros(n, dtype=np.uint64)
    bad = text.parse_columns(buffer, starts, np.array(slots), values, labels)
    names = [int(x).to_bytes(8, "little").rstrip(b"\0").decode() for x in labels]
    return values, names, bad


def read(word):
    buffer = buffer_of(word)
    return text.read_number(buffer, 0, len(buffer))


@given(st.floats(1e-280, 1e280) | st.floats(-1e280, -1e-280) | st.just(0.0))
@settings(deadline=None, max_examples=300)
def test_a_number_printed_by_python_is_read_back(value):
    got, end = read(repr(value))
    assert end == len(repr(value))
    # Mantissa, power of ten and product are each rounded: 4 units in the last place.
    assert math.isclose(got, value, rel_tol=9e-16)


@given(st.integers(-(10**9), 10**9), st.integers(0, 8))
@settings(deadline=None, max_examples=300)
def test_a_number_of_at_most_15_digits_is_rounded_as_float_rounds(mantissa, decimals):
    word = f"{mantissa / 10**decimals:.{decimals}f}"
    assert read(word)[0] == float(word)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("-1.5e-3", -1.5e-3),
        ("+2E2", 200.0),
        ("7", 7.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e400", math.inf),
    ],
)
def test_usual_spellings_are_read(word, value):
    assert read(word) == (value, len(word))


@pytest.mark.parametrize("word", ["nan", "-NaN", "inf", "-Inf"])
def test_words_for_numbers_that_are_none_are_read(word):
    value, end = read(word)
    assert end == len(word)
    np.testing.assert_equal(value, float(word))


@pytest.mark.parametrize("word", ["", "-", ".", "abc", "1e", "****", "e5"])
def test_what_is_no_number_is_refused(word):
    assert read(word)[1] == -1


LINES = [
    "O 1.0 2.0 3.0 7\nH -1e-3 0.5 .25 8\n",
    "  O\t1 2 3   4  \r\nHydrogen 1 2 3 4\n",
    "O 1 2 3 4\nO 1 2 3\n",
    "O 1 2 3 4\nO 1 2 3 4 5\n",
    "O 1 2 3 4\nO 1 x 3 4\n",
    "O 1 2 3 4\n\n",
    "O 1 2 3.0.0 4\n",
    "O nan inf -inf 4\n",
]


@pytest.mark.parametrize("content", LINES)
def test_columns_are_parsed_as_by_split_and_float(content):
    slots = [text.LABEL, 2, 0, 1, text.SKIP]
    values, names, bad = parse(content, slots)
    expected, labels, expected_bad = naive_io.parse_columns(content, slots)
    assert bad == expected_bad
    good = len(labels) if bad < 0 else bad
    np.testing.assert_array_equal(values[:good], expected[:good])
    assert names[:good] == labels[:good]


def test_fixed_columns_may_touch_and_end_early():
    content = "    1SOL     OW    1-100.123   0.100  99.999\n    1SOL    HW1    2   1.000   2.000\n"
    buffer = buffer_of(content)
    starts = np.empty(3, dtype=np.int64)
    text.index_lines(buffer, 0, len(buffer), starts)
    values, labels = np.zeros((2, 3)), np.zeros((2, 1), dtype=np.uint64)
    where = np.array([[10, 15]])
    bad = text.parse_fixed(buffer, starts[:-1], starts[1:], 20, 8, values, where, labels)
    assert bad == 1
    np.testing.assert_array_equal(values[0], [-100.123, 0.1, 99.999])
    assert int(labels[0, 0]).to_bytes(8, "little").rstrip(b"\0") == b"OW"
