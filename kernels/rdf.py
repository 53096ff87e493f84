"""Histograms of the site-site distances between different molecules, exact in any periodic box."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.columns import Columns, capped, sort_into_columns, widths, wrapped
from mdpipe.kernels.matrix import inverse3, product3

__all__ = ["half_width", "pair_histograms", "to_fractional"]

_PARTS = 16
"""Molecules are dealt to so many private histograms, whatever the number of threads."""

_BATCH = 256
"""Molecules near one whose sites are binned together: nine arrays of them stay in the L1 cache."""

_CELLS_PER_REACH = 3.0
"""Finer columns fit a sphere better, coarser ones are longer: 2 to 4 take the same to 15 %."""


class _Search(NamedTuple):
    """Where molecules near one may lie; lengths along the columns are in units of the third vector.

    `reach` is the largest O-O distance of molecules of which two sites may be near enough, `about`
    half the diagonal of a column's cross-section; `aa`, `ab`, `bb` are the products of the first
    two box vectors less what they have along the third, `slope_a`, `slope_b` what they have of it;
    `span_a`, `span_b` count columns.
    """

    reach: float
    about: float
    aa: float
    ab: float
    bb: float
    slope_a: float
    slope_b: float
    length: float
    span_a: int
    span_b: int


def half_width(box: NDArray[np.float64]) -> float:
    """Return half the smallest perpendicular width of a box.

    Parameters
    ----------
    box : (3, 3) float64
        Rows are the box vectors.

    Returns
    -------
    float
        Within this distance a pair has at most one periodic image, the nearest one.
    """
    return float(0.5 / np.sqrt((inverse3(box) ** 2).sum(axis=0)).max())


def to_fractional(positions: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return fractional coordinates, molecules kept whole, with O inside the cell.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2 of whole molecules in any image.
    box : (3, 3) float64
        Rows are the box vectors.

    Returns
    -------
    (n, 3, 3) float64
        C-contiguous.
    """
    fractional = product3(positions, inverse3(box))
    fractional -= np.floor(fractional[:, :1])
    return np.ascontiguousarray(fractional)


@jit()
def _tally(
    near: NDArray[np.float64],
    m: int,
    sites: NDArray[np.float64],
    bins_per_length: float,
    bins: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    """Bin the nine distances of a molecule to each of `m` others, lane by lane."""
    for a in range(3):
        x, y, z = sites[3 * a], sites[3 * a + 1], sites[3 * a + 2]
        for b in range(3):
            place = 3 * b * _BATCH
            for k in range(m):
                dx = near[place + k] - x
                dy = near[place + _BATCH + k] - y
                dz = near[place + 2 * _BATCH + k] - z
                bins[k] = np.int32(np.sqrt(dx * dx + dy * dy + dz * dz) * bins_per_length)
            row = counts[(1 if a > 0 else 0) + (1 if b > 0 else 0)]
            for k in range(m):
                row[np.uint32(bins[k])] += 1


@jit()
def _count_part(
    part: int,
    parts: int,
    columns: Columns,
    sites: NDArray[np.float64],
    box: NDArray[np.float64],
    search: _Search,
    bins_per_length: float,
    counts: NDArray[np.int64],
) -> None:
    """Count the pairs of every so many-th molecule with those ahead of it.

    Of two opposite cells one is looked into; in its own column, a molecule looks at those behind
    it in the order and at the images further along.
    """
    _, _, inside, cell, heads, shape, _ = columns
    near = np.empty(9 * _BATCH)
    bins = np.empty(_BATCH, np.int32)
    chosen = np.empty(_BATCH, np.int64)
    cull2 = search.reach * search.reach
    spread = 0.5 * (abs(search.slope_a) / shape[0] + abs(search.slope_b) / shape[1])
    for s in range(part, sites.shape[0], parts):
        m = 0
        x0, y0, z0 = sites[s, 0], sites[s, 1], sites[s, 2]
        for a in range(cell[s, 0], cell[s, 0] + search.span_a + 1):
            ca, wa = wrapped(a, shape[0])
            du = (a + 0.5) / shape[0] - inside[s, 0]
            ahead = a == cell[s, 0]
            back = 0 if ahead else search.span_b
            for b in range(cell[s, 1] - back, cell[s, 1] + search.span_b + 1):
                dv = (b + 0.5) / shape[1] - inside[s, 1]
                square = du * du * search.aa + 2.0 * du * dv * search.ab + dv * dv * search.bb
                aside = np.sqrt(square) - search.about
                if aside > search.reach:
                    continue
                aside = max(aside, 0.0)
                half = np.sqrt(cull2 - aside * aside) / search.length + spread + 1e-9
                middle = inside[s, 2] - du * search.slope_a - dv * search.slope_b
                c = int(np.floor((middle - half) * shape[2]))
                end = int(np.floor((middle + half) * shape[2])) + 1
                own = ahead and b == cell[s, 1]
                if own:
                    c = cell[s, 2]
                cb, wb = wrapped(b, shape[1])
                column = (ca * shape[1] + cb) * shape[2]
                while c < end:
                    cc, wc = wrapped(c, shape[2])
                    run = min(shape[2] - cc, end - c)
                    c += run
                    sx = wa * box[0, 0] + wb * box[1, 0] + wc * box[2, 0]
                    sy = wa * box[0, 1] + wb * box[1, 1] + wc * box[2, 1]
                    sz = wa * box[0, 2] + wb * box[1, 2] + wc * box[2, 2]
                    first = s + 1 if own and wc == 0 else heads[column + cc]
                    last = heads[column + cc + run]
                    while first < last:
                        stop = min(last, first + _BATCH - m)
                        old = m
                        for t in range(first, stop):
                            x = (sites[t, 0] + sx) - x0
                            y = (sites[t, 1] + sy) - y0
                            z = (sites[t, 2] + sz) - z0
                            # Written first and kept by a sum: no branch to mispredict.
                            chosen[m] = t
                            m += (x * x + y * y + z * z < cull2) & (t != s)
                        for k in range(old, m):
                            t = chosen[k]
                            for d in range(3):
                                near[3 * d * _BATCH + k] = sites[t, 3 * d] + sx
                                near[(3 * d + 1) * _BATCH + k] = sites[t, 3 * d + 1] + sy
                                near[(3 * d + 2) * _BATCH + k] = sites[t, 3 * d + 2] + sz
                        if m == _BATCH:
                            _tally(near, m, sites[s], bins_per_length, bins, counts)
                            m = 0
                        first = stop
        _tally(near, m, sites[s], bins_per_length, bins, counts)


@parallel_jit()
def _count_all(
    columns: Columns,
    sites: NDArray[np.float64],
    box: NDArray[np.float64],
    search: _Search,
    bins_per_length: float,
    counts: NDArray[np.int64],
) -> None:
    parts = counts.shape[0]
    for part in numba.prange(parts):
        _count_part(part, parts, columns, sites, box, search, bins_per_length, counts[part])


def _search(box: NDArray[np.float64], shape: NDArray[np.int64], reach: float) -> _Search:
    """Describe the columns of a box for `_count_part`."""
    along = box[2] / np.sqrt((box[2] ** 2).sum())
    (ua, ub), length = (box[:2] * along).sum(axis=1), float((box[2] * along).sum())
    a, b = box[0] - ua * along, box[1] - ub * along
    diagonals = [a / shape[0] + b / shape[1], a / shape[0] - b / shape[1]]
    about = 0.5 * float(np.sqrt(max((d * d).sum() for d in diagonals)))
    span = np.floor(reach / (widths(box) / shape) * (1 + 1e-9)).astype(np.int64) + 1
    return _Search(
        float(reach), about * (1 + 1e-9),
        float((a * a).sum()), float((a * b).sum()), float((b * b).sum()),
        float(ua / length), float(ub / length), length, int(span[0]), int(span[1]),
    )  # fmt: skip


def pair_histograms(
    fractional: NDArray[np.float64], box: NDArray[np.float64], r_max: float, n_bins: int
) -> NDArray[np.int64]:
    """Count O-O, O-H and H-H pairs of different molecules by their distance.

    Parameters
    ----------
    fractional : (n, 3, 3) float64
        From `to_fractional`.
    box : (3, 3) float64
        Rows are the box vectors.
    r_max : float
        Upper edge of the last bin. Up to `half_width(box)` a pair has one image within it, the
        nearest; beyond, every image of another molecule counts.
    n_bins : int
        Number of equal bins from 0; a bin has its lower edge.

    Returns
    -------
    (3, n_bins) int64
        Counts of each unordered pair once: O-O, O-H, H-H. Integers: no order of summation,
        so no dependence on the number of threads.

    Notes
    -----
    Every image of a molecule whose O may be near enough for two H to be within `r_max` is found by
    cells; all nine distances to it are binned, and the bins beyond the last are dropped.
    """
    n = fractional.shape[0]
    box = np.ascontiguousarray(box, dtype=np.float64)
    arms = product3(fractional[:, 1:] - fractional[:, :1], box)
    arm = float(np.sqrt((arms**2).sum(axis=2).max())) if n else 0.0
    reach = r_max + 2.0 * arm + 1e-9
    shape = np.maximum(1, np.floor(widths(box) / reach * _CELLS_PER_REACH)).astype(np.int64)
    inside = fractional - np.floor(fractional[:, :1])
    columns = sort_into_columns(inside[:, 0], np.eye(3), capped(shape, n))
    sites = product3(inside, box).reshape(n, 9)[columns.order]
    bins_per_length = n_bins / r_max
    room = max(n_bins, int((reach + 2.0 * arm) * bins_per_length) + 2)
    counts = np.zeros((_PARTS, 3, room), dtype=np.int64)
    _count_all(columns, sites, box, _search(box, columns.shape, reach), bins_per_length, counts)
    total: NDArray[np.int64] = counts.sum(axis=0)[:, :n_bins]
    return total
