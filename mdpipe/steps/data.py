"""Make sample data of any size from our own engine: build, minimise, equilibrate, run, write.

At most `MOST_SIMULATED` molecules and `DataRequest.simulated_frames` frames are simulated. Larger
boxes repeat the simulated one; longer trajectories go through its frames forwards and backwards
(velocities reversed), so that no frame jumps. Both are said in the description beside the data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from mdpipe.building.ice import ice, ice_in_liquid, ice_repeats
from mdpipe.building.liquid import SHAPES, BoxShape, liquid
from mdpipe.building.molecules import supercell
from mdpipe.failures import UsageError
from mdpipe.io.formats import SUFFIXES, write_frames
from mdpipe.models import load_model
from mdpipe.products import write_json
from mdpipe.scenes.spec import Nonbonded, Scene
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import Frame, State

Phase = Literal["liquid", "ice-Ih", "ice-Ic", "interface"]
Progress = Callable[[str, int, int], None]

MOST_SIMULATED = 1000
FEWEST_SIMULATED = 216
_DENSITY_G_CM3 = {"liquid": 0.997, "ice-Ih": 0.92, "ice-Ic": 0.92, "interface": 0.95}
_R_CUT_NM = 0.9
_LEAST_R_CUT_NM = 0.6
_MINIMISE_STEPS = 300
_PIECE = 250


@dataclass(frozen=True, slots=True)
class DataRequest:
    """What data to make.

    Attributes
    ----------
    molecules, frames : int
        Size of the box, length of the trajectory.
    format : str
        A key of `mdpipe.io.formats.SUFFIXES`, or one of these suffixes.
    model : str
        Water model.
    temperature_K : float
        Held by a thermostat at constant volume.
    density_g_cm3 : float or None
        None: 0.997 for a liquid, 0.92 for ice, 0.95 for an interface (there it cannot be chosen).
    phase : {"liquid", "ice-Ih", "ice-Ic", "interface"}
        What to build; "ice" means "ice-Ih".
    box : {"cubic", "orthorhombic", "truncated-octahedron"}
        Shape of a liquid's cell.
    seed : int
        Decides everything random.
    interval_ps, equilibration_ps : float
        Time between frames and before the first one.
    simulated_frames : int
        At most so many frames are simulated; more go through these again.
    """

    molecules: int
    frames: int
    format: str = "xtc"
    model: str = "spce"
    temperature_K: float = 298.15
    density_g_cm3: float | None = None
    phase: str = "liquid"
    box: str = "cubic"
    seed: int = 1
    interval_ps: float = 0.5
    equilibration_ps: float = 10.0
    simulated_frames: int = 100


def make_data(
    request: DataRequest,
    out: Path,
    *,
    name: str | None = None,
    threads: int = 1,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make one file of sample data, streaming.

    Parameters
    ----------
    request : DataRequest
        What to make.
    out : Path
        Folder; made if absent.
    name : str or None
        File name without suffix; None: phase, temperature and size.
    threads : int
        Threads of the simulation; no bit depends on it.
    progress : callable or None
        Told stage, done and total.

    Returns
    -------
    dict
        What `NAME.made.json` holds beside the data: the request, what was really made (number of
        molecules, frames simulated, copies), and the file's size in bytes.

    Raises
    ------
    UsageError
        If the request cannot be met; the message names value and rule.
    """
    # A suffix names its format too.
    kinds = {suffix.removeprefix("."): kind for kind, suffix in SUFFIXES.items()}
    request = replace(request, format=kinds.get(request.format, request.format))
    _check(request)
    tell = progress or (lambda _stage, _done, _total: None)
    start, repeats = _build(request)
    simulated = min(request.frames, request.simulated_frames)
    n_molecules = start.n_molecules * math.prod(repeats)
    shown = "ice-Ih" if request.phase == "ice" else request.phase
    stem = name or f"{shown}-{request.temperature_K:.0f}K-{n_molecules}"
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{stem}{SUFFIXES[request.format]}"
    frames = _simulated(request, start, simulated, threads, tell)
    if simulated < request.frames:
        frames = _replayed(list(frames), request.frames, request.interval_ps)
    copies = _repeated(frames, repeats)
    written = write_frames(path, _counted(copies, request.frames, tell), request.format)
    facts = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "frames": written,
        "n_molecules": n_molecules,
        "simulated_frames": simulated,
        "simulated_molecules": start.n_molecules,
        "copies": list(repeats),
        "request": asdict(request),
    }
    write_json(out / f"{stem}.made.json", facts)
    return facts


def _check(request: DataRequest) -> None:
    phases = (*get_args(Phase), "ice")
    for given, allowed, label in (
        (request.format, tuple(SUFFIXES), "format"),
        (request.phase, phases, "phase"),
        (request.box, tuple(SHAPES), "box"),
    ):
        if given not in allowed:
            raise UsageError(f"{label} must be one of {', '.join(allowed)}, got {given!r}")
    for value, label in (
        (request.molecules, "molecules"),
        (request.frames, "frames"),
        (request.simulated_frames, "simulated_frames"),
        (request.temperature_K, "temperature_K"),
        (request.interval_ps, "interval_ps"),
    ):
        if value <= 0:
            raise UsageError(f"{label} must be above 0, got {value}")
    if request.phase == "interface" and request.density_g_cm3 is not None:
        raise UsageError("density_g_cm3 of an interface follows from ice and liquid; leave it out")


def _build(request: DataRequest) -> tuple[State, tuple[int, int, int]]:
    """Return the box to simulate and how often it is repeated each way."""
    model = load_model(request.model)
    wanted, repeats = split_size(request.molecules)
    phase = "ice-Ih" if request.phase == "ice" else request.phase
    density = request.density_g_cm3 or _DENSITY_G_CM3[phase]
    if phase == "liquid":
        shape: BoxShape = request.box  # type: ignore[assignment]  # checked by `_check`
        return liquid(wanted, density, model, request.seed, shape), repeats
    if phase == "interface":
        block = ice_repeats(round(0.57 * wanted))
        n_ice = 8 * math.prod(block)
        return ice_in_liquid(block, max(wanted - n_ice, n_ice // 2), model, request.seed), repeats
    kind: Literal["ice-Ih", "ice-Ic"] = "ice-Ih" if phase == "ice-Ih" else "ice-Ic"
    return ice(ice_repeats(wanted, kind), density, model, request.seed, kind), repeats


def split_size(molecules: int) -> tuple[int, tuple[int, int, int]]:
    """Split a number of molecules into a box to simulate and its copies.

    Parameters
    ----------
    molecules : int
        Molecules wanted.

    Returns
    -------
    base : int
        Molecules of the box, at most `MOST_SIMULATED`.
    repeats : (int, int, int)
        Copies along a, b and c: the fewest whose product with `base` is the number wanted; where
        there are none, the fewest, and the number is only nearly met.
    """
    if molecules <= MOST_SIMULATED:
        return molecules, (1, 1, 1)
    edge = math.ceil((molecules / FEWEST_SIMULATED) ** (1 / 3)) + 1
    triples = [
        triple
        for triple in itertools.combinations_with_replacement(range(1, edge + 1), 3)
        if FEWEST_SIMULATED <= molecules / math.prod(triple) <= MOST_SIMULATED
        and triple[2] <= 3 * triple[0]
    ]
    a, b, c = min(
        triples,
        key=lambda triple: (
            molecules % math.prod(triple) != 0,
            math.prod(triple),
            triple[2] - triple[0],
        ),
    )
    return round(molecules / (a * b * c)), (a, b, c)


def _scene(request: DataRequest, start: State) -> Scene:
    widths = 1.0 / np.sqrt((np.linalg.inv(start.box) ** 2).sum(axis=0))
    # Half the box, less what rounding to a file's decimals may take.
    r_cut = min(_R_CUT_NM, math.floor(float(widths.min()) * 500 - 1) / 1000)
    if r_cut < _LEAST_R_CUT_NM:
        raise UsageError(
            f"{start.n_molecules} molecules make a box only {widths.min():.3f} nm wide; "
            f"at least {2 * _LEAST_R_CUT_NM} nm are needed; ask for more molecules"
        )
    return Scene(
        name="data",
        model=request.model,
        ensemble="nvt",
        steps=1,
        dt_ps=0.002 if load_model(request.model).rigid else 0.0005,
        seed=request.seed,
        temperature_K=request.temperature_K,
        nonbonded=Nonbonded(r_cut_nm=r_cut),
    )


def _simulated(
    request: DataRequest, start: State, count: int, threads: int, tell: Progress
) -> Iterator[Frame]:
    scene = _scene(request, start)
    tell("minimise", 0, 1)
    simulation = Simulation(scene, start, threads=threads)
    simulation.minimise(_MINIMISE_STEPS)
    tell("minimise", 1, 1)
    waiting = round(request.equilibration_ps / scene.dt_ps)
    every = max(1, round(request.interval_ps / scene.dt_ps))
    for done in range(0, waiting, _PIECE):
        tell("equilibrate", done, waiting)
        simulation.step(min(_PIECE, waiting - done))
    for number in range(count):
        if number:
            simulation.step(every)
        state = simulation.state
        time = number * every * scene.dt_ps
        yield Frame(state.positions.copy(), state.box.copy(), time, state.velocities.copy())


def _replayed(frames: list[Frame], count: int, interval_ps: float) -> Iterator[Frame]:
    """Go through frames forwards and backwards until there are enough."""
    period = max(1, 2 * (len(frames) - 1))
    for number in range(count):
        turn = number % period
        back = turn >= len(frames)
        frame = frames[period - turn if back else turn]
        speeds = None if frame.velocities is None else -frame.velocities
        yield frame._replace(
            time_ps=number * interval_ps, velocities=speeds if back else frame.velocities
        )


def _repeated(frames: Iterator[Frame], repeats: tuple[int, int, int]) -> Iterator[Frame]:
    for frame in frames:
        if math.prod(repeats) == 1 or frame.velocities is None:
            yield frame
            continue
        large = supercell(State(frame.positions, frame.velocities, frame.box), repeats)
        yield Frame(large.positions, large.box, frame.time_ps, large.velocities)


def _counted(frames: Iterator[Frame], total: int, tell: Progress) -> Iterator[Frame]:
    for number, frame in enumerate(frames):
        tell("write", number, total)
        yield frame
    tell("write", total, total)
