"""What tests ask of the time loop, with impulses and without them."""

import numpy as np

COUPLINGS = {"thermostat_tau_ps": 0.05, "barostat_tau_ps": 0.3, "temperature_K": 330.0}
"""Strong enough to move the total energy by far more than the truncated forces do."""


def energy_ranges(simulation, every, looks):
    """Return how far the total energy and the conserved quantity move, kJ/mol."""
    rows = []
    for _ in range(looks):
        simulation.step(every)
        rows.append(simulation.energies())
    names = ("total_kj_mol", "conserved_kj_mol")
    return [np.ptp([getattr(row, name) for row in rows]) for name in names]


def assert_runs_backwards(simulation, steps):
    """Run steps there and back: only rounding (1e-16 nm a step) may grow by the chaos of 0.1 ps."""
    first = simulation.state.copy()
    simulation.step(steps)
    simulation.state.velocities *= -1.0
    simulation.step(steps)
    assert np.abs(simulation.state.positions - first.positions).max() < 1e-10
    assert np.abs(simulation.state.velocities + first.velocities).max() < 1e-7


def assert_one_trajectory(simulations, steps):
    """Run simulations by two integrators from the velocities of one moment."""
    paths = []
    for simulation in simulations:
        simulation.potential()
        simulation._propagator.take_on_step(simulation.state.velocities.copy())
        simulation.step(steps)
        paths.append(simulation.state.positions)
    assert np.abs(paths[0] - paths[1]).max() < 1e-10
