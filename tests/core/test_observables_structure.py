"""g(r), its peaks and coordination; order parameters and hydrogen bonds over frames."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from mdpipe.observables.network import Network
from mdpipe.observables.peaks import find_extrema
from mdpipe.observables.results import Measurements
from mdpipe.observables.structure import BIN_NM, PairStructure
from mdpipe.state import Frame


def frame(folder, name):
    with np.load(folder / f"conf_{name}.npz") as data:
        return Frame(data["pos"].astype(np.float64), data["box"].astype(np.float64))


def measured(part, frames):
    for one in frames:
        part.add(one)
    into = Measurements()
    part.finish(into)
    return into


def test_an_ideal_gas_has_g_of_one_everywhere_and_at_any_density():
    rng = np.random.default_rng(11)
    frames = []
    for k in range(60):
        box = np.diag([1.6, 1.7, 1.8]) * (1.0 + 0.002 * k)  # the volume changes, as in npt
        oxygens = rng.uniform(0, 1, (200, 1, 3)) @ box
        arms = rng.normal(size=(200, 2, 3)) * 0.05
        frames.append(Frame(np.concatenate([oxygens, oxygens + arms], axis=1), box))
    curves = measured(PairStructure(), frames).curves
    r = curves["r_nm"]
    assert r[-1] == pytest.approx(0.8, abs=1.5 * BIN_NM)  # half the smallest width of all frames
    for name in ("g_oo", "g_oh", "g_hh"):
        weights = r**2
        # 60 × 19,900 pairs, of which 0.43 within r: 5e5 counts, 0.14 % one standard error.
        assert np.average(curves[name], weights=weights) == pytest.approx(1.0, abs=0.006)
        inner = r < 0.4
        assert np.average(curves[name][inner], weights=weights[inner]) == pytest.approx(1, abs=0.02)


def test_g_of_r_agrees_with_mdanalysis_on_the_same_frames(reference):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what an import of MDAnalysis warns of is not ours
        mda = pytest.importorskip("MDAnalysis")
        from MDAnalysis.analysis.rdf import InterRDF

        one, two = frame(reference, "w216a"), frame(reference, "w216a")
        two = two._replace(positions=two.positions[::-1] * 0.99, box=two.box * 0.99)
        universe = mda.Universe.empty(
            648, 216, atom_resindex=np.repeat(range(216), 3), trajectory=True
        )
        universe.add_TopologyAttr("names", ["O", "H", "H"] * 216)
        coordinates = np.array(
            [10 * f.positions.reshape(-1, 3) for f in (one, two)], dtype=np.float32
        )
        sizes = [[*(10 * np.diag(f.box)), 90, 90, 90] for f in (one, two)]
        universe.load_new(coordinates, dimensions=np.array(sizes, dtype=np.float32))
        curves = measured(PairStructure(), (one, two)).curves
        n_bins = len(curves["r_nm"])
        oxygens = universe.select_atoms("name O")
        theirs = InterRDF(
            oxygens,
            oxygens,
            nbins=n_bins,
            range=(0.0, 10 * BIN_NM * n_bins),
            exclusion_block=(1, 1),
        )
        theirs.run()
    # They divide by the mean of the volumes, we frame by frame: 1 ± 0.03 in V gives below 0.1 %;
    # float32 positions move a few pairs (of 18,000) into the neighbouring bin.
    smooth = np.ones(5) / 5
    ours, other = (np.convolve(g, smooth, "valid") for g in (curves["g_oo"], theirs.results.rdf))
    np.testing.assert_allclose(ours, other, atol=0.03)
    assert abs((ours - other).mean()) < 0.002


def test_peaks_of_a_published_curve_are_found(reference):
    with np.load(reference / "rdf_npt512.npz") as data:
        first, minimum, second = find_extrema(data["r"], data["g"])
    # equilibrium.json, its errors doubled: peak 0.27527 ± 0.00012 nm, height 3.116 ± 0.012.
    assert first.position == pytest.approx(0.27527, abs=0.00024)
    assert first.height == pytest.approx(3.116, abs=0.024)
    # There the extreme bins are named, in flat extrema that noise moves by some bins.
    assert minimum.position == pytest.approx(0.333, abs=0.005)
    assert second.position == pytest.approx(0.447, abs=0.006)


def test_extrema_of_a_polynomial_are_found_exactly():
    r = 0.0025 + 0.005 * np.arange(160)
    u = (r - 0.28) / 0.025
    g = np.where(r < 0.36, 3.0 - (u - 0.13) ** 2 + 0.02 * (u - 0.13) ** 5, -30.0)
    first = find_extrema(r, np.maximum(g, 0.0))[0]
    # the fit is exact for a quintic; a few roundings in twelve points
    assert first.position == pytest.approx(0.28 + 0.13 * 0.025, rel=0, abs=1e-14)
    assert first.height == pytest.approx(3.0, rel=1e-14)


def test_a_gas_without_peaks_gets_no_peak_values():
    into = measured(
        PairStructure(), [Frame(np.zeros((4, 3, 3)) + np.arange(4)[:, None, None], np.eye(3) * 8)]
    )
    assert into.scalars["goo_peak_height"].value is None
    assert into.scalars["coordination_number"].note == "no such extremum within the range of r"


def test_ice_has_four_neighbours_four_bonds_and_is_called_ice(reference):
    ice = frame(reference, "ice432")
    structure = measured(PairStructure(), [ice])
    assert structure.scalars["coordination_number"].value == pytest.approx(4.0, abs=0.02)
    network = measured(Network(), [ice, ice])
    assert network.scalars["hbonds_per_molecule"].value == pytest.approx(4.0, abs=0.05)
    assert network.scalars["ice_fraction"].value > 0.95
    assert network.scalars["tetrahedral_order"].value > 0.9
    curves = network.curves
    for name in ("q", "q6"):
        width = curves[name][1] - curves[name][0]
        assert curves[f"{name}_density"].sum() * width == pytest.approx(1.0, rel=1e-12)


def test_liquid_water_is_not_called_ice(reference):
    scalars = measured(Network(), [frame(reference, "w512")]).scalars
    assert scalars["ice_fraction"].value < 0.02
    assert scalars["tetrahedral_order"].value == pytest.approx(0.63, abs=0.02)
    assert scalars["hbonds_per_molecule"].value == pytest.approx(3.58, abs=0.1)
