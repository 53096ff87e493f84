"""Records of the arrays that the pair kernels read and write."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["PairArrays", "RowArrays"]


class PairArrays(NamedTuple):
    """Listed pairs of molecules and where their forces go, for the plain kernels.

    Attributes
    ----------
    chunk_start : (chunks + 1,) int64
        Bounds of the chunks of molecules.
    pairs, starts
        The list (`mdpipe.kernels.pairlist.build_pairs`).
    centres : (n, 3) float64
        O positions in list order.
    offsets : (n, 9) float32 or float64
        Negative site, H1, H2 relative to O.
    shifts : (125, 3) float64
        Displacement of each image code.
    windows : (chunks, 3) int64
        First row of the chunk's part of `buffer`, first molecule of its window, molecules in it
        (in list order, cyclic).
    buffer : (rows, 9) float64
        Out: forces on O, H1, H2; the share of the negative site is spread.
    """

    chunk_start: Any
    pairs: Any
    starts: Any
    centres: Any
    offsets: Any
    shifts: Any
    windows: Any
    buffer: Any


class RowArrays(NamedTuple):
    """Listed partners of molecules and where their forces go, for explicit vectors.

    Attributes
    ----------
    chunk_start : (chunks + 1,) int64
        Bounds of the chunks of molecules.
    starts, partners
        The list (`mdpipe.kernels.pairlist_simd.prune_partners`).
    rows : (m, ROW) int32
        Molecules in list order (`mdpipe.kernels.pair_simd`); the first ones stand again behind the
        last.
    windows : (chunks, 3) int64
        First row of the chunk's part of `buffer`, first molecule of its window, molecules in it
        (in list order, which goes on past its end with the first molecules again).
    buffer : (rows, ROW) float32
        Out: forces on O, H1, H2 in units of an eighth of the squared charge of H; the share of the
        virtual site is spread.
    """

    chunk_start: Any
    starts: Any
    partners: Any
    rows: Any
    windows: Any
    buffer: Any
