"""Explicit vectors of water pairs: against the plain kernels, and what they are compiled to."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numba
import numpy as np
import pytest

from mdpipe.kernels import pair_simd
from mdpipe.kernels.pair_arrays import RowArrays
from mdpipe.kernels.simd import LANES
from mdpipe.kernels.simd_target import FEATURES
from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation import forcefield, pair_tables
from mdpipe.simulation.forcefield import ForceField
from mdpipe.simulation.neighbours import perpendicular_widths
from mdpipe.simulation.vector_neighbours import VectorNeighbours

pytestmark = pytest.mark.skipif(
    numba.config.DISABLE_JIT or LANES == 0, reason="needs compiled code and a known vector unit"
)

CUBE = np.eye(3) * 1.5
SLAB = np.diag([1.2, 2.0, 3.1])
TILTED = np.array([[1.5, 0.0, 0.0], [0.7, 1.5, 0.0], [-0.7, 0.7, 1.5]])
LONG = np.diag([3.0, 1.2, 1.25])
LARGE = np.diag([12.0, 11.0, 10.5])
BOXES = {"cube": CUBE, "slab": SLAB, "tilted": TILTED, "long": LONG, "large": LARGE}


def water(n, box, seed, model, spread=1.0):
    """Molecules of random orientation on a jittered grid that fills a part of the box."""
    rng = np.random.default_rng(seed)
    k = math.ceil(n ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(k)] * 3, indexing="ij"), -1).reshape(-1, 3)[:n]
    fractions = spread * (grid + 0.5 + 0.15 * rng.uniform(-1, 1, (n, 3))) / k
    half = math.radians(model.angle_hoh_deg) / 2
    frame = model.r_oh_nm * np.array(
        [[0, 0, 0], [math.sin(half), math.cos(half), 0], [-math.sin(half), math.cos(half), 0]]
    )
    rotations = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    return (fractions @ box)[:, None] + np.einsum("ac,ncd->nad", frame, rotations)


def evaluate(positions, box, model, nonbonded):
    field = ForceField(model, nonbonded, box, len(positions), precision="mixed")
    forces = np.zeros_like(positions)
    evaluation = field.evaluate(positions, box, forces)
    return evaluation, forces, field


def deviation(value, reference):
    return math.sqrt(((value - reference) ** 2).sum() / (reference**2).sum())


@pytest.mark.parametrize("electrostatics", ["pme", "rf"])
@pytest.mark.parametrize("key", ["spce", "spcfw", "opc"])
@pytest.mark.parametrize("name", BOXES)
def test_vectors_yield_what_the_plain_kernels_do(name, key, electrostatics, monkeypatch):
    box, model = BOXES[name], load_model(key)
    spread = 0.2 if name == "large" else 1.0
    # A whole cube of them: the long box is full to both ends, and windows of partners wrap.
    positions = water(125 if name == "long" else 80, box, 4, model, spread)
    # The reaction field reaches two bonds further than the cutoff between sites.
    r_cut = 0.9 if name == "large" else 0.5 * float(perpendicular_widths(box).min())
    grid = (96, 96, 96) if name == "large" else None
    pme = electrostatics == "pme"
    nonbonded = Nonbonded(
        r_cut_nm=r_cut - (0.0 if pme else 0.26),
        electrostatics=electrostatics,
        pme_alpha_per_nm=3.1 / r_cut if pme else None,
        pme_grid=grid,
    )
    (energies, virial), forces, field = evaluate(positions, box, model, nonbonded)
    assert "simd" in field.describe()["pair_kernel"]
    monkeypatch.setattr(forcefield, "LANES", 0)
    (plain, plain_virial), expected, field = evaluate(positions, box, model, nonbonded)
    assert field.describe()["pair_kernel"] == "pair"
    # 24 bits: both read the same polynomials.
    assert deviation(forces, expected) < 3e-6
    # The energy of a pair is a sum of terms of both signs up to a hundred times as large.
    scale = abs(plain.lj) + abs(plain.coulomb_real)
    assert abs(energies.lj - plain.lj) < 5e-5 * scale
    assert abs(energies.coulomb_real - plain.coulomb_real) < 5e-5 * scale
    assert energies.coulomb_exclusion == pytest.approx(plain.coulomb_exclusion, rel=1e-6)
    assert energies.bond == pytest.approx(plain.bond)
    assert energies.angle == pytest.approx(plain.angle)
    # A difference of Lennard-Jones and Coulomb parts some 20 times as large.
    assert np.abs(virial - plain_virial).max() < 1e-5 * np.abs(plain_virial).max()


def test_torn_molecules_and_boxes_too_small_are_left_to_the_plain_kernels():
    model = load_model("spcfw")
    positions = water(60, CUBE, 2, model)
    pme = Nonbonded(r_cut_nm=0.75, pme_alpha_per_nm=4.0)
    _, _, field = evaluate(positions, CUBE, model, pme)
    assert "simd" in field.describe()["pair_kernel"]
    torn = positions.copy()
    torn[3, 1] += 0.4 * (torn[3, 1] - torn[3, 0])
    forces = np.zeros_like(torn)
    field.compute(torn, CUBE, forces)
    assert field.describe()["pair_kernel"] == "pair"
    field.compute(positions, CUBE, forces)
    assert "simd" in field.describe()["pair_kernel"]
    _, _, field = evaluate(positions, CUBE, model, Nonbonded(r_cut_nm=0.7, electrostatics="rf"))
    assert field.describe()["pair_kernel"] == "pair"


def test_a_model_without_charges_is_left_to_the_plain_kernels():
    model = replace(load_model("spce"), charge_h_e=0.0)
    positions = water(60, CUBE, 2, model)
    rf = Nonbonded(r_cut_nm=0.7, electrostatics="rf")
    (energies, _), _, field = evaluate(positions, CUBE, model, rf)
    assert field.describe()["pair_kernel"] == "pair"
    assert energies.coulomb == 0.0


def assert_each_near_pair_is_listed_once(own, box, r_cut):
    n = own.n_molecules
    partners = [own.partners[slice(*own.starts[s])] // pair_simd.ROW % n for s in range(n)]
    listed = np.zeros((n, n), np.int64)
    np.add.at(
        listed, (np.repeat(np.arange(n), [len(p) for p in partners]), np.concatenate(partners)), 1
    )
    assert not listed.diagonal().any()
    listed += listed.T
    assert listed.max(initial=0) <= 1
    # Whatever is nearer than half of the box is found by rounding.
    d = own.centres[None] - own.centres[:, None]
    d -= np.round(d @ np.linalg.inv(box)) @ box
    near = (d**2).sum(axis=2) < r_cut**2
    assert listed[near & ~np.eye(n, dtype=bool)].all()


@pytest.mark.parametrize("r_cut", [0.3, 0.5])
@pytest.mark.parametrize("name", ["cube", "slab", "tilted", "long"])
@pytest.mark.parametrize("n", [1, 2, 70, 300])
def test_the_inner_list_holds_each_pair_within_the_cutoff_once(name, n, r_cut):
    box = BOXES[name]
    positions = water(n, box, n, load_model("spce"))
    own = VectorNeighbours(n, r_cut, 0.0, molecular=True)
    own.update(positions, box)
    assert_each_near_pair_is_listed_once(own, box, r_cut)


@pytest.mark.parametrize("squeeze", [0.0, 0.004])
@pytest.mark.parametrize(("name", "size"), [("cube", 1.4), ("tilted", 1.4), ("tilted", 1.0)])
def test_molecules_that_fly_at_each_other_are_listed_before_they_are_near(name, size, squeeze):
    steps, n, stride = 40, 300, 0.003
    start = size * BOXES[name]
    smallest = (1.0 - squeeze) ** (steps // 2)
    r_cut = min(0.5, 0.5 * smallest * float(perpendicular_widths(start).min()))
    fractions = water(n, np.eye(3), 7, load_model("spce"))[:, 0]
    bonds = water(n, start, 7, load_model("spce"))
    bonds -= bonds[:, :1]
    # Two halves between the nearest faces collide head-on: all of both buffers is needed.
    axis = int(perpendicular_widths(start).argmin())
    normal = np.linalg.inv(start)[:, axis] * float(perpendicular_widths(start)[axis])
    flight = np.where(fractions[:, axis] < 0.5, stride, -stride)[:, None] * normal
    own = VectorNeighbours(n, r_cut, 0.0, molecular=True)
    built = []
    for step in range(steps):
        box = start * (1.0 - squeeze) ** min(step, steps // 2)
        own.update((fractions @ box + step * flight)[:, None] + bonds, box)
        assert_each_near_pair_is_listed_once(own, box, r_cut)
        built.append((own.prunings, own.rebuilds))
    # Without strain 0.006 nm a step use up the buffers of 0.02 and 0.1 nm in 4 and 17 steps.
    prunings, rebuilds = np.array(built[-1]) - built[steps // 2 + 1]
    assert prunings <= 7
    assert rebuilds <= 1
    assert steps // 2 > own.prunings > own.rebuilds > 2


@pytest.mark.parametrize("key", ["spce", "tip4p2005"])
def test_no_pair_is_missed_while_the_lists_grow_old(key):
    model = load_model(key)
    positions = water(300, np.eye(3) * 2.1, 3, model)
    nonbonded = Nonbonded(pme_alpha_per_nm=3.4, pme_grid=(20, 20, 20))
    rng = np.random.default_rng(1)
    velocities = rng.normal(size=(300, 1, 3)) * 0.004
    _, forces, field = evaluate(positions, np.eye(3) * 2.1, model, nonbonded)
    own = field._vector.neighbours
    for step in range(30):
        positions = positions + velocities
        box = np.eye(3) * (2.1 + 0.001 * math.sin(step))
        field.compute(positions, box, forces)
        _, expected, _ = evaluate(positions, box, model, nonbonded)
        # Another order of the same sums.
        assert deviation(forces, expected) < 1e-6
    assert own.prunings > own.rebuilds > 1


def test_forces_are_minus_the_slope_of_the_energy():
    model = load_model("tip4p2005")
    box = np.eye(3) * 2.0
    positions = water(2, box, 8, model, spread=0.3)
    nonbonded = Nonbonded(pme_alpha_per_nm=3.4, pme_grid=(64, 64, 64), pme_order=5)
    _, forces, field = evaluate(positions, box, model, nonbonded)
    scratch = np.zeros_like(forces)
    rng = np.random.default_rng(3)
    direction = np.zeros_like(positions)
    direction[0] = rng.normal(size=3)
    h = 2e-3
    totals = [
        field.evaluate(positions + k * h * direction, box, scratch).energies.total
        for k in (-2, -1, 1, 2)
    ]
    slope = (totals[0] - 8 * totals[1] + 8 * totals[2] - totals[3]) / (12 * h)
    # 24 bits of 100 kJ/mol over 4e-3 nm.
    assert -slope == pytest.approx((forces * direction).sum(), abs=0.02)


@pytest.mark.parametrize("alpha", [3.0, 3.4, 3.8, 4.2])
def test_the_least_squares_polynomial_keeps_its_stated_error(alpha):
    table = pair_tables.tabulate(alpha, 1.15)
    for accuracy in (2e-5, 1e-4, 4e-4):
        degree = pair_tables.force_degree(table, accuracy)
        assert degree in pair_tables.FORCE_DEGREES
        r = np.linspace(0.15, 1.15, 400)
        u = 2 * (r / 1.15) ** 2 - 1
        g, _ = pair_tables.screened_coulomb(r * r, alpha)
        found = np.polynomial.polynomial.polyval(u, pair_tables.fit_force(table, degree))
        weight = r**4 * (1 - (r / 1.15) ** 2)
        error = math.sqrt((weight * (found - g) ** 2).sum() / weight.sum())
        assert error < 2.0 * accuracy or degree == pair_tables.FORCE_DEGREES[-1]


@pytest.mark.skipif("avx2" not in FEATURES or LANES < 8, reason="needs AVX2")
def test_the_pair_kernel_is_made_of_vector_instructions():
    # Code from the cache has no assembly to show: compile the body once more.
    body = pair_simd._pairs
    fresh = numba.njit(
        lambda a, b, c, d, e, f, g, h: body(a, b, c, d, e, f, g, h)  # noqa: PLW0108
    )
    single = numba.float32
    numbers = numba.types.UniTuple(single, 12)
    bounds, rows = numba.int64[:, ::1], numba.int32[:, ::1]
    arrays = numba.types.NamedTuple(
        (
            numba.int64[::1],
            bounds,
            numba.int32[::1],
            rows,
            bounds,
            single[:, ::1],
        ),
        RowArrays,
    )
    none = numba.types.Tuple(())
    whole = numba.int64
    fresh.compile((whole, whole, arrays, whole, numbers, numbers, none, numba.float64[::1]))
    (assembly,) = fresh.inspect_asm().values()
    register = "zmm" if LANES == 16 else "ymm"
    fused = re.findall(rf"\tvfn?m(?:add|sub)\d+ps\t.*%{register}", assembly)
    roots = re.findall(rf"\tvrsqrt(?:14)?ps\t.*%{register}", assembly)
    # 9 site pairs of 12 coefficients; one root for each.
    assert len(fused) > 100
    assert len(roots) == 9
    assert not re.findall(r"\tcallq?\t.*(?:sqrt|fma)", assembly)
