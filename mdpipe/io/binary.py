"""Frames of XTC, TRR and DCD files, by MDAnalysis' low-level readers.

Its high-level readers write offset caches and locks beside the input, which fails or litters in
folders that others own.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from mdpipe.failures import InputError
from mdpipe.io.boxes import box_from_cell
from mdpipe.io.doors import trajectory_file
from mdpipe.io.problems import TRUNCATED
from mdpipe.io.raw import RawFrame
from mdpipe.state import Array

PS_PER_AKMA = 0.04888821
"""The unit of time of DCD headers, ps."""


class DamagedError(InputError):
    """A trajectory that breaks off: at which frame, and why."""

    def __init__(self, path: Path, frame: int, error: object) -> None:
        self.frame = frame
        self.what = f"cannot be read ({error}): the file is truncated or damaged"
        super().__init__(f"{path}: frame {frame} {self.what}; {TRUNCATED}")


_READ_ERRORS = (OSError, EOFError, RuntimeError, ValueError, MemoryError)


def raw_frames(path: Path, stride: int = 1) -> Generator[RawFrame, None, None]:
    """Yield the frames of an XTC, TRR or DCD file.

    Parameters
    ----------
    path : Path
        The suffix tells the format.
    stride : int
        Every how many frames one is read; those between are skipped, not decoded.

    Yields
    ------
    RawFrame
        Without atoms: these formats hold none.

    Raises
    ------
    DamagedError
        At the first frame that cannot be read; the frames before it have been yielded.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; check the path")
    suffix = path.suffix.lower()
    opener = trajectory_file(suffix)
    convert = {".xtc": _from_xtc, ".trr": _from_trr, ".dcd": _from_dcd}[suffix]
    try:
        file = opener(str(path), "r")
    except _READ_ERRORS as error:
        raise InputError(
            f"{path}: not a readable {path.suffix[1:].upper()} file: {error}"
        ) from None
    with file:
        number = 0
        while True:
            try:
                if stride > 1 and number > 0:
                    if number >= _length(file):
                        return
                    file.seek(number)
                frame = convert(file, file.read(), number)
            except (StopIteration, EOFError):
                _check_end(path, file, number)
                return
            except _READ_ERRORS as error:
                raise DamagedError(path, number, error) from None
            yield frame
            number += stride


def dcd_box(unitcell: Any) -> Array | None:
    """Return the box of a DCD unit cell record.

    Parameters
    ----------
    unitcell : (6,) array
        a, gamma, b, beta, alpha, c in Å and degrees or cosines; or, from CHARMM since version 25,
        the triangle of the symmetric box matrix in Å.

    Returns
    -------
    (3, 3) float64 or None
        Rows in nm; None where the record is empty.
    """
    record = np.array(unitcell, dtype=np.float64)
    if not np.isfinite(record).all() or record[[0, 2, 5]].min() <= 0.0:
        return None
    angles = record[[4, 3, 1]]
    if np.abs(angles).max() <= 1.0:
        angles = 90.0 - np.degrees(np.arcsin(angles))
    elif angles.min() < 0.0 or angles.max() > 180.0 or angles.sum() >= 360.0:
        xx, xy, yy, xz, yz, zz = record
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) * 0.1
    return box_from_cell(np.concatenate((0.1 * record[[0, 2, 5]], angles)))


def _length(file: Any) -> int:
    return int(file.n_frames) if hasattr(file, "n_frames") else len(file.offsets)


def _from_xtc(_file: Any, frame: Any, number: int) -> RawFrame:
    box = np.asarray(frame.box, dtype=np.float64)
    return RawFrame(
        np.asarray(frame.x, dtype=np.float64), box if box.any() else None, number, float(frame.time)
    )


def _from_trr(_file: Any, frame: Any, number: int) -> RawFrame:
    if not frame.hasx:
        raise ValueError("no positions in this frame")
    box = np.asarray(frame.box, dtype=np.float64)
    return RawFrame(
        np.asarray(frame.x, dtype=np.float64),
        box if box.any() else None,
        number,
        float(frame.time),
        np.asarray(frame.v, dtype=np.float64) if frame.hasv else None,
    )


def _from_dcd(file: Any, frame: Any, number: int) -> RawFrame:
    header = file.header
    interval = float(header["delta"]) * max(int(header["nsavc"]), 1) * PS_PER_AKMA
    start = int(header["istart"]) / max(int(header["nsavc"]), 1)
    return RawFrame(
        0.1 * np.asarray(frame.xyz, dtype=np.float64),
        dcd_box(frame.unitcell) if file.is_periodic else None,
        number,
        (number + start) * interval,
    )


def _check_end(path: Path, file: Any, number: int) -> None:
    """Raise if bytes of a broken frame follow the last good one; the C readers pass over them."""
    size = path.stat().st_size
    if path.suffix.lower() == ".dcd":
        whole = _dcd_size(path, file)
    elif path.suffix.lower() == ".trr":
        whole = _trr_size(path, int(file.offsets[-1]))
    else:
        whole = size
    if size != whole:
        raise DamagedError(path, number, f"{size} bytes where whole frames end at {whole}")


def _dcd_size(path: Path, file: Any) -> int:
    """Return where the last whole frame of a DCD ends (a file of 32-bit record marks)."""
    with path.open("rb") as stream:
        first = stream.read(4)
        order: Any = "little" if int.from_bytes(first, "little") == 84 else "big"
        position = 92
        for _record in range(2):
            stream.seek(position)
            position += int.from_bytes(stream.read(4), order) + 8
    n_atoms = int(file.header["natoms"])
    frame = 3 * (4 * n_atoms + 8) + (56 if file.is_periodic else 0)
    whole = position + int(file.n_frames) * frame
    # Fixed atoms and a fourth dimension make frames of other sizes; then nothing can be said.
    plain = path.stat().st_size - whole < frame
    return whole if plain else path.stat().st_size


def _trr_size(path: Path, offset: int) -> int:
    """Return where the TRR frame that begins at `offset` ends, by its own header."""
    with path.open("rb") as stream:
        stream.seek(offset)
        head = stream.read(92)
    if len(head) < 76:
        return offset
    sizes = np.frombuffer(head[24:76], dtype=">i4")
    data = int(sizes[:10].sum())
    n_atoms, width = int(sizes[10]), 4
    if n_atoms and int(sizes[7]) == 24 * n_atoms:
        width = 8
    return offset + 76 + 2 * width + data
