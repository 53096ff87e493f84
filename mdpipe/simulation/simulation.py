"""The time loop of one scene."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError
from mdpipe.models import load_model
from mdpipe.scenes.spec import Scene
from mdpipe.simulation import ensembles
from mdpipe.simulation.degrees import (
    degrees_of_freedom,
    kinetic_temperature,
    molecular_pressure,
)
from mdpipe.simulation.impulses import check_impulses, times_of_impulse
from mdpipe.simulation.minimise import minimise
from mdpipe.simulation.output import Row
from mdpipe.simulation.propagator import Motion, Propagator, Scheme
from mdpipe.simulation.start import prepare_start, remove_centre_motion
from mdpipe.simulation.threads import ThreadChoice
from mdpipe.state import State
from mdpipe.units import BOLTZMANN, density_g_cm3

if TYPE_CHECKING:
    from mdpipe.simulation.forcefield import Evaluation

Array = NDArray[np.float64]

HOTTEST_K = 1e5
"""A kinetic temperature that no water survives: the run has blown up."""


class Forces(Protocol):
    """What the time loop asks of a force field."""

    def compute(
        self, positions: Array, box: Array, forces: Array, *, reciprocal_times: int
    ) -> None:
        """Overwrite `forces`; reciprocal ones count so many times."""
        ...

    def evaluate(
        self, positions: Array, box: Array, forces: Array, *, reciprocal_times: int = 1
    ) -> Evaluation:
        """Overwrite `forces` with the same bits, and return whole energies and molecular virial."""
        ...

    def invalidate(self) -> None:
        """Forget the neighbour list."""
        ...


class Simulation:
    """Moves one state of water in the ensemble of a scene.

    Parameters
    ----------
    scene : Scene
        Model, ensemble, time step, seed and so on; its length and intervals of output are not used.
    state : State
        Where it starts; copied. `state.step` below 0 counts the equilibration (nve scenes are
        thermostatted until step 0).
    threads : int
        The most threads of the kernels; fewer are used where that is faster. The bits do not
        depend on it.
    forcefield : Forces or None
        Another force field; None builds the scene's own.
    coupling : Coupling or None
        Given when a run is resumed: the state is then taken bit for bit as it is.

    Attributes
    ----------
    state : State
        Positions, velocities, box, time and step as they stand (do not replace its arrays).
    forces : (n, 3, 3) float64
        kJ/mol/nm, those of `state`; with impulses (`mdpipe.simulation.impulses`) as the kicks of
        this step take them.
    threads : ThreadChoice
        How many threads are used.

    Examples
    --------
    >>> simulation = Simulation(Scene(name="a", ensemble="nvt", steps=1), state)  # doctest: +SKIP
    >>> simulation.step(1000)  # doctest: +SKIP
    >>> simulation.energies().temperature_K  # doctest: +SKIP
    """

    def __init__(
        self,
        scene: Scene,
        state: State,
        *,
        threads: int = 1,
        forcefield: Forces | None = None,
        coupling: ensembles.Coupling | None = None,
    ) -> None:
        self.threads = ThreadChoice(threads)
        self.scene = scene
        self.model = load_model(scene.model)
        check_impulses(scene, self.model)
        self.com_removed = scene.remove_com_every > 0
        if coupling is None:
            self.state = prepare_start(state, self.model, scene.temperature_K, scene.seed)
            if self.com_removed:
                remove_centre_motion(self.state.velocities, self.model)
        else:
            self.state = state.copy()
        self.coupling = coupling or ensembles.Coupling()
        n = self.state.n_molecules
        self.dof = degrees_of_freedom(self.model, n, com_removed=self.com_removed)
        self.forcefield = forcefield or self._own_forcefield()
        self._kT = BOLTZMANN * scene.temperature_K
        self._thermostat_every = ensembles.thermostat_every(scene)
        self._barostat_every = ensembles.barostat_every(scene)
        self._propagator = self._make_propagator()
        self.forces = self._propagator.forces
        self._cell = ensembles.CellRescaling(
            self.model,
            self._kT,
            scene.pressure_bar,
            scene.seed,
            rate=scene.compressibility_per_bar
            * (self._barostat_every * scene.dt_ps / scene.barostat_tau_ps),
        )
        self._monte_carlo = ensembles.MonteCarloBarostat(
            self.model, self._kT, scene.pressure_bar, scene.seed
        )
        self._keep = math.exp(-self._thermostat_every * scene.dt_ps / scene.thermostat_tau_ps)
        self._hottest = 0.5 * self.dof * BOLTZMANN * HOTTEST_K
        self._evaluation: Evaluation | None = None
        self._have_forces = False

    def _own_forcefield(self) -> Forces:
        from mdpipe.simulation.forcefield import ForceField

        return ForceField(
            self.model,
            self.scene.nonbonded,
            self.state.box,
            self.state.n_molecules,
            precision=self.scene.precision,
        )

    @property
    def thermostatted(self) -> bool:
        """Whether the step that ends at `state.step` + 1 has a thermostat."""
        return self.scene.ensemble != "nve" or self.state.step < 0

    def _make_propagator(self) -> Propagator:
        scene = self.scene
        scheme: Scheme = scene.integrator
        if scene.thermostat == "langevin" and self.thermostatted:
            scheme = "langevin"
        propagator = Propagator(self.model, self.state, scheme, scene.dt_ps, scene.seed)
        propagator.set_bath(scene.temperature_K, scene.thermostat_tau_ps)
        return propagator

    def minimise(self, steps: int) -> float:
        """Lower the potential energy by steepest descent; velocities are kept.

        Parameters
        ----------
        steps : int
            At most so many force evaluations.

        Returns
        -------
        float
            Potential energy at the end, kJ/mol.
        """
        self._evaluation = None
        self._have_forces = False
        return minimise(self.state, self.forces, self.model, self.forcefield, steps)

    def refresh(self) -> None:
        """Rebuild the neighbour list and the forces, as a resumed run does."""
        self.forcefield.invalidate()
        self._evaluation = None
        self._have_forces = False

    def rebuild_forcefield(self, forcefield: Forces | None = None) -> None:
        """Take a new force field, by default the scene's own made for the box as it stands.

        Parameters
        ----------
        forcefield : Forces or None
            The new one.
        """
        self.forcefield = forcefield or self._own_forcefield()
        self.refresh()

    def potential(self) -> float:
        """Return the potential energy of the state as it stands and bring the forces up to date.

        Returns
        -------
        float
            kJ/mol.
        """
        self._evaluation = self.forcefield.evaluate(
            self.state.positions,
            self.state.box,
            self.forces,
            reciprocal_times=times_of_impulse(self.scene, self.state.step),
        )
        self._have_forces = True
        return self._evaluation.energies.total

    def _compute_forces(self) -> None:
        self.forcefield.compute(
            self.state.positions,
            self.state.box,
            self.forces,
            reciprocal_times=times_of_impulse(self.scene, self.state.step),
        )
        self._have_forces = True

    def _evaluated(self) -> Evaluation:
        if self._evaluation is None:
            self.potential()
        if self._evaluation is None:
            raise AssertionError
        return self._evaluation

    def step(self, n: int, *, evaluate_last: bool = False) -> None:
        """Do time steps.

        Parameters
        ----------
        n : int
            How many.
        evaluate_last : bool
            Whether the last force call also yields energies; saves `energies` a force call.

        Raises
        ------
        InputError
            If the kinetic energy is not finite or absurd: the run has blown up.
        """
        for i in range(n):
            last = i == n - 1
            began = time.perf_counter()
            self._one_step(evaluate=evaluate_last and last, last=last)
            now = time.perf_counter()
            self.threads.note(now - began, now)

    def _one_step(self, *, evaluate: bool, last: bool) -> None:
        state = self.state
        if not self._have_forces:
            self._compute_forces()
        step = state.step + 1
        propagator = self._propagator
        thermostat = self.thermostatted and propagator.scheme != "langevin"
        thermostat = thermostat and step % self._thermostat_every == 0
        barostat = self.scene.ensemble == "npt" and step % self._barostat_every == 0
        centre = self.com_removed and step % self.scene.remove_com_every == 0
        leaving = step == 0 and self.scene.ensemble == "nve"
        moved = propagator.move(step)
        self._check(moved, step)
        state.step = step
        state.time_ps = step * self.scene.dt_ps
        self._evaluation = None
        if evaluate or barostat:
            self.potential()
        else:
            self._compute_forces()
        if propagator.scheme == "langevin":
            self.coupling.work_kj_mol += moved.kinetic - moved.before_noise
        if last or thermostat or barostat or centre or leaving:
            motion = propagator.finish()
            if thermostat or barostat:
                self._couple(step, motion, thermostat=thermostat, barostat=barostat)
            if centre:
                self._remove_centre_motion()
        else:
            propagator.leave_to_move()
        if leaving:
            self._leave_bath()

    def _couple(
        self, step: int, motion: Motion | None, *, thermostat: bool, barostat: bool
    ) -> None:
        propagator = self._propagator
        if motion is None:
            velocities, motion = propagator.coupling_velocities()
        else:
            velocities = self.state.velocities
        if thermostat:
            factor = ensembles.rescale_velocities(
                motion.kinetic,
                self.dof,
                kT=self._kT,
                keep=self._keep,
                seed=self.scene.seed,
                step=step,
            )
            velocities *= factor
            self.coupling.work_kj_mol += (factor * factor - 1.0) * motion.kinetic
            motion = motion.scaled(factor)
        if barostat and self.scene.barostat == "monte-carlo":
            kept = self._evaluated()
            if not self._monte_carlo.act(self.state, self.forces, self, self.coupling, step):
                self._evaluation = kept
        elif barostat:
            self._rescale_cell(step, velocities, motion)
        propagator.take_on_step(velocities)

    def _rescale_cell(self, step: int, velocities: Array, motion: Motion) -> None:
        before = self._evaluated()
        pressure = molecular_pressure(
            motion.centres, float(np.trace(before.virial)), self.state.volume_nm3
        )
        factor = self._cell.act(self.state, pressure, step)
        ensembles.scale_centre_velocities(velocities, self.model, 1.0 / factor)
        work = self.potential() - before.energies.total
        work += (1.0 / (factor * factor) - 1.0) * motion.centres
        self.coupling.work_kj_mol += work

    def _remove_centre_motion(self) -> None:
        before = self._propagator.motion()
        remove_centre_motion(self.state.velocities, self.model)
        mass = self.model.mass_amu * self.state.n_molecules
        self.coupling.work_kj_mol += before.without_centre(mass) - before.kinetic

    def _leave_bath(self) -> None:
        """Go over from the thermostat of the equilibration to the nve scene's own scheme."""
        velocities = self._propagator.on_step()[0].copy()
        forces = self.forces.copy()
        self._propagator = self._make_propagator()
        self.forces = self._propagator.forces
        self.forces[:] = forces
        self.state.velocities[:] = velocities
        self._propagator.take_on_step(velocities)
        self.coupling.work_kj_mol = 0.0

    def _check(self, motion: Motion, step: int) -> None:
        if not motion.kinetic < self._hottest:
            raise InputError(
                f"the simulation blew up at step {step}: kinetic energy {motion.kinetic:.3g} "
                f"kJ/mol; lower dt_ps (now {self.scene.dt_ps}) or raise minimise_steps "
                f"(now {self.scene.minimise_steps})"
            )

    def energies(self) -> Row:
        """Return the row of the energy table for the state as it stands.

        Returns
        -------
        Row
            Energies in kJ/mol, temperature, pressure, volume, density. With impulses the kinetic
            ones are right at multiples of `reciprocal_every` alone.

        Raises
        ------
        InputError
            If the potential energy is not finite.
        """
        evaluation = self._evaluated()
        state = self.state
        parts = evaluation.energies
        potential = parts.total
        if not math.isfinite(potential):
            raise InputError(
                f"the potential energy at step {state.step} is {potential}; atoms overlap: "
                f"raise minimise_steps (now {self.scene.minimise_steps}) or lower dt_ps"
            )
        propagator = self._propagator
        _, on_step = propagator.on_step()
        motion = propagator.motion() if propagator.scheme == "langevin" else on_step
        mass = self.model.mass_amu * state.n_molecules
        kinetic = motion.without_centre(mass) if self.com_removed else motion.kinetic
        volume = state.volume_nm3
        return Row(
            float(state.step),
            state.time_ps,
            potential,
            kinetic,
            potential + kinetic,
            potential + on_step.kinetic - self.coupling.work_kj_mol,
            kinetic_temperature(kinetic, self.dof),
            molecular_pressure(motion.centres, float(np.trace(evaluation.virial)), volume),
            volume,
            density_g_cm3(state.n_molecules, volume),
            parts.lj,
            parts.coulomb_real,
            parts.coulomb_reciprocal,
            parts.coulomb_self,
            parts.coulomb_exclusion,
            parts.bond,
            parts.angle,
            parts.dispersion,
        )
