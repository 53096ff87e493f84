"""The boxes that benchmarks start from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mdpipe.benchmarks.case import Case
from mdpipe.benchmarks.own import scene_of
from mdpipe.building.liquid import liquid
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import save_state

Report = Callable[[str], None]


def prepare(molecules: int, model: str, folder: Path, report: Report) -> Case:
    """Build and equilibrate a box of liquid, on one thread.

    Parameters
    ----------
    molecules : int
        How many, at 0.997 g/cm³.
    model : str
        Key of the water model.
    folder : Path
        Where the start state is written.
    report : callable
        Takes lines of progress.

    Returns
    -------
    Case
        Of that box, for one thread.
    """
    case = Case(model, folder / f"start-{model}-{molecules}.npz", molecules, threads=1)
    report(f"building and equilibrating {molecules} molecules of {model}")
    state = liquid(molecules, 0.997, case.model, seed=1)
    simulation = Simulation(scene_of(case, "mixed"), state, threads=1)
    simulation.minimise(200)
    simulation.step(max(500, min(5000, 8_000_000 // molecules)))
    save_state(case.start, simulation.state)
    return case
