"""Influence function, energy and virial of the waves of float32 transforms, in explicit vectors.

For each wave along y and LANES waves along x, all waves along z. A direction's `numbers` are three
rows: the wave numbers, those of the opposite waves (where half the sampling frequency is its own
opposite, itself), and 1/|b(m)|².

References
----------
Essmann et al., J. Chem. Phys. 103, 8577 (1995), DOI 10.1063/1.470117.
"""

from __future__ import annotations

import math
from typing import Any

from mdpipe.kernels.simd import LANES, Pointer, Scalar, Trace, Vector
from mdpipe.kernels.sweeps import shared

__all__ = ["fill_influence_rows", "sum_waves"]

AXES = range(3)


def _exponential(x: Vector) -> Any:
    """Yield e^x of x <= 0 to 2e-7 of itself, or next to nothing below e^-87."""
    whole = (x * (1.0 / math.log(2.0)) + 0.5).call("llvm.floor")
    whole = (whole < -126.0).select(x.trace.constant(-126.0), whole)
    # ln 2 in two parts, the first exact in few bits.
    rest = whole.fma(-0.693359375, x)
    rest = whole.fma(2.12194440e-4, rest)
    rest = (rest < -1.0).select(x.trace.constant(-1.0), rest)
    power = x.trace.constant(1.0 / 5040.0)
    for k in range(6, -1, -1):
        power = power.fma(rest, x.trace.constant(1.0 / math.factorial(k)))
    return power * ((whole.to("i32") + 127) << 23).bits_as("f32")


def _columns(inverse: Pointer) -> list[list[Scalar]]:
    """Return the reciprocal vectors in float32."""
    return [[inverse[3 * a + b].to("f32") for a in AXES] for b in AXES]


@shared
def fill_influence_rows(
    trace: Trace,
    layout: list[Scalar],
    y: Scalar,
    block: Scalar,
    numbers: list[Pointer],
    inverse: Pointer,
    constants: Pointer,
    influence: Pointer,
) -> None:
    """Tabulate half of exp(-π²m²/α²) B(m) / (π V m²); `constants` are π²/α² and 1/(2 π V)."""
    numbers_x, numbers_y, numbers_z = numbers
    kx, ky, kz = layout[0], layout[1], layout[2]
    columns = _columns(inverse)
    factor, scale = constants[0].to("f32"), constants[1].to("f32")
    # Lanes beyond the grid have a weight of 0.
    place = block * LANES
    long = (kx + (LANES - 1)) >> (LANES.bit_length() - 1)
    stride = long * LANES
    weight = numbers_x.load(place + stride * 2, LANES) * (numbers_y[y + ky * 2] * scale)
    flat = []
    for side in range(2):
        nx, ny = numbers_x.load(place + stride * side, LANES), numbers_y[y + ky * side]
        flat.append([nx * columns[0][a] + ny * columns[1][a] for a in AXES])
    with trace.loop(0, kz) as z:
        total: Any = None
        for side in range(2):
            number = numbers_z[z + kz * side]
            h = [flat[side][a] + number * columns[2][a] for a in AXES]
            m2 = h[0] * h[0] + h[1] * h[1] + h[2] * h[2]
            value = _exponential(-(m2 * factor)) / m2
            value = (m2 > 0.0).select(value, 0.0)
            total = value if total is None else (total + value) * 0.5
        influence.store(z * LANES, total * (weight * numbers_z[z + kz * 2]))


@shared
def sum_waves(
    trace: Trace,
    layout: list[Scalar],
    y: Scalar,
    block: Scalar,
    numbers: list[Pointer],
    inverse: Pointer,
    constants: Pointer,
    influence: Pointer,
    scratch: Pointer,
    sums: Pointer,
) -> None:
    """Add energy and virial of the waves of one y and LANES x."""
    ky, size = layout[1], layout[2]
    # The waves are twice too large, the influence half; all but the first and the last y wave
    # stand for their opposites too.
    once = y.equals(0) | (y * 2).equals(ky)
    weight = once.select(trace.constant(0.25, "f64", 0), 0.5)
    nx, ny = numbers[0].load(block * LANES, LANES), numbers[1][y]
    factor = constants[0].to("f32")
    to_x, to_y, to_z = _columns(inverse)
    flat = [nx * to_x[a] + ny * to_y[a] for a in AXES]
    totals = [trace.variable(trace.constant(0.0)) for _ in range(7)]
    with trace.loop(0, size) as z:
        number = numbers[2][z]
        h = [flat[a] + number * to_z[a] for a in AXES]
        m2 = h[0] * h[0] + h[1] * h[1] + h[2] * h[2]
        re, im = scratch.load(z * (2 * LANES), LANES), scratch.load(z * (2 * LANES) + LANES, LANES)
        energy = influence.load(z * LANES, LANES) * (re * re + im * im)
        v = energy * 2.0 * (1.0 / m2 + factor)
        v = (m2 > 0.0).select(v, 0.0)
        terms = [energy]
        for a in AXES:
            for b in range(a, 3):
                term = v * h[a] * h[b]
                terms.append(energy - term if a == b else -term)
        for total, term in zip(totals, terms, strict=True):
            total.value = total.value + term
    for i, total in enumerate(totals):
        sums[i] = sums[i] + total.value.to("f64").sum() * weight
