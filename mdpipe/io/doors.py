"""The doors to MDAnalysis and ASE: imported late, with their warnings kept out.

MDAnalysis takes most of a second and 40 MB to import, and both warn about files that are fine for
us (a PDB without element column, a GRO without velocities), so text formats never come here. The
formats of trajectories come without the rest: they are compiled modules that need NumPy alone.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_FORMATS: Final = "MDAnalysis.lib.formats"
_FILES: Final = {
    ".xtc": ("libmdaxdr", "XTCFile"),
    ".trr": ("libmdaxdr", "TRRFile"),
    ".dcd": ("libdcd", "DCDFile"),
}
_LOCK: Final = threading.RLock()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of third parties inside the block.

    Yields
    ------
    None
        Nothing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def third_party(module: str) -> Any:
    """Import a module of MDAnalysis or ASE without its warnings.

    Parameters
    ----------
    module : str
        Full name, such as ``"MDAnalysis.lib.formats.libdcd"``.

    Returns
    -------
    module
        The module.
    """
    with _LOCK, quiet():
        return importlib.import_module(module)


def trajectory_file(suffix: str) -> Any:
    """Import what opens trajectories of a format, without the rest of MDAnalysis.

    Parameters
    ----------
    suffix : str
        ``".xtc"``, ``".trr"`` or ``".dcd"``.

    Returns
    -------
    type
        The class of such files in one of MDAnalysis' compiled modules; a later import of MDAnalysis
        finds the same module.
    """
    name, opener = _FILES[suffix]
    module = f"{_FORMATS}.{name}"
    with _LOCK:
        if "MDAnalysis" not in sys.modules and module not in sys.modules:
            # Where another version needs more of MDAnalysis, it gets all of it below.
            with contextlib.suppress(Exception), quiet(), _stand_ins():
                importlib.import_module(module)
        return getattr(sys.modules.get(module) or third_party(module), opener)


@contextlib.contextmanager
def _stand_ins() -> Iterator[None]:
    """Have empty packages in the place of MDAnalysis' own, which import everything."""
    found = importlib.util.find_spec("MDAnalysis")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("MDAnalysis")
    folder = Path(found.origin).parent
    modules = {}
    for package in ("MDAnalysis", "MDAnalysis.lib", _FORMATS):
        module = modules[package] = ModuleType(package)
        module.__path__ = [str(folder.joinpath(*package.split(".")[1:]))]
    util = modules["MDAnalysis.lib.util"] = ModuleType("MDAnalysis.lib.util")
    util.no_copy_shim = _no_copy_shim  # type: ignore[attr-defined]
    sys.modules.update(modules)
    try:
        yield
    finally:
        for package in modules:
            del sys.modules[package]


def _no_copy_shim() -> None:
    """Stand in for the one function that the formats import; they never call it."""
