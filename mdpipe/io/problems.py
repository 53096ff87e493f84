"""What is wrong with a frame or a file: reported, while the rest goes on."""

from __future__ import annotations

from typing import NamedTuple


class Problem(NamedTuple):
    """One fault of the input.

    `frame` is counted from 0; None where the whole file is meant. `str()` gives the one line
    that the user sees.
    """

    file: str
    frame: int | None
    what: str
    remedy: str

    def __str__(self) -> str:
        """Return the line of a report: file, frame, fault, remedy."""
        where = self.file if self.frame is None else f"{self.file}: frame {self.frame}"
        return f"{where}: {self.what}; {self.remedy}"


TRUNCATED = "copy the file again; the frames before it are used"
MALFORMED = "repair or remove the frame; the others are used"
NO_BOX = "give it a periodic box (CRYST1 in PDB, Lattice in extxyz), or leave the file out"
