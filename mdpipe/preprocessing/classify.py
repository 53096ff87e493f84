"""What one frame is: its state point, its structure and the shape of its box.

References
----------
`kernels/order.py` names the papers of q, averaged q6 and CHILL+.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels.matrix import determinant3, solve3
from mdpipe.kernels.neighbours import nearest4, neighbour_list
from mdpipe.kernels.order import (
    CHILL_RADIUS_NM,
    CUBIC,
    HEXAGONAL,
    INTERFACIAL_ICE,
    chill_plus,
    largest_cluster,
    steinhardt_q6,
    tetrahedral_q,
)
from mdpipe.state import Array, Frame
from mdpipe.units import BOLTZMANN, WATER_MASS, density_g_cm3

Structure = Literal["liquid", "supercooled", "ice-Ih", "ice-Ic", "interface", "mixed"]
BoxShape = Literal["cubic", "orthorhombic", "truncated-octahedron", "triclinic"]

LIQUID_ICE_MAX = 0.10
"""Largest ice fraction (Ih + Ic + interfacial ice) of a liquid: SPC/E from 225 to 340 K, frames of
216 molecules, never exceeds 0.04; a slab thinner than a tenth of a box is not told from noise."""

CRYSTAL_ICE_MIN = 0.80
"""Smallest ice fraction of a crystal: bulk Ih just below its melting point still shows 0.9, while
a box that is four fifths ice has a molten layer or molten regions that one should see named."""

PURE_CRYSTAL_MIN = 0.80
"""Smallest share of one stacking in Ih + Ic: thermal motion turns fewer than 0.02 of Ih into Ic, so
a fifth of the other kind is stacking disorder (class `mixed`)."""

INTERFACE_CLUSTER_MIN = 0.80
"""Smallest share of the ice-like molecules in one connected piece for the class `interface`: a slab
or a nucleus is one piece; scattered crystallites (class `mixed`) are not."""

SUPERCOOLED_BELOW_K = 273.15
SUPERCOOLED_Q_MIN = 0.685
"""Smallest mean q of the class `supercooled` where the temperature is known to be below freezing.
SPC/E has 0.647 at 298 K, 0.663 at 280 K, 0.712 at 260 K and 0.748 at 225 K, with a standard
deviation of 0.015 between frames of 216 molecules; this is near its 273 K."""

SUPERCOOLED_Q_ALONE = 0.72
"""The same where no temperature is known. Models differ: TIP4P/2005 has 0.695 at 298 K and 0.744 at
260 K, so this is above every common model's ambient liquid and reached by SPC/E below 255 K."""

ORDERED_Q6_MIN = 0.30
"""Averaged q6 above which a liquid counts as `supercooled` whatever its q and temperature: liquids
have 0.25 to 0.27 from 225 to 340 K, a slab that is half ice 0.35, ice above 0.40, so 0.30 means
ice-like regions below the CHILL+ threshold."""


class FrameClass(NamedTuple):
    """State point and structure of one frame.

    Attributes
    ----------
    structure : str
        The class.
    n_molecules : int
        Number of water molecules.
    density_g_cm3 : float
        Mass density, g/cm³.
    temperature_K : float or None
        From the velocities, K; None where the frame has none.
    box_shape : str
        Shape of the cell.
    q, q6 : float
        Means of the tetrahedral order and of the averaged q6 over the molecules.
    hexagonal, cubic, interfacial : float
        Fractions of molecules that CHILL+ labels Ih, Ic and interfacial ice.
    cluster : float
        Share of those ice-like molecules in their largest connected piece; 0 without any.
    """

    structure: Structure
    n_molecules: int
    density_g_cm3: float
    temperature_K: float | None
    box_shape: BoxShape
    q: float
    q6: float
    hexagonal: float
    cubic: float
    interfacial: float
    cluster: float


def classify_frame(frame: Frame) -> FrameClass:
    """Classify one frame.

    Parameters
    ----------
    frame : Frame
        At least one whole molecule and a box.

    Returns
    -------
    FrameClass
        Deterministic: the same frame gives the same bits.
    """
    oxygens = np.ascontiguousarray(frame.positions[:, 0], dtype=np.float64)
    n = len(oxygens)
    near = neighbour_list(oxygens, frame.box, CHILL_RADIUS_NM)
    indices, vectors = nearest4(oxygens, frame.box, near)
    q = float(tetrahedral_q(vectors).mean())
    q6 = float(steinhardt_q6(indices, vectors)[1].mean())
    labels = chill_plus(near)
    ice = np.isin(labels, (HEXAGONAL, CUBIC, INTERFACIAL_ICE)).astype(np.int64)
    n_ice = int(ice.sum())
    hexagonal, cubic, interfacial = (
        float((labels == kind).sum()) / n for kind in (HEXAGONAL, CUBIC, INTERFACIAL_ICE)
    )
    cluster = largest_cluster(near, ice) / n_ice if n_ice else 0.0
    temperature = kinetic_temperature(frame)
    return FrameClass(
        structure_of(q, q6, hexagonal, cubic, interfacial, cluster, temperature_K=temperature),
        n,
        density_g_cm3(n, abs(determinant3(frame.box))),
        temperature,
        box_shape(frame.box),
        q,
        q6,
        hexagonal,
        cubic,
        interfacial,
        cluster,
    )


def structure_of(
    q: float,
    q6: float,
    hexagonal: float,
    cubic: float,
    interfacial: float,
    cluster: float,
    *,
    temperature_K: float | None = None,
) -> Structure:
    """Name the structure that order parameters stand for.

    Parameters
    ----------
    q, q6, hexagonal, cubic, interfacial, cluster : float
        As in `FrameClass`, of one frame or averaged over several.
    temperature_K : float or None
        The temperature, where it is known, K.

    Returns
    -------
    str
        The class; the constants of this module say where it changes and why there.
    """
    ice = hexagonal + cubic + interfacial
    if ice < LIQUID_ICE_MAX:
        if temperature_K is None:
            ordered = q >= SUPERCOOLED_Q_ALONE
        else:
            ordered = q >= SUPERCOOLED_Q_MIN and temperature_K < SUPERCOOLED_BELOW_K
        return "supercooled" if ordered or q6 >= ORDERED_Q6_MIN else "liquid"
    if ice < CRYSTAL_ICE_MIN:
        return "interface" if cluster >= INTERFACE_CLUSTER_MIN else "mixed"
    if hexagonal >= PURE_CRYSTAL_MIN * (hexagonal + cubic):
        return "ice-Ih"
    return "ice-Ic" if cubic >= PURE_CRYSTAL_MIN * (hexagonal + cubic) else "mixed"


def kinetic_temperature(frame: Frame) -> float | None:
    """Return the temperature of the rigid-body motion of the molecules.

    Parameters
    ----------
    frame : Frame
        Velocities in nm/ps, or None.

    Returns
    -------
    float or None
        2 (K_trans + K_rot)/((6 n - 3) k) in K; None without velocities, or if all are zero.

    Notes
    -----
    The rotation is the one with the molecule's angular momentum, so velocities along bonds (of a
    flexible model, or not projected on the constraints) do not enter. The motion of the common
    centre of mass is taken out, which the 3 stands for.
    """
    if frame.velocities is None or not np.any(frame.velocities) or len(frame.positions) < 2:
        return None
    masses = np.array([15.9994, 1.008, 1.008]) / WATER_MASS
    centres = np.einsum("a,nax->nx", masses, frame.positions)
    drift = np.einsum("a,nax->nx", masses, frame.velocities)
    arms = frame.positions - centres[:, None]
    spins = frame.velocities - drift[:, None]
    angular = np.einsum("a,nax->nx", masses, np.cross(arms, spins))
    inertia = _inertia(masses, arms)
    rates = solve3(inertia, angular)
    drift = drift - drift.mean(axis=0)
    twice_kinetic = WATER_MASS * (float((drift**2).sum()) + float((angular * rates).sum()))
    return twice_kinetic / ((6 * len(centres) - 3) * BOLTZMANN)


def _inertia(masses: NDArray[np.float64], arms: Array) -> Array:
    """Return the (n, 3, 3) inertia tensors of molecules."""
    squares = np.einsum("a,nax,nax->n", masses, arms, arms)
    outer = np.einsum("a,nax,nay->nxy", masses, arms, arms)
    return np.asarray(squares[:, None, None] * np.eye(3) - outer, np.float64)


def box_shape(box: Array) -> BoxShape:
    """Name the shape of a cell.

    Parameters
    ----------
    box : (3, 3) float64
        Rows are the cell vectors, nm.

    Returns
    -------
    str
        Edges and angles are compared to 0.1 %: files keep three decimals of nm.
    """
    lengths = np.linalg.norm(box, axis=1)
    unit = box / lengths[:, None]
    cosines = np.array([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]])
    even = float(np.ptp(lengths)) <= 1e-3 * float(lengths.max())
    if np.abs(cosines).max() <= 1e-3:
        return "cubic" if even else "orthorhombic"
    if even and np.abs(np.abs(cosines) - 1 / 3).max() <= 2e-3:
        return "truncated-octahedron"
    return "triclinic"
