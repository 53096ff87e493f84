"""Cells, neighbour list, pair and PME kernels against their plain NumPy twins."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mdpipe.failures import InputError
from mdpipe.kernels import fft, naive_forces
from mdpipe.kernels.cells import sort_into_cells
from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation import forcefield
from mdpipe.simulation.forcefield import ForceField
from mdpipe.simulation.neighbours import Neighbours, perpendicular_widths
from mdpipe.simulation.pair_tables import reaction_field, screened_coulomb, tabulate
from mdpipe.simulation.tails import coulomb_tail
from mdpipe.units import COULOMB

CUBE = np.eye(3) * 1.3
SLAB = np.diag([1.0, 1.45, 2.2])
TILTED = np.array([[1.25, 0.0, 0.0], [0.6, 1.3, 0.0], [-0.6, 0.64, 1.35]])
OCTAHEDRON = 1.5 * np.array(
    [[1, 0, 0], [1 / 3, math.sqrt(8) / 3, 0], [-1 / 3, math.sqrt(2) / 3, math.sqrt(6) / 3]]
)
BOXES = {"cube": CUBE, "slab": SLAB, "tilted": TILTED, "octahedron": OCTAHEDRON}


def water(n, box, seed, model="spce"):
    """Molecules of random orientation on a jittered grid, some outside the box."""
    rng = np.random.default_rng(seed)
    k = math.ceil(n ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(k)] * 3, indexing="ij"), -1).reshape(-1, 3)[:n]
    fractions = (grid + 0.5 + 0.15 * rng.uniform(-1, 1, (n, 3))) / k + rng.integers(-2, 3, (n, 3))
    m = load_model(model)
    half = math.radians(m.angle_hoh_deg) / 2
    frame = m.r_oh_nm * np.array(
        [[0, 0, 0], [math.sin(half), math.cos(half), 0], [-math.sin(half), math.cos(half), 0]]
    )
    rotations = np.linalg.qr(rng.normal(size=(n, 3, 3)))[0]
    return (fractions @ box)[:, None] + np.einsum("ac,ncd->nad", frame, rotations)


def listed(neighbours, positions):
    """The pairs of a list in the form of the NumPy twin, for the original positions."""
    found = []
    for s in range(len(positions)):
        for pair in neighbours.pairs[slice(*neighbours.starts[s])]:
            t, code = int(pair) & 0xFFFFFF, int(pair) >> 24
            image = np.array([code // 25 - 2, code // 5 % 5 - 2, code % 5 - 2])
            image = image - neighbours.images[t] + neighbours.images[s]
            i, j = int(neighbours.order[s]), int(neighbours.order[t])
            a, b, c = (int(x) for x in image)
            found.append(max((i, j, a, b, c), (j, i, -a, -b, -c)))
    return found


@pytest.mark.parametrize("name", BOXES)
@pytest.mark.parametrize("n", [1, 7, 60])
def test_the_list_holds_each_pair_and_image_within_its_radius_exactly_once(name, n):
    box = BOXES[name]
    positions = water(n, box, seed=n)
    own = Neighbours(n, 0.45, 0.05, 0.0, np.float64)
    own.update(positions, box)
    found = listed(own, positions)
    wrapped = positions[:, 0] - np.floor(positions[:, 0] @ np.linalg.inv(box)) @ box
    floors = np.floor(positions[:, 0] @ np.linalg.inv(box)).astype(int)
    expected = set()
    for i, j, a, b, c in naive_forces.list_pairs(wrapped, box, own.r_list):
        x, y, z = (int(k) for k in np.array([a, b, c]) - floors[j] + floors[i])
        expected.add(max((i, j, x, y, z), (j, i, -x, -y, -z)))
    assert len(found) == len(set(found))
    assert set(found) == expected


def test_points_on_faces_and_cell_borders_get_a_cell_and_an_image():
    box = np.diag([1.0, 2.0, 3.0])
    shape = np.array([4, 4, 4])
    points = np.array(
        [
            [0, 0, 0],
            [1, 2, 3],
            [0.25, 0.5, 0.75],
            [-1e-18, -1e-18, -1e-18],
            [-0.25, 2.5, 6.0],
            [1 - 1e-17, 0, 0],
        ]
    )
    order = np.zeros(6, np.int32)
    images = np.zeros((6, 3))
    starts = np.zeros(65, np.int32)
    sort_into_cells(points, np.linalg.inv(box), shape, order, images, starts)
    assert sorted(order) == list(range(6))
    assert starts[-1] == 6
    inside = points[order] - images @ box
    assert np.all(inside >= 0)
    # A tiny negative coordinate rounds to the upper face itself.
    assert np.all(inside <= np.diag(box))
    cells = np.searchsorted(starts, np.arange(6), side="right") - 1
    of = dict(zip(order.tolist(), cells.tolist(), strict=True))
    assert of[0] == of[1] == 0
    assert of[2] == 1 * 16 + 1 * 4 + 1


def field_of(kernels, model, nonbonded, box, n, monkeypatch):
    """A force field in double or mixed precision; "plain": mixed without explicit vectors."""
    if kernels == "plain":
        monkeypatch.setattr(forcefield, "LANES", 0)
    precision = "double" if kernels == "double" else "mixed"
    return ForceField(model, nonbonded, box, n, precision=precision)


def _coulomb(nonbonded, alpha=None):
    if alpha is None:
        k_rf, c_rf = reaction_field(nonbonded.rf_epsilon, nonbonded.r_cut_nm)
        return lambda r: (1 / r + k_rf * r**2 - c_rf, 1 / r**3 - 2 * k_rf)
    erfc = np.vectorize(math.erfc)

    def real(r):
        e = erfc(alpha * r) / r
        return e, e / r**2 + 2 * alpha / math.sqrt(math.pi) * np.exp(-((alpha * r) ** 2)) / r**2

    return real


@pytest.mark.parametrize("kernels", ["double", "mixed", "plain"])
@pytest.mark.parametrize("key", ["spce", "tip4p2005"])
@pytest.mark.parametrize("name", BOXES)
def test_pair_forces_and_energies_equal_those_of_the_plain_sum(name, key, kernels, monkeypatch):
    box = BOXES[name]
    n = 40
    model = load_model(key)
    positions = water(n, box, seed=3, model=key)
    # Exactly twice the cutoff between the closest faces: the smallest box there may be.
    r_cut = float(perpendicular_widths(box).min()) / 2
    nonbonded = Nonbonded(
        r_cut_nm=r_cut, electrostatics="rf", rf_epsilon=78.3, dispersion_correction=False
    )
    field = field_of(kernels, model, nonbonded, box, n, monkeypatch)
    forces = np.zeros_like(positions)
    energies, virial = field.evaluate(positions, box, forces)
    q = math.sqrt(COULOMB) * model.charge_h_e
    weight = model.virtual_site_weight_h if model.has_virtual_site else 0.0
    expected, e_lj, e_coulomb, atomic = naive_forces.pair_forces(
        positions,
        box,
        np.array([-2 * q, q, q]),
        weight,
        (model.c6, model.c12),
        r_cut,
        _coulomb(nonbonded),
    )
    # Rounding: 52 bits, and 24 bits amplified by the cancellation of charges.
    tolerance = 1e-12 if kernels == "double" else 3e-6
    scale = np.sqrt((expected**2).mean())
    assert np.sqrt(((forces - expected) ** 2).mean()) < tolerance * scale
    assert energies.lj == pytest.approx(e_lj, rel=tolerance)
    assert energies.coulomb == pytest.approx(e_coulomb, rel=10 * tolerance)
    mass = np.array([model.mass_o_amu, model.mass_h_amu, model.mass_h_amu]) / model.mass_amu
    arms = positions - np.einsum("a,nac->nc", mass, positions)[:, None]
    molecular = atomic - np.einsum("nac,nad->cd", arms, expected)
    assert np.abs(virial - molecular).max() < 10 * tolerance * np.abs(atomic).max()


@pytest.mark.parametrize("kernels", ["double", "mixed", "plain"])
@pytest.mark.parametrize("order", [4, 5])
@pytest.mark.parametrize("name", ["slab", "tilted"])
def test_pme_equals_real_plus_reciprocal_less_excluded_of_the_plain_sums(
    name, order, kernels, monkeypatch
):
    box = BOXES[name]
    n, alpha, grid = 30, 3.5, (12, 16, 14)
    model = load_model("tip4pew")
    positions = water(n, box, seed=5, model="tip4pew")
    r_cut = float(perpendicular_widths(box).min()) / 2
    nonbonded = Nonbonded(r_cut_nm=r_cut, pme_alpha_per_nm=alpha, pme_grid=grid, pme_order=order)
    field = field_of(kernels, model, nonbonded, box, n, monkeypatch)
    q = math.sqrt(COULOMB) * model.charge_h_e
    charges = np.array([-2 * q, q, q])
    w = model.virtual_site_weight_h
    expected, _, e_real, _ = naive_forces.pair_forces(
        positions,
        box,
        charges,
        w,
        (model.c6, model.c12),
        r_cut,
        _coulomb(nonbonded, alpha),
        # In mixed precision the cutoff of PME is between oxygens.
        molecular=kernels != "double",
    )
    weights = np.array([[1 - 2 * w, w, w], [0, 1, 0], [0, 0, 1.0]])
    sites = np.einsum("sa,nac->nsc", weights, positions)
    e_recip, on_sites = naive_forces.reciprocal_sum(
        sites.reshape(-1, 3), np.tile(charges, n), box, grid, order, alpha
    )
    on_sites = on_sites.reshape(n, 3, 3)
    e_excluded = 0.0
    for i, j in ((0, 1), (0, 2), (1, 2)):
        d = sites[:, j] - sites[:, i]
        r2 = (d**2).sum(axis=1)
        g, p = screened_coulomb(r2, alpha)
        e_excluded -= float((charges[i] * charges[j] * p).sum())
        f = -charges[i] * charges[j] * g[:, None] * d
        on_sites[:, j] += f
        on_sites[:, i] -= f
    smooth = np.einsum("sa,nsc->nac", weights, on_sites)
    # Double: rounding. Mixed: 24 bits in 60 terms of both signs for each grid point.
    tolerance = 1e-11 if kernels == "double" else 2e-5
    forces, same = np.zeros_like(positions), np.zeros_like(positions)
    for times in (3, 0, 1):
        energies, _ = field.evaluate(positions, box, forces, reciprocal_times=times)
        field.compute(positions, box, same, reciprocal_times=times)
        assert np.array_equal(forces, same)
        wanted = expected + times * smooth
        assert np.abs(forces - wanted).max() < tolerance * np.abs(wanted).max()
    if kernels != "double":
        arms = (model.r_om_nm, model.r_oh_nm, model.r_oh_nm)
        mean, _ = coulomb_tail(alpha, r_cut, charges.tolist(), arms)
        e_real += mean * n**2 / np.linalg.det(box)
    assert energies.coulomb_real == pytest.approx(e_real, rel=10 * tolerance)
    assert energies.coulomb_reciprocal == pytest.approx(e_recip, rel=tolerance)
    assert energies.coulomb_exclusion == pytest.approx(e_excluded, rel=tolerance)


def test_the_table_of_the_double_path_is_exact_to_rounding():
    alpha, r_cut = 6.0, 0.9
    table = tabulate(alpha, r_cut)
    r2 = np.linspace(1e-4, r_cut**2 * (1 - 1e-12), 20_001)
    place = r2 / r_cut**2 * len(table)
    k = place.astype(int)
    u = (place - k)[:, None] ** np.arange(6)
    g, p = screened_coulomb(r2, alpha)
    r = np.sqrt(r2)
    assert np.abs((table[k, 6:] * u).sum(axis=1) / p - 1).max() < 1e-14
    # g falls over three decades; its error counts beside 1/r³ of the same pair.
    assert np.abs(((table[k, :6] * u).sum(axis=1) - g) * r**3).max() < 1e-14
    assert np.allclose(p, np.vectorize(math.erf)(alpha * r) / r, rtol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_transform_has_the_same_bits_for_any_number_of_threads(dtype):
    rng = np.random.default_rng(8)
    for shape in ((28, 30, 24), (20, 28, 42)):
        padded = rng.normal(size=(*shape[:2], shape[2] + 8)).astype(dtype)[:, :, : shape[2]]
        one, two, three = (fft.forward(padded, threads) for threads in (1, 2, 3))
        assert np.array_equal(one, two)
        assert np.array_equal(one, three)
        back = [fft.backward(one.copy(), shape, threads) for threads in (1, 2, 3)]
        assert np.array_equal(back[0], back[1])
        assert np.array_equal(back[0], back[2])
        assert back[0].dtype == dtype
        # 24 or 53 bits over log2(24000) butterflies.
        assert np.allclose(back[0] / math.prod(shape), padded, atol=8 * np.finfo(dtype).eps)


def test_a_broken_molecule_is_named_as_such():
    positions = water(30, CUBE, seed=2)
    positions[3, 1] += 5 * CUBE[0]
    own = Neighbours(30, 0.6, 0.1, 0.0, np.float64)
    with pytest.raises(InputError, match=r"molecules must be whole.*O-H distance of"):
        own.update(positions, CUBE)
