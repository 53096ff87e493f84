"""Pair forces, energies and virial of water in explicit float32 vectors.

Each lane holds one pair of molecules, each batch the partners of one molecule: one look at the O-O
distance serves all their sites. A molecule is one row of 12 words:

| words | what |
|---|---|
| 0 to 2 | fractional coordinates of O in units of 2^-32 box vectors (int32, so they wrap) |
| 3 to 5, 6 to 8 | H1 and H2 relative to O (float32) |

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
from mdpipe.kernels.simd import LANES, Pointer, Scalar, Trace, Vector, traced
from mdpipe.kernels.simd_rows import add_to_rows, gather_columns, sum_columns

__all__ = [
    "CHARGES",
    "ROW",
    "add_pair_forces_simd",
    "polynomial",
    "separation",
    "square",
    "sum_pairs_simd",
]

ROW = 12
"""Words of a molecule, and of the forces on one."""

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
    """Evaluate a polynomial, lowest coefficient first."""
    value = coefficients[-1]
    for c in coefficients[-2::-1]:
        value = value.fma(u, c)
    return value


def separation(own: Triple, other: Triple, box: Sequence[Vector]) -> list[Any]:
    """Turn integer coordinates into the vector to the nearest image (box: lower triangle)."""
    a, b, c = ((theirs - ours).to("f32") for ours, theirs in zip(own, other, strict=True))
    xx, yx, yy, zx, zy, zz = box
    return [c.fma(zx, b.fma(yx, a * xx)), c.fma(zy, b * yy), c * zz]


def _sites(hydrogens: Triple, k: _Numbers) -> list[Any]:
    """Place the charged sites relative to O: the negative one (None: it is O), H1 and H2."""
    first, second = hydrogens[:3], hydrogens[3:]
    virtual = None if k.weight is None else _times(k.weight, _plus(first, second))
    return [virtual, first, second]


class _Sums:
    """Forces on the sites of one of the two molecules, or of one for all its batches."""

    def __init__(self, zero: Any) -> None:
        self.oxygen = [zero] * 3
        self.sites = [[zero] * 3 for _ in range(3)]

    def columns(self, k: _Numbers) -> list[Any]:
        """Spread the force of the virtual site: those on O, H1 and H2."""
        oxygen, (negative, *hydrogens) = self.oxygen, self.sites
        if k.weight is None:
            oxygen = _plus(oxygen, negative)
        else:
            shared = _times(k.weight, negative)
            oxygen = _plus(oxygen, _minus(negative, _plus(shared, shared)))
            hydrogens = [_plus(h, shared) for h in hydrogens]
        return [*oxygen, *hydrogens[0], *hydrogens[1]]


def _pair(
    k: _Numbers, d: Triple, mask: Vector, own: list[Any], other: list[Any], energies: list[Any]
) -> tuple[list[tuple[int, int, list[Any]]], list[Any]]:
    """Yield the forces between sites and the Lennard-Jones force, all on the other molecule."""
    r2 = square(d)
    near = mask & (r2 < k.cut2)
    root = r2.rsqrt_twice()
    s2 = root * root
    s6 = s2 * s2 * s2
    lj = near.select(k.c12.fma(s6, -k.c6) * s6 * s2, 0.0)
    if energies:
        twelfth, sixth = k.c12 * (1.0 / 12.0), k.c6 * (1.0 / 6.0)
        energies[0] = energies[0] + near.select(twelfth.fma(s6, -sixth) * s6, 0.0)
    forces = []
    for j, site in enumerate(other):
        place = d if site is None else _plus(d, site)
        for i, from_site in enumerate(own):
            at = place if from_site is None else _minus(place, from_site)
            if at is not d:
                r2 = square(at)
                root = r2.rsqrt_twice()
                if k.per_site:
                    near = mask & (r2 < k.cut2)
            u = r2.fma(k.scale, k.offset)
            charge = CHARGES[i] * CHARGES[j]
            s = near.select(root * root * root - polynomial(u, k.force), 0.0)
            if charge != 1.0:
                s = s * charge
            if energies:
                e = near.select(root - polynomial(u, k.energy), 0.0)
                energies[1] = e.fma(charge, energies[1])
            if at is d:
                # The negative site is O on both sides: one factor for both forces.
                s, lj = s + lj, None
            forces.append((i, j, _times(s, at)))
    return forces, [] if lj is None else _times(lj, d)


def _gather(rows: Pointer, places: Sequence[Scalar]) -> tuple[list[Any], list[Any]]:
    """Yield integer coordinates of O and hydrogens relative to it."""
    columns = [c for first in (0, 4, 8) for c in gather_columns(rows, places, first)]
    return columns[:3], [c.bits_as("f32") for c in columns[3:9]]


def _in_fours(columns: Sequence[Vector], zero: Vector) -> list[list[Vector]]:
    filled = [*columns, *[zero] * (-len(columns) % 4)]
    return [filled[k : k + 4] for k in range(0, len(filled), 4)]


def _molecule(
    trace: Trace,
    home: Scalar,
    span: Sequence[Scalar],
    arrays: Sequence[Pointer],
    k: _Numbers,
    totals: Any,
) -> None:
    """Write the code for all partners of one molecule."""
    partners, rows, buffer = arrays
    zero = trace.constant(0.0)
    own = [rows[home + a].spread(LANES) for a in range(3)]
    own_sites = _sites([rows[home + a].spread(LANES).bits_as("f32") for a in range(3, 9)], k)
    lanes = trace.constant(range(LANES), "i32")
    reactions = [trace.variable(zero) for _ in range(9 if k.weight is None else 12)]
    sums = [trace.variable(zero) for _ in range(0 if totals is None else 11)]
    with trace.loop(span[0], span[1], LANES) as p:
        places = [partners[p + lane].to("i64") for lane in range(LANES)]
        other, hydrogens = _gather(rows, places)
        mask = lanes < (span[1] - p).to("i32").spread(LANES)
        d = separation(own, other, k.box)
        energies = [s.value for s in sums[:2]]
        pairs, lj = _pair(k, d, mask, own_sites, _sites(hydrogens, k), energies)
        result = _Sums(zero)
        for i, j, force in pairs:
            result.sites[j] = _plus(result.sites[j], force)
            for a in range(3):
                reactions[3 * i + a].value = reactions[3 * i + a].value + force[a]
        if lj:
            result.oxygen = lj
            for a in range(3):
                reactions[9 + a].value = reactions[9 + a].value + lj[a]
        columns = result.columns(k)
        for quad, four in enumerate(_in_fours(columns, zero)):
            add_to_rows(buffer, places, four, 4 * quad)
        if sums:
            for s, e in zip(sums, energies, strict=False):
                s.value = e
            _add_virial(sums[2:], d, own_sites, hydrogens, columns, k)
    total = _Sums(zero)
    total.sites = [[v.value for v in reactions[3 * i : 3 * i + 3]] for i in range(3)]
    if len(reactions) > 9:
        total.oxygen = [v.value for v in reactions[9:]]
    for quad, four in enumerate(_in_fours(total.columns(k), zero)):
        buffer.add(home + 4 * quad, -sum_columns(four))
    for quad, four in enumerate(_in_fours([s.value for s in sums], zero)):
        totals[quad].value = totals[quad].value + sum_columns(four).to("f64")


def _add_virial(
    sums: Sequence[Any], d: Triple, own: Triple, hydrogens: Triple, forces: Triple, k: _Numbers
) -> None:
    """Add R_ij F_ij with the centres of mass."""
    inside = _minus(_plus(hydrogens[:3], hydrogens[3:]), _plus(own[1], own[2]))
    arm = [x.fma(k.mass_h, y) for x, y in zip(inside, d, strict=True)]
    force = _plus(_plus(forces[:3], forces[3:6]), forces[6:])
    for a in range(3):
        for b in range(3):
            s = sums[3 * a + b]
            s.value = arm[a].fma(force[b], s.value)


@traced
def _forces(
    trace: Trace,
    first: Any,
    last: Any,
    starts: Any,
    partners: Any,
    rows: Any,
    buffer: Any,
    shift: Any,
    numbers: Any,
    force_poly: Any,
) -> None:
    k = _Numbers(numbers, force_poly, ())
    arrays = (partners, rows, buffer.at(shift * ROW))
    with trace.loop(first, last) as s:
        _molecule(trace, s * ROW, (starts[s * 2], starts[s * 2 + 1]), arrays, k, None)


@traced
def _energies(
    trace: Trace,
    first: Any,
    last: Any,
    starts: Any,
    partners: Any,
    rows: Any,
    buffer: Any,
    shift: Any,
    numbers: Any,
    force_poly: Any,
    energy_poly: Any,
    sums: Any,
) -> None:
    k = _Numbers(numbers, force_poly, energy_poly)
    arrays = (partners, rows, buffer.at(shift * ROW))
    totals = [trace.variable(trace.constant(0.0, "f64", 4)) for _ in range(3)]
    with trace.loop(first, last) as s:
        _molecule(trace, s * ROW, (starts[s * 2], starts[s * 2 + 1]), arrays, k, totals)
    for quad, total in enumerate(totals):
        sums.store(4 * quad, total.value)


@jit()
def _chunk(
    c: int,
    chunk_start: Any,
    starts: Any,
    partners: Any,
    rows: Any,
    windows: Any,
    buffer: Any,
    numbers: Any,
    force_poly: Any,
) -> None:
    begin = windows[c, 0]
    buffer[begin : begin + windows[c, 2]] = 0.0
    _forces(
        chunk_start[c],
        chunk_start[c + 1],
        starts,
        partners,
        rows,
        buffer,
        begin - windows[c, 1],
        numbers,
        force_poly,
    )


@jit()
def _chunk_sums(
    c: int,
    chunk_start: Any,
    starts: Any,
    partners: Any,
    rows: Any,
    windows: Any,
    buffer: Any,
    numbers: Any,
    force_poly: Any,
    energy_poly: Any,
    sums: Any,
) -> None:
    begin = windows[c, 0]
    buffer[begin : begin + windows[c, 2]] = 0.0
    _energies(
        chunk_start[c],
        chunk_start[c + 1],
        starts,
        partners,
        rows,
        buffer,
        begin - windows[c, 1],
        numbers,
        force_poly,
        energy_poly,
        sums[c],
    )


@parallel_jit()
def add_pair_forces_simd(
    chunk_start: Any,
    starts: Any,
    partners: Any,
    rows: Any,
    windows: Any,
    buffer: Any,
    numbers: Any,
    force_poly: Any,
) -> None:
    """Compute the pair forces of each chunk of molecules into its own window of a buffer.

    Parameters
    ----------
    chunk_start : (chunks + 1,) int64
        Bounds of the chunks.
    starts, partners
        The list (`mdpipe.kernels.pairlist_simd.prune_partners`).
    rows : (m, 12) int32
        Molecules in list order; the first ones stand again behind the last.
    windows : (chunks, 3) int64
        First row of the chunk's part of `buffer`, first molecule of its window, molecules in it
        (in list order, which goes on past its end with the first molecules again).
    buffer : (rows, 12) float32
        Out: forces on O, H1, H2 in units of an eighth of the squared charge of H; the share of the
        virtual site is spread.
    numbers : tuple of 12 or 13 float32
        Lower triangle of the box over 2^32 row by row, r_cut², scale and offset that map r² to the
        variable of the polynomials, 6 C6 / 256 and 12 C12 / 16384 in the unit of forces, mass of H
        over that of the molecule; weight of H in the virtual site (without it the negative charge
        is on O).
    force_poly : tuple of float32
        Coefficients of 8 g, lowest first. With a single one (a reaction field) `r_cut` is between
        sites; else between oxygens, and all sites of two molecules count within it.
    """
    for c in numba.prange(chunk_start.shape[0] - 1):
        _chunk(c, chunk_start, starts, partners, rows, windows, buffer, numbers, force_poly)


@parallel_jit()
def sum_pairs_simd(
    chunk_start: Any,
    starts: Any,
    partners: Any,
    rows: Any,
    windows: Any,
    buffer: Any,
    numbers: Any,
    force_poly: Any,
    energy_poly: Any,
    sums: Any,
) -> None:
    """Compute the same forces to the last bit, and energies and virial.

    Parameters
    ----------
    chunk_start, starts, partners, rows, windows, buffer, numbers, force_poly
        As in `add_pair_forces_simd`.
    energy_poly : tuple of float32
        Coefficients of 2 p, lowest first.
    sums : (chunks, 12) float64
        Out: Lennard-Jones and Coulomb energy in units of half the squared charge of H, molecular
        virial R_ij F_ij row by row in that of forces, and a place without meaning.
    """
    for c in numba.prange(chunk_start.shape[0] - 1):
        _chunk_sums(
            c,
            chunk_start,
            starts,
            partners,
            rows,
            windows,
            buffer,
            numbers,
            force_poly,
            energy_poly,
            sums,
        )
