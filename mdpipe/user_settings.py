"""The user's settings file: one table for each subject, and the environment over it.

The file is `settings.toml` in the user's configuration folder (`$MDPIPE_SETTINGS` names another
one). Each key can also be set by a variable, such as `MDPIPE_CONTAINER_RUN_FLAGS`.
"""

from __future__ import annotations

import json
import os
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import UsageError
from mdpipe.study import Study, first_fault

Model = TypeVar("Model", bound=BaseModel)


def settings_file(environment: Mapping[str, str]) -> Path:
    """Return where the user's settings are.

    Parameters
    ----------
    environment : mapping
        Variables.

    Returns
    -------
    Path
        `$MDPIPE_SETTINGS`, else `mdpipe/settings.toml` in the user's configuration folder.
    """
    if named := environment.get("MDPIPE_SETTINGS"):
        return Path(named)
    base = environment.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "mdpipe" / "settings.toml"


def read_settings(
    model: type[Model],
    table: str,
    environment: Mapping[str, str] | None = None,
    over: Mapping[str, Any] | None = None,
) -> Model:
    """Read one table of the settings.

    Parameters
    ----------
    model : type
        What the table is checked with.
    table : str
        Its name in the file, such as `container`; its variables begin with `MDPIPE_CONTAINER_`.
        In them lists are split like words of a shell; lists of tables are JSON.
    environment : mapping or None
        Variables; None for those of this process.
    over : mapping or None
        Keys that hold whatever file and variables say.

    Returns
    -------
    model
        Checked; what is set nowhere has its default.

    Raises
    ------
    UsageError
        One line naming file or variable, key and rule.
    """
    variables = os.environ if environment is None else environment
    path, prefix = settings_file(variables), f"MDPIPE_{table.upper()}_"
    found: dict[str, Any] = {}
    if path.is_file():
        try:
            found = dict(tomllib.loads(path.read_text("utf-8")).get(table, {}))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError, TypeError) as e:
            raise UsageError(f"{path}: cannot read the settings: {e}") from e
    for key, field in model.model_fields.items():
        if (text := variables.get(prefix + key.upper())) is not None:
            found[key] = _parsed(text, field.annotation, prefix + key.upper())
    try:
        return model.model_validate(found | dict(over or {}))
    except ValidationError as error:
        raise UsageError(f"{path} or {prefix}…: [{table}] {first_fault(error)}") from error


def cluster_settings(study: Study, environment: Mapping[str, str] | None = None) -> ClusterSettings:
    """Return how a study runs on a cluster.

    Parameters
    ----------
    study : Study
        What its `[cluster]` table sets holds; the rest comes from the user's settings.
    environment : mapping or None
        Variables, such as `MDPIPE_CLUSTER_IMAGE`; None for those of this process.

    Returns
    -------
    ClusterSettings
        Checked.

    Raises
    ------
    UsageError
        One line naming file or variable, key and rule.
    """
    told = study.cluster.model_dump(exclude_unset=True)
    return read_settings(ClusterSettings, "cluster", environment, told)


def _parsed(text: str, annotation: Any, variable: str) -> Any:
    """Return the value of a variable for a field of some type."""
    if getattr(annotation, "__origin__", None) is not tuple:
        # an empty word is how a shell says that an optional number is not set
        return None if text == "" and type(None) in get_args(annotation) else text
    if get_args(annotation)[0] is str:
        return shlex.split(text)
    try:
        return json.loads(text)
    except ValueError as error:
        raise UsageError(f"{variable}: must be a JSON list of tables ({error})") from error
