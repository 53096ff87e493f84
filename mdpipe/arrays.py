"""Arrays in npz files whose bytes depend on the arrays alone."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np


def write_arrays(stream: BinaryIO, arrays: Mapping[str, Any]) -> None:
    """Write an uncompressed npz file.

    Parameters
    ----------
    stream : binary stream
        Where it goes.
    arrays : mapping
        Name to whatever `numpy.asarray` takes, but objects.

    Notes
    -----
    `numpy.savez` asks for long headers, which versions of Python write differently.
    """
    with zipfile.ZipFile(stream, "w") as archive:
        for name, values in arrays.items():
            array = np.asarray(values)
            member = zipfile.ZipInfo(f"{name}.npy")  # carries the constant date of 1980
            member.file_size = array.nbytes  # decides whether its header is a long one
            with archive.open(member, "w") as target:
                np.lib.format.write_array(target, array, allow_pickle=False)
