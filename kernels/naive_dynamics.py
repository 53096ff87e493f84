"""Plain twins of the dynamics kernels: slow, obvious, the specification."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

BONDS = ((0, 1), (0, 2), (1, 2))


def naive_shake(
    reference: Array, displaced: Array, masses: Array, lengths: Array, rounds: int = 200
) -> Array:
    """Constrain positions one bond after another until nothing moves (SHAKE).

    Parameters
    ----------
    reference, displaced : (n, 3, 3) float64
        Positions before and after the free move, L.
    masses : (3,) float64
        Of O, H1, H2.
    lengths : (3,) float64
        O-H1, O-H2, H1-H2.
    rounds : int
        At most so many sweeps.

    Returns
    -------
    (n, 3, 3) float64
        Constrained positions; the corrections lie along the bonds of `reference`.
    """
    x = displaced.copy()
    for _ in range(rounds):
        worst = 0.0
        for (i, j), length in zip(BONDS, lengths, strict=True):
            old = reference[:, j] - reference[:, i]
            now = x[:, j] - x[:, i]
            excess = (now * now).sum(axis=1) - length * length
            worst = max(worst, float(np.abs(excess).max()))
            scale = 2.0 * (old * now).sum(axis=1) * (1.0 / masses[i] + 1.0 / masses[j])
            push = (excess / scale)[:, None] * old
            x[:, i] += push / masses[i]
            x[:, j] -= push / masses[j]
        if worst < 1e-17:
            break
    return x


def naive_rattle(positions: Array, velocities: Array, masses: Array) -> Array:
    """Take from the velocities what changes a bond length, by solving for each molecule.

    Parameters
    ----------
    positions, velocities : (n, 3, 3) float64
        Any triangles.
    masses : (3,) float64
        Of O, H1, H2.

    Returns
    -------
    (n, 3, 3) float64
        Projected velocities.
    """
    out = velocities.copy()
    for n, x in enumerate(positions):
        rows = np.zeros((3, 3, 3))
        for row, (i, j) in zip(rows, BONDS, strict=True):
            row[j] = x[j] - x[i]
            row[i] = x[i] - x[j]
        b = rows.reshape(3, 9)
        weighted = b / np.repeat(masses, 3)
        multipliers = np.linalg.solve(b @ weighted.T, b @ out[n].reshape(9))
        out[n] -= (weighted.T @ multipliers).reshape(3, 3)
    return out


def naive_drift(
    x: Array, v: Array, f: Array, masses: Array, lengths: Array, *, dt: float, kick: float
) -> tuple[Array, Array]:
    """Kick, drift and constrain.

    Parameters
    ----------
    x, v, f : (n, 3, 3) float64
        Positions, velocities, forces.
    masses, lengths : (3,) float64
        As for `naive_shake`.
    dt, kick : float
        Time step, and length of the kick before it.

    Returns
    -------
    x, v : (n, 3, 3) float64
        New positions, and displacement / dt.
    """
    free = x + dt * (v + kick * f / masses[:, None])
    new = naive_shake(x, free, masses, lengths)
    return new, (new - x) / dt


def naive_langevin_middle(
    x: Array,
    v: Array,
    f: Array,
    masses: Array,
    lengths: Array,
    *,
    dt: float,
    bath: tuple[float, Array, Array],
) -> tuple[Array, Array]:
    """Do one step of the Langevin middle scheme.

    Parameters
    ----------
    x, v, f : (n, 3, 3) float64
        Positions, velocities, forces.
    masses, lengths : (3,) float64
        As for `naive_shake`.
    dt : float
        Time step.
    bath : tuple
        a = exp(-γ dt); b = sqrt(kT (1 - a²) / m), (3,); normal deviates, (n, 3, 3).

    Returns
    -------
    x, v : (n, 3, 3) float64
        New positions and velocities, both on the constraints.
    """
    keep, spread, noise = bath
    v = naive_rattle(x, v + dt * f / masses[:, None], masses)
    mixed = keep * v + spread[:, None] * noise
    free = x + 0.5 * dt * (v + mixed)
    new = naive_shake(x, free, masses, lengths)
    return new, naive_rattle(new, mixed + (new - free) / dt, masses)


def naive_philox4x32(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """Return the four words of Philox4x32-10, in Python integers.

    Parameters
    ----------
    counter : tuple of four int
        Below 2**32 each.
    key : tuple of two int
        Below 2**32 each.

    Returns
    -------
    tuple of four int
        Below 2**32 each.
    """
    c: Any = list(counter)
    k = list(key)
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * c[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * c[2], 2**32)
        c = [high1 ^ c[1] ^ k[0], low1, high0 ^ c[3] ^ k[1], low0]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return tuple(c)
