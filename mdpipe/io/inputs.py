"""Input files of a study: found, streamed, and read as frames of water molecules."""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from mdpipe.failures import InputError
from mdpipe.io.binary import DamagedError, raw_frames
from mdpipe.io.extxyz import extxyz_frames
from mdpipe.io.fallback import atoms_by_mdanalysis, frames_by_ase, frames_by_mdanalysis
from mdpipe.io.gro import gro_frames
from mdpipe.io.lammps import dump_frames
from mdpipe.io.npy import is_deepmd, npy_frames
from mdpipe.io.pdb import pdb_frames
from mdpipe.io.problems import TRUNCATED, Problem
from mdpipe.io.raw import Atoms, RawFrame
from mdpipe.io.recognise import Recogniser
from mdpipe.state import Frame, load_state
from mdpipe.study import Inputs

__all__ = ["Problem", "companions", "discover", "read_frames", "read_inputs"]

_Raws = Generator[RawFrame | Problem, None, None]
_TEXT: dict[str, Callable[[Path], _Raws]] = {
    ".gro": gro_frames,
    ".pdb": pdb_frames,
    ".ent": pdb_frames,
    ".xyz": extxyz_frames,
    ".extxyz": extxyz_frames,
    ".lammpstrj": dump_frames,
    ".lammpsdump": dump_frames,
    ".dump": dump_frames,
}
_NAMELESS = {".xtc", ".trr", ".dcd"}
_BY_MDANALYSIS = {".ncdf", ".nc", ".h5md", ".gsd", ".tng", ".mol2", ".crd", ".inpcrd", ".data"}
_BY_ASE = {".traj", ".cif", ".vasp"}
_SUFFIXES = {*_TEXT, *_NAMELESS, *_BY_MDANALYSIS, *_BY_ASE, ".npy", ".npz"}
_TOPOLOGIES = (".gro", ".pdb", ".tpr", ".psf", ".prmtop", ".parm7", ".top", ".data", ".extxyz")
_ANGSTROM = {*_TEXT, ".dcd"} - {".gro"}


def discover(inputs: Inputs, folder: Path) -> list[Path]:
    """Find the files of one set of inputs.

    A folder is searched with all below it for files of known suffixes. What only tells the atoms
    of a trajectory (the topology, ``topology.*``, a structure of the same name) is no input, nor
    are hidden files.

    Parameters
    ----------
    inputs : Inputs
        Its `path` is a file, a folder or a glob (``**`` allowed), relative to `folder`.
    folder : Path
        Folder of the study file.

    Returns
    -------
    list of Path
        In natural order (``2.xtc`` before ``10.xtc``).

    Raises
    ------
    InputError
        If there is none, naming the pattern.
    """
    target = folder / inputs.path
    if target.is_file():
        return [target]
    if target.is_dir():
        found = [p for p in target.rglob("*") if p.is_file() and _is_input(p)]
        what = f"no input file in the folder {target}"
    else:
        pattern = Path(inputs.path)
        base = Path(pattern.anchor) if pattern.is_absolute() else folder
        names = str(pattern.relative_to(pattern.anchor)) if pattern.is_absolute() else inputs.path
        found = [p for p in base.glob(names) if p.is_file() and _is_readable_name(p)]
        what = f"no file matches {target}"
    topology = None if inputs.topology is None else (folder / inputs.topology).resolve()
    trajectories = {(p.parent, p.stem) for p in found if p.suffix.lower() in _NAMELESS}
    kept = [p for p in found if not _is_topology(p, topology, trajectories)]
    if not kept:
        raise InputError(
            f"{what}; set inputs.path to a file, a folder or a glob of trajectories or structures "
            f"({' '.join(sorted(_SUFFIXES))})"
        )
    return sorted(kept, key=_natural)


def read_inputs(inputs: Inputs, folder: Path) -> Iterator[Frame | Problem]:
    """Read all files of one set of inputs, one after the other.

    Parameters
    ----------
    inputs : Inputs
        The set.
    folder : Path
        Folder of the study file.

    Yields
    ------
    Frame or Problem
        As of `read_frames`.

    Raises
    ------
    InputError
        If no file is found, or the topology is missing.
    """
    topology = None if inputs.topology is None else folder / inputs.topology
    if topology is not None and not topology.is_file():
        raise InputError(f"{topology}: no such topology file; correct inputs.topology")
    for path in discover(inputs, folder):
        yield from read_frames(path, topology, stride=inputs.stride, length_unit=inputs.length_unit)


def read_frames(
    path: Path,
    topology: Path | None = None,
    *,
    stride: int = 1,
    length_unit: str | None = None,
) -> Generator[Frame | Problem, None, None]:
    """Read a file frame by frame, with its water molecules recognised.

    At most one frame (and a block of text) is in memory.

    Parameters
    ----------
    path : Path
        The suffix tells the format.
    topology : Path or None
        Names the atoms of XTC, TRR and DCD files, of dumps without elements and of bare arrays.
        None to take ``topology.*`` or a structure of the same name beside the trajectory.
    stride : int
        Every how many frames one is given.
    length_unit : {"nm", "angstrom"} or None
        Overrides the unit of the format.

    Yields
    ------
    Frame or Problem
        A frame that cannot be used gives a Problem, and the rest goes on.
    """
    suffix = path.suffix.lower()
    factor = None
    if length_unit is not None:
        factor = {"nm": 1.0, "angstrom": 0.1}[length_unit] * (10.0 if suffix in _ANGSTROM else 1.0)
        if is_deepmd(path):
            factor *= 10.0
    recogniser = Recogniser(str(path), factor)
    try:
        with contextlib.closing(_raws(path, suffix, topology, stride)) as raws:
            empty = True
            for raw in raws:
                empty = False
                if isinstance(raw, Problem):
                    yield raw
                elif raw.number % stride == 0:
                    frame = recogniser.frame(raw)
                    yield from recogniser.notes
                    recogniser.notes.clear()
                    if frame is not None:
                        yield frame
            if empty:
                yield Problem(str(path), None, "holds no frame", "check the file")
    except DamagedError as error:
        yield Problem(str(path), error.frame, error.what, TRUNCATED)
    except InputError as error:
        what, _, remedy = str(error).removeprefix(f"{path}: ").rpartition("; ")
        yield Problem(str(path), None, what or remedy, remedy if what else "check the file")
    except OSError as error:
        yield Problem(str(path), None, f"cannot be read ({error})", "check the path and its rights")


def _raws(path: Path, suffix: str, topology: Path | None, stride: int) -> _Raws:
    if suffix == ".npz":
        return _state(path)
    if suffix in _NAMELESS:
        named = topology or _topology_beside(path)
        if named is None:
            raise InputError(
                f"{path}: {suffix[1:].upper()} holds no atom names; set inputs.topology to a GRO "
                "or PDB of the same atoms"
            )
        return _with_atoms(path, raw_frames(path, stride), named)
    if suffix == ".npy":
        raws = npy_frames(path, stride)
        named = topology or _topology_beside(path)
        return raws if named is None else _with_atoms(path, raws, named)
    if suffix in _TEXT:
        raws = _TEXT[suffix](path)
        if topology is not None and suffix in {".lammpstrj", ".lammpsdump", ".dump"}:
            return _with_atoms(path, raws, topology)
        return raws
    return _by_others(path, suffix)


def _with_atoms(
    path: Path,
    raws: Generator[RawFrame | Problem, None, None] | Generator[RawFrame, None, None],
    topology: Path,
) -> _Raws:
    """Give the atoms of the topology to frames that have none of their own."""
    atoms = read_topology(topology)
    with contextlib.closing(raws):
        for raw in raws:
            if isinstance(raw, Problem) or (raw.atoms is not None and _says_enough(raw.atoms)):
                yield raw
                continue
            if len(raw.positions) != len(atoms.elements):
                yield Problem(
                    str(path),
                    None,
                    f"{len(raw.positions)} atoms, but the topology {topology} names "
                    f"{len(atoms.elements)}",
                    "give the topology of this very trajectory",
                )
                return
            yield raw._replace(atoms=atoms)


def _says_enough(atoms: Atoms) -> bool:
    return bool((atoms.elements >= 0).all())


def read_topology(path: Path) -> Atoms:
    """Read what the atoms of a topology file are; the last few files are remembered.

    Parameters
    ----------
    path : Path
        A structure in any format that is read here, or a topology that MDAnalysis reads.

    Returns
    -------
    Atoms
        The atoms of its first frame.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        stamp = path.stat().st_mtime_ns
    except OSError as error:
        raise InputError(f"{path}: the topology cannot be read ({error}); check the path") from None
    return _topology(path, stamp)


@functools.lru_cache(maxsize=8)
def _topology(path: Path, _stamp: int) -> Atoms:
    reader = _TEXT.get(path.suffix.lower())
    if reader is None:
        return atoms_by_mdanalysis(path)
    with contextlib.closing(reader(path)) as raws:
        first = next(raws, None)
    if first is None or isinstance(first, Problem) or first.atoms is None:
        what = first.what if isinstance(first, Problem) else "it holds no frame"
        raise InputError(f"{path}: the topology cannot be read ({what}); give a GRO or PDB")
    return first.atoms


def _topology_beside(path: Path) -> Path | None:
    for stem in (path.stem, "topology"):
        for suffix in _TOPOLOGIES:
            candidate = path.with_name(stem + suffix)
            if candidate.is_file():
                return candidate
    return None


def companions(path: Path) -> list[Path]:
    """Return the files that reading an input may look into as well.

    Parameters
    ----------
    path : Path
        The input; files beside it are found by name and not opened.

    Returns
    -------
    list of Path
        Topologies, boxes and descriptions, sorted.
    """
    beside = [path.with_name(stem + end) for stem in (path.stem, "topology") for end in _TOPOLOGIES]
    beside += [path.with_suffix(end) for end in (".json", ".box.npy")]
    if is_deepmd(path):
        beside += [path.with_name("box.npy"), *path.parent.parent.glob("*.raw")]
    return sorted({other for other in beside if other != path and other.is_file()})


def _state(path: Path) -> _Raws:
    state = load_state(path)
    n = 3 * state.n_molecules
    yield RawFrame(
        state.positions.reshape(n, 3),
        state.box,
        0,
        state.time_ps,
        state.velocities.reshape(n, 3),
        _triples(state.n_molecules),
    )


def _triples(n_molecules: int) -> Atoms:
    import numpy as np

    elements = np.tile(np.array([8, 1, 1], dtype=np.int16), n_molecules)
    return Atoms(elements, np.repeat(np.arange(n_molecules), 3))


def _by_others(path: Path, suffix: str) -> _Raws:
    """Read by MDAnalysis or ASE, the likelier one first."""
    readers = [frames_by_ase, frames_by_mdanalysis]
    if suffix in _BY_MDANALYSIS:
        readers.reverse()
    faults = []
    for reader in readers:
        count = 0
        try:
            for raw in reader(path):
                count += 1
                yield raw
        except InputError as error:
            if count:
                raise
            faults.append(str(error).removeprefix(f"{path}: "))
        else:
            return
    raise InputError(f"{path}: {'; '.join(faults)}; convert it to GRO, PDB, extxyz or XTC")


def _is_readable_name(path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if path.suffix.lower() == ".npy":
        if path.parent.name.startswith("set."):
            return path.name == "coord.npy"
        return not path.name.endswith(".box.npy")
    return path.suffix.lower() not in {".json", ".raw"}


def _is_input(path: Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and _is_readable_name(path)


def _is_topology(path: Path, given: Path | None, trajectories: set[tuple[Path, str]]) -> bool:
    if given is not None and path.resolve() == given:
        return True
    if path.suffix.lower() in _NAMELESS:
        return False
    return path.stem == "topology" or (path.parent, path.stem) in trajectories


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Sort numbers in names by their value."""
    return [
        (0, int(part)) if part.isdigit() else (1, part)
        for part in re.split(r"(\d+)", str(path))
        if part
    ]
