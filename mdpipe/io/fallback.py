"""Any other file: MDAnalysis' and ASE's readers, and topologies of any format."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from mdpipe.failures import InputError
from mdpipe.io.boxes import box_from_cell
from mdpipe.io.doors import quiet, third_party
from mdpipe.io.elements import elements_from_masses, elements_of
from mdpipe.io.raw import Atoms as RawAtoms
from mdpipe.io.raw import RawFrame
from mdpipe.io.speeds import ASE_SPEED

_NM = 0.1


def atoms_by_mdanalysis(path: Path) -> RawAtoms:
    """Read what the atoms of a topology file are, by MDAnalysis.

    Parameters
    ----------
    path : Path
        TPR, PSF, PRMTOP, LAMMPS data, …

    Returns
    -------
    RawAtoms
        Elements by name, or by mass where there are no names.

    Raises
    ------
    InputError
        If MDAnalysis cannot read it, or it tells neither names nor masses.
    """
    module = third_party("MDAnalysis")
    with quiet():
        try:
            universe = module.Universe(str(path), to_guess=())
        except Exception as error:  # noqa: BLE001 - readers of all formats raise all kinds
            raise InputError(
                f"{path}: MDAnalysis cannot read this topology ({_line(error)}); "
                "give a GRO or PDB of the same atoms"
            ) from None
        group = universe.atoms
        numbers = np.asarray(group.resindices, dtype=np.int64)
        residues = numbers if numbers.any() else None
        if hasattr(group, "names"):
            kinds = [str(x) for x in group.resnames] if hasattr(group, "resnames") else None
            return RawAtoms(elements_of([str(x) for x in group.names], kinds), residues)
        if hasattr(group, "masses"):
            return RawAtoms(elements_from_masses(np.asarray(group.masses)), residues)
    raise InputError(
        f"{path}: tells neither names nor masses of its atoms; give a GRO or PDB of the same atoms"
    )


def frames_by_mdanalysis(path: Path) -> Generator[RawFrame, None, None]:
    """Yield the frames of a file that MDAnalysis reads without a topology.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    RawFrame
        Å and Å/ps of MDAnalysis turned into nm and nm/ps.

    Raises
    ------
    InputError
        If MDAnalysis cannot read it.
    """
    module = third_party("MDAnalysis")
    with quiet():
        try:
            universe = module.Universe(str(path), to_guess=())
            names = [str(x) for x in universe.atoms.names]
            steps = universe.trajectory
        except Exception as error:  # noqa: BLE001 - readers of all formats raise all kinds
            raise InputError(f"{path}: MDAnalysis cannot read it ({_line(error)})") from None
    residues = np.asarray(universe.atoms.resindices, dtype=np.int64)
    kinds = None
    if hasattr(universe.atoms, "resnames"):
        kinds = [str(x) for x in universe.atoms.resnames]
    atoms = RawAtoms(elements_of(names, kinds), residues if residues.any() else None)
    for number in range(len(steps)):
        with quiet():
            step = steps[number]
        cell = step.dimensions
        box = None
        if cell is not None and min(cell) > 0.0:
            scaled = np.asarray(cell, dtype=np.float64) * [_NM, _NM, _NM, 1.0, 1.0, 1.0]
            box = box_from_cell(scaled)
        yield RawFrame(
            _NM * np.asarray(step.positions, dtype=np.float64),
            box,
            number,
            float(step.time),
            _NM * np.asarray(step.velocities, dtype=np.float64) if step.has_velocities else None,
            atoms,
        )


def frames_by_ase(path: Path) -> Generator[RawFrame, None, None]:
    """Yield the frames of a file that ASE reads.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    RawFrame
        Å and units of ASE turned into nm and nm/ps.

    Raises
    ------
    InputError
        If ASE cannot read it.
    """
    ase_io = third_party("ase.io")
    try:
        with quiet():
            frames = ase_io.iread(str(path), ":")
            for number, atoms in enumerate(frames):
                yield raw_from_ase(atoms, number)
    except InputError:
        raise
    except Exception as error:  # noqa: BLE001 - readers of all formats raise all kinds
        raise InputError(f"{path}: ASE cannot read it ({_line(error)})") from None


def raw_from_ase(atoms: Any, number: int = 0) -> RawFrame:
    """Turn ASE's atoms (Å, ASE's velocities) into a raw frame (nm, nm/ps).

    Parameters
    ----------
    atoms : ase.Atoms
        Any atoms.
    number : int
        Number of the frame.

    Returns
    -------
    RawFrame
        Without a box unless periodic in all directions.
    """
    cell = np.asarray(atoms.cell.array, dtype=np.float64)
    periodic = bool(np.all(atoms.pbc)) and abs(float(np.linalg.det(cell))) > 0.0
    velocities = None
    if atoms.has("momenta"):
        velocities = ASE_SPEED * np.asarray(atoms.get_velocities(), dtype=np.float64)
    return RawFrame(
        _NM * np.asarray(atoms.positions, dtype=np.float64),
        _NM * cell if periodic else None,
        number,
        0.0,
        velocities,
        RawAtoms(np.asarray(atoms.numbers, dtype=np.int16)),
    )


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
