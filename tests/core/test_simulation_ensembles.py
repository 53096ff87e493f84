"""Thermostats and barostats alone, where the distribution is known exactly."""

import math

import numpy as np
import pytest

from mdpipe.models import load_model
from mdpipe.simulation import ensembles
from mdpipe.state import State
from mdpipe.units import BAR_PER_KJ_MOL_NM3

KT = 2.479
N = 30
PRESSURE_BAR = 200.0
MODEL = load_model("spce")


def gas(n=N):
    """Return a box of n molecules, to be scaled as if they did not interact."""
    draw = np.random.default_rng(1)
    volume = (n + 1) * KT / (PRESSURE_BAR / BAR_PER_KJ_MOL_NM3)
    side = volume ** (1.0 / 3.0)
    positions = draw.uniform(0.0, side, (n, 1, 3)) + draw.normal(0.0, 0.05, (n, 3, 3))
    return State(positions, np.zeros((n, 3, 3)), np.eye(3) * side)


def check_ideal_gas(volumes, independent, n=N):
    """V of n free molecules has a gamma distribution: V^n exp(-P V / kT)."""
    scale = KT / (PRESSURE_BAR / BAR_PER_KJ_MOL_NM3)
    relative = 1.0 / math.sqrt((n + 1) * independent)
    assert volumes.mean() == pytest.approx((n + 1) * scale, rel=4.0 * relative)
    # A sample variance has a relative error near sqrt(2 / n) (a gamma distribution adds 1 / n);
    # Euler's scheme adds half of its rate, 4 %.
    spread = 4.0 * math.sqrt((2.0 + 6.0 / n) / independent) + 0.04
    assert volumes.var() == pytest.approx((n + 1) * scale**2, rel=spread)


def test_velocity_rescaling_gives_the_canonical_kinetic_energy():
    dof, keep = 21, 0.8
    kinetic, energies = 1.0, []
    for step in range(30_000):
        factor = ensembles.rescale_velocities(kinetic, dof, kT=KT, keep=keep, seed=4, step=step)
        kinetic *= factor * factor
        energies.append(kinetic)
    energies = np.array(energies[100:])
    independent = len(energies) * (1.0 - keep) / (1.0 + keep)
    mean = 0.5 * dof * KT
    # Gamma(dof/2, kT): variance dof kT²/2. Four standard errors, with a fixed seed.
    assert energies.mean() == pytest.approx(mean, rel=4.0 * math.sqrt(2.0 / dof / independent))
    assert energies.var() == pytest.approx(mean * KT, rel=4.0 * math.sqrt(2.6 / independent))
    centred = energies - mean
    assert (centred[1:] * centred[:-1]).mean() / energies.var() == pytest.approx(keep, abs=0.02)


def test_velocity_rescaling_without_time_does_nothing():
    assert ensembles.rescale_velocities(7.0, 9, kT=KT, keep=1.0, seed=1, step=1) == 1.0


def test_cell_rescaling_gives_the_volumes_of_an_ideal_gas():
    n = 5  # So few that the term kT/2V of the drift shows: without it the mean is 8 % lower.
    state = gas(n)
    rate = 0.08 / PRESSURE_BAR
    barostat = ensembles.CellRescaling(MODEL, KT, PRESSURE_BAR, 3, rate=rate)
    volumes = []
    for step in range(40_000):
        ideal = n * KT / state.volume_nm3 * BAR_PER_KJ_MOL_NM3
        barostat.act(state, ideal, step)
        volumes.append(state.volume_nm3)
    # The volume forgets itself within 1/rate actions.
    check_ideal_gas(np.array(volumes[500:]), independent=39_500 * 0.08 / 2.0, n=n)


class NoEnergy:
    def potential(self):
        return 0.0


def test_monte_carlo_barostat_gives_the_volumes_of_an_ideal_gas():
    state, coupling = gas(), ensembles.Coupling()
    barostat = ensembles.MonteCarloBarostat(MODEL, KT, PRESSURE_BAR, 3)
    volumes = []
    for step in range(20_000):
        barostat.act(state, np.zeros((N, 3, 3)), NoEnergy(), coupling, step)
        volumes.append(state.volume_nm3)
    volumes = np.array(volumes[2000:])
    centred = volumes - volumes.mean()
    memory = 1.0 + 2.0 * sum(
        (centred[lag:] * centred[:-lag]).mean() / centred.var() for lag in range(1, 60)
    )
    check_ideal_gas(volumes, independent=len(volumes) / memory)


def test_monte_carlo_step_tunes_itself_to_a_fair_acceptance():
    state, coupling = gas(), ensembles.Coupling(volume_step_nm3=1e-3)
    barostat = ensembles.MonteCarloBarostat(MODEL, KT, PRESSURE_BAR, 3)
    accepted = [
        barostat.act(state, np.zeros((N, 3, 3)), NoEnergy(), coupling, step) for step in range(3000)
    ]
    assert coupling.volume_step_nm3 > 1e-2 * state.volume_nm3
    assert 0.2 < np.mean(accepted[-1000:]) < 0.8


def test_trial_below_no_volume_is_turned_down():
    state, coupling = gas(), ensembles.Coupling()
    coupling.volume_step_nm3 = 1e3 * state.volume_nm3
    barostat = ensembles.MonteCarloBarostat(MODEL, KT, PRESSURE_BAR, 3)
    for step in range(20):
        barostat.act(state, np.zeros((N, 3, 3)), NoEnergy(), coupling, step)
    assert np.isfinite(state.positions).all()
    assert state.volume_nm3 > 0.0


def test_rejected_volume_leaves_every_bit():
    class Wall:
        calls = 0

        def potential(self):
            self.calls += 1
            return math.inf if self.calls % 2 == 0 else 0.0

    state, coupling = gas(), ensembles.Coupling()
    forces = np.ones((N, 3, 3))
    before = state.copy()
    barostat = ensembles.MonteCarloBarostat(MODEL, KT, PRESSURE_BAR, 3)
    assert not barostat.act(state, forces, Wall(), coupling, 25)
    assert np.array_equal(state.positions, before.positions)
    assert np.array_equal(state.box, before.box)


def test_scaling_moves_centres_and_keeps_molecules():
    state = gas()
    before = state.copy()
    ensembles.scale_molecules(state, MODEL, 1.01)
    assert state.volume_nm3 == pytest.approx(1.01**3 * before.volume_nm3)
    old, new = (ensembles.molecular_mean(s.positions, MODEL) for s in (before, state))
    assert np.abs(new - 1.01 * old).max() < 1e-14
    shape = [s.positions - s.positions[:, :1] for s in (before, state)]
    assert np.abs(shape[1] - shape[0]).max() < 1e-14


def test_scaling_velocities_touches_the_centres_alone():
    draw = np.random.default_rng(2)
    velocities = draw.normal(size=(N, 3, 3))
    before = velocities.copy()
    ensembles.scale_centre_velocities(velocities, MODEL, 0.9)
    old, new = (ensembles.molecular_mean(v, MODEL) for v in (before, velocities))
    assert np.abs(new - 0.9 * old).max() < 1e-15
    assert np.abs((velocities - new[:, None]) - (before - old[:, None])).max() < 1e-15
