"""Trajectories against OpenMM and GROMACS in double precision (`data/reference`)."""

import numpy as np
import pytest

from mdpipe.kernels import settle
from mdpipe.scenes.spec import Nonbonded, Scene
from mdpipe.simulation import propagator
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import State

RF = Nonbonded(electrostatics="rf", rf_epsilon=78.3, dispersion_correction=False)
PME = Nonbonded(
    pme_alpha_per_nm=4.0, pme_grid=(80, 80, 80), pme_order=5, dispersion_correction=False
)


def single_precision_lengths(model, *, unit_masses=False):
    """Return the constraint constants with the lengths as OpenMM's SETTLE stores them."""
    assert not unit_masses
    lengths = float(np.float32(model.r_oh_nm)), float(np.float32(model.r_hh_nm))
    return settle.constants(model.mass_o_amu, model.mass_h_amu, *lengths, rigid=model.rigid)


def start(reference, conf, model, tag, label):
    data = np.load(reference / f"dyn_{conf}_{model}_{tag}.npz")
    scheme, dt = label.removesuffix("fs").split("_")
    scene = Scene(
        name="a",
        ensemble="nve",
        model=model,
        steps=100,
        dt_ps=float(dt) / 1000.0,
        integrator=scheme,
        remove_com_every=0,
        precision="double",
        nonbonded=RF if tag == "RF" else PME,
    )
    positions, velocities = (data[k].reshape(-1, 3, 3) for k in ("pos0", "vel0"))
    return data, Simulation(scene, State(positions, velocities, data["box"]))


def distance(simulation, positions):
    return float(np.sqrt(np.mean((simulation.state.positions.reshape(-1, 3) - positions) ** 2)))


CASES = [
    ("w216a", "spce", "RF", "leapfrog_1fs"),
    ("w216a", "spce", "RF", "leapfrog_2fs"),
    ("w216a", "spce", "RF", "vverlet_1fs"),
    ("w216a", "spce", "RF", "vverlet_2fs"),
    ("w216a", "tip4pew", "RF", "leapfrog_1fs"),
    ("w216a", "tip4pew", "RF", "leapfrog_2fs"),
    ("w216a", "spcfw", "RF", "leapfrog_0.5fs"),
    ("w216a", "spcfw", "RF", "leapfrog_1fs"),
    ("w216a", "spcfw", "RF", "vverlet_0.5fs"),
    ("w216a", "spcfw", "RF", "vverlet_1fs"),
    ("ortho480", "spce", "RF", "leapfrog_2fs"),
    ("w216a", "spce", "PME", "leapfrog_2fs"),
    ("w216a", "tip4p2005", "PME", "vverlet_2fs"),
]


@pytest.mark.parametrize(("conf", "model", "tag", "label"), CASES)
def test_trajectory_is_openmms_given_its_lengths(reference, monkeypatch, conf, model, tag, label):
    monkeypatch.setattr(propagator, "water_constants", single_precision_lengths)
    data, simulation = start(reference, conf, model, tag, label)
    first = simulation.energies()
    assert first.kinetic_kj_mol == pytest.approx(data[f"{label}_energy"][0, 1], rel=1e-12)
    # Reaction field: the same formulas, so rounding alone, grown over 100 steps. PME: the force
    # errors of both grids (1e-6 relative), which GROMACS and OpenMM turn into 3e-6 nm.
    limits = {"RF": (1e-13, 1e-10), "PME": (1e-11, 4e-6)}[tag]
    for steps, total, limit in ((1, 1, limits[0]), (99, 100, limits[1])):
        simulation.step(steps)
        assert distance(simulation, data[f"{label}_pos_{total}"]) < limit
    last = simulation.energies()
    # PME: 4e-6 nm times the forces' rms of some 600 kJ/mol/nm over 648 atoms, signs at random.
    absolute = {"RF": 1e-6, "PME": 0.2}[tag]
    want = data[f"{label}_energy"][100]
    assert [last.potential_kj_mol, last.kinetic_kj_mol] == pytest.approx(list(want), abs=absolute)


@pytest.mark.parametrize(
    ("model", "tag", "label", "limit"),
    [
        # What GROMACS and OpenMM agree to after 100 steps is 8e-9, 2.5e-8, 3.3e-8 and 3.3e-6 nm
        # (OpenMM's lengths are rounded); with exact lengths rounding alone is left for RF.
        ("spce", "RF", "leapfrog_1fs", 1e-10),
        ("spce", "RF", "leapfrog_2fs", 1e-10),
        ("tip4pew", "RF", "leapfrog_2fs", 1e-10),
        ("spce", "PME", "leapfrog_2fs", 3.4e-6),
    ],
)
def test_trajectory_is_that_of_gromacs(reference, model, tag, label, limit):
    _, simulation = start(reference, "w216a", model, tag, label)
    other = np.load(reference / f"dyn_gromacs_w216a_{model}_{tag}.npz")
    if f"{label}_pos_1" in other:
        simulation.step(1)
        # GROMACS read its start with 12 decimals.
        assert distance(simulation, other[f"{label}_pos_1"]) < 1e-12
    simulation.step(100 - simulation.state.step)
    assert distance(simulation, other[f"{label}_pos_100"]) < limit


@pytest.mark.parametrize(("conf", "model"), [("w216a", "spce"), ("w216a", "tip4pew")])
def test_exact_lengths_stay_within_the_agreement_of_other_codes(reference, conf, model):
    data, simulation = start(reference, conf, model, "RF", "leapfrog_2fs")
    simulation.step(1)
    # README of the reference: 3e-9 nm after one step, 2.5e-8 (3-site) or 3.3e-8 nm after 100.
    assert distance(simulation, data["leapfrog_2fs_pos_1"]) < 3e-9
    simulation.step(99)
    assert distance(simulation, data["leapfrog_2fs_pos_100"]) < 3.3e-8
