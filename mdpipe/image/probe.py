"""What is asked inside the image: `python -m mdpipe.image.probe`, one JSON line for each answer.

The first line comes when the first step of a simulation has been made; how long that took since the
container was asked for is measured outside.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

STEPS = 5


def main() -> None:
    """Answer; a fault ends the program with a traceback and code 1."""
    _say(first_step())
    _say(surroundings())
    _say(weights())


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def first_step() -> dict[str, Any]:
    """Make a few steps of a small box.

    Returns
    -------
    dict
        How many kernels were loaded and how many had to be compiled.
    """
    from importlib import resources

    from mdpipe.io.structures import read_state
    from mdpipe.kernels._jit import set_threads
    from mdpipe.scenes.spec import Scene
    from mdpipe.simulation.simulation import Simulation

    set_threads(1)
    start = resources.files("mdpipe") / "data" / "inputs" / "liquid-298K.gro"
    with resources.as_file(start) as path:
        state = read_state(path)
    simulation = Simulation(Scene(name="probe", ensemble="nvt", steps=STEPS), state, threads=1)
    simulation.step(1)
    return {"molecules": int(len(state.positions) // 3)} | kernels()


def kernels() -> dict[str, int]:
    """Count the kernels that were loaded from the cache, and those that were compiled.

    Returns
    -------
    dict
        `loaded` and `compiled`.
    """
    from numba.core.registry import CPUDispatcher

    loaded = compiled = 0
    seen: set[int] = set()
    for module in [m for name, m in sys.modules.items() if name.startswith("mdpipe.kernels")]:
        for value in vars(module).values():
            if isinstance(value, CPUDispatcher) and id(value) not in seen:
                seen.add(id(value))
                loaded += sum(value.stats.cache_hits.values())
                compiled += sum(value.stats.cache_misses.values())
    return {"loaded": loaded, "compiled": compiled}


def surroundings() -> dict[str, Any]:
    """Say as whom and where this runs, and what it can reach.

    Returns
    -------
    dict
        User, versions, whether anything but the temporary folder can be written, network
        interfaces, capabilities, whether films can be encoded, plots drawn and files read, and
        whether threads are those of OpenMP.
    """
    from imageio_ffmpeg import get_ffmpeg_exe

    import mdpipe

    status = dict(
        line.split(":\t", 1)
        for line in Path("/proc/self/status").read_text("utf-8").splitlines()
        if ":\t" in line
    )
    tried = ("/", "/opt/mdpipe", "/etc", "/usr", "/var")
    return {
        "uid": os.getuid(),
        "gid": os.getgid(),
        "mdpipe": mdpipe.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "writable": [place for place in tried if _can_write(place)],
        "tmp": _can_write(tempfile.gettempdir()),
        "interfaces": sorted(p.name for p in Path("/sys/class/net").glob("*") if p.name != "lo"),
        "capabilities": int(status.get("CapEff", "0"), 16),
        "no_new_privileges": status.get("NoNewPrivs") == "1",
        "ffmpeg": os.access(get_ffmpeg_exe(), os.X_OK),
        "plots": _can_import("mdpipe.render.plots", "matplotlib.figure", "matplotlib.backends"),
        "readers": _can_import("MDAnalysis.lib.formats.libmdaxdr", "ase.io", "scipy.fft"),
        "threads": _can_import("numba.np.ufunc.omppool"),
    }


def weights() -> dict[str, Any]:
    """Weigh what the image holds.

    Returns
    -------
    dict
        `weights_mb`: the heaviest libraries, everything else of ours, and the base system.
    """
    site = Path(__file__).resolve().parent.parent.parent
    libraries: dict[str, float] = {}
    for place in site.iterdir():
        name = place.name.removesuffix(".libs").split("-")[0]
        libraries[name] = libraries.get(name, 0.0) + _bytes(place) / 1e6
    heavy = dict(sorted(libraries.items(), key=lambda row: -row[1])[:14])
    rest = sum(libraries.values()) - sum(heavy.values())
    warm = os.environ.get("MDPIPE_WARM_CACHE", "")
    found = heavy | {"other libraries": rest}
    if warm:
        found["compiled kernels"] = _bytes(Path(warm)) / 1e6
    found["base system"] = sum(_bytes(Path("/") / name) for name in BASE_FOLDERS) / 1e6
    return {"weights_mb": {name: round(mb, 1) for name, mb in found.items()}}


BASE_FOLDERS = ("usr", "var", "etc")


def _bytes(place: Path) -> int:
    """Return the bytes of a file or folder; a file with two names counts once."""
    seen: dict[tuple[int, int], int] = {}
    places = [place] if place.is_file() else place.rglob("*")
    for path in places:
        try:
            status = path.lstat()
        except OSError:
            continue
        if not path.is_dir():
            seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())


def _can_import(*names: str) -> bool:
    """Say whether libraries that steps load late are whole."""
    try:
        for name in names:
            import_module(name)
    except ImportError:
        return False
    return True


def _can_write(folder: str) -> bool:
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
