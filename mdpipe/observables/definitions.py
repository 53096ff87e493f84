"""What each observable is called, which scene speaks for it, and how it is defined."""

from __future__ import annotations

from typing import NamedTuple

from mdpipe.observables.blocks import MIN_BLOCKS
from mdpipe.observables.dielectric import MAX_RELATIVE_ERROR, MIN_LENGTH_PS
from mdpipe.observables.network import HBOND_ANGLE_DEG, HBOND_R_OO_NM
from mdpipe.observables.structure import BIN_NM, R_CAP_NM


class Observable(NamedTuple):
    """An observable of the summary; `scenes` lists the ensembles, the authoritative one first."""

    title: str
    unit: str
    scenes: tuple[str, ...]


_STRUCTURE = ("nvt", "npt", "nve")
_DYNAMICS = ("nve", "nvt", "npt")
_STATE = ("npt", "nvt", "nve")

OBSERVABLES: dict[str, Observable] = {
    "temperature": Observable("Temperature", "K", _STATE),
    "pressure": Observable("Pressure", "bar", _STRUCTURE),
    "density": Observable("Density", "g/cm³", _STATE),
    "potential_energy": Observable("Potential energy per molecule", "kJ/mol", _STATE),
    "goo_peak_position": Observable("g(OO) first peak, position", "nm", _STRUCTURE),
    "goo_peak_height": Observable("g(OO) first peak, height", "", _STRUCTURE),
    "goo_minimum_position": Observable("g(OO) first minimum, position", "nm", _STRUCTURE),
    "goo_second_peak_position": Observable("g(OO) second peak, position", "nm", _STRUCTURE),
    "coordination_number": Observable("Coordination number", "", _STRUCTURE),
    "hbonds_per_molecule": Observable("Hydrogen bonds per molecule", "", _STRUCTURE),
    "tetrahedral_order": Observable("Tetrahedral order q", "", _STRUCTURE),
    "q6_averaged": Observable("Averaged q6", "", _STRUCTURE),
    "ice_fraction": Observable("Ice by CHILL+", "", _STRUCTURE),
    "diffusion": Observable("Self-diffusion, this box", "1e-9 m²/s", _DYNAMICS),
    "diffusion_corrected": Observable("Self-diffusion, infinite box", "1e-9 m²/s", _DYNAMICS),
    "dielectric_constant": Observable("Dielectric constant", "", _STRUCTURE),
    "energy_drift": Observable("Energy drift", "kT/ns per atom", ("nve",)),
}

CURVES: dict[str, str] = {
    "r_nm": "centres of the bins of g(r)",
    "g_oo": "O-O of different molecules; also g_oh, g_hh, g_oo_error (one standard error)",
    "coordination": "mean number of oxygens nearer than the upper edge of the bin",
    "time_ps": "times of hbonds_per_molecule, q_mean, q6_mean, ice_fraction, chill_…",
    "lag_ps": "lags of msd_nm2; msd_fit holds first and last lag, slope and intercept of the line",
    "energy_time_ps": "times of energy_…, thinned; energies there are per molecule",
    "q": "centres of the bins of q_density; likewise q6 and q6_density",
}

_METHODS = f"""
Means are over the production run of the scene named in each row: structure from nvt, density from
npt, dynamics from nve where these scenes exist.

Standard errors are from block averaging (Flyvbjerg and Petersen): blocks grow until their length
B satisfies B³ > 2n (e_B/e_1)⁴ (Lee et al.). Where fewer than {
    MIN_BLOCKS
} blocks would be left, no error is
given. Errors of peak positions and heights and of the dielectric constant are jackknife errors
over the same blocks.

g(r) counts pairs of different molecules in bins of {BIN_NM:g} nm up to half the smallest
perpendicular width of the box (at most {R_CAP_NM:g} nm), each frame normalised with its own
volume and n (n - 1) pairs. Peaks and minima are extrema of local polynomial fits. The
coordination number is the mean number of oxygens up to the first minimum of g(OO).

A hydrogen bond has r(OO) < {HBOND_R_OO_NM:g} nm and an angle H-O…O below {HBOND_ANGLE_DEG:.0f}°
(Luzar and Chandler); each bond counts at both of its molecules. Other definitions change the
number by up to 60 %.

q is the tetrahedral order of the four nearest oxygens (Errington and Debenedetti), q6 the
Steinhardt parameter averaged over a molecule and its four nearest neighbours (Lechner and
Dellago), ice the fraction of hexagonal, cubic and interfacial ice by CHILL+ (Nguyen and
Molinero). In the liquid CHILL+ has some false positives.

Self-diffusion is the slope of the mean squared displacement of the centres of mass over six, all
time origins, the drift of the box removed, in the window of lags stated; for an infinite cubic
box 2.837297 kT/(6πηL) is added with the published viscosity of the model (Yeh and Hummer). The
error of that viscosity is not included.

The dielectric constant is that of dipole fluctuations with conducting boundaries (Neumann); it is
given only for runs of at least {MIN_LENGTH_PS / 1000:g} ns with an error below {
    100 * MAX_RELATIVE_ERROR:.0f} %.

Published values are for 298.15 K and 1 bar and are set beside a group only near that state point.
Those marked "from memory" are orientation values. Deviations are in units of the joint standard
error where the uncertainty of the published value is known.
"""

METHODS: tuple[str, ...] = tuple(" ".join(part.split()) for part in _METHODS.split("\n\n"))
"""Paragraphs of the methods section."""

REFERENCES: tuple[tuple[str, str], ...] = (
    ("Luzar & Chandler, Nature 379, 55 (1996)", "10.1038/379055a0"),
    ("Yeh & Hummer, J. Phys. Chem. B 108, 15873 (2004)", "10.1021/jp0477147"),
    ("Flyvbjerg & Petersen, J. Chem. Phys. 91, 461 (1989)", "10.1063/1.457480"),
    ("Lee et al., Phys. Rev. E 83, 066706 (2011)", "10.1103/PhysRevE.83.066706"),
    ("Neumann, Mol. Phys. 50, 841 (1983)", "10.1080/00268978300102721"),
    ("Errington & Debenedetti, Nature 409, 318 (2001)", "10.1038/35053024"),
    ("Lechner & Dellago, J. Chem. Phys. 129, 114707 (2008)", "10.1063/1.2977970"),
    ("Nguyen & Molinero, J. Phys. Chem. B 119, 9369 (2015)", "10.1021/jp510289t"),
)
