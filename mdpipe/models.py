"""Water models, read from `data/models/*.toml`."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from mdpipe.failures import UsageError


@dataclass(frozen=True, slots=True)
class WaterModel:
    """A water model: Lennard-Jones on O alone, charges on H, H and O (or the virtual site M).

    Lengths in nm, energies in kJ/mol, charges in e, masses in amu, angles in degrees; `key` is the
    name of the file. `k_bond_kj_mol_nm2 > 0` marks a flexible model,
    E = k_bond/2 (r - r_oh)² + k_angle/2 (θ - θ0)².
    """

    key: str
    name: str
    source: str
    doi: str
    mass_o_amu: float
    mass_h_amu: float
    r_oh_nm: float
    angle_hoh_deg: float
    r_om_nm: float
    charge_h_e: float
    sigma_nm: float
    epsilon_kj_mol: float
    k_bond_kj_mol_nm2: float = 0.0
    k_angle_kj_mol_rad2: float = 0.0

    @property
    def rigid(self) -> bool:
        """Whether bonds and angle are constrained."""
        return self.k_bond_kj_mol_nm2 == 0.0

    @property
    def has_virtual_site(self) -> bool:
        """Whether the negative charge sits on the virtual site M on the bisector."""
        return self.r_om_nm > 0.0

    @property
    def n_sites(self) -> int:
        """Number of sites with a charge or a Lennard-Jones term: 3 (O, H, H) or 4 (O, H, H, M)."""
        return 4 if self.has_virtual_site else 3

    @property
    def r_hh_nm(self) -> float:
        """Distance between the hydrogens in the model's geometry, nm."""
        return 2.0 * self.r_oh_nm * math.sin(math.radians(self.angle_hoh_deg) / 2.0)

    @property
    def virtual_site_weight_h(self) -> float:
        """Weight w of each H in r_M = (1 - 2w) r_O + w (r_H1 + r_H2)."""
        half = math.radians(self.angle_hoh_deg) / 2.0
        return self.r_om_nm / (2.0 * self.r_oh_nm * math.cos(half))

    @property
    def c6(self) -> float:
        """4 ε σ⁶, kJ/mol nm⁶."""
        return float(4.0 * self.epsilon_kj_mol * self.sigma_nm**6)

    @property
    def c12(self) -> float:
        """4 ε σ¹², kJ/mol nm¹²."""
        return float(4.0 * self.epsilon_kj_mol * self.sigma_nm**12)

    @property
    def mass_amu(self) -> float:
        """Mass of the molecule, amu."""
        return self.mass_o_amu + 2.0 * self.mass_h_amu


def model_keys() -> list[str]:
    """Return the keys of all water models, sorted.

    Returns
    -------
    list of str
        Such as ``["opc", "spce", …]``.
    """
    folder = resources.files("mdpipe") / "data" / "models"
    return sorted(
        p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
    )


@cache
def load_model(key: str) -> WaterModel:
    """Read one water model.

    Parameters
    ----------
    key : str
        Name of its file, such as ``"spce"``.

    Returns
    -------
    WaterModel
        The model.

    Raises
    ------
    UsageError
        If there is no such model; the message lists those there are.
    """
    if key not in model_keys():
        raise UsageError(f"no water model {key!r}; there are: {', '.join(model_keys())}")
    text = (resources.files("mdpipe") / "data" / "models" / f"{key}.toml").read_text("utf-8")
    return WaterModel(key=key, **tomllib.loads(text))
