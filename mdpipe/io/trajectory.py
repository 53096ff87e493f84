"""Trajectories of scenes: XTC, TRR and DCD through MDAnalysis, and their topology file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from mdpipe.failures import InputError, NoSpaceError, UsageError
from mdpipe.io.binary import PS_PER_AKMA, raw_frames
from mdpipe.io.boxes import cell_from_box
from mdpipe.io.doors import trajectory_file
from mdpipe.io.writers import gro_lines
from mdpipe.state import Array, Frame, State

XTC_PRECISION = 1000.0
"""XTC keeps multiples of 1/1000 nm, as GROMACS writes by default."""


def write_trajectory(path: Path, frames: Iterable[Frame], n_molecules: int) -> int:
    """Write frames to an XTC, TRR or DCD file; the suffix chooses.

    The bytes depend on the frames alone. The file gets its name when it is complete.

    Parameters
    ----------
    path : Path
        Ends in ``.xtc``, ``.trr`` or ``.dcd``.
    frames : iterable of Frame
        Written as they are, not wrapped. XTC keeps 3 decimals of nm, TRR and DCD float32; only TRR
        keeps velocities. DCD keeps the times of evenly spaced frames.
    n_molecules : int
        Number of molecules of each frame.

    Returns
    -------
    int
        Number of frames written.

    Raises
    ------
    UsageError
        For another suffix, or a frame of another size.
    NoSpaceError
        If the file on disk is shorter than what was written.
    """
    writers = {".xtc": _write_xtc, ".trr": _write_trr, ".dcd": _write_dcd}
    if path.suffix not in writers:
        raise UsageError(f"{path}: trajectories end in .xtc, .trr or .dcd; rename the file")
    temporary = path.with_name(f".{path.name}.part")
    try:
        count = writers[path.suffix](temporary, _sized(frames, n_molecules), 3 * n_molecules)
        _check_written(temporary, path.suffix, count)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return count


def write_topology(path: Path, state: State | Frame) -> None:
    """Write a GRO file that names the atoms of a trajectory: SOL with OW, HW1, HW2.

    Parameters
    ----------
    path : Path
        The file, ``….gro``.
    state : State or Frame
        Positions and box to write.
    """
    frame = Frame(state.positions, state.box, state.time_ps)
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("w", encoding="ascii", newline="\n") as stream:
        stream.writelines(gro_lines(frame))
    temporary.replace(path)


def read_scene_frames(scene_dir: Path, stride: int = 1) -> Iterator[Frame]:
    """Read the trajectory of a scene, frame by frame.

    Parameters
    ----------
    scene_dir : Path
        Folder with ``trajectory.xtc`` or ``trajectory.dcd``.
    stride : int
        Every how many frames one is read.

    Yields
    ------
    Frame
        Whole, unwrapped molecules.

    Raises
    ------
    InputError
        If there is no trajectory, or it is damaged; the message names the frame.
    """
    for suffix in ("xtc", "dcd"):
        path = scene_dir / f"trajectory.{suffix}"
        if path.exists():
            yield from read_trajectory(path, stride)
            return
    raise InputError(f"{scene_dir}: no trajectory.xtc or trajectory.dcd; run the scene again")


def read_trajectory(path: Path, stride: int = 1) -> Iterator[Frame]:
    """Read a trajectory of O, H1, H2 triples, as `write_trajectory` wrote it.

    Parameters
    ----------
    path : Path
        XTC, TRR or DCD.
    stride : int
        Every how many frames one is read.

    Yields
    ------
    Frame
        Positions as stored, nm.

    Raises
    ------
    InputError
        If the file is damaged or holds no triples; the message names the frame.
    """
    with contextlib.closing(raw_frames(path, stride)) as raws:
        for raw in raws:
            if raw.positions.shape[0] % 3:
                raise InputError(
                    f"{path}: {raw.positions.shape[0]} atoms are no O, H, H triples; "
                    "read it with a topology"
                )
            if raw.box is None:
                raise InputError(f"{path}: frame {raw.number} has no box; run the scene again")
            velocities = None if raw.velocities is None else raw.velocities.reshape(-1, 3, 3)
            yield Frame(
                raw.positions.reshape(-1, 3, 3),
                raw.box,
                raw.time_ps,
                velocities,
                str(path),
                raw.number,
            )


def _sized(frames: Iterable[Frame], n_molecules: int) -> Iterator[Frame]:
    for frame in frames:
        if frame.positions.shape != (n_molecules, 3, 3):
            raise UsageError(
                f"frame {frame.number}: a trajectory of {n_molecules} molecules takes "
                f"({n_molecules}, 3, 3) positions, got {frame.positions.shape}"
            )
        yield frame


def _flat(values: Array) -> Any:
    return np.ascontiguousarray(values.reshape(-1, 3), dtype=np.float32)


def _write_xtc(path: Path, frames: Iterator[Frame], _n_atoms: int) -> int:
    count = 0
    with trajectory_file(".xtc")(str(path), "w") as file:
        for count, frame in enumerate(frames, 1):
            box = frame.box.astype(np.float32)
            file.write(_flat(frame.positions), box, count - 1, frame.time_ps, XTC_PRECISION)
    return count


def _write_trr(path: Path, frames: Iterator[Frame], n_atoms: int) -> int:
    count = 0
    with trajectory_file(".trr")(str(path), "w") as file:
        for count, frame in enumerate(frames, 1):
            velocities = None if frame.velocities is None else _flat(frame.velocities)
            box = frame.box.astype(np.float32)
            file.write(
                _flat(frame.positions),
                velocities,
                None,
                box,
                count - 1,
                frame.time_ps,
                0.0,
                n_atoms,
            )
    return count


def _write_dcd(path: Path, frames: Iterator[Frame], n_atoms: int) -> int:
    head = list(islice(frames, 2))
    start = head[0].time_ps if head else 0.0
    interval = head[1].time_ps - start if len(head) > 1 else 0.0
    # A DCD knows one interval and the number of the first frame in it.
    interval = interval if interval > 0.0 else max(start, 1.0)
    count = 0
    with trajectory_file(".dcd")(str(path), "w") as file:
        file.write_header(
            "mdpipe", n_atoms, round(start / interval), 1, interval / PS_PER_AKMA, True
        )
        for frame in chain(head, frames):
            count += 1
            cell = cell_from_box(frame.box) * [10.0, 10.0, 10.0, 1.0, 1.0, 1.0]
            file.write(_flat(10.0 * frame.positions), cell[[0, 5, 1, 4, 3, 2]])
    return count


def _check_written(path: Path, suffix: str, count: int) -> None:
    """Read the last frame back: the C writers do not report a full disk when they close."""
    if count == 0:
        return
    try:
        with trajectory_file(suffix)(str(path), "r") as file:
            found = file.n_frames if suffix == ".dcd" else len(file.offsets)
            file.seek(count - 1)
            file.read()
    except (OSError, EOFError, RuntimeError) as error:
        raise NoSpaceError(
            f"{path}: could not be written whole ({error}); free some disk space"
        ) from None
    if found != count:
        raise NoSpaceError(f"{path}: {found} of {count} frames on disk; free some disk space")
