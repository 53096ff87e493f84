"""Mean squared displacement and self-diffusion."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.correlate import squared_displacements
from mdpipe.models import WaterModel
from mdpipe.observables.results import Measurements, Scalar
from mdpipe.state import Frame
from mdpipe.units import BOLTZMANN

MEMORY_BYTES = 256 * 2**20
"""Positions kept for the MSD; beyond this every second frame kept so far is dropped."""
GROUPS = 16
MIN_LENGTH_PS = 4.0
YEH_HUMMER_XI = 2.837297
KJ_PS_PER_MOL_NM3_PER_MPA_S = 602.214076
"""1 mPa s in kJ/mol ps/nm³."""
NM2_PS_IN_1E9_M2_S = 1e3
"""1 nm²/ps in units of 1e-9 m²/s."""


class Viscosity(NamedTuple):
    """A published viscosity and where it stands."""

    mpa_s: float
    source: str


class Displacements:
    """Centres of mass over time, for the MSD over all origins.

    Parameters
    ----------
    model : WaterModel
        For the masses.
    memory_bytes : int
        How much to keep; long runs are thinned by powers of two, and `stride` says by how much.
    """

    def __init__(self, model: WaterModel, memory_bytes: int = MEMORY_BYTES) -> None:
        self._weights = np.array([model.mass_o_amu, model.mass_h_amu, model.mass_h_amu])
        self._weights /= self._weights.sum()
        self._memory = memory_bytes
        self._kept: list[NDArray[np.float32]] = []
        self._times: list[float] = []
        self._seen = 0
        self.stride = 1

    def add(self, frame: Frame) -> None:
        """Keep the centres of mass of one frame, less their own mean.

        Parameters
        ----------
        frame : Frame
            Unwrapped: a molecule never jumps to another image between frames.
        """
        self._seen += 1
        if (self._seen - 1) % self.stride:
            return
        centres = np.einsum("s,nsa->na", self._weights, frame.positions)
        self._kept.append((centres - centres.mean(axis=0)).astype(np.float32))
        self._times.append(frame.time_ps)
        if len(self._kept) > 16 and len(self._kept) * self._kept[0].nbytes > self._memory:
            self._kept, self._times = self._kept[::2], self._times[::2]
            self.stride *= 2

    def finish(
        self,
        into: Measurements,
        *,
        box: NDArray[np.float64],
        temperature_K: float,
        viscosity: Viscosity | str,
    ) -> None:
        """Write the MSD, its fit, D and D corrected for the size of the box.

        Parameters
        ----------
        into : Measurements
            Gets `lag_ps, msd_nm2` and the scalars `diffusion, diffusion_corrected`.
        box : (3, 3) float64
            Mean box, nm.
        temperature_K : float
            Mean temperature.
        viscosity : Viscosity or str
            Of the model at this temperature; a string says why there is none.
        """
        into.info["msd_stride"] = self.stride
        times = np.array(self._times)
        fault = _fault(times)
        if fault:
            into.scalars["diffusion"] = Scalar(None, None, _D_UNIT, 0, fault)
            into.scalars["diffusion_corrected"] = Scalar(None, None, _D_UNIT, 0, fault)
            return
        dt = float(times[-1] - times[0]) / (len(times) - 1)
        positions = np.stack(self._kept)
        groups = squared_displacements(positions, min(GROUPS, positions.shape[1]))
        sizes = np.bincount(np.arange(positions.shape[1]) % len(groups))
        msd = np.average(groups, axis=0, weights=sizes)
        lags: NDArray[np.float64] = np.arange(len(times)) * np.float64(dt)
        window = fit_window(float(lags[-1]))
        half = len(lags) // 2 + 1
        into.curves |= {"lag_ps": lags[:half], "msd_nm2": msd[:half]}
        diffusion = _diffusion(positions, groups, lags, window)
        slope, intercept = _line(lags, msd, window)
        into.curves["msd_fit"] = np.array([*window, slope, intercept])
        at_end = slope * window[1] + intercept
        if at_end < 0.03:
            still = f"MSD at the end of the window is {at_end:.3f} nm²: no diffusion to speak of"
            diffusion = diffusion._replace(note=f"{diffusion.note}; {still}")
        into.scalars["diffusion"] = diffusion
        into.scalars["diffusion_corrected"] = _yeh_hummer(diffusion, box, temperature_K, viscosity)


_D_UNIT = "1e-9 m²/s"


def _fault(times: NDArray[np.float64]) -> str:
    """Say why there can be no D from frames at these times, or nothing."""
    length = float(times[-1] - times[0]) if len(times) > 1 else 0.0
    if length < MIN_LENGTH_PS or len(times) < 16:
        return f"run too short: {length:g} ps in {len(times)} frames; needs {MIN_LENGTH_PS:g} ps"
    steps = np.diff(times)
    if steps.min() <= 0.0 or np.ptp(steps) > 0.01 * steps.mean():
        return "frames are not equally spaced in time"
    return ""


def fit_window(length_ps: float) -> tuple[float, float]:
    """Return the lags between which a line is fitted to the MSD.

    Parameters
    ----------
    length_ps : float
        Length of the run.

    Returns
    -------
    tuple of float
        2 ps (a tenth of a run below 20 ps, but at least 1 ps: past the ballistic motion and the
        rattling in the cage) to half the run, at most 20 ps.
    """
    return max(1.0, min(2.0, 0.1 * length_ps)), min(20.0, 0.5 * length_ps)


def _line(
    lags: NDArray[np.float64], msd: NDArray[np.float64], window: tuple[float, float]
) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line within the window."""
    inside = (lags >= window[0] - 1e-9) & (lags <= window[1] + 1e-9)
    x, y = lags[inside], msd[inside]
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return slope, float(y.mean() - slope * x.mean())


def _diffusion(
    positions: NDArray[np.float32],
    groups: NDArray[np.float64],
    lags: NDArray[np.float64],
    window: tuple[float, float],
) -> Scalar:
    """Return D from the whole run, with an error from blocks of time, else of molecules."""
    factor = NM2_PS_IN_1E9_M2_S / 6.0
    sizes = np.bincount(np.arange(positions.shape[1]) % len(groups))
    value = factor * _line(lags, np.average(groups, axis=0, weights=sizes), window)[0]
    note = f"line over lags {window[0]:g} to {window[1]:g} ps"
    n_time = int(lags[-1] / (2.0 * window[1]))
    if n_time >= 5:
        parts = np.array_split(positions, n_time)
        slopes = [
            _line(lags[: len(part)], squared_displacements(part)[0], window)[0] for part in parts
        ]
        note += f"; error from {n_time} blocks of time"
    elif len(groups) >= 8:
        slopes = [_line(lags, group, window)[0] for group in groups]
        note += f"; error from {len(groups)} groups of molecules in one short run"
    else:
        return Scalar(value, None, _D_UNIT, 0, f"{note}; too few independent samples for an error")
    error = factor * float(np.std(slopes, ddof=1) / np.sqrt(len(slopes)))
    return Scalar(value, error, _D_UNIT, len(slopes), note)


def _yeh_hummer(
    diffusion: Scalar,
    box: NDArray[np.float64],
    temperature_K: float,
    viscosity: Viscosity | str,
) -> Scalar:
    """Return D of an infinite box, D + ξ kT / (6 π η L), for cubic boxes.

    References: Yeh & Hummer, J. Phys. Chem. B 108, 15873 (2004), DOI 10.1021/jp0477147.
    """
    edges = np.diag(box)
    cubic = np.ptp(edges) < 0.01 * edges.mean() and np.abs(box - np.diag(edges)).max() < 1e-6
    if isinstance(viscosity, str):
        return Scalar(None, None, _D_UNIT, 0, f"correction not applied: {viscosity}")
    if not cubic:
        return Scalar(None, None, _D_UNIT, 0, "correction not applied: the box is not cubic")
    if diffusion.value is None:
        return diffusion
    eta = viscosity.mpa_s * KJ_PS_PER_MOL_NM3_PER_MPA_S
    shift = YEH_HUMMER_XI * BOLTZMANN * temperature_K / (6.0 * np.pi * eta * float(edges.mean()))
    shift *= NM2_PS_IN_1E9_M2_S
    note = f"+{shift:.2f} for the size of the box, η = {viscosity.mpa_s:g} mPa s"
    return diffusion._replace(
        value=diffusion.value + float(shift), note=f"{note} ({viscosity.source}); {diffusion.note}"
    )
