"""Extended XYZ files: Lattice and Properties in the comment, Å as ASE has them."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.io.elements import atoms_from_labels
from mdpipe.io.problems import MALFORMED, TRUNCATED, Problem
from mdpipe.io.raw import Atoms, RawFrame
from mdpipe.io.speeds import ANGSTROM_PER_FS, ASE_SPEED, likely_unit, masses_of
from mdpipe.io.text import LABEL, SKIP, BadLineError, TextStream, TruncatedError
from mdpipe.state import Array

_PAIR = re.compile(rb"([A-Za-z_][\w:-]*)\s*=\s*(?:\"([^\"]*)\"|\{([^}]*)\}|'([^']*)'|(\S+))")
_SPEEDS = {"velo", "vel", "velocities", "velocity", "v", "momenta"}


class _Layout(NamedTuple):
    slots: NDArray[np.int64]
    speed: str
    """Name of the property that holds velocities or momenta; empty where there is none."""


def extxyz_frames(path: Path) -> Generator[RawFrame | Problem, None, None]:
    """Yield the frames of an extended XYZ file.

    Velocities are `velo` (Å/fs, QUIP), `momenta` (units of ASE), or `vel`, `velocities`, whose unit
    is the one of Å/fs, Å/ps and ASE's that gives a temperature nearest to 300 K. Times are
    `Time` or `time` in ps.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    RawFrame or Problem
        A malformed frame is a Problem, and reading goes on; a truncated one ends the file.
    """
    names: NDArray[np.uint64] | None = None
    atoms: Atoms | None = None
    number = 0
    with TextStream(path) as stream:
        while (line := stream.line()) is not None:
            if not line.strip():
                continue
            if not line.strip().isdigit() or int(line) == 0:
                text = line[:80].decode("latin-1")
                what = f"line {stream.number} is no number of atoms: {text!r}"
                yield Problem(str(path), number, what, TRUNCATED)
                return
            n_atoms = int(line)
            try:
                comment = stream.header()
                pairs = _pairs(comment)
                layout = _layout(pairs, str(path), number)
                if isinstance(layout, Problem):
                    stream.take(n_atoms)
                    yield layout
                    number += 1
                    continue
                values, labels = stream.columns(n_atoms, layout.slots)
            except TruncatedError:
                yield Problem(str(path), number, "the file ends inside this frame", TRUNCATED)
                return
            except BadLineError as error:
                yield Problem(str(path), number, str(error), MALFORMED)
                number += 1
                continue
            if names is None or atoms is None or not np.array_equal(names, labels):
                names, atoms = labels, atoms_from_labels(labels)
            velocities = _velocities(values[:, 3:], layout.speed, atoms)
            positions = 0.1 * values[:, :3]
            box = _box(pairs)
            yield RawFrame(positions, box, number, _time(pairs), velocities, atoms)
            number += 1


def _pairs(comment: bytes) -> dict[str, str]:
    return {
        found.group(1).decode("latin-1"): b"".join(g or b"" for g in found.groups()[1:]).decode(
            "latin-1"
        )
        for found in _PAIR.finditer(comment)
    }


def _layout(pairs: dict[str, str], file: str, number: int) -> _Layout | Problem:
    """Return which column goes where, by the Properties of the comment."""
    words = pairs.get("Properties", "species:S:1:pos:R:3").split(":")
    names = words[::3]
    remedy = "write Properties=species:S:1:pos:R:3"
    try:
        widths = [int(word) for word in words[2::3]]
    except ValueError:
        widths = []
    if len(widths) != len(names):
        return Problem(file, number, f"Properties cannot be read: {':'.join(words)!r}", remedy)
    slots: list[int] = []
    speed = next((name for name in names if name in _SPEEDS), "")
    label = next((name for name in ("species", "symbols", "element", "Z") if name in names), "")
    for name, width in zip(names, widths, strict=True):
        first = {"pos": 0, "positions": 0, speed or "-": 3}.get(name, SKIP)
        if name == label:
            slots.append(LABEL)
        elif first != SKIP and width == 3:
            slots += [first, first + 1, first + 2]
        else:
            slots += [SKIP] * width
    if not {0, LABEL} <= set(slots):
        return Problem(file, number, f"no species or pos in Properties {':'.join(words)!r}", remedy)
    return _Layout(np.array(slots, dtype=np.int64), speed)


def _velocities(values: Array, speed: str, atoms: Atoms) -> Array | None:
    if not speed or values.shape[1] < 3:
        return None
    if speed == "momenta":
        return values / masses_of(atoms)[:, None] * ASE_SPEED
    if speed == "velo":
        return values * ANGSTROM_PER_FS
    return values * likely_unit(values, atoms)


def _box(pairs: dict[str, str]) -> Array | None:
    try:
        numbers = [float(word) for word in pairs.get("Lattice", "").split()]
    except ValueError:
        return None
    # No periodicity in any direction, and no pbc beside a Lattice means periodic in all.
    periodic = pairs.get("pbc", "T T T").replace(",", " ").upper()
    if len(numbers) != 9 or "F" in periodic:
        return None
    return 0.1 * np.array(numbers).reshape(3, 3)


def _time(pairs: dict[str, str]) -> float:
    for key in ("Time", "time"):
        try:
            return float(pairs[key])
        except (KeyError, ValueError):
            continue
    return 0.0
