"""The neighbour list of molecules and when it must be built again."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError
from mdpipe.kernels.cells import sort_into_cells
from mdpipe.kernels.matrix import inverse3, least_stretch, product3
from mdpipe.kernels.pairlist import MAX_MOLECULES, build_pairs
from mdpipe.kernels.sites import place_sites

__all__ = ["Neighbours", "Three", "perpendicular_widths", "triples"]

Array = NDArray[np.float64]

Three = tuple[int, int, int]

MAX_CHUNKS = 16
MOLECULES_PER_CHUNK = 48


def perpendicular_widths(box: Array) -> Array:
    """Return the distances between opposite faces of a box.

    Parameters
    ----------
    box : (3, 3) float64
        Rows are the box vectors.

    Returns
    -------
    (3,) float64
        Widths along a, b, c.
    """
    widths: Array = 1.0 / np.sqrt((inverse3(box) ** 2).sum(axis=0))
    return widths


def triples(n: int) -> Array:
    """Make an (n, 3) array with the memory of one more number behind it, for vectors to read."""
    return np.zeros(3 * n + 1)[:-1].reshape(n, 3)


class Neighbours:
    """Molecules in list order, their sites, and the list of pairs.

    The list holds every pair of molecules (and images) whose oxygens were within `r_list` when it
    was built. `update` moves the sites and builds the list again as soon as the largest
    displacement beyond the affine change of the box, the strain and the largest site distance
    could together have let a pair of sites into the cutoff that is not listed.

    Parameters
    ----------
    n_molecules : int
        Number of molecules.
    r_cut : float
        Cutoff between sites, nm.
    buffer : float
        By how much the list reaches further than two molecules' sites do, nm.
    weight_h : float
        Weight of H in the virtual site.
    dtype : type
        float32 or float64: precision of the site offsets.
    molecular : bool
        Whether `r_cut` is between the oxygens of two molecules, all sites of which count then.
    """

    def __init__(
        self,
        n_molecules: int,
        r_cut: float,
        buffer: float,
        weight_h: float,
        dtype: Any,
        *,
        molecular: bool = False,
    ) -> None:
        if n_molecules >= MAX_MOLECULES:
            raise InputError(
                f"at most {MAX_MOLECULES - 1} molecules fit in the neighbour list, got "
                f"{n_molecules}; use a smaller box"
            )
        n = n_molecules
        self.n_molecules = n
        self.r_cut = r_cut
        self.buffer = buffer
        self.weight_h = weight_h
        self.molecular = molecular
        self.rebuilds = 0
        self.stale = True
        self.r_list = 0.0
        self.reach = 0.0
        self.order = np.arange(n, dtype=np.int32)
        self.images = triples(n)
        self.centres = triples(n)
        self.offsets: NDArray[Any] = np.zeros((n, 9), dtype)
        self.reference = triples(n)
        self.starts = np.zeros((n, 2), np.int64)
        chunks = max(1, min(self.max_chunks(n), n // MOLECULES_PER_CHUNK))
        self.chunk_start = np.array([c * n // chunks for c in range(chunks + 1)], np.int64)
        self.windows = np.zeros((chunks, 3), np.int64)
        self.pairs = np.zeros(chunks, np.int32)
        self.shifts = np.zeros((125, 3))
        self.capacity = 0
        self._status = np.zeros(chunks, np.int64)
        self._extremes = np.zeros((16, 2))
        self._box = np.zeros((3, 3))
        self._reference_box = np.eye(3)
        self._strain: NDArray[Any] = np.eye(3)
        self._least_stretch = 1.0
        self._moved = 0.0

    @staticmethod
    def max_chunks(n_molecules: int) -> int:  # noqa: ARG004
        """Return the most chunks that molecules are dealt out in: threads that can be of use."""
        return MAX_CHUNKS

    def update(self, positions: Array, box: Array) -> None:
        """Place the sites for these positions, after building the list again if it must be.

        Parameters
        ----------
        positions : (n, 3, 3) float64
            O, H1, H2, any image, nm.
        box : (3, 3) float64
            Rows, nm.
        """
        if not np.array_equal(box, self._box):
            self._set_box(box)
        if not self.stale:
            self._place(positions)
            if self._covers():
                return
        self._rebuild(positions, box)

    def check_box(self, box: Array) -> None:
        """Make sure that each site sees each other site at most once within the cutoff.

        Parameters
        ----------
        box : (3, 3) float64
            Rows, nm.

        Raises
        ------
        InputError
            If a distance between opposite faces is below 2 r_cut.
        """
        widths = perpendicular_widths(box)
        if not np.all(widths >= 2.0 * self.r_cut * (1.0 - 1e-12)):
            raise InputError(
                f"box must be at least 2 r_cut = {2.0 * self.r_cut:g} nm in each direction, got "
                f"{np.array2string(widths, precision=4)}; add molecules or lower r_cut_nm"
            )

    def _set_box(self, box: Array) -> None:
        self.check_box(box)
        self._box = box.copy()
        grid = np.mgrid[-2:3, -2:3, -2:3].reshape(3, -1).T.astype(np.float64)
        self.shifts = product3(grid, box)
        self._strain = product3(inverse3(self._reference_box), box)
        self._least_stretch = least_stretch(self._strain)

    def _place(self, positions: Array) -> None:
        place_sites(
            positions,
            self.order,
            self.images,
            self._box,
            self.weight_h,
            self.reference,
            self._strain,
            self.centres,
            self.offsets,
            self._extremes,
        )
        self.reach = self._reach_of(math.sqrt(float(self._extremes[:, 1].max())))
        self._moved = math.sqrt(float(self._extremes[:, 0].max()))

    def _reach_of(self, longest: float) -> float:
        """Return the O-O distance within which two molecules may interact."""
        # Rounding of the float32 offsets and of the squares.
        return (self.r_cut + (0.0 if self.molecular else 2.0 * longest)) * (1.0 + 1e-6)

    def _covers(self) -> bool:
        # A NaN compares false and so leads to a rebuild, which reports it.
        return self.reach + 2.0 * self._moved <= self.r_list * self._least_stretch

    def _rebuild(self, positions: Array, box: Array) -> None:
        shape, reach, cell_start = self._sort(positions, box)
        self._place(positions)
        self.reference[:] = self.centres
        self._fill(shape, reach, cell_start)
        self._set_windows(shape, reach, cell_start)
        self.stale = False
        self.rebuilds += 1

    def _sort(self, positions: Array, box: Array) -> tuple[Three, Three, NDArray[np.int32]]:
        """Sort the molecules by cells; return the cells, how many the list spans, their starts."""
        if not np.isfinite(positions).all():
            raise InputError(
                "positions must be finite, got NaN or infinity; lower dt_ps or minimise first"
            )
        self._reference_box = box.copy()
        self._strain = np.eye(3)
        self._least_stretch = 1.0
        hydrogens = positions[:, 1:] - positions[:, :1]
        longest = math.sqrt(float((hydrogens**2).sum(axis=2).max()))
        widths = perpendicular_widths(box)
        self.r_list = self._reach_of(longest) + self.buffer
        if self.r_cut + 2.0 * longest + self.buffer > 2.0 * float(widths.min()):
            raise InputError(
                f"molecules must be whole, got an O-H distance of {longest:.3g} nm; "
                "make them whole or minimise first"
            )
        shape, reach = self._cells(widths)
        cell_start = np.zeros(math.prod(shape) + 1, np.int32)
        oxygens = np.ascontiguousarray(positions[:, 0])
        inverse = inverse3(box)
        sort_into_cells(oxygens, inverse, np.array(shape), self.order, self.images, cell_start)
        return shape, reach, cell_start

    def _cells(self, widths: Array) -> tuple[Three, Three]:
        # At most about one cell for each molecule, however large the box.
        most = max(1, round(self.n_molecules ** (1 / 3)) * 2)
        nx, ny, nz = (
            max(1, min(most, int(w * part / self.r_list)))
            for w, part in zip(widths, (2, 2, 4), strict=True)
        )
        shape = (nx, ny, nz)
        rx, ry, rz = (math.ceil(self.r_list * k / w) for k, w in zip(shape, widths, strict=True))
        return shape, (rx, ry, rz)

    def _fill(
        self,
        shape: Three,
        reach: Three,
        cell_start: NDArray[np.int32],
    ) -> None:
        chunks = len(self._status)
        volume = float(self._box[0, 0] * self._box[1, 1] * self._box[2, 2])
        half_shell = 2.0 / 3.0 * math.pi * self.r_list**3 * self.n_molecules / volume
        self.capacity = max(self.capacity, int(1.2 * half_shell * self.n_molecules / chunks) + 1024)
        while True:
            if self.pairs.shape[0] < chunks * self.capacity:
                self.pairs = np.empty(chunks * self.capacity, np.int32)
            build_pairs(
                self.centres,
                shape,
                reach,
                cell_start,
                self.shifts,
                self.r_list,
                self.chunk_start,
                self.capacity,
                self.pairs,
                self.starts,
                self._status,
            )
            if (self._status == -1).any():
                raise InputError(
                    f"r_list = {self.r_list:.3g} nm spans more than two images of the box; "
                    "add molecules or lower r_cut_nm"
                )
            if (self._status >= 0).all():
                return
            self.capacity *= 2

    def _set_windows(
        self,
        shape: Three,
        reach: Three,
        cell_start: NDArray[np.int32],
    ) -> None:
        """Find which molecules the partners of each chunk are among: whole x slabs of cells."""
        slabs = cell_start[:: shape[1] * shape[2]].astype(np.int64)
        n = self.n_molecules
        row = 0
        for c in range(len(self._status)):
            first = int(np.searchsorted(slabs, self.chunk_start[c], side="right")) - 1
            last = int(np.searchsorted(slabs, self.chunk_start[c + 1] - 1, side="right")) - 1
            last += reach[0]
            begin = int(slabs[first])
            end = int(slabs[last % shape[0] + 1]) + last // shape[0] * n
            length = min(n, end - begin) if last - first < shape[0] else n
            self.windows[c] = (row, begin, length)
            row += length

    @property
    def buffer_rows(self) -> int:
        """Rows of the force buffer that the windows need."""
        return int(self.windows[-1, 0] + self.windows[-1, 2])
