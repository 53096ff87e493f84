"""Single structures in and out: states from any file, and the doors to ASE and MDAnalysis.

Å, eV and their velocities occur in the functions named for both ends, and only there.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from mdpipe.failures import InputError, UsageError
from mdpipe.io.boxes import cell_from_box
from mdpipe.io.doors import quiet, third_party
from mdpipe.io.fallback import raw_from_ase
from mdpipe.io.inputs import read_frames
from mdpipe.io.problems import Problem
from mdpipe.io.recognise import Recogniser
from mdpipe.io.speeds import ASE_SPEED
from mdpipe.state import Frame, State, load_state

_ANGSTROM_PER_NM = 10.0


def read_state(
    path: Path,
    topology: Path | None = None,
    *,
    frame: int = -1,
    length_unit: str | None = None,
) -> State:
    """Read one configuration from a state of our own or from any file that is an input.

    Parameters
    ----------
    path : Path
        The file; ``….npz`` is a state of our own.
    topology : Path or None
        As of `read_frames`.
    frame : int
        Number of the frame, from 0; -1 takes the last good one.
    length_unit : {"nm", "angstrom"} or None
        As of `read_frames`.

    Returns
    -------
    State
        Whole molecules as they are (a model's geometry is imposed elsewhere); velocities zero
        where the file has none.

    Raises
    ------
    InputError
        If the file or the frame cannot be read, naming the fault.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    if path.suffix == ".npz":
        return load_state(path)
    found: Frame | None = None
    faults: list[Problem] = []
    with contextlib.closing(read_frames(path, topology, length_unit=length_unit)) as items:
        for item in items:
            if isinstance(item, Problem):
                faults.append(item)
            elif frame < 0 or item.number == frame:
                found = item
            if found is not None and frame >= 0:
                break
    if found is None:
        named = [fault for fault in faults if fault.frame in {None, frame}] or faults
        if named:
            raise InputError(str(named[0]))
        raise InputError(f"{path}: no frame {frame}; choose one that the file has")
    return state_of(found)


def state_of(frame: Frame) -> State:
    """Return the state of a frame.

    Parameters
    ----------
    frame : Frame
        Any frame.

    Returns
    -------
    State
        Velocities zero where the frame has none.
    """
    velocities = frame.velocities
    if velocities is None:
        velocities = np.zeros_like(frame.positions)
    return State(
        np.ascontiguousarray(frame.positions),
        np.ascontiguousarray(velocities),
        np.ascontiguousarray(frame.box),
        frame.time_ps,
    )


def to_ase(state: State) -> Any:
    """Turn a state (nm, nm/ps) into ASE's atoms (Å, ASE's velocities).

    Parameters
    ----------
    state : State
        Any state.

    Returns
    -------
    ase.Atoms
        O, H, H of each molecule, periodic, with momenta.
    """
    ase = third_party("ase")
    atoms = ase.Atoms(
        symbols=["O", "H", "H"] * state.n_molecules,
        positions=_ANGSTROM_PER_NM * state.positions.reshape(-1, 3),
        cell=_ANGSTROM_PER_NM * state.box,
        pbc=True,
    )
    atoms.set_velocities(state.velocities.reshape(-1, 3) / ASE_SPEED)
    return atoms


def from_ase(atoms: Any) -> State:
    """Turn ASE's atoms (Å, ASE's velocities) into a state (nm, nm/ps).

    Parameters
    ----------
    atoms : ase.Atoms
        Pure water, periodic, atoms in any order.

    Returns
    -------
    State
        Molecules in the order of their oxygens; velocities zero where there are no momenta.

    Raises
    ------
    InputError
        If it is not pure water in a periodic box.
    """
    frame = Recogniser("ase.Atoms", 1.0).frame(raw_from_ase(atoms))
    if not isinstance(frame, Frame):
        raise InputError(str(frame))
    return state_of(frame)


def universe(state: State, trajectory: Path | None = None) -> Any:
    """Turn a state (nm) into an MDAnalysis universe (Å), with or without a trajectory.

    Parameters
    ----------
    state : State
        Any state.
    trajectory : Path or None
        A trajectory of the same molecules; None for the state alone.

    Returns
    -------
    MDAnalysis.Universe
        Residues SOL of OW, HW1, HW2 with elements, masses and bonds.

    Raises
    ------
    UsageError
        If the trajectory has another number of atoms.
    """
    module = third_party("MDAnalysis")
    n = state.n_molecules
    with quiet():
        made = module.Universe.empty(
            3 * n,
            n_residues=n,
            atom_resindex=np.repeat(np.arange(n), 3),
            residue_segindex=np.zeros(n, dtype=np.int64),
            trajectory=True,
            velocities=True,
        )
        made.add_TopologyAttr("names", ["OW", "HW1", "HW2"] * n)
        made.add_TopologyAttr("elements", ["O", "H", "H"] * n)
        made.add_TopologyAttr("masses", [15.9994, 1.008, 1.008] * n)
        made.add_TopologyAttr("resnames", ["SOL"] * n)
        made.add_TopologyAttr("resids", np.arange(1, n + 1))
        oxygens = 3 * np.arange(n)
        bonds = np.concatenate(
            (
                np.column_stack((oxygens, oxygens + 1)),
                np.column_stack((oxygens, oxygens + 2)),
            )
        )
        made.add_TopologyAttr("bonds", [tuple(pair) for pair in bonds.tolist()])
        if trajectory is None:
            made.atoms.positions = _ANGSTROM_PER_NM * state.positions.reshape(-1, 3)
            made.atoms.velocities = _ANGSTROM_PER_NM * state.velocities.reshape(-1, 3)
            made.dimensions = cell_from_box(state.box) * [10.0, 10.0, 10.0, 1.0, 1.0, 1.0]
            return made
        try:
            made.load_new(str(trajectory))
        except ValueError as error:
            raise UsageError(
                f"{trajectory}: not a trajectory of {3 * n} atoms ({error}); "
                "take the state of the same scene"
            ) from None
    return made
