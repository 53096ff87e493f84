"""The time loop: conservation, reversibility, ensembles, minimisation."""

import math

import numpy as np
import pytest
from time_loop import COUPLINGS, assert_one_trajectory, assert_runs_backwards, energy_ranges

from mdpipe.failures import InputError
from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded, Scene
from mdpipe.simulation.degrees import degrees_of_freedom
from mdpipe.simulation.simulation import Simulation
from mdpipe.simulation.start import (
    draw_velocities,
    geometry_error,
    prepare_start,
    rebuild_geometry,
)
from mdpipe.state import State
from mdpipe.units import BOLTZMANN

RF = Nonbonded(electrostatics="rf")


@pytest.fixture(scope="module")
def water(reference):
    data = np.load(reference / "conf_w216a.npz")
    return State(data["pos"], data["vel"], data["box"])


def scene(**settings):
    return Scene(**({"name": "a", "ensemble": "nve", "steps": 1, "nonbonded": RF} | settings))


class Springs:
    """A smooth force field: every oxygen on a spring to where it was, so that no cutoff is felt.

    The molecules turn freely; a torque comes from a uniform field on the hydrogens.
    """

    def __init__(self, positions, stiffness=3000.0):
        self.home = positions[:, 0].copy()
        self.stiffness = stiffness
        self.field = np.array([40.0, -30.0, 20.0])

    def compute(self, positions, box, forces, **_times):
        self.evaluate(positions, box, forces)

    def evaluate(self, positions, _box, forces, **_times):
        from mdpipe.simulation.forcefield import Energies, Evaluation

        shift = positions[:, 0] - self.home
        arm = positions[:, 1:].sum(axis=1) - 2.0 * positions[:, 0]
        forces[:, 0] = -self.stiffness * shift - 2.0 * self.field
        forces[:, 1:] = self.field
        energy = 0.5 * self.stiffness * (shift**2).sum() - (arm @ self.field).sum()
        return Evaluation(Energies(float(energy), *(7 * [0.0])), np.zeros((3, 3)))

    def invalidate(self):
        pass


def energy_wobble(water, dt, integrator):
    settings = scene(dt_ps=dt, integrator=integrator, remove_com_every=0)
    simulation = Simulation(settings, water, forcefield=Springs(water.positions))
    totals = []
    for _ in range(round(0.4 / dt)):
        simulation.step(1)
        totals.append(simulation.energies().total_kj_mol)
    # The first rows of leapfrog depend on what v(-dt/2) is taken to be, hence the spread alone.
    return float(np.std(totals))


@pytest.mark.parametrize("integrator", ["vverlet", "leapfrog"])
def test_energy_error_falls_with_the_square_of_the_time_step(water, integrator):
    coarse, fine = (energy_wobble(water, dt, integrator) for dt in (0.002, 0.001))
    # Second order gives 4; fourth-order terms and the sampling of the beat leave a few per cent.
    assert coarse / fine == pytest.approx(4.0, rel=0.1)


def test_velocity_verlet_runs_backwards(water):
    simulation = Simulation(scene(precision="double", dt_ps=0.001, remove_com_every=0), water)
    assert_runs_backwards(simulation, 50)


def test_leapfrog_and_velocity_verlet_give_one_trajectory(water):
    settings = (
        scene(precision="double", integrator=integrator, ensemble="nvt")
        for integrator in ("vverlet", "leapfrog")
    )
    # Thermostat included: the leapfrog's coupling acts on v(t), as velocity Verlet's does.
    assert_one_trajectory([Simulation(one, water) for one in settings], 45)


@pytest.mark.parametrize(
    "settings",
    [
        {"ensemble": "nve"},
        {"ensemble": "nvt"},
        {"ensemble": "nvt", "integrator": "leapfrog"},
        {"ensemble": "nvt", "thermostat": "langevin"},
        {"ensemble": "npt"},
        {"ensemble": "npt", "integrator": "leapfrog"},
        {"ensemble": "npt", "barostat": "monte-carlo"},
        {"ensemble": "npt", "barostat": "monte-carlo", "thermostat": "langevin"},
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_conserved_quantity_stays_where_total_energy_does_not(water, settings):
    simulation = Simulation(scene(dt_ps=0.001, **(COUPLINGS | settings)), water)
    simulation.step(1)
    total, conserved = energy_ranges(simulation, 25, 10)
    # Pairs jump by some 0.1 kJ/mol (LJ) and 1 (RF, 3-site) where they cross the atom-based cutoff.
    assert conserved < 4.0
    if settings["ensemble"] != "nve":
        assert total > 8.0 * conserved
    if simulation.model.rigid:
        assert geometry_error(simulation.state.positions, simulation.model) < 1e-12


def flexible_wobble(water, dt):
    simulation = Simulation(
        scene(model="spcfw", dt_ps=dt, remove_com_every=0), prepared_flexible(water)
    )
    rows = []
    for _ in range(20):
        simulation.step(round(0.005 / dt))
        rows.append(simulation.energies().total_kj_mol)
    return np.std(rows)


def test_flexible_water_conserves_energy(water):
    coarse, fine = (flexible_wobble(water, dt) for dt in (0.0005, 0.00025))
    # The stretching of bonds, period 9 fs, dominates at 0.5 fs; its error is of second order,
    # what pairs add at the cutoff is not.
    assert coarse / fine > 3.0


def prepared_flexible(water):
    state = water.copy()
    state.positions = rebuild_geometry(state.positions, load_model("spcfw"))
    state.velocities[:] = 0.0
    return state


def test_short_nve_run_in_mixed_precision_does_not_drift(water):
    simulation = Simulation(scene(nonbonded=Nonbonded()), water)
    simulation.step(100)
    times, totals = [], []
    for _ in range(60):
        simulation.step(25)
        row = simulation.energies()
        times.append(row.time_ps)
        totals.append(row.total_kj_mol)
    slope = np.polyfit(times, totals, 1)[0]
    # The reference's GROMACS run fluctuates by 1 kJ/mol: over 3 ps the slope is uncertain by 0.5.
    assert abs(slope) < 1.5
    assert geometry_error(simulation.state.positions, simulation.model) < 1e-12


def test_centre_of_mass_stays_at_rest(water):
    simulation = Simulation(
        scene(ensemble="nvt", thermostat="langevin", remove_com_every=10), water
    )
    simulation.step(30)
    velocities, model = simulation.state.velocities, simulation.model
    masses = np.array([model.mass_o_amu, model.mass_h_amu, model.mass_h_amu])
    momentum = (masses[:, None] * velocities).sum(axis=(0, 1))
    assert np.abs(momentum).max() < 1e-10


def test_degrees_of_freedom_and_temperature(water):
    rigid, flexible = load_model("spce"), load_model("spcfw")
    assert degrees_of_freedom(rigid, 216, com_removed=True) == 1293
    assert degrees_of_freedom(rigid, 216, com_removed=False) == 1296
    assert degrees_of_freedom(flexible, 216, com_removed=True) == 1941
    row = Simulation(scene(), water).energies()
    assert row.temperature_K == pytest.approx(2.0 * row.kinetic_kj_mol / (1293 * BOLTZMANN))


@pytest.mark.parametrize("key", ["spce", "spcfw"])
def test_drawn_velocities_have_the_mean_energy_of_their_degrees_of_freedom(water, key):
    model = load_model(key)
    positions = rebuild_geometry(water.positions, model)
    masses = np.array([model.mass_o_amu, model.mass_h_amu, model.mass_h_amu])
    dof = degrees_of_freedom(model, 216, com_removed=True)
    energies = []
    for seed in range(60):
        v = draw_velocities(positions, model, 300.0, seed)
        energies.append(0.5 * (masses[:, None] * v**2).sum())
        assert np.abs((masses[:, None] * v).sum(axis=(0, 1))).max() < 1e-10
    mean = 0.5 * dof * BOLTZMANN * 300.0
    # Standard error sqrt(2 / dof / 60) of the mean; four of them, and the seeds are fixed.
    assert np.mean(energies) == pytest.approx(mean, rel=4.0 * math.sqrt(2.0 / dof / 60))
    assert np.std(energies) > 0.5 * mean * math.sqrt(2.0 / dof)


def test_velocities_are_drawn_only_where_there_are_none(water):
    resting = water.copy()
    resting.velocities[:] = 0.0
    a, b = (prepare_start(resting, load_model("spce"), 298.15, seed) for seed in (1, 2))
    assert not np.array_equal(a.velocities, b.velocities)
    moving = prepare_start(water, load_model("spce"), 298.15, 1)
    assert np.abs(moving.velocities - water.velocities).max() < 0.5


def test_start_takes_on_the_models_geometry_in_place(water):
    model = load_model("opc")
    fit = prepare_start(water, model, 298.15, 1)
    assert geometry_error(fit.positions, model) < 1e-13
    assert np.array_equal(fit.positions[:, 0], water.positions[:, 0])
    old, new = (x[:, 1] + x[:, 2] - 2.0 * x[:, 0] for x in (water.positions, fit.positions))
    cosine = (old * new).sum(axis=1) / np.linalg.norm(old, axis=1) / np.linalg.norm(new, axis=1)
    assert cosine.min() > 1.0 - 1e-9


def test_exact_geometry_is_kept_bit_for_bit(reference):
    data = np.load(reference / "dyn_w216a_spce_RF.npz")
    start = State(*(data[k].reshape(-1, 3, 3) for k in ("pos0", "vel0")), data["box"])
    fit = prepare_start(start, load_model("spce"), 298.15, 1)
    assert np.array_equal(fit.positions, start.positions)


def test_start_with_nan_or_a_straight_molecule_is_refused(water):
    broken = water.copy()
    broken.positions[3, 1, 0] = np.nan
    with pytest.raises(InputError, match="positions of the start state must be finite"):
        prepare_start(broken, load_model("spce"), 298.15, 1)
    straight = water.copy()
    straight.positions[5, 2] = 2.0 * straight.positions[5, 0] - straight.positions[5, 1]
    with pytest.raises(InputError, match=r"molecule 5 .* has no plane"):
        prepare_start(straight, load_model("spce"), 298.15, 1)


def test_minimiser_relaxes_a_crude_lattice_and_keeps_molecules_rigid():
    model = load_model("spce")
    draw = np.random.default_rng(2)
    n, box = 216, np.diag([1.87] * 3)
    sites = np.stack(np.meshgrid(*3 * [np.arange(6)], indexing="ij"), -1).reshape(-1, 3)
    seeds = draw.normal(size=(n, 3, 3)) * 0.1
    seeds[:, 0] = sites * (1.87 / 6) + draw.normal(0.0, 0.03, (n, 3))
    seeds[:, 1:] += seeds[:, :1]
    state = State(rebuild_geometry(seeds, model), np.zeros((n, 3, 3)), box)
    simulation = Simulation(scene(), state)
    before = simulation.potential()
    after = simulation.minimise(200)
    assert after < before
    # Random orientations on a lattice end near -35 kJ/mol a molecule; liquid water has -46.
    assert after / n < -32.0
    assert geometry_error(simulation.state.positions, model) < 1e-12
    assert simulation.potential() == pytest.approx(after, abs=0.05)
    simulation.step(50)


def test_minimiser_names_the_molecules_that_lie_on_each_other(water):
    state = water.copy()
    state.positions[7] = state.positions[3]
    with pytest.raises(InputError, match="atoms lie on top of each other"):
        Simulation(scene(precision="double"), state).minimise(5)


def test_blow_up_is_one_line_with_step_and_remedy(water):
    hot = water.copy()
    hot.velocities *= 2000.0
    with pytest.raises(InputError, match=r"blew up at step 1: .*lower dt_ps \(now 0.002\)"):
        Simulation(scene(), hot).step(1)


@pytest.mark.parametrize("thermostat", ["bussi", "langevin"])
def test_thermostat_brings_water_to_its_temperature(water, thermostat):
    settings = scene(
        ensemble="nvt", thermostat=thermostat, thermostat_tau_ps=0.05, temperature_K=330.0
    )
    simulation = Simulation(settings, water)
    simulation.step(400)
    temperatures = []
    for _ in range(60):
        simulation.step(10)
        temperatures.append(simulation.energies().temperature_K)
    # σ_T = T sqrt(2 / dof) = 13 K; with τ = 50 fs there are some 12 independent values in 1.2 ps.
    assert np.mean(temperatures) == pytest.approx(330.0, abs=4.0 * 13.0 / math.sqrt(12))


def test_threads_do_not_change_a_bit(water):
    states = []
    for threads in (1, 2):
        simulation = Simulation(
            scene(ensemble="npt", nonbonded=Nonbonded()), water, threads=threads
        )
        simulation.step(30)
        states.append(simulation.state)
    assert np.array_equal(states[0].positions, states[1].positions)
    assert np.array_equal(states[0].box, states[1].box)


@pytest.mark.parametrize("ensemble", ["nve", "nvt", "npt"])
def test_many_steps_in_one_call_have_the_bits_of_single_ones(water, ensemble):
    settings = scene(ensemble=ensemble, remove_com_every=8)
    start = water.copy()
    start.step = -5  # an nve scene leaves its heat bath on the way
    whole, single = (Simulation(settings, start) for _ in range(2))
    whole.step(33)
    for _ in range(33):
        single.step(1)
    for name in ("positions", "velocities", "box"):
        assert np.array_equal(getattr(whole.state, name), getattr(single.state, name))
    assert whole.energies() == single.energies()


def test_asking_for_energies_does_not_change_a_bit(water):
    states = []
    for asked in (False, True):
        simulation = Simulation(
            scene(ensemble="npt", thermostat="langevin", barostat="monte-carlo"), water
        )
        for _ in range(30):
            simulation.step(1)
            if asked:
                simulation.energies()
        states.append(simulation.state)
    assert np.array_equal(states[0].positions, states[1].positions)
    assert np.array_equal(states[0].velocities, states[1].velocities)
