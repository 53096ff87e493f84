"""Rigid water: SETTLE against iterated constraints."""

import numpy as np
import pytest

from mdpipe.kernels import integrate, langevin, settle
from mdpipe.kernels.naive_dynamics import (
    naive_drift,
    naive_langevin_middle,
    naive_rattle,
)
from mdpipe.kernels.rng import two_normals
from mdpipe.models import load_model
from mdpipe.simulation.start import geometry_error, water_constants

KEYS = np.array([11, 2, 5], np.uint64)


def molecules(model, n, seed, spread=1.5):
    """Return n rigid molecules anywhere, turned anyhow, with thermal velocities."""
    draw = np.random.default_rng(seed)
    half = np.radians(model.angle_hoh_deg) / 2
    flat = model.r_oh_nm * np.array(
        [[0, 0, 0], [np.sin(half), np.cos(half), 0], [-np.sin(half), np.cos(half), 0]]
    )
    turns = np.linalg.qr(draw.normal(size=(n, 3, 3)))[0]
    x = np.einsum("nij,aj->nai", turns, flat) + draw.uniform(-spread, spread, (n, 1, 3))
    return x, draw.normal(0.0, 0.6, (n, 3, 3)), draw.normal(0.0, 800.0, (n, 3, 3))


def facts(model):
    masses = np.array([model.mass_o_amu, model.mass_h_amu, model.mass_h_amu])
    return masses, np.array([model.r_oh_nm, model.r_oh_nm, model.r_hh_nm])


def advance(mode, x, v, f, model, dt, kick):
    x, v, sums = x.copy(), v.copy(), no_sums(x)
    flat = (a.reshape(-1, 9) for a in (x, v, f))
    integrate.advance(mode, *flat, water_constants(model), dt, kick, sums)
    return x, v, sums.sum(axis=0)


def advance_in_bath(x, v, f, model, dt, kick, bath):
    x, v, sums = x.copy(), v.copy(), no_sums(x)
    flat = (a.reshape(-1, 9) for a in (x, v, f))
    numbers = np.array([dt, kick, *bath])
    langevin.advance_in_bath(*flat, water_constants(model), numbers, KEYS, sums)
    return x, v, sums.sum(axis=0)


def no_sums(x):
    return np.full((integrate.n_blocks(len(x)), integrate.N_SUMS), np.nan)


@pytest.mark.parametrize("key", ["spce", "tip4p2005", "opc"])
@pytest.mark.parametrize("n", [1, 63, 64, 150])
def test_constrained_drift_matches_shake(key, n):
    model = load_model(key)
    x, v, f = molecules(model, n, n)
    dt, kick = 0.002, 0.001
    new, speed, _ = advance(integrate.DRIFT, x, v, f, model, dt, kick)
    want, want_speed = naive_drift(x, v, f, *facts(model), dt=dt, kick=kick)
    # The twin iterates to 1e-17 nm² of the squared lengths: 1e-16 nm in the bonds.
    assert np.abs(new - want).max() < 3e-15
    assert np.abs(speed - want_speed).max() < 3e-12
    assert geometry_error(new, model) < 1e-13


@pytest.mark.parametrize("key", ["spce", "spcfw"])
@pytest.mark.parametrize("n", [1, 64, 150])
def test_kick_and_drift_in_one_pass_have_the_bits_of_two(key, n):
    model = load_model(key)
    x, v, f = molecules(model, n, n)
    _, kicked, _ = advance(integrate.KICK, x, v, f, model, 0.002, 0.001)
    two = advance(integrate.DRIFT, x, kicked, f, model, 0.002, 0.001)
    one = advance(integrate.KICK_DRIFT, x, v, f, model, 0.002, 0.001)
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a, b)


def test_bond_error_stays_small_for_long_moves_in_a_far_image():
    model = load_model("spce")
    x, v, f = molecules(model, 128, 3, spread=300.0)
    new, _, _ = advance(integrate.DRIFT, x, 30.0 * v, f, model, 0.002, 0.002)
    # 300 nm away the spacing of float64 is 6e-14 nm: 1e-12 of a bond is what can be had.
    assert geometry_error(new, model) < 2e-12


@pytest.mark.parametrize("key", ["spce", "tip4pew"])
def test_velocity_constraint_matches_a_linear_solve(key):
    model = load_model(key)
    x, v, f = molecules(model, 100, 4)
    masses, _ = facts(model)
    _, speed, _ = advance(integrate.KICK, x, v, f, model, 0.002, 0.001)
    want = naive_rattle(x, v + 0.001 * f / masses[:, None], masses)
    assert np.abs(speed - want).max() < 1e-13
    for i, j in ((0, 1), (0, 2), (1, 2)):
        along = ((x[:, j] - x[:, i]) * (speed[:, j] - speed[:, i])).sum(axis=1)
        assert np.abs(along).max() < 1e-14


def test_langevin_middle_matches_its_twin():
    model = load_model("spce")
    n = 70
    x, v, f = molecules(model, n, 5)
    masses, lengths = facts(model)
    keep, spread = 0.9, np.array([0.1, 0.4, 0.4])
    new, speed, sums = advance_in_bath(x, v, f, model, 0.002, 0.002, (keep, spread[0], spread[1]))
    noise = np.array([molecule_noise(i) for i in range(n)]).reshape(n, 3, 3)
    want, want_speed = naive_langevin_middle(
        x, v, f, masses, lengths, dt=0.002, bath=(keep, spread, noise)
    )
    assert np.abs(new - want).max() < 3e-15
    assert np.abs(speed - want_speed).max() < 3e-12
    kicked = naive_rattle(x, v + 0.002 * f / masses[:, None], masses)
    before = 0.5 * (masses[:, None] * kicked**2).sum()
    after = 0.5 * (masses[:, None] * want_speed**2).sum()
    assert sums[[5, 0]] == pytest.approx([before, after], rel=1e-12)


def molecule_noise(index):
    """Return the nine normals of a molecule, from the counters that the kernel documents."""
    from mdpipe.kernels.naive_dynamics import naive_philox4x32

    words = []
    for part in range(3):
        words += naive_philox4x32((index, int(KEYS[2]), 0, int(KEYS[1]) | part << 28), (11, 0))
    pairs = [two_normals(np.uint64(words[k]), np.uint64(words[k + 1])) for k in range(0, 12, 2)]
    return np.array(pairs).reshape(-1)[:9]


def test_sums_are_energy_momentum_and_energy_of_the_centres():
    model = load_model("spce")
    x, v, f = molecules(model, 130, 6)
    masses, _ = facts(model)
    _, speed, sums = advance(integrate.KICK, x, v, f, model, 0.002, 0.001)
    momenta = (masses[:, None] * speed).sum(axis=1)
    assert sums[0] == pytest.approx(0.5 * (masses[:, None] * speed**2).sum(), rel=1e-13)
    # The momenta of 130 molecules cancel in part, so the limit is one on their sum of magnitudes.
    assert np.abs(sums[1:4] - momenta.sum(axis=0)).max() < 1e-13 * np.abs(momenta).sum()
    assert sums[4] == pytest.approx(0.5 * (momenta**2).sum() / model.mass_amu, rel=1e-13)


def test_constraints_keep_momentum_and_angular_momentum():
    model = load_model("tip3p")
    x, v, _ = molecules(model, 90, 7)
    masses, _ = facts(model)
    none = np.zeros_like(x)
    new, speed, _ = advance(integrate.DRIFT, x, v, none, model, 0.002, 0.0)
    momentum = (masses[:, None] * (speed - v)).sum(axis=1)
    assert np.abs(momentum).max() < 1e-12
    local = x - x[:, :1]
    spin = (masses[:, None] * np.cross(local, speed - v)).sum(axis=1)
    # Constraint forces act along the old bonds in pairs: no torque about any point.
    assert np.abs(spin).max() < 1e-13
    assert not np.array_equal(new, x)


def test_a_flexible_molecule_is_left_to_its_springs():
    model = load_model("spcfw")
    x, v, f = molecules(model, 65, 8)
    masses, _ = facts(model)
    new, speed, _ = advance(integrate.DRIFT, x, v, f, model, 0.001, 0.0005)
    want = v + 0.0005 * f / masses[:, None]
    assert np.abs(speed - want).max() < 1e-13
    assert np.abs(new - (x + 0.001 * want)).max() < 1e-14


def test_bits_do_not_depend_on_the_number_of_threads():
    from mdpipe.kernels._jit import set_threads

    model = load_model("spce")
    x, v, f = molecules(model, 500, 9)
    answers = []
    try:
        for threads in (1, 2):
            set_threads(threads)
            answers.append(advance_in_bath(x, v, f, model, 0.002, 0.002, (0.9, 0.1, 0.4)))
    finally:
        set_threads(1)
    for one, two in zip(*answers, strict=True):
        assert np.array_equal(one, two)


def test_a_move_beyond_all_bounds_is_not_a_number():
    model = load_model("spce")
    x, v, f = molecules(model, 4, 10)
    new, _, sums = advance(integrate.DRIFT, x, 1e4 * v, f, model, 0.002, 0.001)
    assert not np.isfinite(new).all()
    assert not np.isfinite(sums[0])


def test_constants_hold_the_canonical_triangle():
    model = load_model("spce")
    numbers = settle.constants(
        model.mass_o_amu, model.mass_h_amu, model.r_oh_nm, model.r_hh_nm, rigid=True
    )
    r_a, r_b, r_c = numbers[2:5]
    assert np.hypot(r_a + r_b, r_c) == pytest.approx(model.r_oh_nm, rel=1e-14)
    assert model.mass_o_amu * r_a == pytest.approx(2.0 * model.mass_h_amu * r_b, rel=1e-14)
