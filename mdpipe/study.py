"""The study file: TOML, checked once into frozen models."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Container
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import StudyError
from mdpipe.scenes.settings import CacheSettings, folder_alone
from mdpipe.scenes.spec import Frozen, Scene
from mdpipe.sealed import unseal

STUDY_TEXT: Final = "MDPIPE_STUDY_TEXT"
"""Variable with the text of the study file, for a program that has no such file: a pod's."""

FOLDER_VARIABLE: Final = "MDPIPE_STUDY_FOLDER"
"""Environment variable with the folder, or the place in a store, of a study's inputs."""

STORE: Final = "s3://"


class Inputs(Frozen):
    """One set of input files: a folder, a file or a glob, relative to the study file.

    `topology` is needed for formats without atom names (XTC, TRR, DCD, dumps without elements).
    `temperature_K` states what the files cannot say (a trajectory without velocities).
    `length_unit` overrides the unit that the format implies or that recognition infers.
    """

    path: str
    topology: str | None = None
    temperature_K: float | None = Field(None, gt=0)
    stride: int = Field(1, gt=0)
    length_unit: Literal["nm", "angstrom"] | None = None


class Groups(Frozen):
    """How frames are put into groups: bins of the state point, and class of structure."""

    density_bin_g_cm3: float = Field(0.05, gt=0)
    temperature_bin_K: float = Field(20.0, gt=0)
    by_structure: bool = True
    by_size: bool = Field(True, description="different numbers of molecules never share a group")
    min_frames: int = Field(1, gt=0)
    max_groups: int = Field(1000, gt=0)
    density_range_g_cm3: tuple[float, float] = (0.5, 1.5)


class Render(Frozen):
    """Pictures and films."""

    width: int = Field(960, ge=64, le=7680)
    height: int = Field(540, ge=64, le=4320)
    fps: int = Field(25, gt=0, le=120)
    frames: int = Field(100, gt=0, description="at most so many frames of a scene are drawn")
    style: Literal["auto", "vdw", "ball-and-stick"] = "auto"
    colour: Literal["element", "q"] = "element"
    ambient_occlusion: bool = True
    samples: int = Field(2, ge=1, le=8, description="anti-aliasing: samples² per pixel")
    rotate_degrees: float = Field(20.0, description="turn of the camera over the film")


class Resources(Frozen):
    """What one machine may use."""

    workers: int | None = Field(None, gt=0, description="none: as many as cores")
    threads: int | None = Field(None, gt=0, description="threads of one scene; none: shared out")
    memory_mb: int | None = Field(None, gt=0)
    memory_mb_of: dict[str, PositiveInt] = Field(
        {}, description="first memory tier of a kind of step, or of ids that match a pattern"
    )
    memory_factor: float = Field(2.0, gt=1, le=8, description="from one memory tier to the next")
    memory_tiers: int = Field(4, ge=1, le=12, description="tiers in all, the first included")
    enforce_memory: bool = Field(
        False, description="hold processes to their tiers, where control groups can be made"
    )
    time_limit_s_of: dict[Literal["preprocess", "simulate", "render", "combine"], PositiveFloat] = (
        Field({}, description="longest wall time of an attempt")
    )


class ContainerEngine(Frozen):
    """The container engine; tool and flags are settings of the machine, not of a study."""

    image: str | None = Field(None, description="none: the one of the user's settings")


class Study(Frozen):
    """A whole study; `folder` is where its file lies and what its paths are relative to."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    folder: Path
    inputs: tuple[Inputs, ...] = Field(min_length=1)
    groups: Groups = Groups()
    scenes: tuple[Scene, ...] = Field(min_length=1)
    render: Render = Render()
    resources: Resources = Resources()
    container: ContainerEngine = ContainerEngine()
    cluster: ClusterSettings = ClusterSettings()
    cache: Annotated[CacheSettings, BeforeValidator(folder_alone)] = CacheSettings()

    @model_validator(mode="after")
    def _unique_names(self) -> Study:
        names = [scene.name for scene in self.scenes]
        if len(set(names)) < len(names):
            raise ValueError(f"scene names must differ, got {names}")
        return self


def default_scenes(common: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the three scenes of a group that a study without `[[scenes]]` runs.

    Parameters
    ----------
    common : dict
        The study's `[simulation]` table.

    Returns
    -------
    list of dict
        nvt (structure), npt (density), nve (dynamics).
    """
    return [{"name": e, "ensemble": e, "steps": 10_000} | common for e in ("nvt", "npt", "nve")]


def load_study(path: Path) -> Study:
    """Read and check a study file.

    `[simulation]` holds what all scenes share; each `[[scenes]]` table overrides it.

    Parameters
    ----------
    path : Path
        The TOML file, or what else `study_text` reads.

    Returns
    -------
    Study
        The checked study.

    Raises
    ------
    StudyError
        One line naming file, key, value and rule, for a file that is missing or wrong.
    """
    try:
        data = tomllib.loads(study_text(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise StudyError(f"{path}: cannot read the study file: {error}") from error
    return study_from_table(data, path)


def study_text(path: Path) -> str:
    """Return the text of a study file.

    Parameters
    ----------
    path : Path
        The file, or the `plan.jsonl` of a slice, which carries it; where there is none,
        `$MDPIPE_STUDY_TEXT` is taken for its content.

    Returns
    -------
    str
        TOML.

    Raises
    ------
    StudyError
        If the plan is not that of a slice.
    BusyError
        If the slice was damaged on its way.
    """
    if path.suffix == ".jsonl":
        return _text_of_slice(path)
    told = os.environ.get(STUDY_TEXT)
    return path.read_text("utf-8") if told is None or path.exists() else told


def _text_of_slice(path: Path) -> str:
    """Return the text that a slice carries."""
    try:
        found: str = unseal(path.read_bytes(), path)["study"]
    except (ValueError, KeyError, TypeError) as error:
        raise StudyError(
            f"{path}: no plan of a slice, as `mdpipe preprocess --pending` writes them; name the "
            "study's TOML file"
        ) from error
    return found


def study_from_table(data: dict[str, Any], path: Path) -> Study:
    """Check the table of a study file.

    Parameters
    ----------
    data : dict
        The parsed TOML.
    path : Path
        Where it was read, for messages and for relative paths.

    Returns
    -------
    Study
        The checked study.

    Raises
    ------
    StudyError
        One line naming file, key, value and rule.
    """
    table = dict(data)
    common = table.pop("simulation", {})
    listed = table.pop("scenes", None)
    for label, value, kind in (("[simulation]", common, dict), ("[[scenes]]", listed or [], list)):
        if not isinstance(value, kind):
            raise StudyError(f"{path}: {label} must be a table, got {value!r}")
    table["scenes"] = (
        default_scenes(common) if listed is None else [common | scene for scene in listed]
    )
    try:
        return Study(folder=study_folder(path), **table)
    except ValidationError as error:
        raise StudyError(f"{path}: {first_fault(error, common)}") from error
    except TypeError as error:
        raise StudyError(f"{path}: {error}") from error


def study_folder(path: Path) -> Path:
    """Return the folder that a study's paths are relative to.

    Parameters
    ----------
    path : Path
        The study file.

    Returns
    -------
    Path
        What `MDPIPE_STUDY_FOLDER` names, if that is a folder; else the file's own. Inputs in a
        store are brought by the step that reads them.
    """
    named = os.environ.get(FOLDER_VARIABLE, "")
    if named and not named.startswith(STORE):
        return Path(named).resolve()
    return path.resolve().parent


def first_fault(error: ValidationError, common: Container[str] = ()) -> str:
    """Say the first fault of a validation error and how many more there are.

    Parameters
    ----------
    error : ValidationError
        What pydantic raised.
    common : container of str
        Keys of `[simulation]`: their faults turn up in every scene and are told once.

    Returns
    -------
    str
        One line: key, rule, value got.
    """
    faults: dict[str, str] = {}
    for fault in error.errors():
        location = fault["loc"]
        if len(location) > 2 and location[0] == "scenes" and location[2] in common:
            location = ("simulation", *location[2:])
        where = ".".join(str(part) for part in location) or "study"
        line = f"{where}: {fault['msg']}"
        if fault["type"] == "extra_forbidden":
            line = f"{where}: no such key; remove it or check its spelling"
        elif fault["type"] != "missing" and not isinstance(fault["input"], dict):
            line += f", got {fault['input']!r}"
        faults.setdefault(where, line)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return next(iter(faults.values())) + more
