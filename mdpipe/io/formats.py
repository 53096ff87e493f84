"""Write frames in every format that is read: for sample data and for tests."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import UsageError
from mdpipe.io.trajectory import write_topology, write_trajectory
from mdpipe.io.writers import dump_text, extxyz_text, gro_text, pdb_text
from mdpipe.state import Frame

SUFFIXES = {
    "xtc": ".xtc",
    "trr": ".trr",
    "dcd": ".dcd",
    "gro": ".gro",
    "pdb": ".pdb",
    "extxyz": ".extxyz",
    "lammpsdump": ".lammpstrj",
    "npy": ".npy",
}
"""Formats by name, and the suffix of each."""

_STEP_PS = 0.001


def write_frames(path: Path, frames: Iterable[Frame], format: str | None = None) -> int:  # noqa: A002
    """Write frames to one file, streaming; it gets its name when it is complete.

    XTC, TRR and DCD get a topology beside them, ``name.gro``; npy gets ``name.json`` and
    ``name.box.npy``. The bytes depend on the frames alone.

    Parameters
    ----------
    path : Path
        The file.
    frames : iterable of Frame
        All of the same number of molecules.
    format : str or None
        A key of `SUFFIXES`; None to take it from the suffix of `path`.

    Returns
    -------
    int
        Number of frames written.

    Raises
    ------
    UsageError
        For an unknown format, no frame, or frames of different sizes.
    """
    kind = format or next((k for k, s in SUFFIXES.items() if s == path.suffix), "")
    if kind not in SUFFIXES:
        raise UsageError(f"{path}: no format {kind or path.suffix!r}; use {', '.join(SUFFIXES)}")
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise UsageError(f"{path}: there is no frame to write; give at least one")
    whole = chain([first], stream)
    if kind in {"xtc", "trr", "dcd"}:
        if path.suffix != SUFFIXES[kind]:
            raise UsageError(f"{path}: {kind} files end in {SUFFIXES[kind]}; rename the file")
        count = write_trajectory(path, whole, len(first.positions))
        write_topology(path.with_suffix(".gro"), first)
        return count
    if kind == "npy":
        return _write_npy(path, whole)
    texts: dict[str, Callable[[Frame, int], str]] = {
        "gro": lambda frame, _number: gro_text(frame),
        "pdb": lambda frame, number: pdb_text(frame, number + 1),
        "extxyz": lambda frame, _number: extxyz_text(frame),
        "lammpsdump": lambda frame, _number: dump_text(frame, round(frame.time_ps / _STEP_PS)),
    }
    return _write_text(path, whole, texts[kind])


def _write_text(path: Path, frames: Iterator[Frame], text: Callable[[Frame, int], str]) -> int:
    temporary = path.with_name(f".{path.name}.part")
    count = 0
    try:
        with temporary.open("w", encoding="ascii", newline="\n") as stream:
            for frame in frames:
                stream.write(text(frame, count))
                count += 1
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return count


def _write_npy(path: Path, frames: Iterator[Frame]) -> int:
    """Write positions and boxes side by side; the headers are put in when the count is known."""
    names = [path, path.with_suffix(".box.npy"), path.with_suffix(".json")]
    temporary = [name.with_name(f".{name.name}.part") for name in names]
    times: list[float] = []
    n_atoms = 0
    try:
        with temporary[0].open("wb") as positions, temporary[1].open("wb") as boxes:
            for frame in _of_one_size(path, frames):
                if not times:
                    n_atoms = 3 * len(frame.positions)
                    _begin(positions, (n_atoms, 3), np.float32)
                    _begin(boxes, (3, 3), np.float64)
                _append(positions, frame.positions.astype("<f4"))
                _append(boxes, frame.box.astype("<f8"))
                times.append(frame.time_ps)
            _finish(positions, (len(times), n_atoms, 3), np.float32)
            _finish(boxes, (len(times), 3, 3), np.float64)
        table = {
            "length_unit": "nm",
            "elements": ["O", "H", "H"],
            "time_ps": [times[0], times[1] - times[0] if len(times) > 1 else 0.0],
        }
        temporary[2].write_text(json.dumps(table, indent=1) + "\n", "utf-8")
        # The array comes last: it is what readers look for.
        for part, name in reversed(list(zip(temporary, names, strict=True))):
            part.replace(name)
    except BaseException:
        for part in temporary:
            part.unlink(missing_ok=True)
        raise
    return len(times)


def _of_one_size(path: Path, frames: Iterator[Frame]) -> Iterator[Frame]:
    size = 0
    for frame in frames:
        size = size or len(frame.positions)
        if len(frame.positions) != size:
            raise UsageError(f"{path}: an array takes frames of one size; split them")
        yield frame


def _append(stream: BinaryIO, array: NDArray[Any]) -> None:
    stream.write(np.ascontiguousarray(array).tobytes())


def _npy_header(shape: tuple[int, ...], kind: type[Any]) -> bytes:
    stream = io.BytesIO()
    description = {
        "descr": np.dtype(kind).newbyteorder("<").str,
        "fortran_order": False,
        "shape": shape,
    }
    np.lib.format.write_array_header_1_0(stream, description)
    return stream.getvalue()


def _begin(stream: BinaryIO, shape: tuple[int, ...], kind: type[Any]) -> None:
    stream.write(_npy_header((0, *shape), kind))


def _finish(stream: BinaryIO, shape: tuple[int, ...], kind: type[Any]) -> None:
    """Put the true header in; NumPy leaves room in it for a growing first axis."""
    if len(_npy_header(shape, kind)) != len(_npy_header((0, *shape[1:]), kind)):
        raise AssertionError("the header of an array changed its length")
    stream.seek(0)
    stream.write(_npy_header(shape, kind))
