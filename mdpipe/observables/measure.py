"""Measure one scene: one pass over its frames, memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError
from mdpipe.models import WaterModel, load_model
from mdpipe.observables.dielectric import Dipoles
from mdpipe.observables.dynamics import Displacements, Viscosity
from mdpipe.observables.network import Network
from mdpipe.observables.published import comparable_temperature, published
from mdpipe.observables.results import Measurements
from mdpipe.observables.structure import PairStructure
from mdpipe.observables.thermodynamics import measure_energies
from mdpipe.scenes.spec import Scene
from mdpipe.state import Frame


def measure_scene(
    frames: Iterable[Frame],
    energies: Mapping[str, NDArray[np.float64]],
    scene: Scene,
    *,
    progress: Callable[[int], None] | None = None,
) -> Measurements:
    """Measure all observables of one scene.

    Parameters
    ----------
    frames : iterable of Frame
        The trajectory: whole, unwrapped molecules, at equal intervals of time; read once.
    energies : mapping of str to (rows,) float64
        Columns of `energies.npz`; may be empty.
    scene : Scene
        What was simulated.
    progress : callable, optional
        Called with the number of frames done.

    Returns
    -------
    Measurements
        Scalars with errors, curves, facts.

    Raises
    ------
    InputError
        If there is no frame.
    """
    model = load_model(scene.model)
    structure, network, dipoles = PairStructure(), Network(), Dipoles(model)
    displacements = Displacements(model)
    box = np.zeros((3, 3))
    times: list[float] = []
    n_molecules = 0
    for frame in frames:
        whole = frame._replace(
            positions=np.ascontiguousarray(frame.positions, dtype=np.float64),
            box=np.ascontiguousarray(frame.box, dtype=np.float64),
        )
        for part in (structure, network, displacements, dipoles):
            part.add(whole)
        box += whole.box
        times.append(whole.time_ps)
        n_molecules = whole.positions.shape[0]
        if progress is not None:
            progress(len(times))
    if not times:
        raise InputError(f"scene {scene.name}: no frame to measure; lower frame_every or run on")
    result = Measurements(info=_facts(scene, times, n_molecules))
    result.curves["time_ps"] = np.array(times)
    measure_energies(result, energies, scene, n_molecules)
    measured = result.scalars["temperature"].value if "temperature" in result.scalars else None
    temperature = measured or scene.temperature_K
    structure.finish(result)
    network.finish(result)
    displacements.finish(
        result,
        box=box / len(times),
        temperature_K=temperature,
        viscosity=model_viscosity(model, temperature),
    )
    if scene.ensemble != "nve" and scene.thermostat == "langevin":
        _mark_langevin(result)
    dipoles.finish(result, temperature_K=temperature)
    return result


def model_viscosity(model: WaterModel, temperature_K: float) -> Viscosity | str:
    """Return the published viscosity of a model, or why there is none.

    Parameters
    ----------
    model : WaterModel
        The model.
    temperature_K : float
        Mean temperature of the scene.

    Returns
    -------
    Viscosity or str
        A string where there is no value at this temperature.
    """
    known = published(model.key, "viscosity")
    if known is None:
        return f"no published viscosity of {model.name}"
    if not comparable_temperature(temperature_K):
        return f"no published viscosity of {model.name} at {temperature_K:.0f} K, only at 298 K"
    return Viscosity(known.value, f"{known.source}, {known.status}")


def _facts(scene: Scene, times: list[float], n_molecules: int) -> dict[str, object]:
    return {
        "scene": scene.name,
        "ensemble": scene.ensemble,
        "model": scene.model,
        "temperature_K": scene.temperature_K,
        "pressure_bar": scene.pressure_bar,
        "frames": len(times),
        "length_ps": round(times[-1] - times[0], 9),
        "n_molecules": n_molecules,
    }


def _mark_langevin(result: Measurements) -> None:
    """Say beside D that the friction of the thermostat slows the molecules."""
    for name in ("diffusion", "diffusion_corrected"):
        scalar = result.scalars[name]
        note = f"{scalar.note}; slowed by the Langevin thermostat"
        result.scalars[name] = scalar._replace(note=note)
