"""Compile the kernels once, before many processes would each compile them.

Numba keeps compiled code in a folder named after the kernels' sources, but two processes that start
together both compile. `warm` runs the pipeline's own code on a small box rather than a list of
kernels, which would be forgotten; its parts are strangers, so that each core can compile one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import numba

from mdpipe.failures import MdpipeError
from mdpipe.kernels._jit import set_threads, sources_digest
from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded, Scene
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import Frame, State
from mdpipe.study import Groups, Render

N_MOLECULES: Final = 216


def mark(name: str) -> Path:
    """Return the file that says that a part of the kernels is compiled for these sources.

    Parameters
    ----------
    name : str
        The part.

    Returns
    -------
    Path
        In Numba's cache folder, named after the sources, so that an edit makes it a new one.
    """
    folder = Path(numba.config.CACHE_DIR)  # type: ignore[attr-defined]
    return folder / f"warm-{name}-{sources_digest()}"


def warm(report: Callable[[str], None], *, everything: bool = False) -> None:
    """Compile kernels unless that has been done, each part in a process of its own.

    Parameters
    ----------
    report : callable
        Takes one line, if there is anything to do.
    everything : bool
        Also compile what few scenes use: double precision, reaction field, Langevin dynamics.

    Raises
    ------
    MdpipeError
        If a part fails; its own message went to standard error.
    """
    wanted = [name for name in PARTS if everything or name not in RARE]
    wanted = [name for name in wanted if not mark(name).is_file()]
    if not wanted:
        return
    report("compiling the kernels, once for this installation (a minute or two)")
    # As many as there are cores, for more would only wait for each other.
    with ThreadPoolExecutor(max(1, os.cpu_count() or 1)) as pool:
        codes = list(pool.map(_run_part, wanted))
    failed = [name for name, code in zip(wanted, codes, strict=True) if code != 0]
    if failed:
        raise MdpipeError(f"compiling the kernels failed ({', '.join(failed)}); see above")


def _run_part(name: str) -> int:
    """Run a part in a process of its own, and return the process's exit code."""
    code = subprocess.run([sys.executable, "-m", "mdpipe.steps.warm", name], check=False).returncode
    if code == 0:
        mark(name).parent.mkdir(parents=True, exist_ok=True)
        mark(name).touch()
    return code


def _box() -> State:
    from mdpipe.building.liquid import liquid

    return liquid(N_MOLECULES, 0.997, load_model("spce"), seed=1)


def _simulate() -> None:
    """Take a few steps in each ensemble."""
    state = _box()
    for ensemble in ("nvt", "npt", "nve"):
        state = _take_steps({"ensemble": ensemble}, state)


def _simulate_rarely() -> None:
    """Take a few steps in each of the other ways."""
    state = _box()
    rf = Nonbonded(electrostatics="rf")
    for settings in (
        {"precision": "double"},
        {"nonbonded": rf},
        {"nonbonded": rf, "precision": "double"},
        {"integrator": "leapfrog"},
        {"thermostat": "langevin"},
        {"ensemble": "npt", "barostat": "monte-carlo"},
        {"model": "tip4p2005"},
        {"model": "spcfw"},
        {"nonbonded": Nonbonded(pme_order=5)},
    ):
        _take_steps({"ensemble": "nvt"} | settings, state)


def _take_steps(settings: dict[str, Any], state: State) -> State:
    """Minimise and take a few steps, energies among them; return where that leads."""
    scene = Scene(**({"name": "warm", "steps": 30} | settings))
    simulation = Simulation(scene, state, threads=1)
    simulation.minimise(5)
    simulation.step(30, evaluate_last=True)
    simulation.energies()
    return simulation.state


def _measure() -> None:
    """Check, classify, measure and draw a frame; classify one of ice, too."""
    from mdpipe.building.ice import ice, ice_repeats
    from mdpipe.observables import measure_scene
    from mdpipe.preprocessing.checks import check_frame
    from mdpipe.preprocessing.classify import classify_frame
    from mdpipe.render.film import render_film

    state = _box()
    frames = [Frame(state.positions, state.box, float(t), source="warm") for t in range(4)]
    check_frame(frames[0], Groups())
    classify_frame(frames[0])
    crystal = ice(ice_repeats(N_MOLECULES), 0.92, load_model("spce"), seed=1)
    classify_frame(Frame(crystal.positions, crystal.box, 0.0, source="warm"))
    measure_scene(frames, {}, Scene(name="warm", ensemble="nvt", steps=1))
    with tempfile.TemporaryDirectory(prefix="mdpipe-warm-") as folder:
        for style in ("vdw", "ball-and-stick"):
            settings = Render(width=128, height=96, frames=1, samples=1, style=style)
            render_film(frames[:1], Path(folder) / f"{style}.mp4", settings, title="warm")


def _read() -> None:
    """Read a sample of each format that kernels of ours parse."""
    from importlib import resources

    from mdpipe.io.inputs import read_frames
    from mdpipe.io.structures import read_state

    with resources.as_file(resources.files("mdpipe") / "data" / "inputs") as folder:
        for pattern in SAMPLES:
            for path in folder.glob(pattern):
                for _ in read_frames(path, None):
                    pass
        read_state(next(folder.glob("liquid*.gro")))


SAMPLES: Final = ("liquid*.gro", "ice*.pdb", "hot*.extxyz", "supercooled*.lammpstrj")

PARTS: Final[dict[str, Callable[[], None]]] = {
    "simulate": _simulate,
    "simulate-rarely": _simulate_rarely,
    "measure": _measure,
    "read": _read,
}

RARE: Final = frozenset({"simulate-rarely"})
"""Parts that a run does not wait for: what it needs of them it compiles itself."""

if __name__ == "__main__":
    set_threads(1)
    PARTS[sys.argv[1]]()
