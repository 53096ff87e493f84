"""Radial distribution functions and coordination, frame by frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.matrix import determinant3
from mdpipe.kernels.rdf import half_width, pair_histograms, to_fractional
from mdpipe.observables.blocks import ChunkedMean, block_error, jackknife
from mdpipe.observables.peaks import find_extrema
from mdpipe.observables.results import TOO_FEW, Measurements, Scalar, finite
from mdpipe.state import Frame

BIN_NM = 0.002
R_CAP_NM = 2.0
"""g(r) ends at half the smallest perpendicular width of the box, or here if that is further."""

_PAIRS_PER_N2 = np.array([[0.5], [2.0], [2.0]])
"""Unordered intermolecular pairs O-O, O-H, H-H over n (n - 1)."""


class PairStructure:
    """g_OO, g_OH, g_HH between different molecules, and the coordination number.

    Each frame is normalised with its own volume and with the number of pairs of *different*
    molecules, n (n - 1) times 1/2, 2 and 2, so that an ideal gas has g = 1 at any n.
    """

    def __init__(self) -> None:
        self._mean = ChunkedMean()
        self._n_bins = 0
        self._valid = 0

    def add(self, frame: Frame) -> None:
        """Count the pairs of one frame.

        Parameters
        ----------
        frame : Frame
            Whole molecules in any image.
        """
        n_bins = int(min(half_width(frame.box), R_CAP_NM) / BIN_NM)
        if self._n_bins == 0:
            self._n_bins = self._valid = n_bins
        n_bins = min(n_bins, self._n_bins)
        self._valid = min(self._valid, n_bins)
        fractional = to_fractional(frame.positions, frame.box)
        counts = pair_histograms(fractional, frame.box, n_bins * BIN_NM, n_bins)
        n = frame.positions.shape[0]
        edges = np.arange(n_bins + 1) * BIN_NM
        shells = 4.0 / 3.0 * np.pi * np.diff(edges**3)
        volume = abs(determinant3(frame.box))
        rows = np.zeros((4, self._n_bins))
        rows[:3, :n_bins] = counts / (_PAIRS_PER_N2 * n * (n - 1)) * (volume / shells)
        rows[3, :n_bins] = 2.0 * np.cumsum(counts[0]) / n
        self._mean.add(rows)

    def finish(self, into: Measurements) -> None:
        """Write curves and scalars.

        Parameters
        ----------
        into : Measurements
            Gets `r_nm, g_oo, g_oh, g_hh, g_oo_error, coordination` and the peaks.
        """
        mean = self._mean.mean[:, : self._valid]
        chunks = self._mean.chunks[:, :, : self._valid]
        r: NDArray[np.float64] = (np.arange(self._valid) + 0.5) * np.float64(BIN_NM)
        first = find_extrema(r, mean[0])[0]
        height = np.abs(r - first.position) < 0.015
        blocks = chunks
        estimate = block_error(chunks[:, 0, height].mean(axis=1) if height.any() else np.empty(0))
        errors = np.full(7, np.nan)
        g_error = np.full(self._valid, np.nan)
        if estimate.error is not None:
            length = estimate.block_length
            whole = len(chunks) // length * length
            blocks = chunks[:whole].reshape(-1, length, *chunks.shape[1:]).mean(axis=1)
            errors = jackknife(blocks, lambda rows: _features(r, rows))
            g_error = blocks[:, 0].std(axis=0, ddof=1) / np.sqrt(len(blocks))
        into.curves |= {
            "r_nm": r,
            "g_oo": mean[0],
            "g_oh": mean[1],
            "g_hh": mean[2],
            "g_oo_error": g_error,
            "coordination": mean[3],
        }
        values = _features(r, mean)
        for (name, unit), value, error in zip(_FEATURES, values, errors, strict=True):
            note = "" if np.isfinite(error) else TOO_FEW
            if name == "coordination_number" and np.isfinite(values[2]):
                note = "; ".join(filter(None, [f"up to the minimum at {values[2]:.3f} nm", note]))
            if not np.isfinite(value):
                note = "no such extremum within the range of r"
            into.scalars[name] = Scalar(finite(value), finite(error), unit, estimate.n_blocks, note)


_FEATURES = (
    ("goo_peak_position", "nm"),
    ("goo_peak_height", ""),
    ("goo_minimum_position", "nm"),
    ("goo_minimum_height", ""),
    ("goo_second_peak_position", "nm"),
    ("goo_second_peak_height", ""),
    ("coordination_number", ""),
)


def _features(r: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return extrema of g_OO and the coordination number, in the order of `_FEATURES`."""
    first, minimum, second = find_extrema(r, rows[0])
    coordination = np.nan
    if np.isfinite(minimum.position):
        # The running count belongs to the upper edges of the bins.
        coordination = float(np.interp(minimum.position, r + 0.5 * BIN_NM, rows[3]))
    return np.array([*first, *minimum, *second, coordination])
