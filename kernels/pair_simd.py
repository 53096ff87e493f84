"""Pair forces, energies and virial of water in explicit float32 vectors.

Each lane holds one pair of molecules, each batch the partners of one molecule: one look at the O-O
distance serves all their sites. A molecule is one row of `ROW` words:

| words | what |
|---|---|
| 0 to 2 | fractional coordinates of O in units of 2^-32 box vectors (int32, so they wrap) |
| 4 to 6, 8 to 10 | H1 and H2 relative to O (float32) |

Differences of the integers are exact and already those of the nearest image: no coordinate loses
digits in a large box, and nothing is done about periodicity.

| equation | variable |
|---|---|
| 2/r | `root` (`Vector.rsqrt_twice`) |
| Coulomb force over r, q_a q_b (1/r³ - g(r²)) | (2/r)³ - 8 g, in units of an eighth of q_H² |
| 8 g and 2 p, polynomials of r² scale + offset | `force_poly`, `energy_poly` |
| LJ force over r, (12 C12/r⁶ - 6 C6)/r⁸ | `c12`, `c6`, with the powers of 2 in them |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba

from mdpipe.kernels._jit import jit, parallel_jit
from mdpipe.kernels.pair_arrays import RowArrays
from mdpipe.kernels.simd import LANES, Pointer, Scalar, Trace, Vector, traced
from mdpipe.kernels.simd_rows import (
    add_to_rows,
    add_whole_rows,
    gather_columns,
    gather_rows,
    sum_columns,
)

__all__ = [
    "CHARGES",
    "ROW",
    "add_pair_forces_simd",
    "polynomial",
    "separation",
    "square",
]

ROW = 16 if LANES == 16 else 12
"""Words of a molecule, and of the forces on one: O, H1, H2, with a spare word behind each; where
a row fits into a vector, more behind them."""

Triple = Sequence[Any]

CHARGES = (-2.0, 1.0, 1.0)
"""Of the negative site, H1 and H2, in units of that of H."""


class _Numbers:
    """What the pair functions need, in all lanes."""

    def __init__(
        self, numbers: Sequence[Scalar], force: Sequence[Scalar], energy: Sequence[Scalar]
    ) -> None:
        spread = [number.spread(LANES) for number in numbers]
        self.box = spread[:6]
        self.cut2, self.scale, self.offset, self.c6, self.c12, self.mass_h = spread[6:12]
        self.weight = spread[12] if len(spread) > 12 else None
        self.per_site = len(force) == 1
        self.force = [c.spread(LANES) for c in force]
        self.energy = [c.spread(LANES) for c in energy]

    def virtual(self, first: Triple, second: Triple) -> list[Any] | None:
        """Place the virtual site relative to O; None: the negative charge is on O."""
        return None if self.weight is None else _times(self.weight, _plus(first, second))


def _minus(a: Triple, b: Triple) -> list[Any]:
    return [x - y for x, y in zip(a, b, strict=True)]


def _plus(a: Triple, b: Triple) -> list[Any]:
    return [x + y for x, y in zip(a, b, strict=True)]


def _times(factor: Any, d: Triple) -> list[Any]:
    return [factor * x for x in d]


def square(d: Triple) -> Vector:
    """Yield the squared length of a vector."""
    x, y, z = d
    square: Vector = z.fma(z, y.fma(y, x * x))
    return square


def polynomial(u: Vector, coefficients: Sequence[Vector]) -> Vector:
    """Evaluate a polynomial, lowest coefficient first: even and odd powers side by side."""
    parts = []
    square = u * u
    for part in (coefficients[0::2], coefficients[1::2]):
        if part:
            value = part[-1]
            for c in part[-2::-1]:
                value = value.fma(square, c)
            parts.append(value)
    return parts[1].fma(u, parts[0]) if len(parts) > 1 else parts[0]


def separation(own: Triple, other: Triple, box: Sequence[Vector]) -> list[Any]:
    """Turn integer coordinates into the vector to the nearest image (box: lower triangle)."""
    a, b, c = ((theirs - ours).to("f32") for ours, theirs in zip(own, other, strict=True))
    xx, yx, yy, zx, zy, zz = box
    return [c.fma(zx, b.fma(yx, a * xx)), c.fma(zy, b * yy), c * zz]


class _Own:
    """The molecule whose partners fill the lanes: its sites, and what its partners add up to."""

    def __init__(self, trace: Trace, row: Pointer, k: _Numbers) -> None:
        zero = trace.constant(0.0)
        self.oxygen = [row[a].spread(LANES) for a in range(3)]
        first, second = ([row[a].spread(LANES).bits_as("f32") for a in q] for q in _WORDS[1:])
        self.sites = [k.virtual(first, second), first, second]
        self.hydrogens = _plus(first, second)
        # On the negative site, H1, H2; the Lennard-Jones force on O; energies and virial.
        self.reactions = [[trace.variable(zero) for _ in range(3)] for _ in range(4)]
        self.sums = [trace.variable(zero) for _ in range(11 if k.energy else 0)]

    def react(self, site: int, force: Triple) -> None:
        """Count a force on a partner; its opposite acts on a site of this molecule."""
        for variable, f in zip(self.reactions[site], force, strict=True):
            variable.value = variable.value + f

    def count(self, energy: int, value: Vector) -> None:
        """Count an energy: 0 Lennard-Jones, 1 Coulomb."""
        self.sums[energy].value = self.sums[energy].value + value

    def total(self, k: _Numbers) -> list[Any]:
        """Return the forces on partners of O, H1 and H2, that of the virtual site spread."""
        negative, first, second, oxygen = ([v.value for v in three] for three in self.reactions)
        if k.weight is None:
            return [negative, first, second]
        shared = _times(k.weight, negative)
        oxygen = _plus(oxygen, _minus(negative, _plus(shared, shared)))
        return [oxygen, _plus(first, shared), _plus(second, shared)]


_WORDS = ((0, 1, 2), (4, 5, 6), (8, 9, 10))
"""Words of O, H1 and H2 in a row."""


def _gather(rows: Pointer, places: Sequence[Scalar]) -> list[list[Any]]:
    """Yield integer coordinates of O and H1 and H2 relative to it."""
    if ROW == LANES:
        columns = gather_rows(rows, places)
    else:
        columns = [c for first in (0, 4, 8) for c in gather_columns(rows, places, first)]
    oxygen, *hydrogens = ([columns[word] for word in words] for words in _WORDS)
    return [oxygen, *([c.bits_as("f32") for c in h] for h in hydrogens)]


def _scatter(buffer: Pointer, places: Sequence[Scalar], forces: Sequence[Triple]) -> None:
    """Add forces on O, H1 and H2 to their rows; spare words get anything."""
    fours = [[*three, three[0]] for three in forces]
    if ROW == LANES:
        add_whole_rows(buffer, places, [f for four in (*fours, fours[0]) for f in four])
        return
    for words, four in zip(_WORDS, fours, strict=True):
        add_to_rows(buffer, places, four, words[0])


def _lennard_jones(own: _Own, d: Triple, near: Vector, root: Vector, k: _Numbers) -> Vector:
    """Yield the force over the distance."""
    s2 = root * root
    s6 = s2 * s2 * s2
    if k.energy:
        energy = (k.c12 * (1.0 / 12.0)).fma(s6, k.c6 * (-1.0 / 6.0)) * s6
        own.count(0, near.select(energy, 0.0))
    lj: Vector = near.select(k.c12.fma(s6, -k.c6) * (s6 * s2), 0.0)
    if k.weight is not None:
        own.react(3, _times(lj, d))
    return lj


def _on_site(
    own: _Own, j: int, place: Triple, mask: Vector, lj: Vector | None, k: _Numbers
) -> list[Any]:
    """Yield the force on a site of the partners; `lj` belongs to the O-O pair."""
    total: list[Any] = []
    for i, site in enumerate(own.sites):
        at = place if site is None else _minus(place, site)
        r2 = square(at)
        root = r2.rsqrt_twice()
        near = mask & (r2 < k.cut2) if k.per_site else mask
        u = r2.fma(k.scale, k.offset)
        charge = CHARGES[i] * CHARGES[j]
        s = near.select(root * root * root - polynomial(u, k.force), 0.0)
        if charge != 1.0:
            s = s * charge
        if k.energy:
            own.count(1, near.select(root - polynomial(u, k.energy), 0.0) * charge)
        if lj is not None and i == j == 0:
            s = s + lj
        force = _times(s, at)
        own.react(i, force)
        total = _plus(total, force) if total else force
    return total


def _batch(
    own: _Own,
    places: Sequence[Scalar],
    inside: Vector,
    rows: Pointer,
    buffer: Pointer,
    k: _Numbers,
) -> None:
    """Compute the forces on as many partners as there are lanes, and add them to their rows."""
    oxygen, *hydrogens = _gather(rows, places)
    d = separation(own.oxygen, oxygen, k.box)
    r2 = square(d)
    near = inside & (r2 < k.cut2)
    lj = _lennard_jones(own, d, near, r2.rsqrt_twice(), k)
    mask = inside if k.per_site else near
    virtual = k.virtual(*hydrogens)
    # Each site is read, done and written before the next: few registers hold it all.
    if virtual is None:
        force = _on_site(own, 0, d, mask, lj, k)
        shared = None
    else:
        negative = _on_site(own, 0, _plus(d, virtual), mask, None, k)
        shared = _times(k.weight, negative)
        force = _plus(_times(lj, d), _minus(negative, _plus(shared, shared)))
    forces = [force]
    whole = force
    for atom in (1, 2):
        site = hydrogens[atom - 1]
        force = _on_site(own, atom, _plus(d, site), mask, None, k)
        force = _plus(force, shared) if shared else force
        forces.append(force)
        whole = _plus(whole, force)
    _scatter(buffer, places, forces)
    if k.energy:
        _add_virial(own, d, hydrogens, whole, k)


def _add_virial(own: _Own, d: Triple, hydrogens: Triple, force: Triple, k: _Numbers) -> None:
    """Add R_ij F_ij with the centres of mass."""
    inside = _minus(_plus(*hydrogens), own.hydrogens)
    arm = [x.fma(k.mass_h, y) for x, y in zip(inside, d, strict=True)]
    for a in range(3):
        for b in range(3):
            s = own.sums[2 + 3 * a + b]
            s.value = arm[a].fma(force[b], s.value)


def _molecule(trace: Trace, s: Scalar, arrays: RowArrays, buffer: Pointer, k: _Numbers) -> _Own:
    """Write the code for all partners of one molecule."""
    home, partners = s * ROW, arrays.partners
    own = _Own(trace, arrays.rows.at(home), k)
    lanes = trace.constant(range(LANES), "i32")
    first, last = arrays.starts[s * 2], arrays.starts[s * 2 + 1]
    with trace.loop(first, last, LANES) as p:
        places = [partners[p + lane].to("i64") for lane in range(LANES)]
        inside = lanes < (last - p).to("i32").spread(LANES)
        _batch(own, places, inside, arrays.rows, buffer, k)
    for words, three in zip(_WORDS, own.total(k), strict=True):
        buffer.add(home + words[0], -sum_columns([*three, three[0]]))
    return own


@traced
def _pairs(
    trace: Trace,
    first: Any,
    last: Any,
    arrays: Any,
    shift: Any,
    numbers: Any,
    force_poly: Any,
    energy_poly: Any,
    sums: Any,
) -> None:
    k = _Numbers(numbers, force_poly, energy_poly)
    buffer = arrays.buffer.at(shift * ROW)
    zero = trace.constant(0.0, "f64", 4)
    totals = [trace.variable(zero) for _ in range(3 if k.energy else 0)]
    with trace.loop(first, last) as s:
        own = _molecule(trace, s, arrays, buffer, k)
        values = [v.value for v in own.sums]
        for quad, total in enumerate(totals):
            four = [*values[4 * quad :], values[0]][:4]
            total.value = total.value + sum_columns(four).to("f64")
    for quad, total in enumerate(totals):
        sums.store(4 * quad, total.value)


@jit()
def _chunk(c: int, arrays: Any, numbers: Any, force_poly: Any, energy_poly: Any, sums: Any) -> None:
    begin = arrays.windows[c, 0]
    arrays.buffer[begin : begin + arrays.windows[c, 2]] = 0.0
    _pairs(
        arrays.chunk_start[c],
        arrays.chunk_start[c + 1],
        arrays,
        begin - arrays.windows[c, 1],
        numbers,
        force_poly,
        energy_poly,
        sums[c],
    )


@parallel_jit()
def add_pair_forces_simd(
    arrays: Any, numbers: Any, force_poly: Any, energy_poly: Any, sums: Any
) -> None:
    """Compute the pair forces of each chunk of molecules into its own window of a buffer.

    Parameters
    ----------
    arrays : RowArrays
        Lists, molecules, windows and the buffer (`mdpipe.kernels.pair_arrays`).
    numbers : tuple of 12 or 13 float32
        Lower triangle of the box over 2^32 row by row, r_cut², scale and offset that map r² to the
        variable of the polynomials, 6 C6 / 256 and 12 C12 / 16384 in the unit of forces, mass of H
        over that of the molecule; weight of H in the virtual site (without it the negative charge
        is on O).
    force_poly : tuple of float32
        Coefficients of 8 g, lowest first. With a single one (a reaction field) `r_cut` is between
        sites; else between oxygens, and all sites of two molecules count within it.
    energy_poly : tuple of float32
        Coefficients of 2 p, lowest first; none: only the forces are wanted, whose bits are the
        same.
    sums : (chunks, 12) float64
        Out, if they are wanted: Lennard-Jones and Coulomb energy in units of half the squared
        charge of H, molecular virial R_ij F_ij row by row in that of forces, and a place without
        meaning.
    """
    for c in numba.prange(arrays.chunk_start.shape[0] - 1):
        _chunk(c, arrays, numbers, force_poly, energy_poly, sums)
