"""Render the films and stills of one group's scenes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mdpipe import memory
from mdpipe.failures import InputError
from mdpipe.io.trajectory import read_scene_frames
from mdpipe.kernels._jit import set_threads
from mdpipe.kernels.neighbours import nearest4
from mdpipe.kernels.order import tetrahedral_q
from mdpipe.models import load_model
from mdpipe.progress import ProgressWriter
from mdpipe.render.film import Colouring, render_film
from mdpipe.render.overlay import Series
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.spec import Scene
from mdpipe.state import Array
from mdpipe.steps.plan import read_group
from mdpipe.study import Study

_SHOWN = {
    "nve": (("T", "temperature_K", "K"), ("P", "pressure_bar", "bar")),
    "nvt": (("T", "temperature_K", "K"), ("U", "potential_kj_mol", "kJ/mol")),
    "npt": (("density", "density_g_cm3", "g/cm³"), ("T", "temperature_K", "K")),
}
"""What a film plots beside the water, by ensemble: name, column of the energy table, unit."""

FLOOR_MB = 90.0
"""Memory with which the smallest picture certainly fails, the pages of libraries not counted (146
is the least that a control group had to give)."""

BASE_MB = 250.0
"""Memory with the kernels loaded, the light maps of a small box, and the encoder."""

THREAD_MB = 8.0
"""What a thread may add: its stack, its tile, and an arena of the allocator."""


def render_group(
    study: Study, run: Path, index: int, progress: ProgressWriter, *, threads: int = 1
) -> list[Path]:
    """Render a film and a still of each scene of a group.

    Parameters
    ----------
    study : Study
        Its `[render]` table has the settings.
    run : Path
        The run folder.
    index : int
        The group's line in the plan.
    progress : ProgressWriter
        Takes the progress, in pictures of the group.
    threads : int
        Threads wanted; where a memory limit was told, fewer may be used. No pixel depends on it.

    Returns
    -------
    list of Path
        The films.

    Raises
    ------
    InputError
        If a scene of the group has no products.
    MemoryLimitError
        If a memory limit was told that cannot be kept.

    Notes
    -----
    Pictures are drawn one at a time and in tiles, so the need hardly depends on anything but the
    size of a picture and of the box; a thread adds its stack and the allocator's share.
    """
    group = read_group(run, index)
    pixels_mb = study.render.width * study.render.height / 1e6
    fitting = memory.fitting(
        f"rendering {study.render.width} x {study.render.height} pixels",
        threads,
        floor_mb=FLOOR_MB + 6 * pixels_mb,
        base_mb=BASE_MB + 40 * pixels_mb,
        each_mb=THREAD_MB,
    )
    set_threads(fitting)
    folder = RunFolder(run)
    films = []
    for number, entry in enumerate(group["scenes"]):
        scene = Scene.model_validate(entry["spec"])
        products = folder.scene(group["id"], scene.name)
        if not (products / "scene.json").is_file():
            raise InputError(f"{products}: the scene is not there; simulate it first")
        film = folder.scene_film(group["id"], scene.name)
        every = max(1, scene.steps // scene.frame_every // study.render.frames)
        frames = min(study.render.frames, scene.steps // scene.frame_every // every + 1)
        total = frames * len(group["scenes"])
        render_film(
            islice(read_scene_frames(products, stride=every), frames),
            film,
            study.render,
            title=f"{group['label']}, {scene.ensemble.upper()}, {load_model(scene.model).name}",
            series=_series(products, scene, group),
            colouring=_by_q() if study.render.colour == "q" else None,
            n_frames=frames,
            progress=_counter(progress, scene.name, number * frames, total),
        )
        films.append(film)
    return films


def _counter(
    progress: ProgressWriter, stage: str, first: int, total: int
) -> Callable[[int, int], None]:
    """Return what a film tells its pictures to: they count on from those of the films before."""
    return lambda done, _: progress.report(stage, first + done, total)


def _series(products: Path, scene: Scene, group: dict[str, Any]) -> dict[str, Series]:
    """Return the properties that a film plots."""
    with np.load(products / "energies.npz") as data:
        times = data["time_ps"]
        columns = {name: data[name] for _, name, _ in _SHOWN[scene.ensemble]}
    columns = {
        name: values / group["n_molecules"] if name == "potential_kj_mol" else values
        for name, values in columns.items()
    }
    return {title: (times, columns[name], unit) for title, name, unit in _SHOWN[scene.ensemble]}


def _by_q() -> Colouring:
    def values(positions: Array, box: Array) -> Array:
        _, vectors = nearest4(np.ascontiguousarray(positions[:, 0]), box)
        q: Array = tetrahedral_q(vectors)
        return q

    return Colouring(values, "tetrahedral order q", (0.2, 1.0))
