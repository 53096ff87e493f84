"""Analysis kernels against MDAnalysis (and freud, where it is installed) on the same frames."""

from __future__ import annotations

import itertools

import MDAnalysis
import numpy as np
import pytest
from MDAnalysis.analysis.rdf import InterRDF
from MDAnalysis.lib.distances import calc_angles, capped_distance
from MDAnalysis.lib.mdamath import triclinic_vectors

from mdpipe.kernels.hbonds import count_hydrogen_bonds
from mdpipe.kernels.neighbours import nearest4, neighbour_list
from mdpipe.kernels.order import steinhardt_q6, tetrahedral_q
from mdpipe.kernels.rdf import half_width, pair_histograms, to_fractional

FRAMES = {
    "w512": (90.0, 90.0, 90.0),
    "ortho480": (90.0, 90.0, 90.0),
    "tro360": (70.52878, 109.47122, 70.52878),
    "ice432": (90.0, 90.0, 90.0),
}


@pytest.fixture(params=sorted(FRAMES))
def frame(request, reference):
    """Positions (n, 3, 3) in Å, float32 as both programs hold them, dimensions and box (nm)."""
    with np.load(reference / f"conf_{request.param}.npz") as data:
        positions, box = (10.0 * data["pos"]).astype(np.float32), data["box"]
    lengths = 10.0 * np.sqrt((box**2).sum(axis=1))
    dimensions = np.array([*lengths, *FRAMES[request.param]], np.float32)
    # The box as MDAnalysis has it, rounding of the angles included.
    return positions, dimensions, triclinic_vectors(dimensions).astype(np.float64) / 10.0


def in_nm(positions):
    return positions.astype(np.float64) / 10.0


def universe(positions, dimensions):
    n = len(positions)
    water = MDAnalysis.Universe.empty(
        3 * n, n_residues=n, atom_resindex=np.repeat(np.arange(n), 3), trajectory=True
    )
    water.add_TopologyAttr("names", ["O", "H1", "H2"] * n)
    water.atoms.positions = positions.reshape(-1, 3)
    water.dimensions = dimensions
    return water


def test_pair_histograms_are_those_of_mdanalysis(frame):
    positions, dimensions, box = frame
    n_bins = int(half_width(box) / 0.02)
    ours = pair_histograms(to_fractional(in_nm(positions), box), box, n_bins * 0.02, n_bins)
    water = universe(positions, dimensions)
    oxygens, hydrogens = water.select_atoms("name O"), water.select_atoms("name H*")
    span = {"nbins": n_bins, "range": (0.0, 0.2 * n_bins)}
    theirs = [
        InterRDF(oxygens, oxygens, exclusion_block=(1, 1), **span).run().results.count / 2,
        InterRDF(oxygens, hydrogens, exclusion_block=(1, 2), **span).run().results.count,
        InterRDF(hydrogens, hydrogens, exclusion_block=(2, 2), **span).run().results.count / 2,
    ]
    # Their distances are rounded to about 1e-6 of a bin's width in 20: of up to 1e4 pairs a bin,
    # very few lie so near to an edge.
    moved = np.cumsum(ours - np.array(theirs), axis=1)
    assert np.abs(moved).max() <= 2
    assert np.abs(moved).sum() <= 2e-5 * ours.sum()
    assert ours.sum() > 1e5


def their_neighbours(oxygens, dimensions, radius):
    """Return first and second of each pair both ways, and their distance, sorted by it."""
    pairs, distances = capped_distance(oxygens, oxygens, 10.0 * radius, box=dimensions)
    other = pairs[:, 0] != pairs[:, 1]
    rank = np.argsort(distances[other], kind="stable")
    return pairs[other][rank], distances[other][rank]


def test_hydrogen_bonds_are_those_by_distances_and_angles_of_mdanalysis(frame):
    positions, dimensions, box = frame
    oxygens = np.ascontiguousarray(in_nm(positions)[:, 0])
    ours = count_hydrogen_bonds(neighbour_list(oxygens, box, 0.35), in_nm(positions), 30.0)
    pairs, _ = their_neighbours(positions[:, 0], dimensions, 0.35)
    theirs = np.zeros_like(ours)
    donors, acceptors = positions[pairs[:, 0]], positions[pairs[:, 1], 0]
    for h in (1, 2):
        angles = calc_angles(donors[:, h], donors[:, 0], acceptors, box=dimensions)
        bonded = pairs[np.degrees(angles) < 30.0]
        np.add.at(theirs[:, 0], bonded[:, 0], 1)
        np.add.at(theirs[:, 1], bonded[:, 1], 1)
    np.testing.assert_array_equal(ours, theirs)


def tetrahedral(vectors):
    """Errington and Debenedetti's q of four vectors, in NumPy."""
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    pairs = itertools.combinations(range(4), 2)
    return 1.0 - 0.375 * sum(((unit[:, j] * unit[:, k]).sum(-1) + 1 / 3) ** 2 for j, k in pairs)


def test_q_of_the_four_nearest_is_that_of_mdanalysis_neighbours(frame):
    positions, dimensions, box = frame
    oxygens = np.ascontiguousarray(in_nm(positions)[:, 0])
    near = neighbour_list(oxygens, box, 0.35)
    indices, vectors = nearest4(oxygens, box, near)
    pairs, _ = their_neighbours(positions[:, 0], dimensions, 0.6)
    for i in range(len(oxygens)):
        assert pairs[pairs[:, 0] == i, 1][:4].tolist() == indices[i].tolist()
    raw = oxygens[indices] - oxygens[:, None]
    nearest = raw - np.rint(raw @ np.linalg.inv(box)) @ box
    # Single precision has moved the box by 1e-7; q is a sum of six squares of order one.
    np.testing.assert_allclose(tetrahedral_q(vectors), tetrahedral(nearest), atol=1e-9)


def test_averaged_q6_and_oxygen_histogram_are_those_of_freud(frame):
    freud = pytest.importorskip("freud", reason="freud is not installed")
    positions, _, box = frame
    oxygens = np.ascontiguousarray(in_nm(positions)[:, 0])
    theirs = freud.box.Box.from_matrix(box.T)
    points = theirs.wrap(oxygens)
    order = freud.order.Steinhardt(l=6, average=True)
    order.compute((theirs, points), neighbors={"num_neighbors": 4, "exclude_ii": True})
    indices, vectors = nearest4(oxygens, box)
    # freud holds positions and harmonics in single precision.
    np.testing.assert_allclose(
        steinhardt_q6(indices, vectors)[1], order.particle_order, rtol=0, atol=2e-5
    )
    r_max = 0.95 * half_width(box)
    ours = pair_histograms(to_fractional(in_nm(positions), box), box, r_max, 40)[0]
    rdf = freud.density.RDF(bins=40, r_max=r_max)
    rdf.compute((theirs, points), neighbors={"mode": "ball", "r_max": r_max, "exclude_ii": True})
    assert np.abs(np.cumsum(2 * ours - rdf.bin_counts.astype(np.int64))).max() <= 4
