"""What a running scene has written so far: frames and energy rows, appended to two files.

A checkpoint remembers how long both files were and a checksum of each; whatever was appended after
it is cut off when the run resumes. So memory does not grow with the length of a run, and a resumed
run writes the same bytes.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.products import no_space_is_clear
from mdpipe.state import Frame, State

FRAMES = "frames.bin"
ROWS = "energies.bin"
CHUNK = 1 << 22


class Row(NamedTuple):
    """One row of the energy table; every name carries its unit."""

    step: float
    time_ps: float
    potential_kj_mol: float
    kinetic_kj_mol: float
    total_kj_mol: float
    conserved_kj_mol: float
    temperature_K: float
    pressure_bar: float
    volume_nm3: float
    density_g_cm3: float
    lj_kj_mol: float
    coulomb_real_kj_mol: float
    coulomb_reciprocal_kj_mol: float
    coulomb_self_kj_mol: float
    coulomb_exclusion_kj_mol: float
    bond_kj_mol: float
    angle_kj_mol: float
    dispersion_kj_mol: float


class Marks(NamedTuple):
    """Length in bytes and CRC-32 of the frames and of the rows at a checkpoint."""

    frames_bytes: int = 0
    frames_crc: int = 0
    rows_bytes: int = 0
    rows_crc: int = 0


def frame_dtype(n_molecules: int) -> np.dtype[np.void]:
    """Return the record of one frame: positions in float32, as trajectory formats keep them.

    Parameters
    ----------
    n_molecules : int
        Number of molecules.

    Returns
    -------
    dtype
        Fields `time_ps`, `box` and `positions`.
    """
    return np.dtype(
        [("time_ps", "<f8"), ("box", "<f8", (3, 3)), ("positions", "<f4", (n_molecules, 3, 3))]
    )


class _Log:
    """A file that grows, and the checksum of what is in it."""

    def __init__(self, path: Path, length: int, crc: int) -> None:
        self.path = path
        self.length = length
        self.crc = crc
        with no_space_is_clear(path):
            path.touch()
            os.truncate(path, length)
            # Unbuffered: what could not be written is known at once, not when the file closes.
            self._stream = FileIO(path, "a")

    def append(self, content: bytes) -> None:
        with no_space_is_clear(self.path):
            rest = memoryview(content)
            while rest:
                rest = rest[self._stream.write(rest) :]
        self.length += len(content)
        self.crc = zlib.crc32(content, self.crc)

    def sync(self) -> None:
        with no_space_is_clear(self.path):
            os.fsync(self._stream.fileno())

    def close(self) -> None:
        self._stream.close()


class Recorder:
    """Appends frames and energy rows of a running scene.

    Parameters
    ----------
    work : Path
        The scene's work folder.
    n_molecules : int
        Number of molecules.
    marks : Marks
        Where to go on; what lies beyond is cut off.
    """

    def __init__(self, work: Path, n_molecules: int, marks: Marks) -> None:
        self._dtype = frame_dtype(n_molecules)
        self._frames = _Log(work / FRAMES, marks.frames_bytes, marks.frames_crc)
        self._rows = _Log(work / ROWS, marks.rows_bytes, marks.rows_crc)

    def frame(self, state: State) -> None:
        """Append the positions of a state.

        Parameters
        ----------
        state : State
            Written in float32, unwrapped.
        """
        record = np.zeros((), self._dtype)
        record["time_ps"] = state.time_ps
        record["box"] = state.box
        record["positions"] = state.positions
        self._frames.append(record.tobytes())

    def row(self, row: Row) -> None:
        """Append a row of the energy table.

        Parameters
        ----------
        row : Row
            Written in float64.
        """
        self._rows.append(np.array(row, "<f8").tobytes())

    def marks(self) -> Marks:
        """Wait until all is on the disk and return the marks for a checkpoint.

        Returns
        -------
        Marks
            Lengths and checksums.
        """
        self._frames.sync()
        self._rows.sync()
        return Marks(self._frames.length, self._frames.crc, self._rows.length, self._rows.crc)

    def close(self) -> None:
        """Close both files."""
        self._frames.close()
        self._rows.close()


def marks_hold(work: Path, marks: Marks) -> bool:
    """Say whether the files in a work folder still begin with what a checkpoint counted.

    Parameters
    ----------
    work : Path
        The scene's work folder.
    marks : Marks
        From the checkpoint.

    Returns
    -------
    bool
        True if lengths suffice and checksums match.
    """
    frames_bytes, frames_crc, rows_bytes, rows_crc = marks
    return (
        _crc(work / FRAMES, frames_bytes) == frames_crc
        and _crc(work / ROWS, rows_bytes) == rows_crc
    )


def _crc(path: Path, length: int) -> int | None:
    crc = 0
    try:
        with path.open("rb") as stream:
            while length > 0:
                chunk = stream.read(min(CHUNK, length))
                if not chunk:
                    return None
                crc = zlib.crc32(chunk, crc)
                length -= len(chunk)
    except OSError:
        return None
    return crc


def recorded_frames(work: Path, n_molecules: int) -> Iterator[Frame]:
    """Read the frames back, one at a time.

    Parameters
    ----------
    work : Path
        The scene's work folder.
    n_molecules : int
        Number of molecules.

    Yields
    ------
    Frame
        Whole, unwrapped molecules.
    """
    dtype = frame_dtype(n_molecules)
    with (work / FRAMES).open("rb") as stream:
        number = 0
        while content := stream.read(dtype.itemsize):
            record = np.frombuffer(content, dtype)[0]
            yield Frame(
                record["positions"].astype(np.float64),
                record["box"].astype(np.float64),
                float(record["time_ps"]),
                number=number,
            )
            number += 1


def recorded_rows(work: Path) -> dict[str, NDArray[np.float64]]:
    """Read the energy table back.

    Parameters
    ----------
    work : Path
        The scene's work folder.

    Returns
    -------
    dict of (rows,) float64
        The columns by the names of `Row`.
    """
    table = np.fromfile(work / ROWS, "<f8").reshape(-1, len(Row._fields))
    return {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(Row._fields)}
