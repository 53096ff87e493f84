"""The network of oxygens over time: hydrogen bonds, q, averaged q6, CHILL+."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.hbonds import count_hydrogen_bonds
from mdpipe.kernels.neighbours import nearest4, neighbour_list
from mdpipe.kernels.order import (
    CHILL_RADIUS_NM,
    CUBIC,
    HEXAGONAL,
    INTERFACIAL_ICE,
    chill_plus,
    steinhardt_q6,
    tetrahedral_q,
)
from mdpipe.observables.results import Measurements, scalar_from_series
from mdpipe.state import Frame

HBOND_R_OO_NM = CHILL_RADIUS_NM
"""The distance of Luzar and Chandler happens to be that of CHILL+: one list serves both."""
HBOND_ANGLE_DEG = 30.0
Q_EDGES = np.linspace(-0.5, 1.0, 76)
Q6_EDGES = np.linspace(0.0, 0.7, 71)
CHILL_SERIES = (
    "chill_other",
    "chill_hexagonal",
    "chill_cubic",
    "chill_interfacial_ice",
    "chill_hydrate",
    "chill_interfacial_hydrate",
)
"""Names of the fractions, in the order of the labels of `mdpipe.kernels.order`."""


class Network:
    """Order parameters of every frame, as series of means and as distributions."""

    def __init__(self) -> None:
        self._rows: list[NDArray[np.float64]] = []
        self._q = np.zeros(len(Q_EDGES) - 1)
        self._q6 = np.zeros(len(Q6_EDGES) - 1)

    def add(self, frame: Frame) -> None:
        """Measure one frame.

        Parameters
        ----------
        frame : Frame
            Whole molecules in any image.
        """
        oxygens = np.ascontiguousarray(frame.positions[:, 0])
        n = len(oxygens)
        neighbours = neighbour_list(oxygens, frame.box, CHILL_RADIUS_NM)
        bonds = count_hydrogen_bonds(neighbours, frame.positions, HBOND_ANGLE_DEG)
        labels = np.bincount(chill_plus(neighbours), minlength=len(CHILL_SERIES)) / n
        indices, vectors = nearest4(oxygens, frame.box, neighbours)
        q = tetrahedral_q(vectors)
        q6 = steinhardt_q6(indices, vectors)[1]
        self._q += np.histogram(np.maximum(q, Q_EDGES[0]), Q_EDGES)[0]
        self._q6 += np.histogram(q6, Q6_EDGES)[0]
        row = [bonds.sum() / n, q.mean(), q.std(), q6.mean(), *labels]
        self._rows.append(np.array(row, dtype=np.float64))

    def finish(self, into: Measurements) -> None:
        """Write series, distributions and means.

        Parameters
        ----------
        into : Measurements
            Gets `hbonds_per_molecule` (each bond counted at both of its molecules),
            `tetrahedral_order`, `q6_averaged`, `ice_fraction`, and the curves of the same.
        """
        columns = np.array(self._rows).T
        ice = columns[[4 + HEXAGONAL, 4 + CUBIC, 4 + INTERFACIAL_ICE]].sum(axis=0)
        into.curves |= {
            "hbonds_per_molecule": columns[0],
            "q_mean": columns[1],
            "q6_mean": columns[3],
            "ice_fraction": ice,
            "q": 0.5 * (Q_EDGES[1:] + Q_EDGES[:-1]),
            "q_density": _density(self._q, Q_EDGES),
            "q6": 0.5 * (Q6_EDGES[1:] + Q6_EDGES[:-1]),
            "q6_density": _density(self._q6, Q6_EDGES),
        }
        into.curves |= dict(zip(CHILL_SERIES, columns[4:], strict=True))
        definition = f"r_OO < {HBOND_R_OO_NM:g} nm, angle H-O…O < {HBOND_ANGLE_DEG:.0f}°"
        into.scalars |= {
            "hbonds_per_molecule": scalar_from_series(columns[0], "", definition),
            "tetrahedral_order": scalar_from_series(
                columns[1], "", f"spread over molecules {columns[2].mean():.3f}"
            ),
            "q6_averaged": scalar_from_series(columns[3], "", "4 nearest neighbours"),
            "ice_fraction": scalar_from_series(
                ice, "", "CHILL+: hexagonal, cubic and interfacial ice"
            ),
        }


def _density(counts: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a probability density; what lies outside the edges counts at the nearest bin."""
    density: NDArray[np.float64] = counts / max(counts.sum(), 1.0) / np.diff(edges)
    return density
