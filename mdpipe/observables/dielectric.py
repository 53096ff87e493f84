"""Static dielectric constant from the fluctuations of the dipole moment of the box."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.matrix import determinant3
from mdpipe.models import WaterModel
from mdpipe.observables.blocks import block_error, jackknife
from mdpipe.observables.results import Measurements, Scalar
from mdpipe.state import Frame
from mdpipe.units import BOLTZMANN, COULOMB

MIN_LENGTH_PS = 1000.0
MAX_RELATIVE_ERROR = 0.1


class Dipoles:
    """The dipole moment of the box over time.

    Parameters
    ----------
    model : WaterModel
        Charges, and where the negative one sits.
    """

    def __init__(self, model: WaterModel) -> None:
        # μ = q_H (r_H1 + r_H2 - 2 r_neg), with r_neg = (1 - 2w) r_O + w (r_H1 + r_H2).
        w = model.virtual_site_weight_h if model.has_virtual_site else 0.0
        self._charge = model.charge_h_e * (1.0 - 2.0 * w)
        self._moments: list[NDArray[np.float64]] = []
        self._volumes: list[float] = []
        self._times: list[float] = []

    def add(self, frame: Frame) -> None:
        """Sum the dipoles of the molecules of one frame.

        Parameters
        ----------
        frame : Frame
            Whole molecules; the images they lie in do not matter.
        """
        arms = frame.positions[:, 1] + frame.positions[:, 2] - 2.0 * frame.positions[:, 0]
        self._moments.append(self._charge * arms.sum(axis=0))
        self._volumes.append(abs(determinant3(frame.box)))
        self._times.append(frame.time_ps)

    def finish(self, into: Measurements, *, temperature_K: float) -> None:
        """Write the dipole series and ε, or the reason why there is none.

        Parameters
        ----------
        into : Measurements
            Gets `dipole_e_nm` and the scalar `dielectric_constant`.
        temperature_K : float
            Mean temperature.
        """
        moments = np.array(self._moments)
        into.curves["dipole_e_nm"] = moments
        length = self._times[-1] - self._times[0]
        if length < MIN_LENGTH_PS:
            note = f"run too short: {length:g} ps, needs at least {MIN_LENGTH_PS:g} ps"
            into.scalars["dielectric_constant"] = Scalar(None, None, "", 0, note)
            return
        volume = float(np.mean(self._volumes))
        scalar = dielectric_constant(moments, volume, temperature_K)
        if scalar.error is None or scalar.error > MAX_RELATIVE_ERROR * (scalar.value or 0.0):
            error = "not known" if scalar.error is None else f"{scalar.error:.1f}"
            note = f"run of {length:g} ps too short: the standard error is {error}"
            scalar = Scalar(None, None, "", scalar.n_blocks, note)
        into.scalars["dielectric_constant"] = scalar


def dielectric_constant(
    moments: NDArray[np.float64], volume_nm3: float, temperature_K: float
) -> Scalar:
    """Return ε = 1 + 4π k_e (<M²> - <M>²) / (3 V k T) for conducting (tin-foil) boundaries.

    Parameters
    ----------
    moments : (t, 3) float64
        Dipole moment of the box, e nm.
    volume_nm3 : float
        Mean volume.
    temperature_K : float
        Mean temperature.

    Returns
    -------
    Scalar
        With a jackknife error over blocks of time, where there are enough.

    References
    ----------
    Neumann, Mol. Phys. 50, 841 (1983), DOI 10.1080/00268978300102721.
    """
    factor = 4.0 * np.pi * COULOMB / (3.0 * volume_nm3 * BOLTZMANN * temperature_K)
    rows = np.column_stack([moments, (moments**2).sum(axis=1)])

    def epsilon(row: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([1.0 + factor * (row[3] - (row[:3] ** 2).sum())])

    value = float(epsilon(rows.mean(axis=0))[0])
    estimates = [block_error(column) for column in rows.T]
    if any(e.error is None for e in estimates):
        return Scalar(value, None, "", 0, "too few independent samples for an error")
    length = max(e.block_length for e in estimates)
    blocks = rows[: len(rows) // length * length].reshape(-1, length, 4).mean(axis=1)
    return Scalar(value, float(jackknife(blocks, epsilon)[0]), "", len(blocks), "tin-foil boundary")
