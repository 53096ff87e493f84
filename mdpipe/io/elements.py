"""Elements from the names that files give to atoms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mdpipe.io.raw import UNKNOWN, VIRTUAL, Atoms

_TABLE = """
X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As
Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd
Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U
"""
SYMBOLS = tuple(_TABLE.split())
_NUMBERS = {symbol.upper(): number for number, symbol in enumerate(SYMBOLS)} | {"D": 1, "T": 1}
_VIRTUAL = {"M", "MW", "EP", "EPW", "LP", "LPW", "VS", "X", "XX", "MCH", "IW", "LA", "LB", "L"}
_WATER = {
    "SOL",
    "HOH",
    "WAT",
    "H2O",
    "TIP3",
    "TIP4",
    "TIP5",
    "TIP",
    "TP3",
    "T3P",
    "T4P",
    "T4E",
    "TP4",
    "SPC",
    "SPCE",
    "OPC",
    "TIP3P",
    "TIP4P",
    "ICE",
    "OH2",
    "WATER",
    "DOD",
}


def element_of(name: str, residue: str = "") -> int:
    """Return the atomic number that an atom name stands for.

    Parameters
    ----------
    name : str
        Such as ``OW``, ``HW1``, ``MW``, ``Na+``, ``CL``.
    residue : str
        Name of its residue; an ion is a residue of its own name, and water has no helium.

    Returns
    -------
    int
        Atomic number, `VIRTUAL` for a massless site, `UNKNOWN` for a name that says nothing.
    """
    letters = "".join(c for c in name.upper() if c.isalpha())
    kind = "".join(c for c in residue.upper() if c.isalpha())
    if not letters:
        return UNKNOWN
    if letters in _VIRTUAL:
        return VIRTUAL
    if letters[0] in "OH" and (residue.upper() in _WATER or not kind or letters != kind):
        return 8 if letters[0] == "O" else 1
    for length in (2, 1):
        if letters[:length] in _NUMBERS:
            return _NUMBERS[letters[:length]]
    return UNKNOWN


def elements_of(names: Sequence[str], residues: Sequence[str] | None = None) -> NDArray[np.int16]:
    """Return the atomic numbers that atom names stand for.

    Parameters
    ----------
    names, residues : sequences of str
        Names of the atoms and of their residues.

    Returns
    -------
    (n,) int16
        As of `element_of`.
    """
    known: dict[tuple[str, str], int] = {}
    out = np.empty(len(names), dtype=np.int16)
    for i, key in enumerate(zip(names, residues or [""] * len(names), strict=True)):
        if key not in known:
            known[key] = element_of(*key)
        out[i] = known[key]
    return out


def elements_from_masses(masses: NDArray[np.float64]) -> NDArray[np.int16]:
    """Return the atomic numbers that masses stand for.

    Parameters
    ----------
    masses : (n,) float64
        amu; a mass up to 4.5 is hydrogen (repartitioned masses), none is a massless site.

    Returns
    -------
    (n,) int16
        H, O, massless sites; `UNKNOWN` for others.
    """
    out = np.full(len(masses), UNKNOWN, dtype=np.int16)
    out[masses < 0.5] = VIRTUAL
    out[(masses >= 0.5) & (masses < 4.5)] = 1
    out[
        (masses > 9.5) & (masses < 18.5) & (abs(masses - 12.0) > 0.2) & (abs(masses - 14) > 0.2)
    ] = 8
    return out


def elements_from_types(types: NDArray[np.int64]) -> NDArray[np.int16]:
    """Guess elements where only type numbers are known: two types, 1 : 2, are O and H.

    Parameters
    ----------
    types : (n,) int64
        Any numbers.

    Returns
    -------
    (n,) int16
        `UNKNOWN` for all where the counts are not 1 : 2.
    """
    kinds, inverse, counts = np.unique(types, return_inverse=True, return_counts=True)
    if len(kinds) == 2 and 2 * int(counts.min()) == int(counts.max()):
        table = np.where(counts == counts.min(), 8, 1).astype(np.int16)
        return np.asarray(table[inverse])
    return np.full(len(types), UNKNOWN, dtype=np.int16)


def runs(*keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Count through the runs of equal keys: residue numbers wrap around, but neighbours differ.

    Parameters
    ----------
    *keys : (n,) uint64
        Packed labels.

    Returns
    -------
    (n,) int64
        0 for the first run, then 1, ….
    """
    changed = np.zeros(len(keys[0]), dtype=bool)
    for key in keys:
        changed[1:] |= key[1:] != key[:-1]
    return np.cumsum(changed, dtype=np.int64)


def unpack_labels(labels: NDArray[np.uint64]) -> list[str]:
    """Return the text of packed labels.

    Parameters
    ----------
    labels : (n,) uint64
        As the kernels pack them.

    Returns
    -------
    list of str
        Up to 8 characters each.
    """
    kinds, inverse = np.unique(labels, return_inverse=True)
    words = [int(k).to_bytes(8, "little").rstrip(b"\0").decode("latin-1") for k in kinds]
    return [words[i] for i in inverse.tolist()]


def atoms_from_labels(
    names: NDArray[np.uint64],
    residue_names: NDArray[np.uint64] | None = None,
    residues: NDArray[np.int64] | None = None,
) -> Atoms:
    """Return atoms of packed names.

    Parameters
    ----------
    names, residue_names : (n,) uint64
        Packed labels.
    residues : (n,) int64
        Number of the molecule of each atom.

    Returns
    -------
    Atoms
        With elements by name; names that are numbers become types.
    """
    texts = unpack_labels(names)
    if texts and all(text.isdigit() for text in set(texts)):
        types = np.array([int(text) for text in texts], dtype=np.int64)
        return Atoms(elements_from_types(types), residues, types)
    kinds = None if residue_names is None else unpack_labels(residue_names)
    return Atoms(elements_of(texts, kinds), residues)
