"""The factor of stochastic velocity rescaling.

References
----------
Bussi, Donadio and Parrinello, J. Chem. Phys. 126, 014101 (2007), DOI 10.1063/1.2408420.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mdpipe.kernels._jit import jit
from mdpipe.kernels.rng import gamma, gaussian

__all__ = ["rescaling_factor"]


@jit()
def rescaling_factor(
    kinetic: float, mean: float, dof: int, keep: float, seed: Any, stream: Any, step: Any
) -> float:
    """Yield the factor by which all velocities are multiplied.

    Parameters
    ----------
    kinetic : float
        Kinetic energy now, E.
    mean : float
        Its canonical mean, dof kT/2, E.
    dof : int
        Degrees of freedom, at least 3.
    keep : float
        c = exp(-Δt/τ) of the interval since the thermostat acted last.
    seed, stream, step : uint64
        What names the random numbers; `stream` and `stream` + 1 are used.

    Returns
    -------
    float
        α = sqrt(K'/K), equation A7: K' = c K + (1-c) K̄/N_f (R₁² + Σ R_i²)
        + 2 R₁ sqrt(c (1-c) K K̄/N_f), the sum over N_f - 1 deviates as one gamma deviate.
    """
    first = gaussian(seed, stream, step, np.uint64(0))
    others = 2.0 * gamma(0.5 * (dof - 1), seed, stream + np.uint64(1), step)
    share = mean / dof
    new = (
        keep * kinetic
        + (1.0 - keep) * share * (first * first + others)
        + 2.0 * first * math.sqrt(keep * (1.0 - keep) * kinetic * share)
    )
    return math.sqrt(new / kinetic)
