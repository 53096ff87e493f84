"""What was measured on one scene: scalars with errors, curves, and their files."""

from __future__ import annotations

import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.arrays import write_arrays
from mdpipe.failures import InputError
from mdpipe.observables.blocks import BlockEstimate, block_error

SCALARS_FILE = "observables.json"
CURVES_FILE = "observables.npz"
TOO_FEW = "too few independent samples for an error"


class Scalar(NamedTuple):
    """One measured number.

    `value` None means that it cannot be given honestly, `error` (one standard error) None that it
    cannot be estimated; `note` says why. `n_blocks` is the number of blocks behind the error.
    """

    value: float | None
    error: float | None
    unit: str
    n_blocks: int = 0
    note: str = ""


@dataclass
class Measurements:
    """All that was measured on one scene.

    Attributes
    ----------
    scalars : dict of str to Scalar
        Keys as in `mdpipe.observables.definitions.OBSERVABLES`.
    curves : dict of str to ndarray
        Unit in the name, such as ``r_nm``; see `mdpipe.observables.definitions.CURVES`.
    info : dict
        Plain facts: frames, length_ps, stride, model, ensemble.
    """

    scalars: dict[str, Scalar] = field(default_factory=dict)
    curves: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write `observables.json` and `observables.npz`, each under a temporary name first.

        Parameters
        ----------
        folder : Path
            An existing folder.
        """
        curves = folder / f".{CURVES_FILE}.part"
        with curves.open("wb") as stream:
            write_arrays(stream, {name: self.curves[name] for name in sorted(self.curves)})
        curves.replace(folder / CURVES_FILE)
        table = {"info": self.info, "scalars": {k: v._asdict() for k, v in self.scalars.items()}}
        scalars = folder / f".{SCALARS_FILE}.part"
        scalars.write_text(json.dumps(table, indent=1, allow_nan=False) + "\n", "utf-8")
        scalars.replace(folder / SCALARS_FILE)


def load_measurements(folder: Path) -> Measurements:
    """Read what `Measurements.save` wrote.

    Parameters
    ----------
    folder : Path
        Where the two files lie.

    Returns
    -------
    Measurements
        The measurements.

    Raises
    ------
    InputError
        If a file is missing or damaged.
    """
    try:
        table = json.loads((folder / SCALARS_FILE).read_text("utf-8"))
        # NumPy leaves a file open that it cannot read; this one is closed in any case.
        with (folder / CURVES_FILE).open("rb") as stream, np.load(stream) as data:
            curves = {name: data[name] for name in data.files}
        scalars = {name: Scalar(**entry) for name, entry in table["scalars"].items()}
        return Measurements(scalars, curves, table["info"])
    except (OSError, KeyError, TypeError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{folder}: no readable measurements ({error}); measure the scene again"
        ) from error


def finite(value: float) -> float | None:
    """Return the value, or None where it is not a finite number.

    Parameters
    ----------
    value : float
        Any number.

    Returns
    -------
    float or None
        Fit for JSON.
    """
    return float(value) if math.isfinite(value) else None


def scalar_from_series(
    series: NDArray[np.float64], unit: str, note: str = "", *, estimate: BlockEstimate | None = None
) -> Scalar:
    """Return mean and block-averaged standard error of a series.

    Parameters
    ----------
    series : (n,) float64
        Samples at equal intervals.
    unit : str
        Unit of the samples.
    note : str
        Said whatever the outcome.
    estimate : BlockEstimate, optional
        If it is known already.

    Returns
    -------
    Scalar
        Without error where the independent samples are too few.
    """
    block = estimate or block_error(series)
    notes = [note] if note else []
    if block.error is None:
        notes.append(TOO_FEW)
    return Scalar(finite(block.mean), block.error, unit, block.n_blocks, "; ".join(notes))
