"""OpenMM's CPU platform, with its default PME tolerance."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mdpipe.benchmarks.case import Case, Timing, run_length
from mdpipe.benchmarks.child import run_worker
from mdpipe.models import WaterModel
from mdpipe.state import State, load_state

ATOM_STEPS: Final = 5e6
MOST_STEPS: Final = 1000
RECIPROCAL_GROUP: Final = 1


class OpenMM:
    """OpenMM on the CPU: mixed arithmetic, Langevin middle, constraints by SETTLE."""

    name = "openmm"

    def missing(self, case: Case) -> str | None:
        """Say why OpenMM cannot run this case here, or None."""
        if importlib.util.find_spec("openmm") is None:
            return "not importable; pip install 'mdpipe[peers]'"
        return None if case.model.rigid else "flexible models are not compared"

    def version(self) -> str:
        """Return OpenMM's version."""
        import openmm

        return str(openmm.version.version)

    def simd(self) -> str:
        """Return what OpenMM uses: it chooses at run time and does not say."""
        return "chosen at run time"

    def time(self, case: Case, folder: Path) -> Timing:
        """Run the case once in a process of its own."""
        result, peak = run_worker("openmm_time", case.plain(), folder)
        return Timing(result["ms_per_step"], peak)

    def forces(self, case: Case, folder: Path) -> NDArray[np.float64]:
        """Return the forces at the start."""
        target = folder / "openmm-forces.npy"
        run_worker("openmm_forces", case.plain() | {"target": str(target)}, folder)
        forces: NDArray[np.float64] = np.load(target)
        return forces

    def parts(self, case: Case, folder: Path) -> dict[str, float]:
        """Return what the two halves of a force evaluation take, ms; OpenMM tells no more."""
        result, _ = run_worker("openmm_parts", case.plain(), folder)
        parts: dict[str, float] = result["parts"]
        return parts


def _system(model: WaterModel, state: State, r_cut: float) -> Any:
    import openmm

    system = openmm.System()
    system.setDefaultPeriodicBoxVectors(*state.box)
    nonbonded = openmm.NonbondedForce()
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.PME)
    nonbonded.setCutoffDistance(r_cut)
    nonbonded.setUseDispersionCorrection(True)
    nonbonded.setReciprocalSpaceForceGroup(RECIPROCAL_GROUP)
    weight = model.virtual_site_weight_h
    for _ in range(state.n_molecules):
        first = system.getNumParticles()
        masses = [model.mass_o_amu, model.mass_h_amu, model.mass_h_amu]
        charges = [-2.0 * model.charge_h_e, model.charge_h_e, model.charge_h_e]
        if model.has_virtual_site:
            masses.append(0.0)
            charges = [0.0, model.charge_h_e, model.charge_h_e, -2.0 * model.charge_h_e]
        for site, (mass, charge) in enumerate(zip(masses, charges, strict=True)):
            system.addParticle(mass)
            epsilon = model.epsilon_kj_mol if site == 0 else 0.0
            nonbonded.addParticle(charge, model.sigma_nm, epsilon)
            for other in range(site):
                nonbonded.addException(first + site, first + other, 0.0, 1.0, 0.0)
        system.addConstraint(first, first + 1, model.r_oh_nm)
        system.addConstraint(first, first + 2, model.r_oh_nm)
        system.addConstraint(first + 1, first + 2, model.r_hh_nm)
        if model.has_virtual_site:
            weights = (1.0 - 2.0 * weight, weight, weight)
            site_m = openmm.ThreeParticleAverageSite(first, first + 1, first + 2, *weights)
            system.setVirtualSite(first + 3, site_m)
    system.addForce(nonbonded)
    return system


def context_for(case: Case) -> Any:
    """Return an OpenMM context at the start of a case.

    Parameters
    ----------
    case : Case
        What to run.

    Returns
    -------
    openmm.Context
        On the CPU platform with the case's number of threads.
    """
    import openmm

    state = load_state(case.start)
    system = _system(case.model, state, case.r_cut_nm)
    integrator = openmm.LangevinMiddleIntegrator(case.temperature_K, 1.0, case.dt_ps)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(system, integrator, platform, {"Threads": str(case.threads)})
    sites = case.model.n_sites
    positions = np.zeros((state.n_molecules, sites, 3))
    velocities = np.zeros_like(positions)
    positions[:, :3], velocities[:, :3] = state.positions, state.velocities
    context.setPositions(positions.reshape(-1, 3))
    context.computeVirtualSites()
    context.setVelocities(velocities.reshape(-1, 3))
    return context


def time_openmm(case: Case) -> float:
    """Return OpenMM's ms a step; runs in a process of its own.

    Parameters
    ----------
    case : Case
        What to run.

    Returns
    -------
    float
        Wall time of the timed steps divided by their number, ms.
    """
    steps = run_length(case.atoms, ATOM_STEPS, MOST_STEPS)
    context = context_for(case)
    integrator = context.getIntegrator()
    integrator.step(max(10, steps // 10))
    context.getState(getEnergy=True)
    began = time.perf_counter()
    integrator.step(steps)
    context.getState(getEnergy=True)
    return (time.perf_counter() - began) / steps * 1e3


def parts_of_openmm(case: Case) -> dict[str, float]:
    """Return what the two halves of OpenMM's force evaluation take, ms.

    Parameters
    ----------
    case : Case
        What to evaluate.

    Returns
    -------
    dict of str to float
        "pair" (its neighbour list included) and "PME", ms a call.
    """
    context = context_for(case)
    calls = run_length(case.atoms, 0.2 * ATOM_STEPS, MOST_STEPS)
    parts = {}
    for name, group in (("pair", 0), ("PME", RECIPROCAL_GROUP)):
        context.getState(getForces=True, groups={group})
        began = time.perf_counter()
        for _ in range(calls):
            context.getState(getForces=True, groups={group})
        parts[name] = (time.perf_counter() - began) / calls * 1e3
    return parts


def openmm_forces(case: Case) -> NDArray[np.float64]:
    """Return OpenMM's forces on the real atoms at the start of a case.

    Parameters
    ----------
    case : Case
        What to evaluate.

    Returns
    -------
    (n, 3, 3) float64
        kJ/mol/nm; virtual-site forces are spread already.
    """
    state = context_for(case).getState(getForces=True)
    forces = np.asarray(state.getForces(asNumpy=True)._value)  # noqa: SLF001  # no unit package here
    return forces.reshape(case.n_molecules, case.model.n_sites, 3)[:, :3].copy()
