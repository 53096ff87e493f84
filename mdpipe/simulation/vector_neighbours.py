"""The dual list of partners that the vector kernels read."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.matrix import inverse3, least_stretch, product3
from mdpipe.kernels.pair_simd import ROW
from mdpipe.kernels.pairlist_simd import list_partners, prune_partners
from mdpipe.kernels.simd import LANES
from mdpipe.kernels.sites_simd import place_rows
from mdpipe.simulation.neighbours import (
    MAX_CHUNKS,
    Neighbours,
    Three,
    perpendicular_widths,
    triples,
)

__all__ = ["VectorNeighbours", "aligned_rows"]

Array = NDArray[np.float64]

OUTER_BUFFER_NM = 0.1
INNER_BUFFER_NM = 0.02
MANY_MOLECULES = 16_000


def aligned_rows(count: int, kind: Any) -> NDArray[Any]:
    """Make rows of zeros that begin where cache lines do, which is quicker but changes no bits.

    Parameters
    ----------
    count : int
        Number of rows.
    kind : type
        Of 4 bytes.

    Returns
    -------
    (count, ROW) array
        Zeros.
    """
    raw = np.zeros((count + 2) * ROW, kind)
    first = -raw.ctypes.data % 64 // raw.itemsize
    return raw[first : first + count * ROW].reshape(count, ROW)


class VectorNeighbours(Neighbours):
    """Molecules in list order as rows of vectors, an outer and an inner list of partners.

    The outer list is built from cells; the inner one is what lies nearer in it, and is taken from
    it again as soon as displacements since then could have let a pair of sites into the cutoff
    that is not listed. Both conditions are exact, as those of `Neighbours`.

    A pair of molecules is listed once, in its nearest image. That is all there is to list as long
    as the distance within which molecules interact is at most half of the box (`fits`).

    Parameters
    ----------
    n_molecules : int
        Number of molecules.
    r_cut : float
        Cutoff between sites, or between oxygens, nm.
    weight_h : float
        Weight of H in the virtual site.
    molecular : bool
        Whether `r_cut` is between the oxygens of two molecules, all sites of which count then.

    Attributes
    ----------
    rows : (m, ROW) int32
        Molecules (`mdpipe.kernels.pair_simd`).
    partners : (k,) int32
        The inner list, and `starts` (n, 2) where each molecule's part of it lies.
    scaled_box : tuple of 6 float32
        Lower triangle of the box over 2^32, row by row.
    longest : float
        Largest O-H distance, nm.
    prunings : int
        How often the inner list has been taken from the outer one.
    """

    def __init__(self, n_molecules: int, r_cut: float, weight_h: float, *, molecular: bool) -> None:
        super().__init__(
            n_molecules, r_cut, OUTER_BUFFER_NM, weight_h, np.float32, molecular=molecular
        )
        n = n_molecules
        self.rows = aligned_rows(2 * n, np.int32)
        self.partners = np.zeros(0, np.int32)
        self.r_inner = 0.0
        self.longest = 0.0
        self.prunings = 0
        self.scaled_box: tuple[np.float32, ...] = ()
        self._outer = np.zeros(0, np.int32)
        self._outer_starts = np.zeros((n, 2), np.int64)
        self._pruned = triples(n)
        self._pruned_box = np.eye(3)
        self._pruned_stretch = 1.0
        self._drifted = 0.0
        self._copies = 0
        self._tilted = False
        self._half = 0.0
        self._numbers = np.zeros(37)
        self._numbers[36] = weight_h

    @staticmethod
    def max_chunks(n_molecules: int) -> int:
        """Return the most chunks: few where windows of rows would mostly overlap."""
        return MAX_CHUNKS if n_molecules >= MANY_MOLECULES else MAX_CHUNKS // 2

    def fits(self, box: Array, longest: float) -> bool:
        """Say whether molecules interact with no more than one image of each other.

        Parameters
        ----------
        box : (3, 3) float64
            Rows, nm.
        longest : float
            Largest O-H distance, nm.

        Returns
        -------
        bool
            Whether half of the box covers the distance within which molecules interact.
        """
        reach = self.r_cut + (0.0 if self.molecular else 2.0 * longest)
        return 2.0 * reach * (1.0 - 1e-12) <= float(perpendicular_widths(box).min())

    def update(self, positions: Array, box: Array) -> None:
        """Write the rows for these positions, after bringing the lists up to date if they must be.

        Parameters
        ----------
        positions : (n, 3, 3) float64
            O, H1, H2, any image, nm.
        box : (3, 3) float64
            Rows, nm.
        """
        super().update(positions, box)
        # The comparison is made so that a NaN prunes; there is none, as `update` reports it.
        if not self.reach + 2.0 * self._drifted <= self.r_inner * self._pruned_stretch:
            self._prune()

    def _set_box(self, box: Array) -> None:
        super()._set_box(box)
        since = product3(inverse3(self._pruned_box), box)
        self._pruned_stretch = least_stretch(since)
        self._numbers[27:36] = since.ravel()
        self._set_numbers()

    def _set_numbers(self) -> None:
        box = self._box
        self._numbers[:9] = inverse3(box).ravel()
        self._numbers[9:18] = box.ravel()
        self._numbers[18:27] = self._strain.ravel()
        lower = (box[0, 0], box[1, 0], box[1, 1], box[2, 0], box[2, 1], box[2, 2])
        self.scaled_box = tuple(np.float32(x / 2.0**32) for x in lower)
        self._tilted = box[1, 0] != 0.0 or box[2, 0] != 0.0 or box[2, 1] != 0.0
        self._half = 0.5 * float(perpendicular_widths(box).min())

    def _place(self, positions: Array) -> None:
        self._moved, self._drifted, self.longest = place_rows(
            positions,
            self.order,
            self.images,
            (self.reference, self._pruned),
            self._numbers,
            self._copies,
            self.centres,
            self.offsets,
            self.rows,
        )
        self.reach = self._reach_of(self.longest)

    def _rebuild(self, positions: Array, box: Array) -> None:
        shape, reach, cell_start = self._sort(positions, box)
        self._set_numbers()
        self._set_windows(shape, reach, cell_start)
        self._place(positions)
        self.reference[:] = self.centres
        self._fill(shape, reach, cell_start)
        self._prune()
        self.stale = False
        self.rebuilds += 1

    def _radius2(self, radius: float) -> np.float32:
        # In a tilted box the nearest image is sure to be found only within half of its width.
        # Beyond that everything is listed that the cells hold.
        if self._tilted and radius > self._half:
            return np.float32(np.inf)
        return np.float32((radius * (1.0 + 1e-6)) ** 2)

    def _fill(self, shape: Three, reach: Three, cell_start: NDArray[np.int32]) -> None:
        chunks = len(self._status)
        n = self.n_molecules
        volume = float(self._box[0, 0] * self._box[1, 1] * self._box[2, 2])
        half_shell = 2.0 / 3.0 * math.pi * self.r_list**3 * n / volume
        least = int((1.1 * half_shell + LANES) * n / chunks) + 1024
        self.capacity = max(self.capacity, least)
        points = np.zeros((3, n + self._copies + LANES), np.int32)
        points[:, : n + self._copies] = self.rows[: n + self._copies, :3].T
        while True:
            if self._outer.shape[0] < chunks * self.capacity:
                self._outer = np.empty(chunks * self.capacity, np.int32)
                self.partners = np.empty(chunks * self.capacity, np.int32)
            list_partners(
                self.chunk_start,
                shape,
                reach,
                cell_start,
                points,
                self.scaled_box,
                self._radius2(self.r_list),
                self.capacity,
                self._outer,
                self._outer_starts,
                self._status,
            )
            if (self._status >= 0).all():
                return
            self.capacity *= 2

    def _prune(self) -> None:
        self.r_inner = self.reach + INNER_BUFFER_NM
        self._pruned[:] = self.centres
        self._pruned_box = self._box.copy()
        self._pruned_stretch = 1.0
        self._numbers[27:36] = np.eye(3).ravel()
        self._drifted = 0.0
        prune_partners(
            self.chunk_start,
            self._outer_starts,
            self._outer,
            self.rows,
            self.scaled_box,
            self._radius2(self.r_inner),
            self.capacity,
            self.starts,
            self.partners,
        )
        self.prunings += 1

    def _set_windows(self, shape: Three, reach: Three, cell_start: NDArray[np.int32]) -> None:
        """Find which molecules the partners of each chunk are among: to the end of a slab."""
        slabs = cell_start[:: shape[1] * shape[2]].astype(np.int64)
        n = self.n_molecules
        row = 0
        for c in range(len(self._status)):
            begin, end = int(self.chunk_start[c]), n
            if 2 * reach[0] + 1 <= shape[0]:
                last = int(np.searchsorted(slabs, self.chunk_start[c + 1] - 1, side="right")) - 1
                last += reach[0]
                end = int(slabs[last % shape[0] + 1]) + last // shape[0] * n
            self.windows[c] = (row, begin, end - begin)
            row += end - begin
        self._copies = max(0, int((self.windows[:, 1] + self.windows[:, 2]).max()) - n)
