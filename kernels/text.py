"""Numbers and labels out of text buffers: the inner loops of the text readers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels._jit import jit

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

_TENS = 10.0 ** np.arange(23)
SKIP = -1
LABEL = -2


@jit()
def index_lines(buffer: Bytes, start: int, stop: int, starts: Ints) -> int:
    """Find where lines begin.

    Parameters
    ----------
    buffer : (bytes,) uint8
        Text.
    start, stop : int
        The part to look at; `start` is the begin of a line.
    starts : (lines + 1,) int64
        Overwritten: begin of each line, and after the last one the begin of the next.

    Returns
    -------
    int
        Number of whole lines found, at most ``len(starts) - 1``.
    """
    count = 0
    starts[0] = start
    wanted = starts.shape[0] - 1
    for i in range(start, stop):
        if buffer[i] == 10:
            count += 1
            starts[count] = i + 1
            if count == wanted:
                break
    return count


@jit()
def read_number(buffer: Bytes, start: int, stop: int) -> tuple[float, int]:
    """Read one decimal number.

    Correctly rounded up to 15 digits and 22 decimals, within 4 units in the last place beyond,
    for magnitudes of 1e-280 to 1e280.

    Parameters
    ----------
    buffer : (bytes,) uint8
        Text.
    start, stop : int
        Where the number begins, and where reading must end.

    Returns
    -------
    value : float
        The number; ``nan`` and ``inf`` are numbers.
    end : int
        One past its last character, -1 where there is no number.
    """
    i = start
    negative = False
    if i < stop and (buffer[i] == 45 or buffer[i] == 43):
        negative = buffer[i] == 45
        i += 1
    mantissa = 0
    digits = 0
    seen = 0
    exponent = 0
    point = False
    while i < stop:
        code = buffer[i]
        if 48 <= code <= 57:
            seen += 1
            if digits < 18:
                mantissa = mantissa * 10 + int(code - 48)
                if mantissa > 0:
                    digits += 1
                if point:
                    exponent -= 1
            elif not point:
                exponent += 1
        elif code == 46 and not point:
            point = True
        else:
            break
        i += 1
    if seen == 0:
        # Case is ignored by the bit 32 of ASCII letters.
        if i + 3 <= stop and not point:
            a, b, c = buffer[i] | 32, buffer[i + 1] | 32, buffer[i + 2] | 32
            if a == 110 and b == 97 and c == 110:
                return np.nan, i + 3
            if a == 105 and b == 110 and c == 102:
                return (-np.inf if negative else np.inf), i + 3
        return 0.0, -1
    if i < stop and (buffer[i] | 32) == 101:
        i += 1
        sign = 1
        if i < stop and (buffer[i] == 45 or buffer[i] == 43):
            sign = -1 if buffer[i] == 45 else 1
            i += 1
        power = 0
        begin = i
        while i < stop and 48 <= buffer[i] <= 57:
            if power < 1000:
                power = power * 10 + int(buffer[i] - 48)
            i += 1
        if i == begin:
            return 0.0, -1
        exponent += sign * power
    value = np.float64(mantissa)
    if -22 <= exponent < 0:
        value /= _TENS[-exponent]
    elif 0 < exponent <= 22:
        value *= _TENS[exponent]
    elif exponent != 0:
        value *= 10.0**exponent
    return (-value if negative else value), i


@jit()
def pack_label(buffer: Bytes, start: int, stop: int) -> np.uint64:
    """Pack up to 8 characters into one integer, the first in the lowest byte; blanks are dropped.

    Parameters
    ----------
    buffer : (bytes,) uint8
        Text.
    start, stop : int
        The characters.

    Returns
    -------
    uint64
        0 for blanks alone.
    """
    word = np.uint64(0)
    shift = np.uint64(0)
    for i in range(start, stop):
        if buffer[i] > 32 and shift < np.uint64(64):
            word |= np.uint64(buffer[i]) << shift
            shift += np.uint64(8)
    return word


@jit()
def parse_columns(buffer: Bytes, starts: Ints, slots: Ints, values: Floats, labels: Words) -> int:
    """Parse lines of columns separated by blanks.

    Parameters
    ----------
    buffer : (bytes,) uint8
        Text.
    starts : (lines + 1,) int64
        Begin of each line, as `index_lines` gives them.
    slots : (columns,) int64
        For each column where it goes: a column of `values`, `LABEL`, or `SKIP`.
    values : (lines, k) float64
        Overwritten.
    labels : (lines,) uint64
        Overwritten with packed labels where a column is one.

    Returns
    -------
    int
        First line that is malformed (a column missing, one too many, or no number), or -1.
    """
    columns = slots.shape[0]
    for line in range(values.shape[0]):
        i = starts[line]
        stop = starts[line + 1]
        column = 0
        while True:
            while i < stop and buffer[i] <= 32:
                i += 1
            if i >= stop:
                break
            if column == columns:
                return line
            slot = slots[column]
            if slot >= 0:
                value, end = read_number(buffer, i, stop)
                if end < 0 or (end < stop and buffer[end] > 32):
                    return line
                values[line, slot] = value
                i = end
            else:
                end = i
                while end < stop and buffer[end] > 32:
                    end += 1
                if slot == LABEL:
                    labels[line] = pack_label(buffer, i, end)
                i = end
            column += 1
        if column < columns:
            return line
    return -1


@jit()
def parse_fixed(
    buffer: Bytes,
    starts: Ints,
    stops: Ints,
    begin: int,
    width: int,
    values: Floats,
    label_begin: Ints,
    labels: Words,
) -> int:
    """Parse lines of fixed columns: numbers of one width side by side, and labels of 8 characters.

    Parameters
    ----------
    buffer : (bytes,) uint8
        Text.
    starts, stops : (lines,) int64
        Begin of each line and of the next.
    begin, width : int
        Offset of the first number in its line, and characters of each number.
    values : (lines, k) float64
        Overwritten.
    label_begin : (m, 2) int64
        Begin and end of each label in its line.
    labels : (lines, m) uint64
        Overwritten with packed labels; characters beyond the end of a line are blank.

    Returns
    -------
    int
        First line with a field that is blank or no number, or -1.
    """
    for line in range(values.shape[0]):
        start = starts[line]
        stop = stops[line]
        for k in range(values.shape[1]):
            i = start + begin + k * width
            end = min(i + width, stop)
            while i < end and buffer[i] == 32:
                i += 1
            value, after = read_number(buffer, i, end)
            if after < 0:
                return line
            while after < end and buffer[after] <= 32:
                after += 1
            if after < end:
                return line
            values[line, k] = value
        for k in range(labels.shape[1]):
            first = min(start + label_begin[k, 0], stop)
            labels[line, k] = pack_label(buffer, first, min(start + label_begin[k, 1], stop))
    return -1


@jit()
def scan_pdb(buffer: Bytes, start: int, stop: int, atoms: Ints, found: Ints) -> bool:
    """Collect the atom lines of one PDB model.

    Parameters
    ----------
    buffer : (bytes,) uint8
        Text.
    start, stop : int
        The part to look at; it ends after a line.
    atoms : (lines, 2) int64
        Begin of each ATOM or HETATM line and of the next; filled from ``found[0]``.
    found : (5,) int64
        Number of atom lines, begin of the last CRYST1 line or -1, position behind the last line
        looked at, lines looked at, MODEL lines; the caller sets the begin values, this goes on.

    Returns
    -------
    bool
        True at the end of a model (ENDMDL, or END); False where more text (or a longer `atoms`)
        is needed.
    """
    i = start
    while i < stop and found[0] < atoms.shape[0]:
        end = i
        while buffer[end] != 10:
            end += 1
        end += 1
        long = end - i > 6
        if long and (
            (buffer[i] == 65 and buffer[i + 1] == 84 and buffer[i + 2] == 79)
            or (
                buffer[i] == 72
                and buffer[i + 1] == 69
                and buffer[i + 2] == 84
                and buffer[i + 3] == 65
            )
        ):
            atoms[found[0], 0] = i
            atoms[found[0], 1] = end
            found[0] += 1
        elif long and buffer[i] == 67 and buffer[i + 1] == 82 and buffer[i + 2] == 89:
            found[1] = i
        elif long and buffer[i] == 77 and buffer[i + 1] == 79 and buffer[i + 2] == 68:
            found[4] += 1
        finished = end - i > 3 and buffer[i] == 69 and buffer[i + 1] == 78 and buffer[i + 2] == 68
        i = end
        found[2] = i
        found[3] += 1
        if finished:
            return True
    return False
