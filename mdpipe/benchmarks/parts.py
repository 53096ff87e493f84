"""Where the time of a step goes: a stopwatch around every kernel that the simulation calls.

The names by which modules of `mdpipe.simulation` know kernels are exchanged for wrapped ones,
before any object is made. A wrapper costs about a quarter of a microsecond; this is done in
processes that measure parts, never in those that time whole steps.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Callable
from time import perf_counter
from types import FunctionType, ModuleType
from typing import Any, Final

KERNELS: Final = "mdpipe.kernels."

_BY_NAME: Final = (
    ("prune", "prune"),
    ("spread", "PME spread"),
    ("locate", "PME spread"),
    ("gather", "PME gather"),
    ("convolve", "PME solve"),
    ("influence", "PME solve"),
    ("collect", "collect"),
)
"""Part by what is in a kernel's name; it goes before that by its file."""
_BY_FILE: Final = (
    ("pairlist", "list"),
    ("cells", "list"),
    ("sites", "list"),
    ("pair", "pair"),
    ("simd", "pair"),
    ("fft", "PME FFT"),
    ("waves", "PME solve"),
    ("pme", "PME spread"),
    ("mesh", "PME"),
    ("collect", "collect"),
    ("integrate", "motion"),
    ("langevin", "motion"),
    ("settle", "motion"),
    ("thermostat", "motion"),
    ("rng", "motion"),
    ("text", "output"),
)
"""Part by how the name of a kernel's file begins."""
_SWEEPS: Final = ("locate", "spread and FFT", "FFT and solve", "FFT back", "gather")
"""What the sweeps of `mdpipe.kernels.mesh_step` do."""
REST: Final = "rest"
"""What no kernel takes: Python, above all; of other programs what they call so."""


def part_of(file: str, name: str) -> str:
    """Return the part of a step that a kernel belongs to.

    Parameters
    ----------
    file : str
        Module of the kernel, without its package.
    name : str
        Name of the kernel.

    Returns
    -------
    str
        The part; what is not known goes to the rest.
    """
    for word, part in _BY_NAME:
        if word in name:
            return part
    for head, part in _BY_FILE:
        if file.startswith(head):
            return part
    return REST


class Stopwatch:
    """Seconds spent in each part, since the last `reset`."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside = False

    def reset(self) -> None:
        """Begin again."""
        self.seconds.clear()

    def timed(self, kernel: Callable[..., Any], part: str) -> Callable[..., Any]:
        """Return the kernel with the watch around it.

        Parameters
        ----------
        kernel : callable
            A kernel, or a Python function of the kernels.
        part : str
            What its time counts for; within another timed call it counts for that one.

        Returns
        -------
        callable
            Does the same.
        """

        def wrapper(*arguments: Any, **named: Any) -> Any:
            if self._inside:
                return kernel(*arguments, **named)
            self._inside = True
            began = perf_counter()
            try:
                return kernel(*arguments, **named)
            finally:
                self.seconds[part] += perf_counter() - began
                self._inside = False

        return wrapper

    def swept(self, run_sweeps: Callable[..., Any]) -> Callable[..., None]:
        """Return what does the reciprocal sum of one step sweep by sweep, each with the watch."""

        def one_by_one(address: int, first: int, sweeps: int, tasks: int, work: Any) -> None:
            for sweep in range(first, sweeps):
                name = _SWEEPS[sweep] if sweeps == len(_SWEEPS) else f"sweep {sweep}"
                self.timed(run_sweeps, f"PME {name}")(address, sweep, sweep + 1, tasks, work)

        return one_by_one

    def shares(self, seconds: float, steps: float) -> dict[str, float]:
        """Return the parts of some steps in ms a step, the rest among them.

        Parameters
        ----------
        seconds : float
            Wall time of the steps.
        steps : float
            How many.

        Returns
        -------
        dict of str to float
            Parts and `REST`; their sum is the whole.
        """
        scale = 1e3 / steps
        parts = {name: scale * spent for name, spent in self.seconds.items() if name != REST}
        return parts | {REST: scale * seconds - sum(parts.values())}


class _Watched(ModuleType):
    """A module of kernels as the simulation sees it, with the watch around its functions."""

    def __init__(self, module: ModuleType, watch: Stopwatch) -> None:
        super().__init__(module.__name__)
        self.__dict__.update({name: _wrapped(value, watch) for name, value in vars(module).items()})


def _wrapped(value: Any, watch: Stopwatch) -> Any:
    """Return a kernel with the watch around it, and anything else as it is."""
    function = getattr(value, "py_func", value)
    if not isinstance(function, FunctionType) or not function.__module__.startswith(KERNELS):
        return value
    if function.__name__ == "run_sweeps":
        return watch.swept(value)
    part = part_of(function.__module__.removeprefix(KERNELS), function.__name__)
    return watch.timed(value, part)


def watch_kernels(package: str = "mdpipe.simulation") -> Stopwatch:
    """Put a watch around every kernel that the modules of a package name.

    Parameters
    ----------
    package : str
        The package; its modules are imported.

    Returns
    -------
    Stopwatch
        Runs from now on.
    """
    watch = Stopwatch()
    top = importlib.import_module(package)
    for info in pkgutil.iter_modules(top.__path__, f"{package}."):
        module = importlib.import_module(info.name)
        for name, value in list(vars(module).items()):
            if isinstance(value, ModuleType) and value.__name__.startswith(KERNELS):
                setattr(module, name, _Watched(value, watch))
            elif not isinstance(value, type):
                wrapped = _wrapped(value, watch)
                if wrapped is not value:
                    setattr(module, name, wrapped)
    return watch
