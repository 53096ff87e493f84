"""The reciprocal sum in explicit vectors: transforms, spreading, gathering, bits."""

from __future__ import annotations

import ctypes

import numba
import numpy as np
import pytest

from mdpipe.kernels import mesh
from mdpipe.kernels.mesh_step import WORK, mesh_sweep_address
from mdpipe.kernels.simd import LANES, traced
from mdpipe.kernels.transform import factorise, plan_transform, transform
from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation.forcefield import ForceField
from mdpipe.simulation.mesh_reciprocal import MeshReciprocal, can_transform
from mdpipe.simulation.neighbours import Neighbours
from mdpipe.simulation.pme_plan import PmePlan
from mdpipe.simulation.reciprocal import Reciprocal, choose_reciprocal

pytestmark = pytest.mark.skipif(
    numba.config.DISABLE_JIT or LANES == 0, reason="needs compiled code and a known vector unit"
)

CHARGES = np.array([-10.0, 5.0, 5.0])
BOXES = {
    "cube": np.eye(3) * 1.3,
    "slab": np.diag([1.0, 1.45, 2.2]),
    "tilted": np.array([[1.25, 0.0, 0.0], [0.6, 1.3, 0.0], [-0.6, 0.64, 1.35]]),
}
GRIDS = {"cube": (16, 16, 16), "slab": (15, 21, 25), "tilted": (20, 35, 18)}


@traced
def write_transform(trace, plan, factors, source, target, scratch):
    steps = (2 * LANES, LANES)
    transform(trace, plan, factors, (source, *steps), (target, *steps), scratch)


@traced
def write_multiplication(trace, layout, plans, factors, grid, waves, influence, scratch):
    with trace.loop(0, (layout[0] + 1) >> 1) as pair:
        mesh.charges_to_waves(trace, pair, layout, plans, factors, grid, waves, scratch)
    with trace.loop(0, (layout[1] >> 1) + 1) as y:
        none, zero = trace.scratch("f64", 7), trace.index(0)
        rest = ([scratch] * 3, none, none, zero, zero, none)
        mesh.multiply_waves(
            trace, y, layout, plans, factors, waves, influence, scratch, *rest
        )  # fmt: skip
    with trace.loop(0, (layout[0] + 1) >> 1) as pair:
        mesh.waves_to_potential(trace, pair, layout, plans, factors, waves, grid, scratch)


@numba.njit
def run_transform(plan, factors, source, target, scratch):
    write_transform(plan, factors, source, target, scratch)


@numba.njit
def run_multiplication(layout, plans, factors, grid, waves, influence, scratch):
    write_multiplication(layout, plans, factors, grid, waves, influence, scratch)


def placed(n, box, seed, dtype, first=None):
    """Molecules anywhere in the box, as the neighbour list hands them over."""
    own = Neighbours(n, 0.4, 0.05, 0.0, dtype)
    rng = np.random.default_rng(seed)
    centres = rng.random((n, 3)) @ box
    if first is not None:
        centres[: len(first)] = first
    own.centres[:] = centres
    own.offsets[:] = rng.normal(scale=0.05, size=(n, 9))
    own.offsets[:, :3] *= 0.2
    return own


def both(n, box, grid, order, first=None, alpha=3.5):
    plan = PmePlan(alpha, grid, order, 0.0, 0.0)
    plain = Reciprocal(plan, CHARGES, n, np.float64)
    fast = MeshReciprocal(plan, CHARGES, n)
    for own, dtype in ((plain, np.float64), (fast, np.float32)):
        own.compute(placed(n, box, n, dtype, first), box, energies=True)
    return plain, fast


@pytest.mark.parametrize(
    "size", [2, 3, 5, 7, 8, 9, 10, 12, 20, 28, 30, 36, 42, 49, 64, 75, 120, 160]
)
def test_each_lane_is_transformed_as_numpy_does_it(size):
    rng = np.random.default_rng(size)
    plan, factors = plan_transform(size, 3)
    factors = np.concatenate([np.zeros(3, np.float32), factors])
    x = rng.normal(size=(size, 2, LANES)).astype(np.float32)
    y = np.zeros_like(x)
    run_transform(plan, factors, x, y, np.zeros(4 * LANES * size, np.float32))
    exact = np.fft.fft(x[:, 0].astype(np.float64) + 1j * x[:, 1], axis=0)
    # 24 bits over log2(160) butterflies.
    assert np.abs(y[:, 0] + 1j * y[:, 1] - exact).max() < 3e-7 * np.abs(exact).max()


def test_lengths_split_into_the_fewest_passes_or_none():
    assert factorise(64) == [8, 8]
    assert factorise(56) == [8, 7]
    assert factorise(60) == [5, 4, 3]
    assert factorise(7) == [7]
    assert factorise(22) == factorise(13) == []


@pytest.mark.parametrize("shape", [(10, 12, 14), (9, 15, 21), (16, 5, 35), (7, 20, 8)])
def test_a_grid_is_multiplied_in_reciprocal_space(shape):
    kx, ky, kz = shape
    layout = mesh.lay_out(shape)
    rng = np.random.default_rng(kx)
    charges = rng.normal(size=shape).astype(np.float32)
    factor = rng.uniform(size=shape)
    factor = factor + np.roll(factor[::-1, ::-1, ::-1], 1, (0, 1, 2))
    influence = np.zeros((layout.waves_y, layout.blocks_x * LANES, kz), np.float32)
    influence[:, :kx] = 0.5 * factor[:, : layout.waves_y].transpose(1, 0, 2)
    influence = influence.reshape(layout.waves_y, layout.blocks_x, LANES, kz).swapaxes(2, 3)
    grid = np.zeros((layout.planes, layout.plane), np.float32)
    rows = grid[:, : (ky + mesh.PAD) * layout.row].reshape(layout.planes, ky + mesh.PAD, layout.row)
    rows[:kx, :ky, :kz] = charges
    # What was spread beyond a face belongs to the other one.
    rows[:kx, ky + 1, kz + 2] = -charges[:, 1, 2]
    rows[:kx, 1, 2] += charges[:, 1, 2]
    waves = np.zeros(layout.waves_y * layout.wave_plane, np.float32)
    scratch = np.zeros(mesh.scratch_length(layout), np.float32)
    arrays = (grid, waves, influence.reshape(-1), scratch)
    run_multiplication(tuple(layout), *mesh.plan_mesh(layout), *arrays)
    exact = np.fft.ifftn(np.fft.fftn(charges.astype(np.float64)) * factor).real * charges.size
    assert np.abs(rows[:kx, :ky, :kz] - exact).max() < 5e-7 * np.abs(exact).max()
    assert np.array_equal(rows[:, ky:, :kz], rows[:, : mesh.PAD, :kz][:, : rows.shape[1] - ky])
    assert np.array_equal(rows[..., kz : kz + 5], rows[..., :5])


@pytest.mark.parametrize("order", [4, 5])
@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("n", [1, LANES - 1, LANES + 1, 50])
def test_forces_energy_and_virial_equal_those_of_the_double_path(name, n, order):
    plain, fast = both(n, BOXES[name], GRIDS[name], order)
    scale = np.sqrt((plain.forces**2).mean())
    assert np.abs(fast.forces - plain.forces).max() < 1e-5 * scale
    exact, sums = plain.sums.sum(axis=0), fast.sums.sum(axis=0)
    # The waves of half the sampling frequency, whose sign is arbitrary, differ in the virial.
    assert np.abs(sums - exact).max() < 1e-5 * exact[0]
    assert sums[0] == pytest.approx(exact[0], rel=2e-6)


@pytest.mark.parametrize("grid", [(16, 16, 16), (15, 21, 25)])
def test_waves_of_half_the_sampling_frequency_count_once(grid):
    # An alpha at which they weigh as much as others.
    plain, fast = both(20, BOXES["cube"], grid, 4, alpha=20.0)
    assert fast.sums[:, 0].sum() == pytest.approx(plain.sums[:, 0].sum(), rel=2e-6)


def test_a_box_that_changed_leaves_nothing_behind():
    plan = PmePlan(3.5, (16, 16, 16), 4, 0.0, 0.0)
    told = []
    for boxes in ((BOXES["tilted"], BOXES["cube"]), (BOXES["cube"],)):
        own = MeshReciprocal(plan, CHARGES, 20)
        for box in boxes:
            own.compute(placed(20, BOXES["cube"], 3, np.float32), box, energies=True)
        told.append((own.forces, own.sums))
    assert np.array_equal(told[0][0], told[1][0])
    assert np.array_equal(told[0][1], told[1][1])


@pytest.mark.parametrize("order", [4, 5])
def test_a_task_writes_charges_to_its_own_planes_alone(order, monkeypatch):
    tasks, n = 3, 70
    monkeypatch.setattr(numba, "get_num_threads", lambda: tasks)
    own = MeshReciprocal(PmePlan(3.5, (15, 14, 20), order, 0.0, 0.0), CHARGES, n)
    own._small = False
    own.compute(placed(n, BOXES["tilted"], 4, np.float32), BOXES["tilted"], energies=False)
    number = ctypes.c_int64
    sweep = ctypes.CFUNCTYPE(None, number, number, number, ctypes.c_void_p)(mesh_sweep_address())
    planes, pairs = own.layout.planes, own.layout.planes // 2
    grid = own._arrays["grid"].reshape(planes + tasks, own.layout.plane)
    for task in range(tasks):
        grid[:] = 7.0
        sweep(1, task, tasks, own._work.ctypes.data)
        mine = [*range(2 * (task * pairs // tasks), 2 * ((task + 1) * pairs // tasks))]
        # What it sends to foreign planes goes to one of its own that nobody reads.
        written = np.flatnonzero((grid != 7.0).any(axis=1))
        assert written.tolist() == [*mine, planes + task]


@pytest.mark.parametrize("order", [4, 5])
def test_sites_on_faces_and_grid_points_are_no_exception(order):
    box = np.diag([1.0, 2.0, 4.0])
    first = [
        [0, 0, 0],
        [1, 2, 4],
        [-1e-18, 1.0, 2.0],
        [0.5, -1e-18, -1e-9],
        [0.0625, 0.125, 0.25],
        [1 - 1e-17, 2 - 1e-16, 4 - 1e-15],
        [7.3, -5.0, 11.9],
    ]
    plain, fast = both(9, box, (16, 16, 16), order, first)
    scale = np.sqrt((plain.forces**2).mean())
    assert np.abs(fast.forces - plain.forces).max() < 1e-5 * scale


@pytest.mark.parametrize("order", [4, 5])
def test_positions_that_are_no_numbers_give_forces_that_are_none(order):
    own = MeshReciprocal(PmePlan(3.5, (16, 16, 16), order, 0.0, 0.0), CHARGES, 3)
    sites = placed(3, BOXES["cube"], 1, np.float32)
    sites.centres[1] = np.nan, np.inf, 1e300
    own.compute(sites, BOXES["cube"], energies=False)
    assert np.isnan(own.forces[3:6]).all()


@pytest.mark.parametrize("order", [4, 5])
def test_bits_depend_neither_on_the_parts_nor_on_where_arrays_lie(order, monkeypatch):
    box, n = BOXES["tilted"], 70
    sites = placed(n, box, 4, np.float32)
    found = []
    for parts in (1, 2, 3, 7, 20):
        own = MeshReciprocal(PmePlan(3.5, (15, 14, 20), order, 0.0, 0.0), CHARGES, n)
        own._small = False
        monkeypatch.setattr(numba, "get_num_threads", lambda parts=parts: parts)
        own.compute(sites, box, energies=False)
        silent = own.forces.copy()
        moved = np.zeros(len(own._arrays["waves"]) + 1 + parts, np.float32)[1 + parts :]
        own._arrays["waves"] = moved
        WORK.fill(own._work, waves=moved)
        own.compute(sites, box, energies=True)
        assert np.array_equal(silent, own.forces)
        found.append((own.forces.copy(), own.sums.copy()))
    for forces, sums in found[1:]:
        assert np.array_equal(forces, found[0][0])
        assert np.array_equal(sums, found[0][1])


@pytest.mark.parametrize("order", [4, 5])
def test_forces_are_the_negative_gradient_of_the_energy(order):
    box, n, step = BOXES["slab"], 20, 2e-3
    own = MeshReciprocal(PmePlan(3.5, (20, 24, 35), order, 0.0, 0.0), CHARGES, n)
    sites = placed(n, box, 6, np.float32)
    own.compute(sites, box, energies=False)
    forces = own.forces.reshape(n, 3, 3).sum(axis=1)
    centres = sites.centres.copy()
    for m, axis in ((0, 0), (7, 1), (19, 2)):
        energies = []
        for sign in (1, -1):
            sites.centres[:] = centres
            sites.centres[m, axis] += sign * step
            own.compute(sites, box, energies=True)
            energies.append(own.sums[:, 0].sum())
        slope = (energies[1] - energies[0]) / (2 * step)
        # 24 bits of an energy of some thousands over twice the step.
        assert forces[m, axis] == pytest.approx(slope, abs=1e-6 * energies[0] / step)


def test_the_influence_is_laid_out_wave_by_wave():
    box, grid = BOXES["tilted"], (10, 9, 14)
    own = MeshReciprocal(PmePlan(3.0, grid, 4, 0.0, 0.0), CHARGES, 5)
    plain = Reciprocal(own.plan, CHARGES, 5, np.float64)
    plain.compute(placed(5, box, 1, np.float64), box, energies=False)
    own.compute(placed(5, box, 1, np.float32), box, energies=False)
    half = own._arrays["influence"].reshape(own.layout.waves_y, -1, grid[2], LANES)
    half = half.swapaxes(2, 3).reshape(own.layout.waves_y, -1, grid[2])
    found = 2.0 * half[:, : grid[0], : grid[2] // 2 + 1].swapaxes(0, 1)
    expected = plain.influence[:, : own.layout.waves_y]
    assert np.abs(found - expected).max() < 3e-7 * expected.max()
    large = expected > 1e-6 * expected.max()
    # 24 bits of an exponent up to 14
    assert np.abs(found[large] / expected[large] - 1.0).max() < 3e-6
    assert not half[:, grid[0] :].any()


def test_other_machines_sizes_and_precisions_take_the_plain_path(monkeypatch):
    assert can_transform((16, 14, 30))
    assert not can_transform((16, 22, 30))
    plan = PmePlan(3.5, (22, 22, 22), 4, 0.0, 0.0)
    assert choose_reciprocal(plan, CHARGES, 5, np.float32).fft == "scipy.fft"
    good = plan._replace(grid=(20, 20, 20))
    assert choose_reciprocal(good, CHARGES, 5, np.float32).fft == "vectors"
    assert choose_reciprocal(good, CHARGES, 5, np.float64).fft == "scipy.fft"
    monkeypatch.setattr("mdpipe.simulation.mesh_reciprocal.LANES", 0)
    assert not can_transform((16, 14, 30))


def test_arrays_of_another_kind_are_refused():
    work = np.zeros(len(WORK.names), np.int64)
    with pytest.raises(TypeError, match="grid must be C-contiguous f32, got f64"):
        WORK.fill(work, grid=np.zeros(8))
    with pytest.raises(TypeError, match="grid must be C-contiguous f32"):
        WORK.fill(work, grid=np.zeros(8, np.float32)[::2])


def test_the_force_field_names_the_transforms():
    model, nonbonded = load_model("spce"), Nonbonded(r_cut_nm=0.6, pme_grid=(20, 20, 20))
    names = [
        ForceField(model, nonbonded, np.eye(3) * 1.5, 100, precision=precision).describe()["fft"]
        for precision in ("mixed", "double")
    ]
    assert names == ["vectors", "scipy.fft"]
