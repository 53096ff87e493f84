"""Plain NumPy twins of the force kernels: the specification, slow and short."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["list_pairs", "pair_forces", "reciprocal_sum", "spline"]

Array = NDArray[np.float64]


def list_pairs(points: Array, box: Array, radius: float) -> set[tuple[int, int, int, int, int]]:
    """List every pair of points and image within a radius, each once.

    Parameters
    ----------
    points : (n, 3) float64
        Inside the box or not.
    box : (3, 3) float64
        Rows.
    radius : float
        Length.

    Returns
    -------
    set of tuple
        (i, j, a, b, c): point j displaced by a, b, c box vectors lies within the radius of point
        i; of a pair and its mirror image the one that is larger as a tuple is kept.
    """
    found = set()
    spans = range(-3, 4)
    for a in spans:
        for b in spans:
            for c in spans:
                shift = a * box[0] + b * box[1] + c * box[2]
                d = points[None, :] + shift - points[:, None]
                for i, j in np.argwhere((d**2).sum(axis=2) < radius**2):
                    if (i, j, a, b, c) != (i, i, 0, 0, 0):
                        found.add(max((i, j, a, b, c), (j, i, -a, -b, -c)))
    return {tuple(int(x) for x in pair) for pair in found}  # type: ignore[misc]


def _to_nearest_image(points: Array, box: Array) -> Array:
    """Yield the shortest of the vectors from each point to each image of each other."""
    spans = np.mgrid[-1:2, -1:2, -1:2].reshape(3, -1).T @ box
    d = points[None] - points[:, None]
    d -= np.round(d @ np.linalg.inv(box)) @ box
    images = d[None] + spans[:, None, None]
    nearest = np.argmin((images**2).sum(axis=3), axis=0)
    shortest: Array = np.take_along_axis(images, nearest[None, :, :, None], axis=0)[0]
    return shortest


def pair_forces(
    positions: Array,
    box: Array,
    charges: Array,
    weight_h: float,
    lj: tuple[float, float],
    r_cut: float,
    coulomb: Any,
    *,
    molecular: bool = False,
) -> tuple[Array, float, float, Array]:
    """Sum Lennard-Jones and Coulomb over all pairs of sites of different molecules.

    Parameters
    ----------
    positions : (n, 3, 3) float64
        O, H1, H2 of whole molecules.
    box : (3, 3) float64
        Rows; at least 2 `r_cut` between opposite faces.
    charges : (3,) float64
        Reduced charges of the negative site, H1, H2.
    weight_h : float
        Weight of each H in the negative site.
    lj : tuple of 2 float
        C6 and C12.
    r_cut : float
        Cutoff between sites.
    coulomb : callable
        Gives energy and -dE/dr/r for unit charges at distances r.
    molecular : bool
        Whether the cutoff is between the oxygens, and all sites of two molecules count within it.

    Returns
    -------
    forces : (n, 3, 3) float64
        On O, H1, H2.
    e_lj, e_coulomb : float
        Energies.
    virial : (3, 3) float64
        Atomic: sum of r_ij F_ij over sites.
    """
    n = len(positions)
    weights = np.array([[1 - 2 * weight_h, weight_h, weight_h], [0, 1, 0], [0, 0, 1.0]])
    sites = np.einsum("sa,nac->nsc", weights, positions)
    groups = [(positions[:, :1], np.eye(3)[:1], None), (sites, weights, charges)]
    forces = np.zeros_like(positions)
    energies = [0.0, 0.0]
    virial = np.zeros((3, 3))
    between = _to_nearest_image(positions[:, 0], box)
    for kind, (points, spread, charge) in enumerate(groups):
        k = points.shape[1]
        flat = points.reshape(-1, 3)
        owner = np.repeat(np.arange(n), k)
        if molecular:
            inside = (points - positions[:, :1]).reshape(-1, 3)
            oxygens = between[owner[:, None], owner[None]]
            d = oxygens + inside[None] - inside[:, None]
            near = np.sqrt((oxygens**2).sum(axis=2)) < r_cut
        else:
            d = _to_nearest_image(flat, box)
            near = np.sqrt((d**2).sum(axis=2)) < r_cut
        r = np.sqrt((d**2).sum(axis=2))
        i, j = np.nonzero(near & (owner[:, None] < owner[None]))
        r, d = r[i, j], d[i, j]
        if charge is None:
            energy = lj[1] / r**12 - lj[0] / r**6
            factor = (12 * lj[1] / r**12 - 6 * lj[0] / r**6) / r**2
        else:
            energy, factor = coulomb(r)
            qq = charge[i % k] * charge[j % k]
            energy, factor = qq * energy, qq * factor
        f = factor[:, None] * d
        virial += d.T @ f
        on_sites = np.zeros_like(flat)
        np.add.at(on_sites, j, f)
        np.add.at(on_sites, i, -f)
        forces += np.einsum("sa,nsc->nac", spread, on_sites.reshape(n, k, 3))
        energies[kind] = float(energy.sum())
    return forces, energies[0], energies[1], virial


def spline(order: int, x: Array) -> Array:
    """Evaluate the cardinal B-spline M_n by its recursion.

    Parameters
    ----------
    order : int
        n, at least 2.
    x : ndarray
        Arguments; the spline vanishes outside 0 to n.

    Returns
    -------
    ndarray
        M_n(x).
    """
    if order == 2:
        return np.where((x >= 0) & (x <= 2), 1 - np.abs(x - 1), 0.0)
    return (x * spline(order - 1, x) + (order - x) * spline(order - 1, x - 1)) / (order - 1)


def reciprocal_sum(
    sites: Array, charges: Array, box: Array, grid: tuple[int, int, int], order: int, alpha: float
) -> tuple[float, Array]:
    """Evaluate the reciprocal energy of smooth PME, and its forces by the analytic derivative.

    Parameters
    ----------
    sites : (m, 3) float64
        Positions of the charges.
    charges : (m,) float64
        Reduced charges.
    box : (3, 3) float64
        Rows.
    grid : tuple of 3 int
        Sizes.
    order : int
        Spline order.
    alpha : float
        Ewald splitting.

    Returns
    -------
    energy : float
        Reciprocal energy without the self term.
    forces : (m, 3) float64
        On the charges.
    """
    inverse: NDArray[Any] = np.linalg.inv(box)
    u = (sites @ inverse) % 1.0 * np.array(grid)
    weights, slopes = [], []
    for a, k in enumerate(grid):
        x = u[:, a : a + 1] - np.arange(k)[None]
        # Every image of a grid point whose spline reaches the site.
        images = [x + i * k for i in (-1, 0, 1)]
        weights.append(np.asarray(sum(spline(order, image) for image in images)))
        slopes.append(
            np.asarray(sum(spline(order - 1, i) - spline(order - 1, i - 1) for i in images))
        )
    charge_grid = np.einsum("m,mx,my,mz->xyz", charges, *weights)
    influence = _influence(inverse, grid, order, alpha, float(abs(np.linalg.det(box))))
    spectrum = np.fft.fftn(charge_grid)
    energy = 0.5 * float((influence * np.abs(spectrum) ** 2).sum())
    potential = np.fft.ifftn(influence * spectrum).real * math.prod(grid)
    gradient = np.zeros_like(sites)
    for a in range(3):
        factors = [slopes[b] * grid[b] if b == a else weights[b] for b in range(3)]
        gradient[:, a] = np.einsum("xyz,mx,my,mz->m", potential, *factors)
    return energy, -charges[:, None] * (gradient @ inverse.T)


def _influence(
    inverse: Array, grid: tuple[int, int, int], order: int, alpha: float, volume: float
) -> Array:
    waves = [np.fft.fftfreq(k, 1.0 / k) for k in grid]
    m = np.stack(np.meshgrid(*waves, indexing="ij"), axis=-1) @ inverse.T
    m2 = (m**2).sum(axis=-1)
    m2[0, 0, 0] = 1.0
    value: Array = np.exp(-((math.pi / alpha) ** 2) * m2) / (math.pi * volume * m2)
    knots = spline(order, np.arange(1.0, order))
    for a, k in enumerate(grid):
        phases = np.exp(2j * np.pi * np.outer(np.arange(k), np.arange(order - 1)) / k)
        moduli = np.abs(phases @ knots) ** 2
        for z in np.flatnonzero(moduli < 1e-7):
            moduli[z] = 0.5 * (moduli[z - 1] + moduli[(z + 1) % k])
        shape = [1, 1, 1]
        shape[a] = k
        value = value / moduli.reshape(shape)
    value[0, 0, 0] = 0.0
    return value
