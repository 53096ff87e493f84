"""Many files in one, for stores that are asked for each file."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
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
