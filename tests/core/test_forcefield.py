"""The force field: reference numbers of other codes, invariances, bits, neighbour-list safety."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.failures import InputError, StudyError
from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation.forcefield import ForceField
from mdpipe.simulation.pme_cost import cheapest_grid, friendly_sizes, reciprocal_cost
from mdpipe.simulation.pme_plan import plan_pme
from mdpipe.units import BAR_PER_KJ_MOL_NM3, BOLTZMANN

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "data" / "reference"
NIST = ROOT / ".." / "shared" / "reference" / "nist"
SINGLE = sorted(path.stem.removeprefix("case_") for path in REFERENCE.glob("case_*.npz"))
RF = Nonbonded(electrostatics="rf", rf_epsilon=78.3, dispersion_correction=False)


def case(name):
    info = json.loads((REFERENCE / f"case_{name}.json").read_text())
    with np.load(REFERENCE / f"case_{name}.npz") as data:
        arrays = dict(data)
    return load_model(info["model"]), arrays["pos"].reshape(-1, 3, 3), arrays["box"], info, arrays


def run(model, positions, box, nonbonded=RF, precision="double"):
    field = ForceField(model, nonbonded, box, len(positions), precision=precision)
    forces = np.zeros_like(positions)
    return field.evaluate(positions, box, forces), forces, field


def deviation(value, reference):
    reference = reference.reshape(value.shape)
    return math.sqrt(((value - reference) ** 2).sum() / (reference**2).sum())


@pytest.mark.parametrize("name", ["w216a_opc", "w216a_spcfw", "tro360_tip4pew", "ortho480_tip3p"])
def test_a_tolerance_in_mixed_precision_meets_the_reference_forces(name):
    model, positions, box, info, arrays = case(name)
    nonbonded = Nonbonded(pme_tolerance=1e-4)
    (energies, _), forces, _ = run(model, positions, box, nonbonded, "mixed")
    # The tolerance asked for; the limit of acceptance is 2e-4.
    assert deviation(forces, arrays["F_pme"]) < 1e-4
    assert energies.lj == pytest.approx(info["E_lj_trunc"], rel=1e-6)
    assert energies.coulomb == pytest.approx(info["E_coul_pme"], rel=5e-5)


@pytest.mark.parametrize("name", SINGLE)
def test_default_settings_in_mixed_precision_meet_the_reference_forces(name):
    model, positions, box, info, arrays = case(name)
    (energies, _), forces, field = run(model, positions, box, Nonbonded(), "mixed")
    # The tolerance asked for, and the limit of acceptance. GROMACS with its defaults: 5.6e-4.
    assert deviation(forces, arrays["F_pme"]) < 2e-4
    assert energies.coulomb == pytest.approx(info["E_coul_pme"], rel=5e-5)
    told = field.describe()
    errors = (told["estimated_real_error"], told["estimated_reciprocal_error"])
    assert math.hypot(*errors) <= Nonbonded().pme_tolerance


@pytest.mark.parametrize("name", ["w216a_spce", "tro360_tip4p2005"])
def test_a_tight_tolerance_in_double_precision_meets_the_reference_forces(name):
    model, positions, box, info, arrays = case(name)
    nonbonded = Nonbonded(pme_tolerance=3e-7)
    (energies, virial), forces, field = run(model, positions, box, nonbonded)
    assert deviation(forces, arrays["F_pme"]) < 6e-7
    # The stored PME is good to 1e-8 of the Coulomb energy, this one to the tolerance.
    assert energies.total == pytest.approx(info["E_total_pme_dispstd"], rel=3e-7)
    assert field.describe()["pme_order"] in {4, 5}
    assert np.abs(virial).max() < np.abs(info["W_mol_lj"]).max()


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4, 1e-5])
@pytest.mark.parametrize("order", [4, 5])
def test_the_chosen_plan_keeps_the_tolerance_without_waste(tolerance, order):
    model, positions, box, _, arrays = case("w216a_spce")
    nonbonded = Nonbonded(pme_tolerance=tolerance, pme_order=order)
    _, forces, _ = run(model, positions, box, nonbonded)
    error = deviation(forces, arrays["F_pme"])
    # The estimate is good to a factor 1.5 and the grid steps are coarse.
    assert 0.1 * tolerance < error < 1.2 * tolerance


def _nist(name):
    path = NIST / name
    if not path.exists():
        pytest.skip(f"NIST configurations are not beside the project ({path})")
    rows = [line.split() for line in path.read_text().splitlines()[2:] if line.strip()]
    header = [float(x) for x in path.read_text().splitlines()[1].split()[1:]]
    box = np.diag(header[:3])
    if len(header) > 3:
        box[1, 0], box[2, 0], box[2, 1] = header[3:6]
    positions = np.array([[float(x) for x in row[1:4]] for row in rows]).reshape(-1, 3, 3) / 10
    return _whole(positions, box / 10), box / 10


def _whole(positions, box):
    d = positions - positions[:, :1]
    return positions[:, :1] + d - np.round(d @ np.linalg.inv(box)) @ box


def _nist_spce():
    epsilon = 78.19743111 * BOLTZMANN
    return replace(load_model("spce"), sigma_nm=0.316555789, epsilon_kj_mol=epsilon)


def test_the_cuboid_of_nist_gives_the_printed_energies():
    positions, box = _nist("spce_cuboid1.xyz")
    model = _nist_spce()
    alpha = 5.6 / 2.0
    nonbonded = Nonbonded(r_cut_nm=1.0, pme_alpha_per_nm=alpha, pme_order=5, pme_grid=(96, 96, 96))
    (energies, _), _, _ = run(model, positions, box, nonbonded)
    # Six digits are printed; the Coulomb constant of NIST differs in the seventh.
    for value, printed in (
        (energies.lj, 9.95387e4),
        (energies.dispersion, -8.23715e2),
        (energies.coulomb_real, -5.58889e5),
        (energies.coulomb_self, -2.84469e6),
        (energies.coulomb_exclusion, 2.80999e6),
    ):
        assert value / BOLTZMANN == pytest.approx(printed, rel=4e-6)
    # The k sum is cut off at sum of squares 27 there, and converged here.
    assert energies.coulomb_reciprocal / BOLTZMANN == pytest.approx(6.27009e3, rel=2e-3)
    # The totals of the table are converged in k space, at the cutoff of 1 nm and this alpha:
    # what erfc leaves beyond the cutoff is 0.02 kJ/mol.
    other = nonbonded.model_copy(update={"pme_alpha_per_nm": 3.0, "pme_grid": (144, 144, 144)})
    (energies, _), _, _ = run(model, positions, box, other)
    assert energies.coulomb == pytest.approx(-4883.208661, abs=5e-6)
    assert energies.total == pytest.approx(-4062.446307, abs=5e-6)


def test_the_triclinic_cell_of_nist_gives_the_printed_energies():
    positions, box = _nist("spce_triclinic1.xyz")
    model = _nist_spce()
    nonbonded = Nonbonded(
        r_cut_nm=1.0, pme_alpha_per_nm=2.850, pme_order=5, pme_grid=(180, 180, 180)
    )
    (energies, _), _, _ = run(model, positions, box, nonbonded)
    for value, printed in (
        (energies.lj, 931.15451),
        (energies.dispersion, -34.16569),
        (energies.coulomb_real, -6046.43627),
        (energies.coulomb_self, -96297.75579),
        (energies.coulomb_exclusion, 95078.89447),
    ):
        # Eight digits are printed, with another Coulomb constant in the eighth.
        assert value == pytest.approx(printed, rel=2e-7)
    assert energies.coulomb == pytest.approx(-6890.775461, abs=5e-6)
    assert energies.total == pytest.approx(-5993.786633, abs=5e-6)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 10_000), name=st.sampled_from(["w216a_spcfw", "w216a_tip4pew"]))
def test_forces_are_the_negative_gradient_of_the_energy(seed, name):
    model, positions, box, _, _ = case(name)
    rng = np.random.default_rng(seed)
    positions = positions + rng.normal(size=(len(positions), 1, 3)) * 1e-3
    # Tight, as plain PME forces are the exact gradient of its energy but for the cutoff.
    nonbonded = Nonbonded(pme_alpha_per_nm=5.0, pme_grid=(28, 28, 28))
    field = ForceField(model, nonbonded, box, len(positions), precision="double")
    forces, scratch = np.zeros_like(positions), np.zeros_like(positions)
    field.evaluate(positions, box, forces)
    direction = np.zeros_like(positions)
    some = rng.choice(len(positions), 4, replace=False)
    direction[some] = rng.normal(size=(4, 3, 3))
    h = 1e-6
    up, down = (
        field.evaluate(positions + s * h * direction, box, scratch).energies.total for s in (1, -1)
    )
    slope = (up - down) / (2 * h)
    work = (forces * direction).sum()
    # Rounding of 1e4 kJ/mol over 2e-6 nm, and pairs that cross the Lennard-Jones cutoff: their
    # energy there is 0.005 kJ/mol.
    assert -slope == pytest.approx(work, abs=2e-3 * np.abs(forces[some]).max())


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), precision=st.sampled_from(["double", "mixed"]))
def test_translation_images_and_order_of_molecules_change_nothing(seed, precision):
    model, positions, box, _, _ = case("tro360_tip4p2005")
    rng = np.random.default_rng(seed)
    (before, virial), forces, _ = run(model, positions, box, RF, precision)
    order = rng.permutation(len(positions))
    images = rng.integers(-2, 3, (len(positions), 3)).astype(float) @ box
    moved = (positions + images[:, None] + rng.normal(size=3))[order]
    (after, moved_virial), moved_forces, _ = run(model, moved, box, RF, precision)
    # Rounding of coordinates of 10 nm, and of sums in another order.
    tolerance = 1e-10 if precision == "double" else 2e-6
    assert deviation(moved_forces, forces[order]) < tolerance
    assert after.total == pytest.approx(before.total, rel=tolerance)
    assert np.abs(virial - moved_virial).max() < tolerance * 1e5


@pytest.mark.parametrize("precision", ["double", "mixed"])
def test_reaction_field_forces_sum_to_zero(precision):
    model, positions, box, _, _ = case("w216a_opc")
    _, forces, _ = run(model, positions, box, RF, precision)
    # Each pair's forces are opposite in the same bits but for the spreading of the virtual site.
    tolerance = 1e-9 if precision == "double" else 0.05
    assert np.abs(forces.sum(axis=(0, 1))).max() < tolerance


@pytest.mark.parametrize("precision", ["double", "mixed"])
@pytest.mark.parametrize("nonbonded", [RF, Nonbonded()], ids=["rf", "pme"])
def test_bits_depend_neither_on_threads_nor_on_the_call(precision, nonbonded):
    model, positions, box, _, _ = case("ortho480_opc")
    results = []
    threads = numba.get_num_threads()
    try:
        for count in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(count)
            evaluation, forces, field = run(model, positions, box, nonbonded, precision)
            again = np.zeros_like(forces)
            field.compute(positions, box, again)
            field.invalidate()
            third = np.zeros_like(forces)
            field.compute(positions, box, third)
            assert np.array_equal(forces, again)
            assert np.array_equal(forces, third)
            assert field.rebuilds == 2
            results.append((forces, evaluation.virial, evaluation.energies))
    finally:
        numba.set_num_threads(threads)
    assert np.array_equal(results[0][0], results[1][0])
    assert np.array_equal(results[0][1], results[1][1])
    assert results[0][2] == results[1][2]


@pytest.mark.parametrize("jump", [0.03, 0.049, 0.06, 0.4, 5.0])
def test_a_molecule_that_moved_too_far_triggers_a_rebuild_and_none_is_missed(jump):
    model, positions, box, _, _ = case("w216a_spce")
    _, _, field = run(model, positions, box)
    moved = positions.copy()
    moved[7] += np.array([jump, 0, 0])
    forces = np.zeros_like(moved)
    field.compute(moved, box, forces)
    # Two molecules may each have moved by half of the 0.1 nm of the buffer.
    assert field.rebuilds == (1 if jump < 0.05 else 2)
    _, fresh, _ = run(model, moved, box)
    assert deviation(forces, fresh) < 1e-12


@pytest.mark.parametrize(("factor", "rebuilds"), [(0.91, 2), (0.985, 1), (0.9999, 1), (1.02, 1)])
def test_a_strained_box_keeps_every_pair(factor, rebuilds):
    model, positions, box, _, _ = case("w512_spce")
    _, _, field = run(model, positions, box)
    centres = positions[:, :1]
    moved = positions + centres * (factor - 1)
    forces = np.zeros_like(moved)
    field.compute(moved, box * factor, forces)
    _, fresh, _ = run(model, moved, box * factor)
    assert deviation(forces, fresh) < 1e-12
    # The list reaches to 1.2 nm and 1.1 nm are needed, so shrinking by 9 % needs another.
    assert field.rebuilds == rebuilds


def test_a_stretched_flexible_molecule_is_seen_by_the_list():
    model, positions, box, _, _ = case("w216a_spcfw")
    _, _, field = run(model, positions, box)
    moved = positions.copy()
    moved[5, 1] += 3 * (moved[5, 1] - moved[5, 0])
    forces = np.zeros_like(moved)
    field.compute(moved, box, forces)
    assert field.rebuilds == 2
    _, fresh, _ = run(model, moved, box)
    assert deviation(forces, fresh) < 1e-12


def test_the_virial_is_the_derivative_of_the_energy_by_the_strain_of_centres():
    model, positions, box, _, _ = case("tro360_tip4pew")
    nonbonded = Nonbonded(pme_alpha_per_nm=4.0, pme_grid=(40, 40, 40))
    (_, virial), _, _ = run(model, positions, box, nonbonded)
    mass = np.array([model.mass_o_amu, model.mass_h_amu, model.mass_h_amu]) / model.mass_amu
    centres = np.einsum("a,nac->nc", mass, positions)[:, None]
    h = 2e-6
    totals = []
    for s in (h, -h):
        moved = positions + s * centres
        (energies, _), _, _ = run(model, moved, box * (1 + s), nonbonded)
        totals.append(energies.total - energies.dispersion)
    slope = (totals[0] - totals[1]) / (2 * h)
    (_, bare), _, _ = run(
        model, positions, box, nonbonded.model_copy(update={"dispersion_correction": False})
    )
    # Pairs that cross the cutoff (0.005 kJ/mol each in 4e-6 of the length), and rounding.
    assert -slope == pytest.approx(np.trace(bare), rel=0.02)
    assert np.trace(virial) < np.trace(bare)


def test_wrong_boxes_and_positions_are_named_in_one_line():
    model, positions, box, _, _ = case("w216a_spce")
    with pytest.raises(InputError, match=r"box must be at least 2 r_cut = 1.8 nm .* got \[1.79"):
        ForceField(model, RF, np.eye(3) * 1.79, 216, precision="double")
    with pytest.raises(InputError, match="lower triangular"):
        ForceField(model, RF, box + np.eye(3, k=1) * 0.1, 216, precision="double")
    _, forces, field = run(model, positions, box)
    with pytest.raises(InputError, match="box must be at least 2 r_cut"):
        field.compute(positions, box * 0.9, forces)
    broken = positions.copy()
    broken[3, 1, 2] = np.nan
    with pytest.raises(InputError, match="positions must be finite"):
        field.compute(broken, box, forces)
    with pytest.raises(InputError, match=r"must have the shape \(216, 3, 3\)"):
        field.compute(positions[:10], box, forces)


def test_impossible_pme_settings_are_named():
    model, _, box, _, _ = case("w216a_spce")
    coarse = Nonbonded(pme_grid=(8, 32, 32), pme_alpha_per_nm=3.0, pme_order=5)
    with pytest.raises(StudyError, match="pme_grid must be at least 10"):
        plan_pme(model, coarse, box, 216, mixed=False)
    steep = Nonbonded(pme_alpha_per_nm=5.0)
    with pytest.raises(StudyError, match=r"pme_alpha_per_nm x r_cut_nm <= 4\.2"):
        plan_pme(model, steep, box, 216, mixed=True)


def test_grid_sizes_are_even_products_of_small_primes():
    sizes = friendly_sizes(43)
    assert [next(sizes) for _ in range(5)] == [48, 50, 54, 56, 60]


@pytest.mark.parametrize("name", ["w512_spce", "w512_tip4p2005", "tro360_spce", "ice432_spce"])
def test_the_pressure_of_mixed_precision_is_that_of_a_converged_sum(name):
    model, positions, box, _, _ = case(name)
    traces = []
    for tolerance, precision in ((2e-6, "double"), (Nonbonded().pme_tolerance, "mixed")):
        nonbonded = Nonbonded(pme_tolerance=tolerance)
        (_, virial), _, _ = run(model, positions, box, nonbonded, precision)
        traces.append(np.trace(virial))
    volume = float(np.prod(np.diag(box)))
    # The interpolation alone leaves up to 4 bar with GROMACS's defaults.
    assert abs(traces[1] - traces[0]) / (3 * volume) * BAR_PER_KJ_MOL_NM3 < 12.0


def test_grids_in_mixed_precision_fill_vectors_and_save_passes():
    # 60 takes three passes, 64 two, and 54 fills no more vectors than 64.
    assert cheapest_grid((54, 60, 58), 4, 8000) == (56, 64, 64)
    assert cheapest_grid((16, 16, 16), 4, 300) == (16, 16, 16)
    coarse, fine = (reciprocal_cost((k, k, k), 4, 1000) for k in (32, 64))
    assert coarse < fine < 16 * coarse
    assert reciprocal_cost((32, 32, 32), 4, 1000) < reciprocal_cost((32, 32, 32), 5, 1000)


@pytest.mark.parametrize("tolerance", [1e-3, 3e-4, 1e-4])
@pytest.mark.parametrize("order", [4, 5, None])
def test_the_plan_of_mixed_precision_keeps_the_tolerance(tolerance, order):
    model, positions, box, _, arrays = case("w512_spce")
    nonbonded = Nonbonded(pme_tolerance=tolerance, pme_order=order)
    _, forces, _ = run(model, positions, box, nonbonded, "mixed")
    # The estimates are good to a factor 1.5, and a finer grid may be cheaper.
    assert 0.1 * tolerance < deviation(forces, arrays["F_pme"]) < 1.2 * tolerance


@pytest.mark.parametrize("length", [3.0, 10.0, 40.0])
def test_a_grid_is_found_for_large_boxes_and_tight_tolerances(length):
    # the search passes grids so coarse that the error estimate leaves the range of floats
    tight = Nonbonded(pme_tolerance=1e-7, pme_order=5)
    plan = plan_pme(load_model("spce"), tight, np.eye(3) * length, 1000, mixed=False)
    loose = plan_pme(load_model("spce"), Nonbonded(), np.eye(3) * length, 1000, mixed=False)
    assert min(plan.grid) > min(loose.grid) > length / 0.2
