"""Checkpoints: one file with its own digest, written whole or not at all, the last two kept."""

from __future__ import annotations

import hashlib
import io
import logging
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.arrays import write_arrays
from mdpipe.failures import InputError
from mdpipe.products import write_atomically
from mdpipe.simulation.ensembles import Coupling
from mdpipe.simulation.output import Marks, marks_hold
from mdpipe.state import State, state_arrays

LOG = logging.getLogger(__name__)

CURRENT = "checkpoint.npz"
PREVIOUS = "checkpoint-previous.npz"


class Checkpoint(NamedTuple):
    """All that a run needs to go on: `forcefield_box` is the box its grid was chosen for, nm."""

    key: str
    state: State
    coupling: Coupling
    forcefield_box: NDArray[np.float64]
    marks: Marks


class DamagedCheckpointError(Exception):
    """A checkpoint file that is truncated, altered, or whose frames are gone."""


def save_checkpoint(work: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the one before becomes the previous one, the one before that goes.

    Parameters
    ----------
    work : Path
        The scene's work folder.
    checkpoint : Checkpoint
        What to write; the frames and rows that its marks count must be on the disk.
    """
    state = checkpoint.state
    arrays: dict[str, Any] = {
        "key": np.array(checkpoint.key),
        **state_arrays(state),
        "forcefield_box": checkpoint.forcefield_box,
        "marks": np.array(checkpoint.marks, np.int64),
    }
    arrays |= {f"coupling_{k}": np.array(v) for k, v in checkpoint.coupling.as_dict().items()}
    arrays["digest"] = np.array(_digest(arrays))
    current = work / CURRENT
    with (
        write_atomically(work / "checkpoint-next.npz", durable=True) as temporary,
        temporary.open("wb") as stream,
    ):
        write_arrays(stream, arrays)
    if current.exists():
        current.replace(work / PREVIOUS)
    (work / "checkpoint-next.npz").replace(current)


def load_checkpoint(work: Path, key: str) -> Checkpoint | None:
    """Read the latest good checkpoint of a scene.

    Parameters
    ----------
    work : Path
        The scene's work folder.
    key : str
        The scene's key.

    Returns
    -------
    Checkpoint or None
        None if there is none, or only those of another scene; a note in the log says so.

    Raises
    ------
    InputError
        If there are checkpoints of this scene, but all are damaged.
    """
    faults: list[str] = []
    for name in (CURRENT, PREVIOUS):
        path = work / name
        if not path.exists():
            continue
        try:
            checkpoint = read_checkpoint(path)
        except DamagedCheckpointError as error:
            faults.append(f"{name}: {error}")
            continue
        if checkpoint.key != key:
            LOG.warning("%s: belongs to another scene; starting this one afresh", path)
            return None
        if faults:
            LOG.warning("%s: %s; going on from the one before", work, faults[0])
            # Or the next checkpoint would keep the damaged one as the previous good one.
            (work / CURRENT).unlink()
        return checkpoint
    if faults:
        raise InputError(
            f"{work}: no checkpoint can be used ({'; '.join(faults)}); "
            "remove this folder to start the scene again"
        )
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read and check one checkpoint file and the frames it counts.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    Checkpoint
        What it holds.

    Raises
    ------
    DamagedCheckpointError
        If anything is not as it was written.
    """
    try:
        # A stream of our own: numpy forgets to close the file where it is no zip archive.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
        digest = str(arrays.pop("digest"))
        if digest != _digest(arrays):
            raise DamagedCheckpointError("its digest does not match its content")
        state = State(
            arrays["positions"],
            arrays["velocities"],
            arrays["box"],
            float(arrays["time_ps"]),
            int(arrays["step"]),
        )
        coupling = Coupling(
            **{k.removeprefix("coupling_"): v.item() for k, v in arrays.items() if "coupling_" in k}
        )
        marks = Marks(*(int(mark) for mark in arrays["marks"]))
        checkpoint = Checkpoint(
            str(arrays["key"]), state, coupling, arrays["forcefield_box"], marks
        )
    except (OSError, KeyError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DamagedCheckpointError(f"not readable ({error})") from error
    if not marks_hold(path.parent, marks):
        raise DamagedCheckpointError("its frames or energies are missing or altered")
    return checkpoint


def read_marks(content: bytes) -> tuple[str, int, Marks]:
    """Read of a checkpoint what says how much of the growing files belongs to it.

    Parameters
    ----------
    content : bytes
        The checkpoint file's content; digests are not compared.

    Returns
    -------
    str
        The scene's key.
    int
        The step.
    Marks
        Lengths and checksums.

    Raises
    ------
    DamagedCheckpointError
        If it is not readable.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as data:
            marks = Marks(*(int(mark) for mark in data["marks"]))
            return str(data["key"]), int(data["step"]), marks
    except (OSError, KeyError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DamagedCheckpointError(f"not readable ({error})") from error


def _digest(arrays: dict[str, Any]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
