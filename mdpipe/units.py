"""Units and constants: inside mdpipe nm, ps, kJ/mol, amu, e and K (1 amu nm²/ps² = 1 kJ/mol).

References
----------
CODATA 2018, Tiesinga et al., Rev. Mod. Phys. 93, 025010 (2021), DOI 10.1103/RevModPhys.93.025010.
The Coulomb constant is the one of the reference data (`data/reference/README.md`).
"""

from __future__ import annotations

from typing import Final

BOLTZMANN: Final = 0.00831446261815324
"""Boltzmann constant, kJ/mol/K."""

COULOMB: Final = 138.93545764438198
"""1/(4 π ε0), kJ/mol nm e⁻²."""

BAR_PER_KJ_MOL_NM3: Final = 16.6053906717
"""Pressure of 1 kJ/mol/nm³, bar."""

G_CM3_PER_AMU_NM3: Final = 0.00166053906717
"""Density of 1 amu/nm³, g/cm³."""

NM_PER_ANGSTROM: Final = 0.1
KJ_MOL_PER_EV: Final = 96.48533212331002
WATER_MASS: Final = 15.9994 + 2 * 1.008
"""Mass of one water molecule, amu."""


def density_g_cm3(n_molecules: int, volume_nm3: float) -> float:
    """Return the mass density of water.

    Parameters
    ----------
    n_molecules : int
        Number of water molecules.
    volume_nm3 : float
        Volume in nm³.

    Returns
    -------
    float
        Density in g/cm³.
    """
    return n_molecules * WATER_MASS / volume_nm3 * G_CM3_PER_AMU_NM3
