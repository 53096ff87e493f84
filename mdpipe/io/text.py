"""Text files in blocks: lines and numbers without a Python object for each line."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels import text as kernels

BLOCK = 1 << 22
LABEL = kernels.LABEL
SKIP = kernels.SKIP


class BadLineError(Exception):
    """A line that cannot be parsed: its number in the file, from 1, and its text."""

    def __init__(self, number: int, line: bytes) -> None:
        self.text = line[:80].decode("latin-1").strip()
        super().__init__(f"line {number} is malformed: {self.text!r}")


class TruncatedError(Exception):
    """The file ends inside a frame."""


class TextStream:
    """A text file that gives single lines and blocks of lines; holds one frame at a time.

    Parameters
    ----------
    path : Path
        The file.
    block : int
        Bytes read at once.

    Attributes
    ----------
    buffer : (bytes,) uint8
        Text in memory; positions in it stay valid until the next call that takes lines.
    number : int
        Lines taken so far.
    ended : bool
        Whether the buffer holds the end of the file.
    """

    def __init__(self, path: Path, block: int = BLOCK) -> None:
        self._stream: BinaryIO = path.open("rb", buffering=0)
        self.buffer: NDArray[np.uint8] = np.empty(block, dtype=np.uint8)
        self.start = 0
        self.stop = 0
        self.number = 0
        self.ended = False

    def __enter__(self) -> TextStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def fill(self) -> int | None:
        """Read more text behind what is left, which moves to the front of the buffer.

        Returns
        -------
        int or None
            By how much the text moved; None at the end of the file.
        """
        if self.ended:
            return None
        moved, left = self.start, self.stop - self.start
        buffer = self.buffer
        if left > len(buffer) // 2:
            buffer = np.empty(2 * len(buffer), dtype=np.uint8)
        # NumPy copies overlapping ranges safely.
        buffer[:left] = self.buffer[moved : self.stop]
        self.buffer, self.start, self.stop = buffer, 0, left
        size = self._stream.readinto(buffer[left:-1].data)  # type: ignore[attr-defined]
        if size:
            self.stop += size
        else:
            self.ended = True
            if self.stop and buffer[self.stop - 1] != 10:
                buffer[self.stop] = 10
                self.stop += 1
        return moved

    def take(self, n_lines: int) -> NDArray[np.int64]:
        """Take lines.

        Parameters
        ----------
        n_lines : int
            How many.

        Returns
        -------
        (lines + 1,) int64
            Begin of each line in `buffer` and of the line after them; fewer lines at the end of
            the file.
        """
        starts = np.empty(n_lines + 1, dtype=np.int64)
        starts[0] = self.start
        count = 0
        while True:
            begin = int(starts[count])
            count += int(kernels.index_lines(self.buffer, begin, self.stop, starts[count:]))
            if count == n_lines:
                break
            moved = self.fill()
            if moved is None:
                break
            starts[: count + 1] -= moved
        self.start = int(starts[count])
        self.number += count
        return starts[: count + 1]

    def line(self) -> bytes | None:
        """Take one line.

        Returns
        -------
        bytes or None
            Without its end; None at the end of the file.
        """
        starts = self.take(1)
        if len(starts) < 2:
            return None
        return self.buffer[starts[0] : starts[1]].tobytes().rstrip(b"\r\n")

    def header(self) -> bytes:
        """Take one line that must be there.

        Returns
        -------
        bytes
            Without its end.

        Raises
        ------
        TruncatedError
            At the end of the file.
        """
        line = self.line()
        if line is None:
            raise TruncatedError
        return line

    def columns(
        self, n_lines: int, slots: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
        """Take and parse lines of columns separated by blanks.

        Parameters
        ----------
        n_lines : int
            How many.
        slots : (columns,) int64
            For each column: a column of the result, `LABEL` or `SKIP`.

        Returns
        -------
        values : (lines, k) float64
            Numbers.
        labels : (lines,) uint64
            Packed labels, zeros where no column is one.

        Raises
        ------
        TruncatedError
            If the file ends before.
        BadLineError
            If a line is malformed; all lines have been taken.
        """
        starts = self.take(n_lines)
        if len(starts) <= n_lines:
            raise TruncatedError
        values = np.empty((n_lines, int(slots.max()) + 1))
        labels = np.zeros(n_lines, dtype=np.uint64)
        bad = int(kernels.parse_columns(self.buffer, starts, slots, values, labels))
        if bad >= 0:
            raise self.bad_line(starts[bad : bad + 2], self.number - n_lines + bad + 1)
        return values, labels

    def bad_line(self, extent: NDArray[np.int64], number: int) -> BadLineError:
        """Return the error of a malformed line.

        Parameters
        ----------
        extent : (2,) int64
            Begin and end of the line in `buffer`.
        number : int
            Number of the line in the file, from 1.

        Returns
        -------
        BadLineError
            To be raised.
        """
        return BadLineError(number, self.buffer[extent[0] : extent[1]].tobytes())
