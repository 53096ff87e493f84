"""Other programs for analysis: freud and MDAnalysis, where they can be imported."""

from __future__ import annotations

import importlib.util
import itertools
import warnings
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
HBOND_COSINE: Final = float(np.cos(np.radians(30.0)))


class AnalysisFrame(NamedTuple):
    """One frame: (n, 3, 3) float64 positions, (3, 3) float64 box, both in nm; and paths in time.

    `paths` (t, n, 3) float32 are unwrapped positions of particles, for displacements.
    """

    positions: Floats
    box: Floats
    paths: NDArray[np.float32]


class Analyser(Protocol):
    """A program that can do some of the analyses; a method for each, named like it."""

    name: str

    def missing(self) -> str | None:
        """Say why the program cannot run here, or None."""

    def version(self) -> str:
        """Return the program's version."""

    def prepare(self, frame: AnalysisFrame, threads: int) -> None:
        """Take the frame over in the program's own form; not timed."""


class Freud:
    """freud: single precision, parallel."""

    name = "freud"

    def missing(self) -> str | None:
        """Say why freud cannot run here, or None."""
        if importlib.util.find_spec("freud") is None:
            return "not importable; pip install freud-analysis"
        return None

    def version(self) -> str:
        """Return freud's version."""
        import freud

        return str(freud.__version__)

    def prepare(self, frame: AnalysisFrame, threads: int) -> None:
        """Take the frame over."""
        import freud

        freud.parallel.set_num_threads(threads)
        self._freud: Any = freud
        self._box = freud.box.Box.from_matrix(frame.box.T)
        self._oxygens = self._box.wrap(frame.positions[:, 0])
        self._hydrogens = self._box.wrap(frame.positions[:, 1:].reshape(-1, 3))
        self._arms = (frame.positions[:, 1:] - frame.positions[:, :1]).astype(np.float32)
        self._paths = frame.paths

    def rdf(self, r_max: float, n_bins: int) -> Floats:
        """Return counts of O-O, O-H and H-H pairs of different molecules, (3, bins)."""
        counts = np.zeros((3, n_bins))
        # Points, query points, and how many of each a molecule has.
        sets = (
            (self._oxygens, self._oxygens, 1, 1),
            (self._oxygens, self._hydrogens, 1, 2),
            (self._hydrogens, self._hydrogens, 2, 2),
        )
        for kind, (points, queries, mine, others) in enumerate(sets):
            finder = self._freud.locality.AABBQuery(self._box, points)
            near = finder.query(queries, {"mode": "ball", "r_max": r_max}).toNeighborList()
            near.filter(near.point_indices // mine != near.query_point_indices // others)
            rdf = self._freud.density.RDF(bins=n_bins, r_max=r_max)
            rdf.compute((self._box, points), queries, neighbors=near)
            counts[kind] = rdf.bin_counts * (1.0 if kind == 1 else 0.5)
        return counts

    def _list(self, **query: Any) -> Any:
        finder = self._freud.locality.AABBQuery(self._box, self._oxygens)
        return finder.query(self._oxygens, {"exclude_ii": True, **query}).toNeighborList()

    def bonds_and_q(self) -> tuple[int, Floats]:
        """Return the number of hydrogen bonds and q of every molecule."""
        near = self._list(mode="ball", r_max=0.35)
        arms = self._arms[near.query_point_indices]
        along = (arms * near.vectors[:, None]).sum(-1)
        lengths = np.linalg.norm(arms, axis=2) * near.distances[:, None]
        unit = self._list(mode="nearest", num_neighbors=4).vectors.reshape(-1, 4, 3)
        return int((along > HBOND_COSINE * lengths).sum()), tetrahedral(unit)

    def q6(self) -> Floats:
        """Return averaged q6 of every molecule."""
        order = self._freud.order.Steinhardt(l=6, average=True)
        order.compute((self._box, self._oxygens), neighbors={"num_neighbors": 4})
        return np.asarray(order.particle_order, np.float64)

    def msd(self) -> Floats:
        """Return the mean squared displacement at every lag."""
        msd = self._freud.msd.MSD(mode="window")
        return np.asarray(msd.compute(self._paths).msd, np.float64)


class MDAnalysisPeer:
    """MDAnalysis: its distance functions and its g(r), on one thread."""

    name = "MDAnalysis"

    def missing(self) -> str | None:
        """Say why MDAnalysis cannot run here, or None."""
        if importlib.util.find_spec("MDAnalysis") is None:
            return "not importable; pip install MDAnalysis"
        return None

    def version(self) -> str:
        """Return MDAnalysis's version."""
        import MDAnalysis

        return str(MDAnalysis.__version__)

    def prepare(self, frame: AnalysisFrame, threads: int) -> None:
        """Take the frame over."""
        del threads
        import MDAnalysis
        from MDAnalysis.lib.mdamath import triclinic_box

        n = len(frame.positions)
        owner = np.repeat(np.arange(n), 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            water = MDAnalysis.Universe.empty(
                3 * n, n_residues=n, atom_resindex=owner, trajectory=True
            )
        water.add_TopologyAttr("names", ["O", "H1", "H2"] * n)
        water.atoms.positions = 10.0 * frame.positions.reshape(-1, 3)
        water.dimensions = triclinic_box(*(10.0 * frame.box))
        self._water = water
        self._sites = water.atoms.positions.reshape(n, 3, 3)

    def rdf(self, r_max: float, n_bins: int) -> Floats:
        """Return counts of O-O, O-H and H-H pairs, (3, bins)."""
        from MDAnalysis.analysis.rdf import InterRDF

        oxygens, hydrogens = (self._water.select_atoms(f"name {k}*") for k in "OH")
        counts = np.zeros((3, n_bins))
        for kind, (one, two, block) in enumerate(
            ((oxygens, oxygens, (1, 1)), (oxygens, hydrogens, (1, 2)),
             (hydrogens, hydrogens, (2, 2)))
        ):  # fmt: skip
            span = {"nbins": n_bins, "range": (0.0, 10.0 * r_max)}
            rdf = InterRDF(one, two, exclusion_block=block, **span).run()
            counts[kind] = rdf.results.count * (1.0 if kind == 1 else 0.5)
        return counts

    def _pairs(self, radius: float) -> tuple[Any, Any]:
        from MDAnalysis.lib.distances import capped_distance

        oxygens = self._sites[:, 0]
        pairs, distances = capped_distance(
            oxygens, oxygens, 10.0 * radius, box=self._water.dimensions
        )
        other = pairs[:, 0] != pairs[:, 1]
        return pairs[other], distances[other]

    def bonds_and_q(self) -> tuple[int, Floats]:
        """Return the number of hydrogen bonds and q of every molecule."""
        from MDAnalysis.lib.distances import calc_angles, minimize_vectors

        box, sites = self._water.dimensions, self._sites
        pairs, _ = self._pairs(0.35)
        bonds = 0
        for h in (1, 2):
            donor = sites[pairs[:, 0]]
            angles = calc_angles(donor[:, h], donor[:, 0], sites[pairs[:, 1], 0], box=box)
            bonds += int((np.cos(angles) > HBOND_COSINE).sum())
        pairs, distances = self._pairs(0.6)
        rank = np.lexsort((distances, pairs[:, 0]))
        first = np.searchsorted(pairs[rank, 0], np.arange(len(sites)))
        four = pairs[rank, 1][first[:, None] + np.arange(4)]
        arms = (sites[four, 0] - sites[:, None, 0]).reshape(-1, 3)
        return bonds, tetrahedral(minimize_vectors(arms, box).reshape(-1, 4, 3))


def tetrahedral(vectors: NDArray[Any]) -> Floats:
    """Return Errington and Debenedetti's q of four vectors.

    Parameters
    ----------
    vectors : (n, 4, 3) array
        To the four nearest.

    Returns
    -------
    (n,) float64
        q.
    """
    unit = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    total = np.zeros(len(unit))
    for j, k in itertools.combinations(range(4), 2):
        total += ((unit[:, j] * unit[:, k]).sum(-1) + 1.0 / 3.0) ** 2
    return 1.0 - 0.375 * total
