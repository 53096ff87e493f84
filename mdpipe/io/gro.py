"""GRO files of one or many frames."""

from __future__ import annotations

import re
from collections.abc import Generator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdpipe.io.elements import atoms_from_labels, runs
from mdpipe.io.problems import MALFORMED, TRUNCATED, Problem
from mdpipe.io.raw import Atoms, RawFrame
from mdpipe.io.text import BadLineError, TextStream, TruncatedError
from mdpipe.kernels.text import parse_fixed
from mdpipe.state import Array

_LABELS = np.array([[0, 5], [5, 10], [10, 15]], dtype=np.int64)
_FIRST_NUMBER = 20
_TIME = re.compile(rb"\bt=\s*([-+0-9.eE]+)")


def gro_frames(path: Path) -> Generator[RawFrame | Problem, None, None]:
    """Yield the frames of a GRO file.

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
        while (title := stream.line()) is not None:
            try:
                count = stream.line()
                if not title.strip() and not (count or b"").strip():
                    continue
                n_atoms = _count(stream, count)
                values, labels = _atom_lines(stream, n_atoms)
                line = stream.header()
                box = _box(stream, line)
            except TruncatedError:
                yield Problem(str(path), number, "the file ends inside this frame", TRUNCATED)
                return
            except _LostError as error:
                yield Problem(str(path), number, str(error), TRUNCATED)
                return
            except BadLineError as error:
                stream.line()
                yield Problem(str(path), number, str(error), MALFORMED)
                number += 1
                continue
            if names is None or atoms is None or not np.array_equal(names, labels):
                names = labels
                residues = runs(labels[:, 0].copy(), labels[:, 1].copy())
                atoms = atoms_from_labels(labels[:, 2], labels[:, 1], residues)
            found = _TIME.search(title)
            velocities = values[:, 3:].copy() if values.shape[1] == 6 else None
            positions = np.ascontiguousarray(values[:, :3])
            yield RawFrame(positions, box, number, _time(found), velocities, atoms)
            number += 1


class _LostError(Exception):
    """A header that cannot be read, so that the next frame cannot be found."""


def _time(found: re.Match[bytes] | None) -> float:
    try:
        return float(found.group(1)) if found else 0.0
    except ValueError:
        return 0.0


def _count(stream: TextStream, line: bytes | None) -> int:
    if line is None:
        raise TruncatedError
    try:
        n_atoms = int(line)
    except ValueError:
        n_atoms = -1
    if n_atoms < 1:
        text = line[:80].decode("latin-1")
        raise _LostError(f"line {stream.number} is no number of atoms: {text!r}")
    return n_atoms


def _atom_lines(stream: TextStream, n_atoms: int) -> tuple[Array, NDArray[np.uint64]]:
    starts = stream.take(n_atoms)
    if len(starts) <= n_atoms:
        raise TruncatedError
    first = stream.buffer[starts[0] : starts[1]].tobytes().rstrip()
    points = [i for i, c in enumerate(first) if c == ord(".") and i >= _FIRST_NUMBER]
    if len(points) < 3:
        raise stream.bad_line(starts[:2], stream.number - n_atoms + 1)
    # The number of decimals is free; all fields have one width, velocities a decimal more.
    width = points[1] - points[0]
    k = 6 if len(points) >= 6 else 3
    values = np.empty((n_atoms, k))
    labels = np.empty((n_atoms, len(_LABELS)), dtype=np.uint64)
    bad = int(
        parse_fixed(
            stream.buffer, starts[:-1], starts[1:], _FIRST_NUMBER, width, values, _LABELS, labels
        )
    )
    if bad >= 0:
        raise stream.bad_line(starts[bad : bad + 2], stream.number - n_atoms + bad + 1)
    return values, labels


def _box(stream: TextStream, line: bytes) -> Array | None:
    try:
        numbers = [float(word) for word in line.split()]
    except ValueError:
        numbers = []
    if len(numbers) not in {3, 9}:
        text = line[:80].decode("latin-1")
        raise _LostError(f"line {stream.number} is no box (3 or 9 numbers): {text!r}")
    box = np.diag(numbers[:3])
    if len(numbers) == 9:
        box[0, 1], box[0, 2], box[1, 0], box[1, 2], box[2, 0], box[2, 1] = numbers[3:]
    return box if box.any() else None
