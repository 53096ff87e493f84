"""PDB files of one or many models."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdpipe.io.boxes import box_from_cell
from mdpipe.io.elements import atoms_from_labels, runs
from mdpipe.io.problems import MALFORMED, TRUNCATED, Problem
from mdpipe.io.raw import Atoms, RawFrame
from mdpipe.io.text import TextStream
from mdpipe.kernels.text import parse_fixed, scan_pdb
from mdpipe.state import Array

_NAME, _RESIDUE_NAME, _RESIDUE, _ELEMENT = range(4)
_LABELS = np.array([[12, 16], [17, 21], [21, 27], [76, 78]], dtype=np.int64)
_FIRST_NUMBER, _WIDTH = 30, 8


def pdb_frames(path: Path) -> Generator[RawFrame | Problem, None, None]:
    """Yield the models of a PDB file.

    Times are not part of PDB and are 0. A model without CRYST1 has the box of the model before.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    RawFrame or Problem
        A malformed model is a Problem, and reading goes on.
    """
    names: NDArray[np.uint64] | None = None
    atoms: Atoms | None = None
    box: Array | None = None
    number = 0
    with TextStream(path) as stream:
        while (model := _model(stream)) is not None:
            extents, crystal, cut = model
            first_line = stream.number
            if crystal >= 0:
                box = _cell(stream.buffer[crystal : crystal + 80].tobytes())
            if not len(extents):
                continue
            values = np.empty((len(extents), 3))
            labels = np.empty((len(extents), len(_LABELS)), dtype=np.uint64)
            starts, stops = np.ascontiguousarray(extents.T)
            bad = int(
                parse_fixed(
                    stream.buffer, starts, stops, _FIRST_NUMBER, _WIDTH, values, _LABELS, labels
                )
            )
            if cut or (stream.ended and names is not None and len(names) != len(values)):
                yield Problem(str(path), number, "the file ends inside this model", TRUNCATED)
            elif bad >= 0:
                error = stream.bad_line(
                    extents[bad], _line_at(stream, first_line, int(starts[bad]))
                )
                yield Problem(str(path), number, str(error), MALFORMED)
            else:
                if names is None or atoms is None or not np.array_equal(names, labels):
                    names, atoms = labels, _atoms(labels)
                yield RawFrame(0.1 * values, box, number, 0.0, None, atoms)
            number += 1


def _model(stream: TextStream) -> tuple[NDArray[np.int64], int, bool] | None:
    """Take the lines of one model: extents of its atoms, place of CRYST1, whether it is cut off."""
    atoms = np.empty((1 << 14, 2), dtype=np.int64)
    found = np.array([0, -1, stream.start, 0, 0], dtype=np.int64)
    # Whole lines only: the rest of a block may end inside one.
    while True:
        whole = _whole_lines(stream)
        if scan_pdb(stream.buffer, int(found[2]), whole, atoms, found):
            cut = False
            break
        if found[0] == len(atoms):
            atoms = np.concatenate((atoms, np.empty_like(atoms)))
            continue
        moved = stream.fill()
        if moved is None:
            # A single structure needs no end mark, a model does.
            cut = found[4] > 0
            break
        atoms[: found[0]] -= moved
        found[2] -= moved
        if found[1] >= 0:
            found[1] -= moved
    if found[3] == 0:
        return None
    stream.start = int(found[2])
    stream.number += int(found[3])
    return atoms[: found[0]], int(found[1]), cut


def _whole_lines(stream: TextStream) -> int:
    """Return where the last whole line in the buffer ends."""
    stop = stream.stop
    while stop > stream.start:
        begin = max(stream.start, stop - 4096)
        places = np.flatnonzero(stream.buffer[begin:stop] == 10)
        if len(places):
            return begin + int(places[-1]) + 1
        stop = begin
    return stream.start


def _line_at(stream: TextStream, last_line: int, position: int) -> int:
    """Return the number of the line at `position`, counted back from the end of the model."""
    return last_line - int(np.count_nonzero(stream.buffer[position : stream.start] == 10)) + 1


def _cell(line: bytes) -> Array | None:
    try:
        cell = [float(line[i:j]) for i, j in ((6, 15), (15, 24), (24, 33))]
        cell += [float(line[i:j]) for i, j in ((33, 40), (40, 47), (47, 54))]
    except ValueError:
        return None
    if min(cell) <= 0.0:
        return None
    return box_from_cell(np.array(cell) * [0.1, 0.1, 0.1, 1.0, 1.0, 1.0])


def _atoms(labels: NDArray[np.uint64]) -> Atoms:
    residues = runs(labels[:, _RESIDUE].copy(), labels[:, _RESIDUE_NAME].copy())
    named = labels[:, _ELEMENT].all()
    # The element column decides where all atoms have it; massless sites often have none.
    column = _ELEMENT if named else _NAME
    kinds = None if named else labels[:, _RESIDUE_NAME]
    return atoms_from_labels(labels[:, column], kinds, residues)
