"""The products of a finished scene, and the digest of their content.

Energies are a columnar npz: numpy alone reads it, every column is exact float64 and can be mapped
into memory, and the bytes depend on the numbers alone. Parquet would add pyarrow (40 MB) to every
installation and image for tables of a few thousand rows.
"""

from __future__ import annotations

import hashlib
import json
import platform
from pathlib import Path
from typing import Any

import llvmlite.binding
import numba
import numpy as np

import mdpipe
from mdpipe.arrays import write_arrays
from mdpipe.io.trajectory import read_scene_frames, write_topology, write_trajectory
from mdpipe.products import no_space_is_clear, remove, write_atomically, write_json
from mdpipe.run_folder import WORK
from mdpipe.scenes.spec import PHYSICS_VERSION, Scene
from mdpipe.simulation import ensembles
from mdpipe.simulation.output import recorded_frames, recorded_rows
from mdpipe.state import State, load_state, state_arrays

PRODUCTS = ("energies.npz", "final.npz", "topology.gro")
SUFFIXES = ("xtc", "dcd")


def write_products(
    scene: Scene, state: State, out: Path, *, key: str, start: str, facts: dict[str, Any]
) -> None:
    """Write the products of a finished scene from its work folder, then remove that folder.

    Parameters
    ----------
    scene : Scene
        What was run.
    state : State
        The final state.
    out : Path
        The scene's folder; `scene.json` is written last.
    key : str
        The scene's key.
    start : str
        Digest of the start state.
    facts : dict
        More for `scene.json`: what the force field says of itself, degrees of freedom, ….

    Raises
    ------
    NoSpaceError
        If the disk is full; nothing half written is left.
    """
    work = out / WORK
    n = state.n_molecules
    clear(out)
    trajectory = out / f"trajectory.{scene.trajectory}"
    with no_space_is_clear(trajectory):
        write_trajectory(trajectory, recorded_frames(work, n), n)
    with no_space_is_clear(out / "topology.gro"):
        write_topology(out / "topology.gro", next(recorded_frames(work, n)))
    _write_npz(out / "energies.npz", recorded_rows(work))
    _write_npz(out / "final.npz", state_arrays(state))
    write_json(
        out / "scene.json",
        {
            "key": key,
            "physics_version": PHYSICS_VERSION,
            "scene": scene.model_dump(mode="json"),
            "seed": scene.seed,
            "start_digest": start,
            "digest": scene_digest(out),
            "n_molecules": n,
            "steps": scene.steps,
            "thermostat_every": 1
            if scene.thermostat == "langevin"
            else ensembles.thermostat_every(scene),
            "barostat_every": ensembles.barostat_every(scene),
            "versions": versions(),
            **_plain(facts),
        },
    )
    remove(work)


def clear(out: Path) -> None:
    """Remove the products of an earlier scene and what a killed run left half written.

    Parameters
    ----------
    out : Path
        The scene's folder; `scene.json` goes first, so that no mixture looks complete.
    """
    for name in ("scene.json", *PRODUCTS, *(f"trajectory.{suffix}" for suffix in SUFFIXES)):
        remove(out / name)
    for stale in out.glob(".*.part*"):
        remove(stale)


def versions() -> dict[str, str]:
    """Return what decides the bits besides the scene.

    Returns
    -------
    dict of str
        Versions of mdpipe, numpy, numba, LLVM's host processor and Python.
    """
    return {
        "mdpipe": mdpipe.__version__,
        "numpy": np.__version__,
        "numba": numba.__version__,
        "python": platform.python_version(),
        "processor": llvmlite.binding.get_host_cpu_name(),
    }


def is_finished(out: Path, key: str) -> bool:
    """Say whether a folder holds the finished products of a scene.

    Parameters
    ----------
    out : Path
        The scene's folder.
    key : str
        The scene's key.

    Returns
    -------
    bool
        True if `scene.json` names this key and all products are there.
    """
    try:
        named = json.loads((out / "scene.json").read_text("utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    trajectory = any((out / f"trajectory.{suffix}").exists() for suffix in SUFFIXES)
    return bool(named == key) and trajectory and all((out / p).exists() for p in PRODUCTS)


def scene_digest(out: Path) -> str:
    """Return the digest of the content of a scene: trajectory, energies and final state.

    Parameters
    ----------
    out : Path
        The scene's folder.

    Returns
    -------
    str
        SHA-256 of the decoded arrays, 64 hex digits.

    Raises
    ------
    InputError
        If a product is missing or damaged.
    """
    digest = hashlib.sha256()
    final = load_state(out / "final.npz")

    def add(name: str, array: Any) -> None:
        values = np.ascontiguousarray(array, dtype="<f8")
        digest.update(f"{name} {values.shape}\n".encode())
        digest.update(values.data)

    for frame in read_scene_frames(out):
        add("positions", frame.positions)
        add("box", frame.box)
        add("time_ps", frame.time_ps)
    with np.load(out / "energies.npz") as table:
        for name in sorted(table.files):
            add(name, table[name])
    for name in ("positions", "velocities", "box", "time_ps", "step"):
        add(f"final {name}", getattr(final, name))
    return digest.hexdigest()


def _write_npz(path: Path, arrays: dict[str, Any]) -> None:
    with write_atomically(path) as temporary, temporary.open("wb") as stream:
        write_arrays(stream, arrays)


def _plain(value: Any) -> Any:
    """Return numpy scalars and arrays as what JSON knows."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value
