"""Neighbour list of molecule pairs: each pair and image within a radius exactly once.

A pair is one int32: the place of the partner in list order (24 bits) and the code of the image
that the partner is taken in (7 bits, `image_code`). Partners lie ahead of a molecule in the order
of the cells, so that a run of molecules touches only a window of the list order.
"""

from __future__ import annotations

from typing import Any

import numba

from mdpipe.kernels._jit import jit, parallel_jit

__all__ = ["MAX_MOLECULES", "build_pairs"]

MAX_MOLECULES = 1 << 24


@jit()
def _scan_run(
    s: int,
    first: int,
    last: int,
    code: int,
    shift: Any,
    centres: Any,
    radius2: float,
    pairs: Any,
    n: int,
) -> int:
    x = centres[s, 0] - shift[0]
    y = centres[s, 1] - shift[1]
    z = centres[s, 2] - shift[2]
    tag = code << 24
    for t in range(first, last):
        dx = centres[t, 0] - x
        dy = centres[t, 1] - y
        dz = centres[t, 2] - z
        pairs[n] = tag | t
        n += dx * dx + dy * dy + dz * dz < radius2
    return n


@jit()
def _partners(
    s: int,
    cell: Any,
    shape: Any,
    reach: Any,
    cell_start: Any,
    centres: Any,
    shifts: Any,
    radius2: float,
    pairs: Any,
    n: int,
    limit: int,
) -> int:
    # Offsets ahead of (0, 0, 0) in lexicographic order, in unwrapped cell space: every image
    # is met once, however few cells there are.
    nx, ny, nz = shape
    for dx in range(reach[0] + 1):
        ix, cx = divmod(cell[0] + dx, nx)
        for dy in range(-reach[1] if dx > 0 else 0, reach[1] + 1):
            iy, cy = divmod(cell[1] + dy, ny)
            row = (cx * ny + cy) * nz
            own = dx == 0 and dy == 0
            low = cell[2] + (0 if own else -reach[2])
            high = cell[2] + reach[2]
            for iz in range(low // nz, high // nz + 1):
                if max(abs(ix), abs(iy), abs(iz)) > 2:
                    return -1
                begin = max(low, iz * nz) - iz * nz
                end = min(high, iz * nz + nz - 1) - iz * nz
                first = cell_start[row + begin]
                last = cell_start[row + end + 1]
                if own and iz == 0:
                    first = s + 1
                if n + last - first > limit:
                    return -2
                code = ((ix + 2) * 5 + iy + 2) * 5 + iz + 2
                n = _scan_run(s, first, last, code, shifts[code], centres, radius2, pairs, n)
    return n


@parallel_jit()
def build_pairs(
    centres: Any,
    shape: Any,
    reach: Any,
    cell_start: Any,
    shifts: Any,
    radius: float,
    chunk_start: Any,
    capacity: int,
    pairs: Any,
    starts: Any,
    status: Any,
) -> None:
    """List the partners of each molecule within a radius.

    Parameters
    ----------
    centres : (n, 3) float64
        Points inside the box, sorted by cell.
    shape, reach : tuple of 3 int
        Number of cells along each box vector, and how many cells the radius spans.
    cell_start : (cells + 1,) int32
        First point of each cell.
    shifts : (125, 3) float64
        Displacement of each image; image (i, j, k) has code ``25 (i+2) + 5 (j+2) + k+2``.
    radius : float
        Length.
    chunk_start : (chunks + 1,) int64
        Bounds of the chunks of molecules; each is listed in its own part of `pairs`.
    capacity : int
        Length of the part of a chunk.
    pairs : (chunks * capacity,) int32
        Out: image code and partner of each pair.
    starts : (n, 2) int64
        Out: first and past-the-last pair of each molecule.
    status : (chunks,) int64
        Out: pairs of the chunk; -2 where `capacity` is too small, -1 where the radius spans more
        than two images.
    """
    for c in numba.prange(chunk_start.shape[0] - 1):
        status[c] = _list_chunk(
            c,
            centres,
            shape,
            reach,
            cell_start,
            shifts,
            radius,
            chunk_start,
            capacity,
            pairs,
            starts,
        )


@jit()
def _list_chunk(
    c: int,
    centres: Any,
    shape: Any,
    reach: Any,
    cell_start: Any,
    shifts: Any,
    radius: float,
    chunk_start: Any,
    capacity: int,
    pairs: Any,
    starts: Any,
) -> Any:
    n: int = c * capacity
    k = 0
    for s in range(chunk_start[c], chunk_start[c + 1]):
        while cell_start[k + 1] <= s:
            k += 1
        cell = (k // (shape[1] * shape[2]), k // shape[2] % shape[1], k % shape[2])
        starts[s, 0] = n
        # One spare place: the scan writes before it knows whether the pair counts.
        n = _partners(
            s,
            cell,
            shape,
            reach,
            cell_start,
            centres,
            shifts,
            radius * radius,
            pairs,
            n,
            (c + 1) * capacity - 1,
        )
        if n < 0:
            return n
        starts[s, 1] = n
    return n - c * capacity
