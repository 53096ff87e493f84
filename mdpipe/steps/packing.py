"""Many files in one, for stores that are asked for each file."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from mdpipe.products import write_atomically

THEN: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can tell; equal content gives equal bytes."""


def pack(target: Path, files: Mapping[str, Path]) -> None:
    """Put files into a zip file, uncompressed: their names and bytes alone decide its own.

    Parameters
    ----------
    target : Path
        The zip file.
    files : mapping
        Name in it → file.
    """
    with write_atomically(target) as temporary, zipfile.ZipFile(temporary, "w") as packed:
        for name, path in sorted(files.items()):
            packed.writestr(zipfile.ZipInfo(name, THEN), path.read_bytes())


def names_in(source: Path) -> list[str]:
    """Return the names of the files in a zip file.

    Parameters
    ----------
    source : Path
        The zip file.

    Returns
    -------
    list of str
        Sorted, as `pack` put them.
    """
    with zipfile.ZipFile(source) as packed:
        return packed.namelist()


def unpack(source: Path, folder: Path, names: Iterable[str]) -> None:
    """Take files out of a zip file of `pack`, one by one, each whole or not at all.

    Parameters
    ----------
    source : Path
        The zip file.
    folder : Path
        Where they go, in place of what has their names.
    names : iterable of str
        Which, in this order.
    """
    with zipfile.ZipFile(source) as packed:
        for name in names:
            with (
                write_atomically(folder / name) as temporary,
                packed.open(name) as reader,
                temporary.open("wb") as writer,
            ):
                shutil.copyfileobj(reader, writer)
