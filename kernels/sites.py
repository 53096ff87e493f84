"""Sites of the water molecules, in the order of the neighbour list."""

from __future__ import annotations

import math
from typing import Any

import numba

from mdpipe.kernels._jit import jit, parallel_jit

__all__ = ["place_sites"]

BLOCKS = 16


@jit()
def _place_block(
    span: Any,
    positions: Any,
    order: Any,
    images: Any,
    box: Any,
    weight_h: float,
    reference: Any,
    strain: Any,
    centres: Any,
    offsets: Any,
) -> Any:
    farthest = 0.0
    longest = 0.0
    for s in range(span[0], span[1]):
        m = order[s]
        moved = 0.0
        for a in range(3):
            x = positions[m, 0, a] - (
                images[s, 0] * box[0, a] + images[s, 1] * box[1, a] + images[s, 2] * box[2, a]
            )
            centres[s, a] = x
            u = x - (
                reference[s, 0] * strain[0, a]
                + reference[s, 1] * strain[1, a]
                + reference[s, 2] * strain[2, a]
            )
            moved += u * u
        first = 0.0
        second = 0.0
        for a in range(3):
            h1 = positions[m, 1, a] - positions[m, 0, a]
            h2 = positions[m, 2, a] - positions[m, 0, a]
            offsets[s, a] = weight_h * (h1 + h2)
            offsets[s, 3 + a] = h1
            offsets[s, 6 + a] = h2
            first += h1 * h1
            second += h2 * h2
        # A NaN enters and is never replaced, as no number is larger: the caller must see it.
        if moved > farthest or math.isnan(moved):
            farthest = moved
        if first > longest or math.isnan(first):
            longest = first
        if second > longest or math.isnan(second):
            longest = second
    return farthest, longest


@parallel_jit()
def place_sites(
    positions: Any,
    order: Any,
    images: Any,
    box: Any,
    weight_h: float,
    reference: Any,
    strain: Any,
    centres: Any,
    offsets: Any,
    extremes: Any,
) -> None:
    """Sort the molecules into list order, apply their images and place the charged sites.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2 in any image.
    order : (n,) int32
        Molecule at each place of the list order.
    images : (n, 3) float64
        Whole box vectors that are subtracted, in list order.
    box : (3, 3) float64
        Rows are the box vectors.
    weight_h : float
        Weight of each H in the virtual site; 0 puts the negative charge on O.
    reference : (n, 3) float64
        O positions at the last rebuild, in list order.
    strain : (3, 3) float64
        Maps reference to present positions if the box alone had changed (``x_ref @ strain``).
    centres : (n, 3) float64
        Out: O positions.
    offsets : (n, 9) float32 or float64
        Out: negative site, H1, H2 relative to O.
    extremes : (16, 2) float64
        Out: for each block the largest squared displacement of O beyond the strain and the
        largest squared O-H distance; NaN where a position is NaN.
    """
    n = order.shape[0]
    for b in numba.prange(BLOCKS):
        span = (b * n // BLOCKS, (b + 1) * n // BLOCKS)
        farthest, longest = _place_block(
            span,
            positions,
            order,
            images,
            box,
            weight_h,
            reference,
            strain,
            centres,
            offsets,
        )
        extremes[b, 0] = farthest
        extremes[b, 1] = longest
