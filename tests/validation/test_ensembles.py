"""Ensembles by physical_validation: kinetic energy, two temperatures, two pressures.

216 SPC/E molecules, reaction field, mixed precision, 2 fs, 200 ps each after 10 ps. The couplings
are tighter than the defaults, which gives more independent samples from the same length.

References
----------
Shirts, J. Chem. Theory Comput. 9, 909 (2013), DOI 10.1021/ct300688p;
Merz and Shirts, PLoS ONE 13, e0202764 (2018), DOI 10.1371/journal.pone.0202764.
"""

import sys

import numpy as np
import pytest

from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded, Scene
from mdpipe.simulation.degrees import degrees_of_freedom
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import State

physical_validation = pytest.importorskip("physical_validation")

pytestmark = [
    pytest.mark.validation,
    # Of pymbar and matplotlib, which physical_validation brings along.
    pytest.mark.filterwarnings("default"),
]

COLD, WARM = 298.15, 310.15
LOW, HIGH = 1.0, 501.0
STEPS, EQUILIBRATION, EVERY = 100_000, 5_000, 50
RUNS: dict = {}

SCHEMES = {
    "bussi": {"thermostat": "bussi", "thermostat_tau_ps": 0.2},
    "bussi leapfrog": {
        "thermostat": "bussi",
        "thermostat_tau_ps": 0.2,
        "integrator": "leapfrog",
    },
    "langevin": {"thermostat": "langevin", "thermostat_tau_ps": 0.2},
    "stochastic-cell-rescaling": {"barostat_tau_ps": 0.5, "thermostat_tau_ps": 0.2},
    "monte-carlo": {
        "barostat": "monte-carlo",
        "thermostat": "langevin",
        "thermostat_tau_ps": 0.2,
    },
}


def say(line):
    """Show a statement of sigma; pytest shows it with -s or -rA."""
    sys.stdout.write(line + "\n")


def table(reference, name, ensemble, temperature=COLD, pressure=LOW):
    """Return the energy table of a run, made once for all tests."""
    key = (name, ensemble, temperature, pressure)
    if key not in RUNS:
        conf = np.load(reference / "conf_w216a.npz")
        scene = Scene(
            name="a",
            ensemble=ensemble,
            steps=STEPS,
            temperature_K=temperature,
            pressure_bar=pressure,
            nonbonded=Nonbonded(electrostatics="rf", r_cut_nm=0.85),
            **SCHEMES[name],
        )
        simulation = Simulation(scene, State(conf["pos"], conf["vel"], conf["box"]))
        simulation.step(EQUILIBRATION)
        rows = []
        for _ in range(STEPS // EVERY):
            simulation.step(EVERY, evaluate_last=True)
            rows.append(simulation.energies())
        RUNS[key] = {n: np.array([getattr(r, n) for r in rows]) for n in rows[0]._fields}
    return RUNS[key]


def observed(run, ensemble, temperature, pressure):
    """Return a run in the form of physical_validation (GROMACS units: kJ/mol, nm³, bar)."""
    data = physical_validation.data
    settings = {"natoms": 648, "temperature": temperature}
    if ensemble == "npt":
        settings["pressure"] = pressure
    else:
        settings["volume"] = float(run["volume_nm3"][0])
    return data.SimulationData(
        units=data.UnitData.units("GROMACS"),
        dt=0.002,
        system=data.SystemData(
            natoms=648,
            nconstraints=648,
            ndof_reduction_tra=3,
            ndof_reduction_rot=0,
        ),
        ensemble=data.EnsembleData(ensemble.upper(), **settings),
        observables=data.ObservableData(
            kinetic_energy=run["kinetic_kj_mol"],
            potential_energy=run["potential_kj_mol"],
            total_energy=run["total_kj_mol"],
            volume=run["volume_nm3"],
        ),
    )


@pytest.mark.parametrize("name", ["bussi", "bussi leapfrog", "langevin"])
def test_kinetic_energy_has_the_canonical_distribution(reference, name):
    run = table(reference, name, "nvt")
    dof = degrees_of_freedom(load_model("spce"), 216, com_removed=True)
    assert dof == 6 * 216 - 3
    mean, width = physical_validation.kinetic_energy.distribution(
        observed(run, "nvt", COLD, LOW), strict=False, verbosity=0, bootstrap_seed=1
    )
    say(f"\n{name}: kinetic energy off by {mean:.2f} sigma (mean), {width:.2f} sigma (width)")
    assert mean < 3.0
    assert width < 3.0


@pytest.mark.parametrize("name", ["bussi", "langevin"])
def test_potential_energies_at_two_temperatures_have_the_canonical_ratio(reference, name):
    cold, warm = (observed(table(reference, name, "nvt", t), "nvt", t, LOW) for t in (COLD, WARM))
    (sigma,) = physical_validation.ensemble.check(
        cold, warm, total_energy=False, verbosity=0, bootstrap_seed=1
    )
    say(f"\n{name}: slope of the two-temperature ratio off by {sigma:.2f} sigma")
    assert abs(sigma) < 3.0


@pytest.mark.parametrize("name", ["stochastic-cell-rescaling", "monte-carlo"])
def test_volumes_at_two_pressures_have_the_isothermal_isobaric_ratio(reference, name):
    low, high = (
        observed(table(reference, name, "npt", COLD, p), "npt", COLD, p) for p in (LOW, HIGH)
    )
    (sigma,) = physical_validation.ensemble.check(
        low, high, total_energy=False, verbosity=0, bootstrap_seed=1
    )
    say(f"\n{name}: slope of the two-pressure ratio off by {sigma:.2f} sigma")
    assert abs(sigma) < 3.0


@pytest.mark.parametrize("name", ["stochastic-cell-rescaling", "monte-carlo"])
def test_mean_pressure_is_that_of_the_barostat(reference, name):
    run = table(reference, name, "npt", COLD, LOW)
    pressure = run["pressure_bar"]
    blocks = pressure[: len(pressure) // 20 * 20].reshape(20, -1).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(20)
    say(f"\n{name}: mean pressure {pressure.mean():.0f} ± {error:.0f} bar")
    # Volume scaling keeps <P V> exact and <P> up to kT/V = 6 bar.
    assert abs(pressure.mean() - LOW) < 3.0 * error + 6.4


def test_densities_by_both_barostats_agree(reference):
    values = []
    for name in ("stochastic-cell-rescaling", "monte-carlo"):
        density = table(reference, name, "npt", COLD, LOW)["density_g_cm3"]
        blocks = density[: len(density) // 10 * 10].reshape(10, -1).mean(axis=1)
        values.append((density.mean(), blocks.std(ddof=1) / np.sqrt(10)))
    (a, error_a), (b, error_b) = values
    say(f"\ndensity {a:.4f} ± {error_a:.4f} and {b:.4f} ± {error_b:.4f} g/cm³")
    assert abs(a - b) < 3.0 * np.hypot(error_a, error_b)
