"""LAMMPS text dumps: columns in any order, scaled or unwrapped, orthogonal or triclinic."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdpipe.io.elements import (
    atoms_from_labels,
    elements_from_masses,
    elements_from_types,
)
from mdpipe.io.problems import MALFORMED, TRUNCATED, Problem
from mdpipe.io.raw import Atoms, RawFrame
from mdpipe.io.speeds import ANGSTROM_PER_FS, ANGSTROM_PER_PS, likely_unit
from mdpipe.io.text import LABEL, SKIP, BadLineError, TextStream, TruncatedError
from mdpipe.kernels.matrix import product3
from mdpipe.state import Array

_NM = {"real": 0.1, "metal": 0.1, "nano": 1.0, "electron": 0.0529177210903, "si": 1e9, "cgs": 1e7}
_PS = {"real": 1e-3, "metal": 1.0, "nano": 1e3, "electron": 1e-3}
_DEFAULT_STEP_PS = 1e-3
"""LAMMPS' default time step in units real and metal; used where a dump has no ITEM: TIME."""

_POSITIONS = (("x", "y", "z"), ("xu", "yu", "zu"), ("xs", "ys", "zs"), ("xsu", "ysu", "zsu"))
_NUMBERS = ("id", "type", "mol", "mass", "vx", "vy", "vz")


class _LostError(Exception):
    """A header that cannot be read, so that the next frame cannot be found."""


class _UnusableError(Exception):
    """A frame that can be passed over, but not used: what, and the remedy."""


@dataclass(slots=True)
class _Header:
    n_atoms: int = 0
    step: int = 0
    time: float | None = None
    units: str = ""
    bounds: list[list[float]] = field(default_factory=list)
    kind: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Memory:
    """What stays from frame to frame: the same labels give the same `Atoms`."""

    keys: tuple[NDArray[np.float64], NDArray[np.uint64]] | None = None
    atoms: Atoms | None = None
    speed: float = 0.0


def dump_frames(path: Path) -> Generator[RawFrame | Problem, None, None]:
    """Yield the frames of a LAMMPS text dump, atoms sorted by id.

    Lengths are Å unless ``ITEM: UNITS`` names another unit. Positions may be x, xu, xs or xsu;
    elements come from `element`, `mass`, or from two `type` numbers with counts 1 : 2; molecules
    from `mol`. Times come from ``ITEM: TIME``, else from the step number times 1 fs.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    RawFrame or Problem
        A malformed frame is a Problem, and reading goes on; a truncated one ends the file.
    """
    memory = _Memory()
    header = _Header()
    number = 0
    with TextStream(path) as stream:
        while (line := stream.line()) is not None:
            if not line.strip():
                continue
            try:
                header = _header(stream, line, header.units)
                slots, names = _slots(header.columns)
                values, labels = stream.columns(header.n_atoms, slots)
                yield _frame(header, names, values, labels, memory, number)
            except TruncatedError:
                yield Problem(str(path), number, "the file ends inside this frame", TRUNCATED)
                return
            except _LostError as error:
                yield Problem(str(path), number, str(error), TRUNCATED)
                return
            except _UnusableError as error:
                if not names_positions(header.columns):
                    stream.take(header.n_atoms)
                yield Problem(str(path), number, *error.args)
            except BadLineError as error:
                yield Problem(str(path), number, str(error), MALFORMED)
            number += 1


def names_positions(columns: list[str]) -> bool:
    """Say whether the columns of a dump hold positions.

    Parameters
    ----------
    columns : list of str
        Names behind ``ITEM: ATOMS``.

    Returns
    -------
    bool
        True for x y z, xu yu zu, xs ys zs or xsu ysu zsu.
    """
    return any(set(triple) <= set(columns) for triple in _POSITIONS)


def _header(stream: TextStream, line: bytes, units: str) -> _Header:
    """Read the items before the atoms; the units hold until others are named."""
    header = _Header(units=units)
    try:
        while True:
            words = line.decode("latin-1").split()
            item = " ".join(words[1:])
            if words[:1] != ["ITEM:"]:
                break
            if item == "TIMESTEP":
                header.step = int(stream.header())
            elif item == "UNITS":
                header.units = stream.header().decode("latin-1").strip()
            elif item == "TIME":
                header.time = float(stream.header())
            elif item == "NUMBER OF ATOMS":
                header.n_atoms = int(stream.header())
            elif item.startswith("BOX BOUNDS"):
                header.kind = words[3:]
                header.bounds = [[float(word) for word in stream.header().split()] for _ in "abc"]
            elif item.startswith("ATOMS") and header.n_atoms > 0 and header.bounds:
                header.columns = words[2:]
                return header
            else:
                break
            line = stream.header()
    except ValueError:
        pass
    text = line[:80].decode("latin-1")
    raise _LostError(f"line {stream.number} is no header of a dump: {text!r}")


def _slots(columns: list[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Return where each column goes, and the names of the columns of the result."""
    triple = next((t for t in _POSITIONS if set(t) <= set(columns)), None)
    if triple is None:
        raise _UnusableError(
            f"no positions among the columns {' '.join(columns)!r}",
            "dump x y z, xu yu zu or xs ys zs",
        )
    names = [*triple, *(name for name in _NUMBERS if name in columns)]
    slots = [names.index(name) if name in names else SKIP for name in columns]
    if "element" in columns:
        slots[columns.index("element")] = LABEL
    return np.array(slots, dtype=np.int64), names


def _frame(
    header: _Header,
    names: list[str],
    values: Array,
    labels: NDArray[np.uint64],
    memory: _Memory,
    number: int,
) -> RawFrame:
    if header.units and header.units not in _NM:
        raise _UnusableError(
            f"units {header.units!r} are not lengths of water", "dump in units real, metal or nano"
        )
    if "id" in names:
        ids = values[:, names.index("id")]
        if not (ids[1:] > ids[:-1]).all():
            order = np.argsort(ids, kind="stable")
            values, labels = values[order], labels[order]
    scale = _NM.get(header.units, 0.1)
    box, origin = _box(header)
    positions = values[:, :3]
    if names[0] in {"xs", "xsu"}:
        positions = origin + product3(positions, box)
    atoms = _atoms(names, values, labels, memory)
    velocities = None
    if {"vx", "vy", "vz"} <= set(names):
        first = names.index("vx")
        velocities = values[:, first : first + 3]
        memory.speed = memory.speed or _speed(header.units, velocities, atoms)
        velocities = velocities * memory.speed
    periodic = all(word == "pp" for word in header.kind[-3:] if word[0] in "pfsm")
    return RawFrame(
        positions * scale,
        box * scale if periodic else None,
        number,
        _time_ps(header),
        velocities,
        atoms,
        unit_is_declared=bool(header.units),
    )


def _time_ps(header: _Header) -> float:
    if header.time is not None:
        return header.time * _PS.get(header.units, 1e-3)
    return header.step * _DEFAULT_STEP_PS


def _speed(units: str, velocities: Array, atoms: Atoms) -> float:
    """Return the unit of velocities, nm/ps."""
    if units in {"real", "metal", "nano"}:
        return _NM[units] / _PS[units]
    return likely_unit(velocities, atoms, (ANGSTROM_PER_FS, ANGSTROM_PER_PS))


def _box(header: _Header) -> tuple[Array, Array]:
    """Return box and origin in the unit of the file."""
    bounds = header.bounds
    try:
        if header.kind[:2] == ["abc", "origin"]:
            table = np.array(bounds)
            return table[:, :3].copy(), table[:, 3].copy()
        (xlo, xhi), (ylo, yhi), (zlo, zhi) = (row[:2] for row in bounds)
        xy, xz, yz = (row[2] if len(row) > 2 else 0.0 for row in bounds)
    except (ValueError, IndexError):
        raise _UnusableError("the box bounds cannot be read", MALFORMED) from None
    # The bounds are those of the box around a tilted cell.
    xlo, xhi = xlo - min(0.0, xy, xz, xy + xz), xhi - max(0.0, xy, xz, xy + xz)
    ylo, yhi = ylo - min(0.0, yz), yhi - max(0.0, yz)
    box = np.array([[xhi - xlo, 0.0, 0.0], [xy, yhi - ylo, 0.0], [xz, yz, zhi - zlo]])
    return box, np.array([xlo, ylo, zlo])


def _atoms(names: list[str], values: Array, labels: NDArray[np.uint64], memory: _Memory) -> Atoms:
    kinds = [names.index(name) for name in ("type", "mol", "mass") if name in names]
    keys = (values[:, kinds], labels)
    same = memory.keys is not None and all(map(np.array_equal, memory.keys, keys))
    if same and memory.atoms is not None:
        return memory.atoms
    residues = values[:, names.index("mol")].astype(np.int64) if "mol" in names else None
    if labels.any():
        atoms = atoms_from_labels(labels, None, residues)
    elif "mass" in names:
        atoms = Atoms(elements_from_masses(values[:, names.index("mass")]), residues)
    else:
        types = (
            values[:, names.index("type")].astype(np.int64)
            if "type" in names
            else np.zeros(len(values), dtype=np.int64)
        )
        atoms = Atoms(elements_from_types(types), residues, types)
    memory.keys, memory.atoms = (values[:, kinds].copy(), labels), atoms
    return atoms
