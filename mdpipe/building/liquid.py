"""Liquid boxes: randomly turned molecules on a lattice, to be minimised by the engine."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np

from mdpipe.building.molecules import at_rest, place_molecules, random_directions, volume_nm3
from mdpipe.models import WaterModel
from mdpipe.state import Array, State

BoxShape = Literal["cubic", "orthorhombic", "truncated-octahedron"]

SHAPES: dict[str, Array] = {
    "cubic": np.eye(3),
    # Edges that differ by more than any cell or grid rounding, yet stay compact.
    "orthorhombic": np.diag([1.0, 1.15, 1.4]),
    "truncated-octahedron": np.array(
        [[1.0, 0.0, 0.0], [1 / 3, np.sqrt(8) / 3, 0.0], [-1 / 3, np.sqrt(2) / 3, np.sqrt(6) / 3]]
    ),
}


def liquid(
    n_molecules: int,
    density_g_cm3: float,
    model: WaterModel,
    seed: int,
    box: BoxShape = "cubic",
) -> State:
    """Build a box of randomly oriented molecules on a lattice.

    Parameters
    ----------
    n_molecules : int
        Number of molecules, at least 1.
    density_g_cm3 : float
        Density, g/cm³.
    model : WaterModel
        Geometry of the molecule.
    seed : int
        Decides orientations and vacant sites; the same seed gives the same bits.
    box : {"cubic", "orthorhombic", "truncated-octahedron"}
        Shape of the cell (orthorhombic: edges 1 : 1.15 : 1.4).

    Returns
    -------
    State
        No velocities, not an equilibrium structure: minimise and equilibrate before use.
    """
    volume = volume_nm3(n_molecules, density_g_cm3)
    shape = SHAPES[box]
    vectors = shape * (volume / float(np.linalg.det(shape))) ** (1 / 3)
    return at_rest(fill_cell(vectors, n_molecules, model, np.random.default_rng(seed)), vectors)


def fill_cell(
    box: Array, n_molecules: int, model: WaterModel, random: np.random.Generator
) -> Array:
    """Fill a cell with randomly oriented molecules on the coarsest lattice that holds them.

    Parameters
    ----------
    box : (3, 3) float64
        Rows, nm.
    n_molecules : int
        Number of molecules.
    model : WaterModel
        Geometry of the molecule.
    random : numpy.random.Generator
        Seeded by the caller.

    Returns
    -------
    (n, 3, 3) float64
        Positions, nm.
    """
    lengths = np.linalg.norm(box, axis=1)
    spacing = (float(np.prod(lengths)) / n_molecules) ** (1 / 3)
    low = np.maximum(1, np.floor(lengths / spacing).astype(int))
    # Of the lattices around the even spacing, the one with the fewest vacant sites.
    shapes = [low + np.array(extra) for extra in itertools.product(range(3), repeat=3)]
    counts = min(
        (shape for shape in shapes if shape.prod() >= n_molecules),
        key=lambda shape: (shape.prod(), shape.max(), tuple(shape)),
    )
    sites = np.array(list(itertools.product(*(range(k) for k in counts))), float)
    chosen = np.sort(random.permutation(len(sites))[:n_molecules])
    oxygens = ((sites[chosen] + 0.5) / counts) @ box
    return place_molecules(oxygens, *random_directions(n_molecules, random), model)
