"""The plan: one line for each group, which every later step reads by index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mdpipe
from mdpipe.failures import InputError, UsageError
from mdpipe.products import write_text
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.spec import Scene, scene_key
from mdpipe.sealed import unseal
from mdpipe.steps.fingerprint import digest_of
from mdpipe.study import Render, Study


def scenes_for_group(study: Study, temperature_K: float | None) -> list[Scene]:
    """Return the scenes of one group.

    Parameters
    ----------
    study : Study
        Its scenes are the templates.
    temperature_K : float or None
        The group's temperature. It is the scene's, unless the study names one.

    Returns
    -------
    list of Scene
        In the order of the study.
    """
    if temperature_K is None:
        return list(study.scenes)
    return [
        scene
        if "temperature_K" in scene.model_fields_set
        else scene.model_copy(update={"temperature_K": round(temperature_K, 2)})
        for scene in study.scenes
    ]


def add_scenes(study: Study, group: dict[str, Any], start_digest: str) -> dict[str, Any]:
    """Add to a group's line its scenes, each with its specification and its key.

    Parameters
    ----------
    study : Study
        The study.
    group : dict
        The line without scenes.
    start_digest : str
        Digest of the group's start state.

    Returns
    -------
    dict
        The line of `plan.jsonl`.
    """
    scenes = [
        {
            "name": scene.name,
            "key": scene_key(scene, start_digest),
            "spec": scene.model_dump(mode="json"),
        }
        for scene in scenes_for_group(study, group["temperature_K"])
    ]
    return group | {"scenes": scenes}


def group_key(render: Render, line: Mapping[str, Any]) -> str:
    """Return the content address of a group's pictures and measurements.

    Parameters
    ----------
    render : Render
        How it is drawn.
    line : mapping
        The group's line of the plan. A `group_key` in it is not believed: the same plan serves
        other settings of the pictures.

    Returns
    -------
    str
        64 hex digits.
    """
    scenes = [[scene["name"], scene["key"]] for scene in line["scenes"]]
    settings = render.model_dump(mode="json")
    return digest_of("group", settings, line.get("label", ""), scenes, mdpipe.__version__)


def group_title(line: Mapping[str, Any]) -> str:
    """Return the name of a group in reports; ids keep groups of one label apart.

    Parameters
    ----------
    line : mapping
        The group's line of the plan.

    Returns
    -------
    str
        Such as `g003: water 298 K 0.997 g/cm³ (216)`.
    """
    return f"{line['id']}: {line['label']}"


def write_plan(run: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Write `plan.jsonl`.

    Parameters
    ----------
    run : Path
        The run folder.
    lines : sequence of dict
        One for each group.
    """
    text = "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)
    write_text(RunFolder(run).plan, text)


def read_plan(run: Path) -> list[dict[str, Any]]:
    """Read `plan.jsonl`.

    Parameters
    ----------
    run : Path
        The run folder.

    Returns
    -------
    list of dict
        One for each group.

    Raises
    ------
    InputError
        If there is none, or a line of it is broken.
    BusyError
        If a line that was sealed has changed on its way.
    """
    path = RunFolder(run).plan
    try:
        return [unseal(line, path) for line in path.read_bytes().splitlines()]
    except FileNotFoundError as error:
        raise InputError(f"{path}: no plan there; run `mdpipe preprocess` first") from error
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot read the plan ({error}); preprocess again") from error


def read_group(run: Path, index: int) -> dict[str, Any]:
    """Read one line of the plan.

    Parameters
    ----------
    run : Path
        The run folder.
    index : int
        Which group, from 0.

    Returns
    -------
    dict
        The line.

    Raises
    ------
    UsageError
        If there is no such group.
    """
    lines = read_plan(run)
    if not 0 <= index < len(lines):
        raise UsageError(f"--group {index}: the plan has groups 0 to {len(lines) - 1}")
    return lines[index]


def scene_of_group(group: dict[str, Any], name: str) -> tuple[Scene, str]:
    """Return one scene of a group and its key.

    Parameters
    ----------
    group : dict
        A line of the plan.
    name : str
        Name of the scene, or `#n` for the n-th of a slice's missing ones, from 0.

    Returns
    -------
    tuple
        The specification and the content address.

    Raises
    ------
    UsageError
        If the group has no such scene.
    """
    if name.startswith("#"):
        name = _missing_scene(group, name)
    for scene in group["scenes"]:
        if scene["name"] == name:
            return Scene.model_validate(scene["spec"]), scene["key"]
    names = ", ".join(scene["name"] for scene in group["scenes"])
    raise UsageError(f"--scene {name}: the study has the scenes {names}")


def _missing_scene(group: dict[str, Any], name: str) -> str:
    """Return the name of a slice's n-th missing scene."""
    if not is_slice(group):
        raise UsageError(
            f"--scene {name}: only a slice knows its missing scenes; name a scene, or make slices "
            "with `mdpipe preprocess --pending`"
        )
    missing: list[str] = group["missing"]
    number = name.removeprefix("#")
    if not number.isdecimal() or int(number) >= len(missing):
        raise UsageError(
            f"--scene {name}: the slice has {len(missing)} missing scenes, counted from 0"
        )
    return missing[int(number)]


def is_slice(group: Mapping[str, Any]) -> bool:
    """Say whether a line of a plan is that of a slice, whose data travel through the cache.

    Parameters
    ----------
    group : mapping
        The line.

    Returns
    -------
    bool
        Whether it names missing scenes, none included.
    """
    return "missing" in group
