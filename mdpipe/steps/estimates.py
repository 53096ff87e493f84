"""What a step is likely to need: memory from its size, and time on one core.

The figures for memory are peaks of the steps' own (`VmHWM`, MB of 10⁶ bytes, x86-64, Python 3.11,
compiled kernels at hand), a film's encoder included:

=============================  =====  =============================  =====
simulate, 216 molecules, PME     223  render, 216, 128 x 96, 1²        260
simulate, 1000                   225  render, 216, 960 x 540, 2²       300
simulate, 4096                   232  render, 216, 1280 x 720, 2²      311
simulate, 32 768                 317  render, 216, 1920 x 1080, 2²     357
preprocess, 216                  184  render, 216, 3840 x 2160, 2²     592
preprocess, 32 768, 1 thread     208  render, 4096, 1280 x 720, 2²     370
preprocess, 32 768, 2 threads    239  render, 32 768, 1280 x 720, 2²   389
=============================  =====  =============================  =====

A control group counts less where the pages of libraries are cached already (146 MB for the smallest
picture, 83 MB for reading), and as much in a fresh container. The lines through the table get a
fifth more: a first tier that is a little too high costs nothing, one that is too low costs an
attempt. From the second run on, measured peaks take their place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from mdpipe.study import Render

SPARE = 1.2
READERS_MB = 255
"""Preprocess or combine with all readers, or the plots, loaded: 252 to 261 MB in the demo."""

DECODER_MB = 25
"""A film of 960 x 540 pixels being decoded: combining twelve in a container failed at 330 MB."""
FILMS_AT_ONCE = 36


class Need(NamedTuple):
    """What a step is estimated to need, MB; steps of one size need the same."""

    step: str
    kind: Literal["simulate", "render", "combine"]
    size: str
    memory_mb: int


def simulate_need(line: Mapping[str, Any], scene: Mapping[str, Any]) -> Need:
    """Estimate what a scene of a group needs.

    Parameters
    ----------
    line : mapping
        The group's line of the plan.
    scene : mapping
        The scene in it.

    Returns
    -------
    Need
        Of its step.
    """
    molecules = int(line.get("n_molecules", 1000))
    # how charges far apart are treated decides the grids
    coulomb = scene.get("spec", {}).get("nonbonded", {}).get("electrostatics", "")
    return Need(
        f"simulate-{line['id']}-{scene['name']}",
        "simulate",
        f"simulate {molecules} {coulomb}",
        simulate_mb(molecules),
    )


def render_need(line: Mapping[str, Any], settings: Render) -> Need:
    """Estimate what the films of a group need.

    Parameters
    ----------
    line : mapping
        The group's line of the plan.
    settings : Render
        The study's `[render]`.

    Returns
    -------
    Need
        Of its step.
    """
    molecules = int(line.get("n_molecules", 1000))
    width, height = settings.width, settings.height
    return Need(
        f"render-{line['id']}",
        "render",
        f"render {molecules} {width}x{height} {settings.samples}",
        render_mb(molecules, width, height),
    )


def combine_need(groups: int, films: int, settings: Render) -> Need:
    """Estimate what the last step of a study needs.

    Parameters
    ----------
    groups, films : int
        Groups of the plan, and scenes in all.
    settings : Render
        The study's `[render]`.

    Returns
    -------
    Need
        Of its step.
    """
    width, height = settings.width, settings.height
    size = f"combine {groups} of {width}x{height}"
    return Need("combine", "combine", size, combine_mb(width, height, films))


def simulate_mb(molecules: int) -> int:
    """Estimate the memory of a scene.

    Parameters
    ----------
    molecules : int
        Molecules in the box.

    Returns
    -------
    int
        MB.
    """
    return _rounded(222 + 0.003 * molecules)


def render_mb(molecules: int, width: int, height: int) -> int:
    """Estimate the memory of a film: drawn in bands, one frame at a time, with its encoder.

    Parameters
    ----------
    molecules : int
        Molecules in the box; the light maps grow with it, up to their largest size.
    width, height : int
        Size of the picture, pixels.

    Returns
    -------
    int
        MB.
    """
    pixels = width * height
    return _rounded(255 + min(0.015 * molecules, 70.0) + 0.002 * molecules + 42e-6 * pixels)


def preprocess_mb() -> int:
    """Estimate the memory of reading the inputs, of which nothing is known yet.

    Returns
    -------
    int
        MB.
    """
    return _rounded(READERS_MB + 50)


def combine_mb(width: int, height: int, films: int) -> int:
    """Estimate the memory of the film of all groups, with its encoder, and of the report.

    Parameters
    ----------
    width, height : int
        Size of a scene's picture, pixels.
    films : int
        Films of the grid; a page of them is decoded at once, each by a process of its own.

    Returns
    -------
    int
        MB.
    """
    decoders = DECODER_MB * min(films, FILMS_AT_ONCE)
    return _rounded(READERS_MB + 100 + 42e-6 * width * height + decoders)


def _rounded(memory_mb: float) -> int:
    """Return a need with its spare part, in steps of 10 MB."""
    return 10 * math.ceil(SPARE * memory_mb / 10)
