"""Compile the kernels once, before many processes would each compile them.

Numba keeps compiled code in a folder named after the kernels' sources, but two processes that start
together both compile. `warm` uses every kernel of the pipeline on a small box; its parts are
strangers, so that each core can compile one.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numba

from mdpipe.failures import MdpipeError
from mdpipe.kernels._jit import set_threads, sources_digest
from mdpipe.models import load_model
from mdpipe.scenes.spec import Scene
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import Frame, State
from mdpipe.study import Groups, Render

N_MOLECULES: Final = 216


def mark() -> Path:
    """Return the file that says that the kernels are compiled for these sources.

    Returns
    -------
    Path
        In Numba's cache folder, named after the sources, so that an edit makes it a new one.
    """
    folder = Path(numba.config.CACHE_DIR)  # type: ignore[attr-defined]
    return folder / f"warm-{sources_digest()}"


def warm(report: Callable[[str], None]) -> None:
    """Compile all kernels unless that has been done, each part in a process of its own.

    Parameters
    ----------
    report : callable
        Takes one line, if there is anything to do.

    Raises
    ------
    MdpipeError
        If a part fails; its own message went to standard error.
    """
    if mark().is_file():
        return
    report("compiling the kernels, once for this installation (a minute or two)")
    parts = {
        name: subprocess.Popen([sys.executable, "-m", "mdpipe.steps.warm", name]) for name in PARTS
    }
    codes = {name: process.wait() for name, process in parts.items()}
    failed = [name for name, code in codes.items() if code != 0]
    if failed:
        raise MdpipeError(f"compiling the kernels failed ({', '.join(failed)}); see above")
    mark().parent.mkdir(parents=True, exist_ok=True)
    mark().touch()


def _box() -> State:
    from mdpipe.building.liquid import liquid

    return liquid(N_MOLECULES, 0.997, load_model("spce"), seed=1)


def _simulate() -> None:
    """Take a few steps in each ensemble."""
    state = _box()
    for ensemble in ("nvt", "npt", "nve"):
        scene = Scene(name="warm", ensemble=ensemble, steps=20)
        simulation = Simulation(scene, state, threads=1)
        simulation.minimise(5)
        simulation.step(20, evaluate_last=True)
        simulation.energies()
        state = simulation.state


def _measure() -> None:
    """Check, classify, measure and draw a frame."""
    from mdpipe.observables import measure_scene
    from mdpipe.preprocessing.checks import check_frame
    from mdpipe.preprocessing.classify import classify_frame
    from mdpipe.render.film import render_film

    state = _box()
    frames = [Frame(state.positions, state.box, float(t), source="warm") for t in range(4)]
    check_frame(frames[0], Groups())
    classify_frame(frames[0])
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
    "measure": _measure,
    "read": _read,
}

if __name__ == "__main__":
    set_threads(1)
    PARTS[sys.argv[1]]()
