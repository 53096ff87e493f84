"""Means over what the cutoffs leave out."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation.forcefield import ForceField
from mdpipe.simulation.tails import coulomb_tail, dispersion_tail


@pytest.mark.parametrize("key", ["spce", "tip4p2005"])
def test_the_coulomb_tail_is_the_integral_of_the_mean_over_orientations(key):
    model = load_model(key)
    alpha, r_cut = 3.4, 0.9
    arms = np.array([model.r_om_nm, model.r_oh_nm, model.r_oh_nm])
    charges = np.array([-2.0, 1.0, 1.0])
    # Sites are independent of each other in the mean: points on spheres, by a product rule.
    cosines = np.cos(np.pi * (np.arange(400) + 0.5) / 400)
    weights = np.sin(np.pi * (np.arange(400) + 0.5) / 400)
    weights = weights / weights.sum()
    erfc = np.vectorize(math.erfc)

    def once(r, arm):
        return np.sqrt(r[:, None] ** 2 + arm**2 + 2 * r[:, None] * arm * cosines), weights

    r = np.linspace(r_cut, 2.2, 400)
    grid = np.linspace(0.5, 2.5, 4001)
    mean = np.zeros_like(r)
    for q, a in zip(charges, arms, strict=True):
        around, w = once(grid, a)
        shell = (erfc(alpha * around) / around * w).sum(axis=1)
        for p, b in zip(charges, arms, strict=True):
            places, w = once(r, b)
            mean += q * p * (np.interp(places, grid, shell) * w).sum(axis=1)
    integral = np.trapezoid(mean * r**2, r)
    energy, virial = coulomb_tail(alpha, r_cut, charges.tolist(), arms.tolist())
    # Points on the diameter: 0.5 %; this integral: as much.
    assert energy == pytest.approx(2 * math.pi * integral, rel=0.02)
    assert virial == pytest.approx(energy + 2 / 3 * math.pi * mean[0] * r_cut**3, rel=0.02)


def test_the_virial_of_dispersion_is_twelve_and_six_times_the_parts_of_the_energy():
    model = load_model("spce")
    energy, virial = dispersion_tail(model, 0.9)
    twelfth = 2 * math.pi * model.c12 / (9 * 0.9**9)
    sixth = energy - twelfth
    assert virial == pytest.approx((12 * twelfth + 6 * sixth) / 3)


def test_a_bare_molecule_without_arms_has_no_tail():
    energy, virial = coulomb_tail(3.0, 0.9, [-2.0, 1.0, 1.0], [0.0, 0.0, 0.0])
    assert abs(energy) < 1e-15
    assert abs(virial) < 1e-15


@pytest.mark.parametrize("name", ["w512_spce", "w4096_spce"])
def test_energies_with_a_cutoff_between_oxygens_are_those_of_a_converged_sum(name, reference):
    told = json.loads((reference / f"case_{name}.json").read_text())
    with np.load(reference / f"case_{name}.npz") as data:
        positions, box = data["pos"].reshape(-1, 3, 3), data["box"]
    n = len(positions)
    field = ForceField(load_model("spce"), Nonbonded(), box, n, precision="mixed")
    energies, _ = field.evaluate(positions, box, np.zeros_like(positions))
    # 0.0005 are left, of the liquid's structure beyond the cutoff; without the tail 0.002.
    assert abs(energies.coulomb - told["E_coul_pme"]) / n < 0.001
    assert abs(energies.lj - told["E_lj_trunc"]) / n < 1e-5
