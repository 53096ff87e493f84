"""What the reciprocal sum costs in float32, and the cheapest grid that is fine enough.

The times were measured on one core with AVX-512 (AMD Zen 5). Other machines are slower but in much
the same proportions, and the grid of a study must not depend on the machine.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from mdpipe.kernels.transform import factorise

__all__ = ["cheapest_grid", "friendly_sizes", "reciprocal_cost"]

LANES = 16

# ns for each vector of 16 complex numbers: in each pass; sorted out of pairs of planes; turned
# round and multiplied.
_PASS = 1.9
_PAIR = 2.6
_TURN = 3.5

# ns for each site by order: located, spread and gathered.
_SITE = {4: 17.0, 5: 26.0}


def friendly_sizes(least: int) -> Iterator[int]:
    """Yield the even FFT sizes 2^a 3^b 5^c 7^d from a least one on.

    Parameters
    ----------
    least : int
        Lower bound.

    Yields
    ------
    int
        Ascending sizes.
    """
    size = least + least % 2
    while True:
        rest = size
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            yield size
        size += 2


def reciprocal_cost(grid: tuple[int, int, int], order: int, n_molecules: int) -> float:
    """Estimate the time of the reciprocal sum on one core.

    Parameters
    ----------
    grid : tuple of 3 int
        Even products of 2, 3, 5 and 7.
    order : int
        4 or 5.
    n_molecules : int
        Number of molecules.

    Returns
    -------
    float
        Microseconds.
    """
    kx, ky, kz = grid
    x, y, z = (_PASS * size * len(factorise(size)) for size in grid)
    blocks_x, blocks_z = -(-kx // LANES), -(-kz // LANES)
    pairs = kx // 2 * blocks_z * 2.0 * (y + _PAIR * ky)
    waves = (ky // 2 + 1) * (2.0 * blocks_z * x + blocks_x * (2.0 * z + _TURN * kz))
    return 1e-3 * (pairs + waves + 3 * n_molecules * _SITE[order])


def cheapest_grid(
    least: tuple[int, int, int], order: int, n_molecules: int
) -> tuple[int, int, int]:
    """Choose the cheapest grid that is fine enough.

    Parameters
    ----------
    least : tuple of 3 int
        The fewest points along each direction.
    order, n_molecules : int
        As in `reciprocal_cost`.

    Returns
    -------
    tuple of 3 int
        Sizes among the four next friendly ones of each direction: a finer grid may be cheaper, as
        its lines fill whole vectors or need a pass less.
    """
    choices = [list(itertools.islice(friendly_sizes(size), 4)) for size in least]
    grids = [(kx, ky, kz) for kx, ky, kz in itertools.product(*choices)]
    # Of equally cheap ones the finest.
    return min(grids, key=lambda g: (reciprocal_cost(g, order, n_molecules), -math.prod(g)))
