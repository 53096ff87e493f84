"""Velocity Verlet, leapfrog and Langevin middle: what happens to one step, force calls apart."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.kernels import integrate, langevin
from mdpipe.models import WaterModel
from mdpipe.simulation.start import seed_words, water_constants
from mdpipe.state import State
from mdpipe.units import BOLTZMANN

Scheme = Literal["vverlet", "leapfrog", "langevin"]

STREAM_LANGEVIN = 2


class Motion(NamedTuple):
    """Sums over all molecules after an operation: energies in kJ/mol, momentum in amu nm/ps."""

    kinetic: float
    momentum: tuple[float, float, float]
    centres: float
    before_noise: float

    def scaled(self, factor: float) -> Motion:
        """Return the sums after all velocities were multiplied by a factor."""
        square = factor * factor
        px, py, pz = self.momentum
        return Motion(
            square * self.kinetic,
            (factor * px, factor * py, factor * pz),
            square * self.centres,
            square * self.before_noise,
        )

    def without_centre(self, mass: float) -> float:
        """Return the kinetic energy less that of the centre of mass of the box, kJ/mol."""
        return self.kinetic - sum(p * p for p in self.momentum) / (2.0 * mass)


class Propagator:
    """Moves one state; holds the buffers, so that a step makes no array.

    Notes
    -----
    ``vverlet``: velocities of the state are v(t). ``leapfrog``: they are v(t - dt/2), and a force
    kick of dt/2 with projection gives v(t) where one is needed. ``langevin``: the middle scheme
    v += dt f/m, half drift, noise, half drift; its velocities after the noise sample the
    canonical distribution.
    """

    def __init__(
        self, model: WaterModel, state: State, scheme: Scheme, dt_ps: float, seed: int
    ) -> None:
        n = state.n_molecules
        self.scheme: Scheme = scheme
        self.mass = model.mass_amu * n
        self.dt = dt_ps
        self.seed = seed
        self.forces = np.zeros((n, 3, 3))
        self._water = water_constants(model)
        self._x = state.positions.reshape(n, 9)
        self._v = state.velocities.reshape(n, 9)
        self._f = self.forces.reshape(n, 9)
        self._shifted = np.zeros((n, 9))
        self._sums = np.zeros((integrate.n_blocks(n), integrate.N_SUMS))
        self._keys = np.array(seed_words(seed, STREAM_LANGEVIN, 0), np.uint64)
        self._middle = np.array([dt_ps, dt_ps, 1.0, 0.0, 0.0])
        self._pending = False
        self._masses = np.repeat([model.mass_o_amu, model.mass_h_amu, model.mass_h_amu], 3)

    def set_bath(self, temperature_K: float, tau_ps: float) -> None:
        """Set the heat bath of the Langevin scheme.

        Parameters
        ----------
        temperature_K : float
            Temperature of the bath.
        tau_ps : float
            1 / friction.
        """
        keep = math.exp(-self.dt / tau_ps)
        spread = np.sqrt(BOLTZMANN * temperature_K * (1.0 - keep * keep) / self._masses)
        self._middle[2:] = keep, spread[0], spread[3]

    def _run(self, mode: int, velocities: NDArray[np.float64], kick: float) -> None:
        integrate.advance(
            mode, self._x, velocities, self._f, self._water, self.dt, kick, self._sums
        )

    def _motion(self) -> Motion:
        kinetic, px, py, pz, centres, before = self._sums.sum(axis=0).tolist()
        return Motion(kinetic, (px, py, pz), centres, before)

    def move(self, step: int) -> Motion:
        """Do what a step does before the forces at its end are known.

        Parameters
        ----------
        step : int
            Number of the step that ends here; names the noise.

        Returns
        -------
        Motion
            Of the velocities as they stand.
        """
        if self.scheme == "vverlet":
            mode = integrate.KICK_DRIFT if self._pending else integrate.DRIFT
            self._pending = False
            self._run(mode, self._v, 0.5 * self.dt)
        elif self.scheme == "leapfrog":
            self._run(integrate.DRIFT, self._v, self.dt)
        else:
            self._keys[2] = step % 2**64
            langevin.advance_in_bath(
                self._x, self._v, self._f, self._water, self._middle, self._keys, self._sums
            )
        return self._motion()

    def finish(self) -> Motion | None:
        """Do what a step does once the forces are known.

        Returns
        -------
        Motion or None
            Of v(t) for velocity Verlet; the other schemes have nothing to do.
        """
        if self.scheme != "vverlet":
            return None
        self._run(integrate.KICK, self._v, 0.5 * self.dt)
        return self._motion()

    def leave_to_move(self) -> None:
        """Have the next `move` do what `finish` would do now: one pass less, and the same bits.

        Notes
        -----
        Until then the velocities of velocity Verlet are those of half a step before the positions.
        """
        self._pending = self.scheme == "vverlet"

    def motion(self) -> Motion:
        """Return the sums of the state's velocities as they stand (projected on constraints)."""
        self._shifted[:] = self._v
        self._run(integrate.KICK, self._shifted, 0.0)
        return self._motion()

    def on_step(self) -> tuple[NDArray[np.float64], Motion]:
        """Return the velocities at the time of the positions, and their sums.

        Returns
        -------
        velocities : (n, 3, 3) float64
            The state's own for velocity Verlet, else a buffer: kicked on by dt/2 and projected.
        motion : Motion
            Their sums.
        """
        if self.scheme == "vverlet":
            return self._v.reshape(-1, 3, 3), self.motion()
        self._shifted[:] = self._v
        self._run(integrate.KICK, self._shifted, 0.5 * self.dt)
        return self._shifted.reshape(-1, 3, 3), self._motion()

    def coupling_velocities(self) -> tuple[NDArray[np.float64], Motion]:
        """Return the velocities that thermostat and barostat act on, and their sums.

        Returns
        -------
        velocities : (n, 3, 3) float64
            v(t), but for the Langevin scheme those after its noise: they are the canonical ones.
        motion : Motion
            Their sums.
        """
        if self.scheme == "langevin":
            return self._v.reshape(-1, 3, 3), self.motion()
        return self.on_step()

    def take_on_step(self, velocities: NDArray[np.float64]) -> None:
        """Set the state from velocities at the time of the positions (leapfrog: dt/2 back).

        Parameters
        ----------
        velocities : (n, 3, 3) float64
            As `on_step` gave them, changed by a thermostat or barostat.

        Notes
        -----
        The next kick of dt then does what two half kicks of velocity Verlet would do.
        """
        if self.scheme == "leapfrog":
            self._v[:] = velocities.reshape(-1, 9) - (0.5 * self.dt) * self._f / self._masses
