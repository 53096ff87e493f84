"""Plain twins of the kernels that read, recognise and check: the specification."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def parse_columns(text: str, slots: list[int]) -> tuple[Floats, list[str], int]:
    """Parse lines of columns separated by blanks, by `str.split` and `float`.

    Parameters
    ----------
    text : str
        Lines.
    slots : list of int
        For each column: a column of the values, -2 for a label, -1 to skip it.

    Returns
    -------
    values : (lines, k) float64
        Numbers; valid before the malformed line.
    labels : list of str
        The label of each line.
    bad : int
        First malformed line, or -1.
    """
    lines = text.splitlines()
    values = np.zeros((len(lines), max([*slots, -1]) + 1))
    labels = [""] * len(lines)
    for row, line in enumerate(lines):
        words = line.split()
        if len(words) != len(slots):
            return values, labels, row
        for word, slot in zip(words, slots, strict=True):
            if slot >= 0:
                try:
                    values[row, slot] = float(word)
                except ValueError:
                    return values, labels, row
            elif slot == -2:
                labels[row] = word
    return values, labels, -1


def nearest_image(vector: Floats, box: Floats) -> Floats:
    """Return the shortest periodic image of a vector, by trying all 125 near ones.

    Parameters
    ----------
    vector : (3,) float64
        Any length.
    box : (3, 3) float64
        Rows a, b, c.

    Returns
    -------
    (3,) float64
        The shortest image.
    """
    fractional = np.linalg.solve(box.T, vector)
    base = vector - np.round(fractional) @ box
    steps = np.arange(-2.0, 3.0)
    shifts = np.array([(a, b, c) for a in steps for b in steps for c in steps]) @ box
    images = base + shifts
    best: Floats = images[np.argmin((images**2).sum(axis=1))]
    return best


def match_hydrogens(
    oxygens: Floats, hydrogens: Floats, box: Floats, r_max: float
) -> tuple[Ints, Ints]:
    """Give each hydrogen its nearest oxygen.

    Parameters
    ----------
    oxygens, hydrogens : (n, 3), (m, 3) float64
        Positions.
    box : (3, 3) float64
        Rows a, b, c.
    r_max : float
        Longest bond.

    Returns
    -------
    owner : (m,) int64
        Oxygen of each hydrogen, -1 where none is within `r_max`.
    counts : (n,) int64
        Hydrogens of each oxygen.
    """
    owner = np.full(len(hydrogens), -1)
    for h, position in enumerate(hydrogens):
        r = [float(np.linalg.norm(nearest_image(position - o, box))) for o in oxygens]
        if r and min(r) <= r_max:
            owner[h] = int(np.argmin(r))
    return owner, np.bincount(owner[owner >= 0], minlength=len(oxygens))


def close_contacts(
    positions: Floats, per_molecule: int, box: Floats, r_min: float
) -> tuple[int, float]:
    """Count pairs of sites of different molecules that are closer than `r_min`.

    Parameters
    ----------
    positions : (n, 3) float64
        Sites, `per_molecule` to each molecule.
    per_molecule : int
        Sites of a molecule.
    box : (3, 3) float64
        Rows a, b, c.
    r_min : float
        Distance.

    Returns
    -------
    count : int
        Number of pairs.
    shortest : float
        Their shortest distance, infinite where there is none.
    """
    count, shortest = 0, np.inf
    for i in range(len(positions)):
        for j in range(i):
            if i // per_molecule == j // per_molecule:
                continue
            r = float(np.linalg.norm(nearest_image(positions[i] - positions[j], box)))
            if r < r_min:
                count, shortest = count + 1, min(shortest, r)
    return count, shortest
