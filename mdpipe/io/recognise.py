"""Recognise the water molecules among the atoms of a frame; pure water only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.io.boxes import is_degenerate, standard_box
from mdpipe.io.elements import SYMBOLS
from mdpipe.io.problems import NO_BOX, Problem
from mdpipe.io.raw import UNKNOWN, Atoms, RawFrame
from mdpipe.kernels import recognise as kernels
from mdpipe.kernels.matrix import determinant3, product3
from mdpipe.state import Array, Frame

R_BOND_MAX = 0.13
"""Longest O-H bond, nm: far above any water model's, below the H-bond's 0.15 nm."""

_LIKELY_NM = (0.07, 0.14)
_SAMPLE = 32


class FaultError(Exception):
    """A frame that cannot be used: what is wrong, and the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def bond_search(atoms: Atoms, positions: Array, box: Array) -> NDArray[np.int64]:
    """Find the molecules by distance: each H goes to its nearest O, each O has exactly two.

    Parameters
    ----------
    atoms : Atoms
        O, H and massless sites, which are left out.
    positions : (n, 3) float64
        nm, finite, in any image.
    box : (3, 3) float64
        Reduced lower triangular, nm.

    Returns
    -------
    (molecules, 3) int64
        O, H1, H2 by their index; molecules in the order of the oxygens, H1 before H2.

    Raises
    ------
    FaultError
        If an H has no O within `R_BOND_MAX`, or an O not two H.
    """
    oxygens = np.flatnonzero(atoms.elements == 8)
    hydrogens = np.flatnonzero(atoms.elements == 1)
    owner = np.empty(len(hydrogens), dtype=np.int64)
    counts = np.empty(len(oxygens), dtype=np.int64)
    kernels.match_hydrogens(
        positions[oxygens], positions[hydrogens], box, R_BOND_MAX, owner, counts
    )
    remedy = "the molecules are broken, the unit of length is wrong, or it is not pure water"
    loose = int((owner < 0).sum())
    if loose:
        atom = int(hydrogens[np.argmax(owner < 0)])
        raise FaultError(
            f"{loose} of {len(hydrogens)} H have no O within {R_BOND_MAX} nm (first: atom {atom})",
            remedy,
        )
    if (counts != 2).any():
        which = int(np.argmax(counts != 2))
        raise FaultError(
            f"{int((counts != 2).sum())} of {len(oxygens)} O have not exactly two H "
            f"(first: atom {int(oxygens[which])} with {int(counts[which])})",
            remedy,
        )
    by_owner = hydrogens[np.argsort(owner, kind="stable")].reshape(-1, 2)
    return np.column_stack((oxygens, by_owner))


def order_by_residue(atoms: Atoms) -> NDArray[np.int64] | None:
    """Read the molecules off the residues of the topology.

    Parameters
    ----------
    atoms : Atoms
        With or without residues.

    Returns
    -------
    (molecules, 3) int64 or None
        O, H1, H2 by their index, in the order of the oxygens; None where the residues are not
        one O and two H each.
    """
    if atoms.residues is None:
        return None
    oxygens = np.flatnonzero(atoms.elements == 8)
    hydrogens = np.flatnonzero(atoms.elements == 1)
    hydrogens = hydrogens[np.argsort(atoms.residues[hydrogens], kind="stable")]
    order = np.argsort(atoms.residues[oxygens], kind="stable")
    if len(hydrogens) != 2 * len(oxygens):
        return None
    pairs = hydrogens.reshape(-1, 2)
    numbers = atoms.residues[oxygens[order]]
    if len(np.unique(numbers)) < len(numbers) or (atoms.residues[pairs] != numbers[:, None]).any():
        return None
    table = np.column_stack((oxygens[order], pairs))
    by_oxygen: NDArray[np.int64] = table[np.argsort(table[:, 0])]
    return by_oxygen


def check_composition(atoms: Atoms) -> None:
    """Make sure that the atoms can be pure water.

    Parameters
    ----------
    atoms : Atoms
        Any atoms.

    Raises
    ------
    FaultError
        Naming the other elements, or the counts of O and H.
    """
    elements = atoms.elements
    n_o, n_h = int((elements == 8).sum()), int((elements == 1).sum())
    if (elements == UNKNOWN).any():
        n_unknown = int((elements == UNKNOWN).sum())
        raise FaultError(
            f"the elements of {n_unknown} atoms are unknown",
            "name them: an element column, atom names, or a topology",
        )
    others = np.unique(elements[(elements > 0) & (elements != 1) & (elements != 8)])
    if len(others):
        found = ", ".join(
            f"{int((elements == z).sum())} {SYMBOLS[z] if z < len(SYMBOLS) else z}" for z in others
        )
        raise FaultError(
            f"not pure water: {found} beside {n_o} O and {n_h} H", "remove ions and solutes"
        )
    if n_o == 0 or n_h != 2 * n_o:
        raise FaultError(f"not pure water: {n_o} O and {n_h} H", "leave whole molecules only")


def bond_length(atoms: Atoms, positions: Array, box: Array | None) -> float:
    """Return the median distance of oxygens to their nearest hydrogen, whatever the unit.

    Parameters
    ----------
    atoms : Atoms
        With O and H.
    positions : (n, 3) float64
        In the unit of `box`.
    box : (3, 3) float64 or None
        Reduced lower triangular.

    Returns
    -------
    float
        In the unit of `positions`, from at most 32 oxygens; 0 where there are none.
    """
    oxygens = np.flatnonzero(atoms.elements == 8)
    hydrogens = positions[atoms.elements == 1]
    if not len(oxygens) or not len(hydrogens):
        return 0.0
    sample = oxygens[:: max(len(oxygens) // _SAMPLE, 1)][:_SAMPLE]
    shortest = []
    for oxygen in positions[sample]:
        d = hydrogens - oxygen
        if box is not None and np.diag(box).min() > 0.0:
            for axis in (2, 1, 0):
                d = d - np.rint(d[:, axis : axis + 1] / box[axis, axis]) * box[axis]
        shortest.append(float(np.sqrt((d * d).sum(axis=1).min())))
    return float(np.median(shortest))


class Recogniser:
    """Turns raw frames of one file into frames of whole molecules.

    The molecules are searched once, and again when atoms change or a bond comes out too long.

    Parameters
    ----------
    source : str
        Name of the file, for frames and problems.
    unit_factor : float or None
        What positions are multiplied by to be nm; None to take the unit that the format declares,
        and to tell it from the O-H distances where it declares none.
    """

    def __init__(self, source: str, unit_factor: float | None = None) -> None:
        self._source = source
        self._factor = unit_factor
        self._atoms: Atoms | None = None
        self._order: NDArray[np.int64] | None = None
        self._rejected: Atoms | None = None
        self.notes: list[Problem] = []

    def frame(self, raw: RawFrame) -> Frame | Problem | None:
        """Recognise the molecules of one frame.

        Parameters
        ----------
        raw : RawFrame
            With atoms.

        Returns
        -------
        Frame, Problem or None
            None for a frame of atoms that were found impossible, and reported, before.
        """
        if raw.atoms is not None and raw.atoms is self._rejected:
            return None
        try:
            return self._frame(raw)
        except FaultError as fault:
            return Problem(self._source, raw.number, fault.what, fault.remedy)

    def _frame(self, raw: RawFrame) -> Frame:
        atoms = raw.atoms
        if atoms is None:
            raise FaultError("nothing tells what the atoms are", "give a topology")
        if atoms is not self._atoms:
            self._accept(atoms)
        if not np.isfinite(raw.positions).all():
            bad = int(np.argmin(np.isfinite(raw.positions).all(axis=1)))
            raise FaultError(
                f"positions are not finite (first: atom {bad})", "remove the frame; it blew up"
            )
        positions, box, velocities = _standard(raw)
        factor = self._unit(raw, atoms, positions, box)
        if factor != 1.0:
            positions, box = positions * factor, box if box is None else box * factor
            # Speeds of a file that declares no unit were told from the temperature they mean.
            if velocities is not None and raw.unit_is_declared:
                velocities = velocities * factor
        if box is None or is_degenerate(box):
            raise FaultError("no periodic box", NO_BOX)
        molecules, order = self._molecules(atoms, positions, box)
        if velocities is not None:
            velocities = velocities[order]
        return Frame(molecules, box, raw.time_ps, velocities, self._source, raw.number)

    def _accept(self, atoms: Atoms) -> None:
        self._order = None
        try:
            check_composition(atoms)
        except FaultError:
            self._rejected = atoms
            raise
        self._atoms = atoms

    def _molecules(
        self, atoms: Atoms, positions: Array, box: Array
    ) -> tuple[Array, NDArray[np.int64]]:
        order = self._order if self._order is not None else order_by_residue(atoms)
        if order is not None:
            molecules = np.empty((len(order), 3, 3))
            longest, _worst = kernels.gather_whole(positions, order, box, R_BOND_MAX, molecules)
            if longest <= R_BOND_MAX:
                self._order = order
                return molecules, order
        order = bond_search(atoms, positions, box)
        molecules = np.empty((len(order), 3, 3))
        kernels.gather_whole(positions, order, box, R_BOND_MAX, molecules)
        self._order = order
        return molecules, order

    def _unit(self, raw: RawFrame, atoms: Atoms, positions: Array, box: Array | None) -> float:
        """Return what positions are multiplied by; found at the first good frame."""
        if self._factor is not None:
            return self._factor
        length = bond_length(atoms, positions, box)
        low, high = _LIKELY_NM
        factor = next((f for f in (1.0, 0.1, 10.0) if low <= length * f <= high), 1.0)
        if factor != 1.0:
            found = "Å" if factor == 0.1 else "nm times 0.1"
            what = f"the O-H distance is {length:.3g} nm if the unit is what the format implies"
            unit = '"angstrom"' if factor == 0.1 else '"nm"'
            if raw.unit_is_declared:
                raise FaultError(what, f"set length_unit = {unit} for these inputs")
            note = f"{what}; read as {found}" if factor == 0.1 else f"{what}; read as nm"
            self.notes.append(
                Problem(self._source, None, note, f"set length_unit = {unit} to say so yourself")
            )
        self._factor = factor
        return factor


def _standard(raw: RawFrame) -> tuple[Array, Array | None, Array | None]:
    """Bring box, positions and velocities to the lower triangular reduced form."""
    box = raw.box
    if box is None or not np.isfinite(box).all() or abs(determinant3(box)) == 0.0:
        return raw.positions, None, raw.velocities
    lower, turn = standard_box(box)
    if turn is None:
        return raw.positions, lower, raw.velocities
    velocities = None if raw.velocities is None else product3(raw.velocities, turn)
    return np.ascontiguousarray(product3(raw.positions, turn)), lower, velocities
