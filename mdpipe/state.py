"""The state of a box of water: positions, velocities, box."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.arrays import write_arrays
from mdpipe.failures import InputError
from mdpipe.units import density_g_cm3

Array = NDArray[np.float64]


class Frame(NamedTuple):
    """One configuration read from a file: whole molecules in the order O, H1, H2.

    `positions` and `velocities` are (n, 3, 3) float64 in nm and nm/ps (`velocities` None where the
    file has none), `box` (3, 3) rows in nm, `source` the file and `number` the frame in it, from 0.
    """

    positions: Array
    box: Array
    time_ps: float = 0.0
    velocities: Array | None = None
    source: str = ""
    number: int = 0


@dataclass(slots=True)
class State:
    """Positions, velocities and box of ``n`` whole water molecules.

    Attributes
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2 of each molecule, nm. Molecules are whole; they may lie in any periodic image
        (trajectories are unwrapped), so wrap before anything that needs one cell.
    velocities : (n, 3, 3) float64
        nm/ps.
    box : (3, 3) float64
        Rows are the box vectors a, b, c, nm, lower triangular in the reduced form.
    time_ps : float
        Simulated time.
    step : int
        Number of steps done since the start of the scene.

    Virtual sites are no part of the state: the force field places them.
    """

    positions: Array
    velocities: Array
    box: Array
    time_ps: float = 0.0
    step: int = 0

    @property
    def n_molecules(self) -> int:
        """Number of molecules."""
        return int(self.positions.shape[0])

    @property
    def volume_nm3(self) -> float:
        """Volume of the box, nm³."""
        return float(self.box[0, 0] * self.box[1, 1] * self.box[2, 2])

    @property
    def density_g_cm3(self) -> float:
        """Mass density, g/cm³."""
        return density_g_cm3(self.n_molecules, self.volume_nm3)

    def copy(self) -> State:
        """Return a copy that shares no array with this state."""
        return State(
            self.positions.copy(),
            self.velocities.copy(),
            self.box.copy(),
            self.time_ps,
            self.step,
        )


def state_arrays(state: State) -> dict[str, Any]:
    """Return what a state is in files.

    Parameters
    ----------
    state : State
        Any state.

    Returns
    -------
    dict
        Name to array.
    """
    return {
        "positions": state.positions,
        "velocities": state.velocities,
        "box": state.box,
        "time_ps": np.float64(state.time_ps),
        "step": np.int64(state.step),
    }


def save_state(path: Path, state: State) -> None:
    """Write a state to an uncompressed npz file: temporary name first, then renamed.

    Parameters
    ----------
    path : Path
        The file, `….npz`.
    state : State
        What to write.
    """
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as stream:
        write_arrays(stream, state_arrays(state))
    temporary.replace(path)


def load_state(path: Path) -> State:
    """Read a state that `save_state` wrote.

    Parameters
    ----------
    path : Path
        The npz file.

    Returns
    -------
    State
        The state.

    Raises
    ------
    InputError
        If the file is missing, truncated or of another form.
    """
    try:
        with path.open("rb") as stream, np.load(stream) as data:
            return State(
                data["positions"],
                data["velocities"],
                data["box"],
                float(data["time_ps"]),
                int(data["step"]),
            )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: not a readable mdpipe state ({error}); make it again with `mdpipe preprocess`"
        ) from error


def state_digest(state: State) -> str:
    """Return the SHA-256 of positions, velocities and box of a state.

    Parameters
    ----------
    state : State
        Any state; step and time do not enter.

    Returns
    -------
    str
        64 hex digits.
    """
    digest = hashlib.sha256()
    for array in (state.positions, state.velocities, state.box):
        digest.update(np.ascontiguousarray(array, dtype="<f8").data)
    return digest.hexdigest()
