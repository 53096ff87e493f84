"""Rows of arrays to vectors of columns and back, four columns at a time.

A molecule's numbers lie side by side in its row; a kernel wants one vector for each number, with
one molecule in each lane. Rows are read and written in fours (16 bytes), and turned round within
groups of four lanes: two shuffles for each column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdpipe.kernels.simd import Pointer, Scalar, Vector

__all__ = ["add_to_rows", "add_whole_rows", "gather_columns", "gather_rows", "sum_columns", "turn"]


def turn(vectors: Sequence[Vector]) -> list[Vector]:
    """Transpose the 4 x 4 matrices in each group of four lanes of four vectors.

    Parameters
    ----------
    vectors : sequence of 4 Vector
        Of one width, a multiple of 4.

    Returns
    -------
    list of 4 Vector
        Lane 4 g + i of vector k is lane 4 g + k of vector i.
    """
    a, b, c, d = vectors
    lanes = a.lanes
    low: list[int] = []
    high: list[int] = []
    first: list[int] = []
    last: list[int] = []
    for g in range(0, lanes, 4):
        low += [g, g + lanes, g + 1, g + 1 + lanes]
        high += [g + 2, g + 2 + lanes, g + 3, g + 3 + lanes]
        first += [g, g + 1, g + lanes, g + 1 + lanes]
        last += [g + 2, g + 3, g + 2 + lanes, g + 3 + lanes]
    ab, cd = a.shuffle(b, low), c.shuffle(d, low)
    left, right = a.shuffle(b, high), c.shuffle(d, high)
    return [
        ab.shuffle(cd, first),
        ab.shuffle(cd, last),
        left.shuffle(right, first),
        left.shuffle(right, last),
    ]


def _join(parts: Sequence[Vector]) -> Vector:
    while len(parts) > 1:
        parts = [a.beside(b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def gather_columns(array: Pointer, places: Sequence[Scalar], column: int = 0) -> list[Vector]:
    """Gather four columns of scattered rows.

    Parameters
    ----------
    array : Pointer
        Rows.
    places : sequence of Scalar
        First element of each row; their number, a multiple of 4, is that of the lanes.
    column : int
        First of the columns.

    Returns
    -------
    list of 4 Vector
        Lane l of vector k is element ``places[l] + column + k``.
    """
    rows = [array.load(place + column, 4) for place in places]
    return turn([_join(rows[k::4]) for k in range(4)])


def add_to_rows(
    array: Pointer, places: Sequence[Scalar], columns: Sequence[Vector], column: int = 0
) -> None:
    """Add vectors to four columns of scattered rows, one row after the other.

    Parameters
    ----------
    array : Pointer
        Rows.
    places : sequence of Scalar
        First element of each row; equal ones are allowed.
    columns : sequence of 4 Vector
        What lane l adds goes to row ``places[l]``.
    column : int
        First of the columns.
    """
    turned = turn(columns)
    for lane, place in enumerate(places):
        array.add(place + column, turned[lane % 4].part(lane // 4 * 4, 4))


def sum_columns(columns: Sequence[Vector]) -> Any:
    """Sum the lanes of each of four vectors, in a fixed order.

    Parameters
    ----------
    columns : sequence of 4 Vector
        Of one width, a multiple of 4.

    Returns
    -------
    Vector
        Four lanes: the sums.
    """
    a, b, c, d = turn(columns)
    total = (a + b) + (c + d)
    while total.lanes > 4:
        half = total.lanes // 2
        total = total.part(0, half) + total.part(half, half)
    return total


def _turn_blocks(vectors: Sequence[Vector]) -> list[Vector]:
    """Transpose the 4 x 4 matrix of the groups of four lanes of four vectors of 16."""

    def pick(a: Vector, b: Vector, blocks: Sequence[int]) -> Vector:
        return a.shuffle(b, [4 * block + k for block in blocks for k in range(4)])

    a, b, c, d = vectors
    low, high = (0, 1, 4, 5), (2, 3, 6, 7)
    even, odd = (0, 2, 4, 6), (1, 3, 5, 7)
    first = (pick(a, b, low), pick(c, d, low))
    second = (pick(a, b, high), pick(c, d, high))
    return [pick(*first, even), pick(*first, odd), pick(*second, even), pick(*second, odd)]


def gather_rows(array: Pointer, places: Sequence[Scalar]) -> list[Vector]:
    """Gather the columns of scattered rows of 16 elements, 16 of them: one load for each row.

    Parameters
    ----------
    array : Pointer
        Rows.
    places : sequence of 16 Scalar
        First element of each row.

    Returns
    -------
    list of 16 Vector
        The columns; what is not used costs nothing.
    """
    rows = [array.load(place, 16) for place in places]
    turned = [turn(rows[k : k + 4]) for k in range(0, 16, 4)]
    blocks = [_turn_blocks([four[i] for four in turned]) for i in range(4)]
    return [blocks[column % 4][column // 4] for column in range(16)]


def add_whole_rows(array: Pointer, places: Sequence[Scalar], columns: Sequence[Vector]) -> None:
    """Add to scattered rows of 16 elements, 16 of them, one row after the other.

    Parameters
    ----------
    array : Pointer
        Rows.
    places : sequence of 16 Scalar
        First element of each row; equal ones are allowed.
    columns : sequence of 16 Vector
        What lane l adds goes to row ``places[l]``.
    """
    blocks = [_turn_blocks(columns[i::4]) for i in range(4)]
    for group in range(4):
        rows = turn([blocks[i][group] for i in range(4)])
        for place, row in zip(places[4 * group : 4 * group + 4], rows, strict=True):
            array.add(place, row)
