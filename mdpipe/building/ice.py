"""Ice Ih and Ic with disordered protons: Bernal and Fowler's rules kept, no net dipole.

The hydrogen bonds are a graph in which every oxygen has four bonds. Giving every bond a direction
(donor to acceptor) so that two leave and two enter each oxygen is an Eulerian orientation: random
walks along unused bonds draw one. Loops of the directed graph may then be reversed without breaking
the rules (Rick and Haymet); loops that wind round the cell change the net dipole, and are reversed
until it is zero.

References
----------
Bernal & Fowler, J. Chem. Phys. 1, 515 (1933), DOI 10.1063/1.1749327; Rick & Haymet, J. Chem. Phys.
118, 9291 (2003), DOI 10.1063/1.1568337.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.building.liquid import fill_cell
from mdpipe.building.molecules import at_rest, place_molecules, volume_nm3
from mdpipe.failures import UsageError
from mdpipe.kernels.neighbours import nearest4
from mdpipe.models import WaterModel
from mdpipe.state import Array, State

Phase = Literal["ice-Ih", "ice-Ic"]

# Orthorhombic cell of ideal Ih: two puckered layers, the second the mirror image of the first.
_IH_CELL = np.array([1.0, math.sqrt(3.0), math.sqrt(8.0 / 3.0)])
_IH_SITES = np.array([
    [0, 0, 0], [1 / 2, 1 / 2, 0], [0, 1 / 3, 1 / 8], [1 / 2, 5 / 6, 1 / 8],
    [0, 1 / 3, 1 / 2], [1 / 2, 5 / 6, 1 / 2], [0, 0, 5 / 8], [1 / 2, 1 / 2, 5 / 8],
])  # fmt: skip
_IC_SITES = np.array([
    [0, 0, 0], [0, 1 / 2, 1 / 2], [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2, 0],
    [1 / 4, 1 / 4, 1 / 4], [1 / 4, 3 / 4, 3 / 4], [3 / 4, 1 / 4, 3 / 4], [3 / 4, 3 / 4, 1 / 4],
])  # fmt: skip

_LOOPS_PER_MOLECULE = 1.0
_MOST_TRIES = 20_000


class _Bonds(NamedTuple):
    """Directed hydrogen bonds: `ends[b]` = (donor, acceptor), `vectors[b]` from donor to acceptor.

    `of[i]` lists the four bonds of oxygen i. Reversing a bond swaps its ends and its vector.
    """

    ends: NDArray[np.int64]
    vectors: Array
    of: list[list[int]]


def ice(
    repeats: tuple[int, int, int],
    density_g_cm3: float,
    model: WaterModel,
    seed: int,
    phase: Phase = "ice-Ih",
) -> State:
    """Build a crystal of ice with disordered protons and no net dipole.

    Parameters
    ----------
    repeats : (int, int, int)
        Unit cells of 8 molecules along x, y and z; Ih: orthorhombic cell a, √3 a, √(8/3) a; Ic:
        cubic cell.
    density_g_cm3 : float
        Density, g/cm³ (0.92 for Ih at 250 K).
    model : WaterModel
        Geometry of the molecule.
    seed : int
        Decides the protons; the same seed gives the same bits.
    phase : {"ice-Ih", "ice-Ic"}
        Hexagonal or cubic.

    Returns
    -------
    State
        Ideal oxygen lattice without velocities; minimise before use.

    Raises
    ------
    UsageError
        If a direction has a single cell, where two bonds join the same pair of molecules.
    """
    if min(repeats) < 2:
        raise UsageError(f"ice needs at least 2 unit cells in each direction, got {repeats}")
    sites, cell = (_IH_SITES, _IH_CELL) if phase == "ice-Ih" else (_IC_SITES, np.ones(3))
    edge = (volume_nm3(8, density_g_cm3) / float(cell.prod())) ** (1 / 3)
    grid = np.stack(np.meshgrid(*(np.arange(k) for k in repeats), indexing="ij"), axis=-1)
    oxygens = ((grid.reshape(-1, 1, 3) + sites).reshape(-1, 3)) * cell * edge
    box = np.diag(cell * edge * np.array(repeats))
    # Off the faces of the cell, so that rounding wraps no layer to the other side.
    oxygens += 0.05 * edge
    random = np.random.default_rng(seed)
    bonds = _directed_bonds(oxygens, box, random)
    _shuffle(bonds, random, round(_LOOPS_PER_MOLECULE * len(oxygens)))
    _remove_dipole(bonds, random, edge)
    donated: list[list[int]] = [[] for _ in oxygens]
    for bond, (donor, _) in enumerate(bonds.ends):
        donated[donor].append(bond)
    pairs = np.array(donated)
    positions = place_molecules(
        oxygens, bonds.vectors[pairs[:, 0]], bonds.vectors[pairs[:, 1]], model
    )
    return at_rest(positions, box)


def ice_repeats(n_molecules: int, phase: Phase = "ice-Ih") -> tuple[int, int, int]:
    """Return a compact block of unit cells with at least so many molecules.

    Parameters
    ----------
    n_molecules : int
        Molecules wanted.
    phase : {"ice-Ih", "ice-Ic"}
        Which crystal.

    Returns
    -------
    (int, int, int)
        Unit cells of 8 molecules along x, y, z, each at least 2: the smallest block whose shortest
        edge is at least 0.8 of the cube root of its volume.
    """
    cell = _IH_CELL if phase == "ice-Ih" else np.ones(3)
    cells = max(1, math.ceil(n_molecules / 8))
    edge = (cells * float(cell.prod())) ** (1 / 3)
    low = [max(2, math.floor(edge / length)) for length in cell]
    blocks = [(low[0] + i, low[1] + j, low[2] + k) for i, j, k in np.ndindex(3, 3, 3)]
    compact = [
        block for block in blocks
        if math.prod(block) >= cells
        and min(block * cell) >= 0.8 * math.prod(block * cell) ** (1 / 3)
    ]  # fmt: skip
    return min(compact, key=lambda block: (math.prod(block), block))


def ice_in_liquid(
    repeats: tuple[int, int, int], n_liquid: int, model: WaterModel, seed: int
) -> State:
    """Build a slab of ice Ih beside a liquid, both faces normal to z.

    Parameters
    ----------
    repeats : (int, int, int)
        Unit cells of the ice.
    n_liquid : int
        Molecules of the liquid, at 1 g/cm³.
    model : WaterModel
        Geometry of the molecule.
    seed : int
        Decides protons and the liquid's orientations.

    Returns
    -------
    State
        Ice first, then the liquid; minimise and equilibrate before use.
    """
    crystal = ice(repeats, 0.92, model, seed)
    height = volume_nm3(n_liquid, 1.0) / float(crystal.box[0, 0] * crystal.box[1, 1])
    cell = np.diag([crystal.box[0, 0], crystal.box[1, 1], height])
    fluid = fill_cell(cell, n_liquid, model, np.random.default_rng([seed, 1]))
    fluid[:, :, 2] += crystal.box[2, 2]
    box = crystal.box.copy()
    box[2, 2] += height
    return at_rest(np.concatenate([crystal.positions, fluid]), box)


def _directed_bonds(oxygens: Array, box: Array, random: np.random.Generator) -> _Bonds:
    """Draw directions for all bonds, two out of and two into each oxygen."""
    indices, vectors = nearest4(oxygens, box)
    ends: list[tuple[int, int]] = []
    along: list[Array] = []
    of: list[list[int]] = [[] for _ in oxygens]
    for i in range(len(oxygens)):
        for slot in range(4):
            j = int(indices[i, slot])
            if i < j:
                of[i].append(len(ends))
                of[j].append(len(ends))
                ends.append((i, j))
                along.append(vectors[i, slot])
    bonds = _Bonds(np.array(ends), np.array(along), of)
    unused = [list(random.permutation(row)) for row in of]
    used = np.zeros(len(ends), bool)
    for start in random.permutation(len(oxygens)):
        at = int(start)
        # Every oxygen has an even number of unused bonds, so a walk ends only where it began.
        while True:
            row = unused[at]
            while row and used[row[-1]]:
                row.pop()
            if not row:
                break
            bond = int(row.pop())
            used[bond] = True
            if bonds.ends[bond, 0] != at:
                _reverse(bonds, [bond])
            at = int(bonds.ends[bond, 1])
    return bonds


def _reverse(bonds: _Bonds, loop: list[int]) -> None:
    bonds.ends[loop] = bonds.ends[loop][:, ::-1]
    bonds.vectors[loop] *= -1.0


def _loop(bonds: _Bonds, random: np.random.Generator, bias: Array | None = None) -> list[int]:
    """Walk along donated bonds until an oxygen comes twice; return the bonds of that loop.

    With a bias the walk prefers, nine times of ten, the bond that leads that way.
    """
    at = int(random.integers(len(bonds.of)))
    came: dict[int, int] = {}
    walk: list[int] = []
    while at not in came:
        came[at] = len(walk)
        ways = [bond for bond in bonds.of[at] if bonds.ends[bond, 0] == at]
        if bias is not None and random.random() < 0.9:
            bond = max(ways, key=lambda way: float(bonds.vectors[way] @ bias))
        else:
            bond = ways[int(random.integers(2))]
        walk.append(bond)
        at = int(bonds.ends[bond, 1])
    return walk[came[at] :]


def _shuffle(bonds: _Bonds, random: np.random.Generator, n_loops: int) -> None:
    for _ in range(n_loops):
        _reverse(bonds, _loop(bonds, random))


def _remove_dipole(bonds: _Bonds, random: np.random.Generator, edge: float) -> None:
    """Reverse loops along the net dipole until none is left."""
    dipole = bonds.vectors.sum(axis=0)
    for _ in range(_MOST_TRIES):
        if float(np.abs(dipole).max()) < 1e-6 * edge:
            return
        noise = random.normal(size=3) * 0.1 * float(np.linalg.norm(dipole))
        loop = _loop(bonds, random, dipole + noise)
        change = -2.0 * bonds.vectors[loop].sum(axis=0)
        # Equal dipoles are taken too: they lead out of dead ends.
        if float(((dipole + change) ** 2).sum()) <= float((dipole**2).sum()) + 1e-9 * edge:
            _reverse(bonds, loop)
            dipole = bonds.vectors.sum(axis=0)
    raise UsageError(
        f"no proton arrangement without a net dipole found in {_MOST_TRIES} loops; try another seed"
    )
