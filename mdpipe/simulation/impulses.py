"""Multiple time steps: the reciprocal forces of PME as impulses at every k-th step.

The impulse form of reversible r-RESPA. With k = `reciprocal_every`, at steps whose number is a
multiple of k the reciprocal forces, less those of the pairs within a molecule, count k times, at
the others not at all; every integrator takes the sum as if it were the force. Half of an impulse
ends one group of k steps and half begins the next, so that a group runs backwards as it ran
forwards. The phase follows from the step's number: no state has to be kept, and the forces of one
step are never used at another.

Velocities belong to the positions at multiples of k alone; between them they lack a part of an
impulse. So rows of the energy table, velocity rescaling and barostats keep to multiples of k. The
Langevin bath acts at every step, also on what the velocities lack: the conserved quantity rises, by
1.2 kT/ns per atom with k = 2, 2 fs and a friction of 2/ps. Temperature and potential energy show
nothing of it in 50 ps.

References
----------
Tuckerman, Berne and Martyna, J. Chem. Phys. 97, 1990 (1992), DOI 10.1063/1.463137.
Ma, Izaguirre and Skeel, SIAM J. Sci. Comput. 24, 1951 (2003), DOI 10.1137/S1064827501399833
(impulses resonate from a third of the shortest period on).
"""

from __future__ import annotations

from typing import Final

from mdpipe.failures import StudyError
from mdpipe.models import WaterModel
from mdpipe.scenes.spec import Scene

__all__ = ["check_impulses", "round_up", "times_of_impulse"]

LONGEST_FLEXIBLE_PS: Final = 0.003
"""Longest time between impulses where bonds stretch: a third of their period of 9 fs."""


def check_impulses(scene: Scene, model: WaterModel) -> None:
    """Raise if the impulses of a scene would resonate with the bonds of its model.

    Parameters
    ----------
    scene : Scene
        Has been checked for rigid molecules.
    model : WaterModel
        Its model.

    Raises
    ------
    StudyError
        One line with the rule and the remedy.
    """
    every = scene.reciprocal_every
    if every > 1 and not model.rigid and every * scene.dt_ps > LONGEST_FLEXIBLE_PS * (1 + 1e-9):
        raise StudyError(
            f"reciprocal_every x dt_ps must be at most {LONGEST_FLEXIBLE_PS} ps for the flexible "
            f"{scene.model} (longer impulses resonate with its bonds), got {every} x "
            f"{scene.dt_ps:g}; lower one of them"
        )


def times_of_impulse(scene: Scene, step: int) -> int:
    """Return how many times the reciprocal forces count in the kicks before and after a step's end.

    Parameters
    ----------
    scene : Scene
        Says how often they are computed.
    step : int
        Number of the step that ends where they would be computed; may be negative.

    Returns
    -------
    int
        `reciprocal_every` at its multiples, else 0.
    """
    every = scene.reciprocal_every
    return every if step % every == 0 else 0


def round_up(interval: int, scene: Scene) -> int:
    """Return the least multiple of `reciprocal_every` that is not below an interval.

    Parameters
    ----------
    interval : int
        Steps.
    scene : Scene
        Says how often the reciprocal forces are computed.

    Returns
    -------
    int
        Steps.
    """
    every = scene.reciprocal_every
    return -(-interval // every) * every
