"""Comparison of energies, forces and virials with reference data of other codes.

A folder in the form of `data/reference` (its README has format and units) holds single points
`case_*.json` beside `case_*.npz`, and `pmecoarse_*` pairs made with one coarse PME. The parameters
of the model are those that the case itself names.

Limits, and why. The data state: OpenMM and a plain sum agree to 1e-14 in Lennard-Jones and reaction
field; the stored PME is good to 2e-7 in forces and to 1e-8 of the Coulomb energy.

| quantity | double | mixed |
|---|---|---|
| forces, PME (relative RMS) | 1e-6, tight PME | 2e-4, default settings |
| forces, LJ, reaction field, bonded | 1e-7 | 2e-4 |
| energies of plain sums: LJ, real, self, excluded, RF, bonded | 1e-10: rounding | 1e-5: float32 |
| reciprocal energy at the case's alpha | 1e-6: our grid | — (another alpha) |
| Coulomb and total energy | 5e-8: both grids | 1e-4: the PME tolerance |
| molecular virial with PME, of the norm of its LJ part | 2e-7: both grids | 2e-4: as the forces |
| molecular virial, LJ and RF, of the same norm | 1e-10: rounding | 1e-5: float32 |
| coarse PME: Coulomb forces and energies | 1e-8: the same sums | — |

The virial is a difference of a Lennard-Jones and a Coulomb part some 20 times larger than itself,
so its error is stated relative to one of them.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError
from mdpipe.models import WaterModel
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation.forcefield import Evaluation, ForceField
from mdpipe.units import BAR_PER_KJ_MOL_NM3, COULOMB

__all__ = ["Row", "format_table", "validate"]

Array = NDArray[np.float64]
Precision = Literal["double", "mixed"]

TIGHT = 1e-7
LARGE = 2000
"""Above so many molecules the tight PME is half as tight, to save memory."""


class Row(NamedTuple):
    """One comparison; `error` and `limit` are relative."""

    case: str
    quantity: str
    precision: str
    error: float
    limit: float
    passed: bool


@dataclass(frozen=True)
class _Case:
    path: Path
    info: dict[str, Any]
    arrays: dict[str, Array]
    model: WaterModel

    @property
    def name(self) -> str:
        return self.path.stem.removeprefix("case_")

    @property
    def positions(self) -> Array:
        return np.ascontiguousarray(self.arrays["pos"].reshape(-1, 3, 3), np.float64)

    @property
    def box(self) -> Array:
        return np.ascontiguousarray(self.arrays["box"], np.float64)

    def run(
        self, nonbonded: Nonbonded, precision: Precision, model: WaterModel | None = None
    ) -> tuple[Evaluation, Array]:
        positions = self.positions
        forces = np.zeros_like(positions)
        field = ForceField(
            model or self.model, nonbonded, self.box, len(positions), precision=precision
        )
        return field.evaluate(positions, self.box, forces), forces.reshape(-1, 3)


def validate(folder: Path, progress: Callable[[str], None] | None = None) -> list[Row]:
    """Check every case of a folder.

    Parameters
    ----------
    folder : Path
        In the form of `data/reference`.
    progress : callable, optional
        Called before each case with a line that says which.

    Returns
    -------
    list of Row
        In the order of the files.

    Raises
    ------
    InputError
        One line for a folder without cases, or a file that is missing or not of that form.
    """
    singles = sorted(folder.glob("case_*.json"))
    coarse = sorted(folder.glob("pmecoarse_*.json"))
    lone = {p.stem for p in folder.glob("case_*.npz")} - {p.stem for p in singles}
    if lone:
        raise InputError(
            f"{folder / (min(lone) + '.npz')}: its .json is missing; copy both files of the case"
        )
    if not singles and not coarse:
        raise InputError(
            f"{folder}: no case_*.json or pmecoarse_*.json here; name a folder in the form of "
            "data/reference"
        )
    rows: list[Row] = []
    paths = [*singles, *coarse]
    for number, path in enumerate(paths):
        if progress is not None:
            progress(f"{path.stem} ({number + 1} of {len(paths)})")
        try:
            rows += _check_coarse(path) if path in coarse else _check_single(path)
        except KeyError as error:
            raise InputError(
                f"{path}: {error} is missing; the README of data/reference says what a case holds"
            ) from error
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: not of the form of data/reference ({' '.join(str(error).split())}); see "
                "its README"
            ) from error
    return rows


def format_table(rows: list[Row]) -> str:
    """Lay the rows out as a table: one line for each case and quantity.

    Parameters
    ----------
    rows : list of Row
        From `validate`.

    Returns
    -------
    str
        The table and one line that counts.
    """
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        lines.setdefault((row.case, row.quantity), {})[row.precision] = row
    width = max([4, *(len(case) for case, _ in lines)])
    long = max([8, *(len(quantity) for _, quantity in lines)])
    head = f"{'case':<{width}}  {'quantity':<{long}}  " + "  ".join(
        f"{title:>9}" for title in ("double", "limit", "mixed", "limit")
    )
    text = [head, "-" * len(head)]
    for (case, quantity), columns in lines.items():
        parts = []
        for precision in ("double", "mixed"):
            one = columns.get(precision)
            parts.append(f"{one.error:9.1e}  {one.limit:9.0e}" if one else f"{'—':>9}  {'':>9}")
        failed = any(not row.passed for row in columns.values())
        line = f"{case:<{width}}  {quantity:<{long}}  {'  '.join(parts)}"
        text.append(line.rstrip() + ("  FAILED" if failed else ""))
    missed = sum(not row.passed for row in rows)
    text.append(f"{len(rows)} comparisons, {missed} beyond their limit")
    return "\n".join(text)


def _load(path: Path) -> _Case:
    try:
        info = json.loads(path.read_text("utf-8"))
        with np.load(path.with_suffix(".npz")) as data:
            arrays = {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path.with_suffix('')}: not a readable pair of .json and .npz ({error}); copy the "
            "case again"
        ) from error
    if not isinstance(info, dict):
        raise InputError(f"{path}: must hold a JSON object, got a {type(info).__name__}")
    listed: dict[str, Any] = {}
    models = path.parent / "models.json"
    if models.exists():
        listed = json.loads(models.read_text("utf-8"))
    parameters = info["params"] if "params" in info else listed[info["model"]]
    model = _model(info["model"], parameters, listed, float(info.get("ke", COULOMB)))
    return _Case(path, info, arrays, model)


def _model(
    key: str, parameters: dict[str, Any], listed: dict[str, Any], coulomb: float
) -> WaterModel:
    q_h = float(parameters["qH"])
    if abs(float(parameters["qneg"]) + 2.0 * q_h) > 1e-12:
        raise ValueError(f"qneg must be -2 qH = {-2 * q_h}, got {parameters['qneg']}")
    return WaterModel(
        key=key,
        name=key,
        source=str(parameters.get("cite", "")),
        doi="",
        mass_o_amu=float(listed.get("mass_O", 15.9994)),
        mass_h_amu=float(listed.get("mass_H", 1.008)),
        r_oh_nm=float(parameters["rOH"]),
        angle_hoh_deg=float(parameters["theta"]),
        r_om_nm=float(parameters["dOM"]),
        # The case's own Coulomb constant, if it is another one.
        charge_h_e=q_h * (coulomb / COULOMB) ** 0.5,
        sigma_nm=float(parameters["sigma"]),
        epsilon_kj_mol=float(parameters["eps"]),
        k_bond_kj_mol_nm2=float(parameters.get("kb", 0.0)),
        k_angle_kj_mol_rad2=float(parameters.get("ka", 0.0)),
    )


def _check_single(path: Path) -> Iterator[Row]:
    case = _load(path)
    for precision in ("double", "mixed"):
        yield from _check_pme(case, precision)
        yield from _check_plain(case, precision)


def _check_pme(case: _Case, precision: Precision) -> Iterator[Row]:
    info = case.info
    cutoff = float(info["cutoff"])
    double = precision == "double"
    nonbonded = Nonbonded(r_cut_nm=cutoff)
    if double:
        tolerance = TIGHT if len(case.positions) <= LARGE else 2 * TIGHT
        nonbonded = Nonbonded(
            r_cut_nm=cutoff, pme_alpha_per_nm=info["pme_alpha"], pme_tolerance=tolerance
        )
    (energies, virial), forces = case.run(nonbonded, precision)
    plain, coulomb = (1e-10, 5e-8) if double else (1e-5, 1e-4)
    bonded = energies.bond + energies.angle
    total = energies.total - energies.dispersion

    def scalar(quantity: str, value: float, limit: float, key: str | None = None) -> Row:
        return _row(case, quantity, precision, _relative(value, info[key or quantity]), limit)

    yield scalar("E_lj_trunc", energies.lj, plain)
    if double:
        if "E_real" in info:
            yield scalar("E_real", energies.coulomb_real, plain)
            yield scalar("E_recip_only", energies.coulomb_reciprocal, 1e-6)
            yield scalar("E_excl", energies.coulomb_exclusion, plain)
        yield scalar("E_self", energies.coulomb_self, plain)
    yield scalar("E_coul_pme", energies.coulomb, coulomb)
    if "E_bond" in info:
        reference = info["E_bond"] + info["E_angle"]
        yield _row(case, "E_bond+E_angle", precision, _relative(bonded, reference), plain)
    yield scalar("E_total_pme", total, coulomb)
    yield scalar("E_disp_standard_C6_C12", energies.dispersion, 1e-10)
    yield scalar("E_total_pme_dispstd", energies.total, coulomb)
    limit = 1e-6 if double else 2e-4
    yield _row(case, "F_pme", precision, _distance(forces, case.arrays["F_pme"]), limit)
    if "W_mol_pme" in info:
        # The stored virial is without the dispersion tail.
        yield _virial_row(
            case, "W_mol_pme", precision, virial - _tail(case), 2e-7 if double else 2e-4
        )


def _tail(case: _Case) -> Array:
    """Return the virial of the dispersion tail: that with the correction less that without."""
    with_tail, without = (
        case.run(
            Nonbonded(
                r_cut_nm=case.info["cutoff"],
                electrostatics="rf",
                dispersion_correction=correction,
            ),
            "double",
            _bare(case.model, keep=True),
        )[0].virial
        for correction in (True, False)
    )
    return with_tail - without


def _check_plain(case: _Case, precision: Precision) -> Iterator[Row]:
    """Check what has no reciprocal sum: Lennard-Jones, reaction field, bonds and angle."""
    info, arrays = case.info, case.arrays
    cutoff = float(info["cutoff"])
    force, plain = (1e-7, 1e-10) if precision == "double" else (2e-4, 1e-5)
    for tag, epsilon in (("lj", None), ("rf78", 78.3), ("rfinf", None)):
        nonbonded = Nonbonded(
            r_cut_nm=cutoff,
            electrostatics="rf",
            rf_epsilon=epsilon,
            dispersion_correction=False,
        )
        bare = _bare(case.model, keep=True) if tag == "lj" else None
        (energies, virial), forces = case.run(nonbonded, precision, bare)
        if f"E_coul_{tag}" in info:
            error = _relative(energies.coulomb, info[f"E_coul_{tag}"])
            yield _row(case, f"E_coul_{tag}", precision, error, plain)
            error = _relative(energies.total, info[f"E_total_{tag}"])
            yield _row(case, f"E_total_{tag}", precision, error, plain)
        if tag == "lj" and "P_tail_virial_bar" in info:
            pressure = np.trace(_tail(case)) / (3.0 * np.linalg.det(case.box))
            error = _relative(pressure * BAR_PER_KJ_MOL_NM3, info["P_tail_virial_bar"])
            yield _row(case, "P_tail_virial_bar", precision, error, 1e-9)
        if tag == "lj" and "F_lj_O" in arrays:
            error = _distance(forces[::3], arrays["F_lj_O"])
            yield _row(case, "F_lj_O", precision, error, force)
        if f"F_{tag}" in arrays:
            yield _row(case, f"F_{tag}", precision, _distance(forces, arrays[f"F_{tag}"]), force)
        if f"W_mol_{tag}" in info:
            yield _virial_row(case, f"W_mol_{tag}", precision, virial, plain)
    if "F_bonded" in arrays:
        nonbonded = Nonbonded(r_cut_nm=cutoff, electrostatics="rf", dispersion_correction=False)
        _, forces = case.run(nonbonded, precision, _bare(case.model, keep=False))
        yield _row(case, "F_bonded", precision, _distance(forces, arrays["F_bonded"]), force)


def _check_coarse(path: Path) -> Iterator[Row]:
    case = _load(path)
    info = case.info
    kx, ky, kz = info["grid"]
    nonbonded = Nonbonded(
        r_cut_nm=info["cutoff"],
        pme_alpha_per_nm=info["alpha"],
        pme_grid=(kx, ky, kz),
        pme_order=info["order"],
        dispersion_correction=False,
    )
    (energies, _), forces = case.run(nonbonded, "double", replace(case.model, epsilon_kj_mol=0.0))
    for key, value in (
        ("E_coul", energies.coulomb),
        ("E_direct_group", energies.coulomb_real + energies.coulomb_exclusion),
        ("E_recip_group", energies.coulomb_reciprocal + energies.coulomb_self),
    ):
        yield _row(case, key, "double", _relative(value, info[key]), 1e-8)
    error = _distance(forces, case.arrays["F_coul_atoms"])
    yield _row(case, "F_coul_atoms", "double", error, 1e-8)


def _bare(model: WaterModel, *, keep: bool) -> WaterModel:
    """Return the model without charges and bonded terms (`keep`), or with bonded terms alone."""
    if keep:
        return replace(model, charge_h_e=0.0, k_bond_kj_mol_nm2=0.0, k_angle_kj_mol_rad2=0.0)
    return replace(model, charge_h_e=0.0, epsilon_kj_mol=0.0)


def _relative(value: float, reference: float) -> float:
    return float(abs(value - reference) / abs(reference))


def _distance(value: Array, reference: Array) -> float:
    """Return the relative RMS deviation."""
    if value.shape != reference.shape:
        raise ValueError(f"an array must have the shape {value.shape}, got {reference.shape}")
    return float(np.sqrt(((value - reference) ** 2).sum() / (reference**2).sum()))


def _virial_row(case: _Case, quantity: str, precision: str, virial: Array, limit: float) -> Row:
    scale = np.linalg.norm(np.array(case.info["W_mol_lj"]))
    error = np.linalg.norm(virial - np.array(case.info[quantity])) / scale
    return _row(case, quantity, precision, float(error), limit)


def _row(case: _Case, quantity: str, precision: str, error: float, limit: float) -> Row:
    return Row(case.name, quantity, precision, float(error), limit, bool(error <= limit))
