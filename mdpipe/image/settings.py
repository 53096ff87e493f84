"""Which container tool is used, and how: settings of the user and the machine, not of a study.

They stand in the `[container]` table of `settings.toml` in the user's configuration folder
(`$MDPIPE_SETTINGS` names another file), and each key can be set by the environment, such as
`MDPIPE_CONTAINER_RUN_FLAGS`; lists are then split like words of a shell.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from mdpipe import __version__
from mdpipe.failures import UsageError
from mdpipe.scenes.spec import Frozen
from mdpipe.study import first_fault

DEFAULT_BASE: Final = "docker.io/library/python:3.12-slim"
PREFIX: Final = "MDPIPE_CONTAINER_"


class ContainerSettings(Frozen):
    """How containers are built and run.

    `global_flags` come right after the tool's name, `build_flags` after `build`, `run_flags` after
    `run`; `network_flags` are used instead of `--network none` where a step needs the network.
    `pass_env` names further variables that steps see then, beside `AWS_…`.
    """

    tool: str | None = None
    image: str = f"localhost/mdpipe:{__version__}"
    base: str = DEFAULT_BASE
    global_flags: tuple[str, ...] = ()
    build_flags: tuple[str, ...] = ()
    run_flags: tuple[str, ...] = ()
    network_flags: tuple[str, ...] = ()
    pass_env: tuple[str, ...] = ()

    def command(self) -> tuple[str, ...]:
        """Return the words that start the tool.

        Returns
        -------
        tuple of str
            The tool, by default podman or else docker, and the global flags.

        Raises
        ------
        UsageError
            If there is none.
        """
        names = (self.tool,) if self.tool else ("podman", "docker")
        for name in names:
            if shutil.which(name):
                return (name, *self.global_flags)
        raise UsageError(
            f"no container tool: {' or '.join(names)} is not on the PATH; install podman or "
            "docker, or run with --engine process"
        )


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


def load_settings(environment: Mapping[str, str] | None = None) -> ContainerSettings:
    """Read the settings.

    Parameters
    ----------
    environment : mapping or None
        Variables; None for those of this process.

    Returns
    -------
    ContainerSettings
        Checked; what is set nowhere has its default.

    Raises
    ------
    UsageError
        One line naming file or variable, key and rule.
    """
    variables = os.environ if environment is None else environment
    path = settings_file(variables)
    table: dict[str, Any] = {}
    if path.is_file():
        try:
            table = dict(tomllib.loads(path.read_text("utf-8")).get("container", {}))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError, TypeError) as e:
            raise UsageError(f"{path}: cannot read the settings: {e}") from e
    for key, field in ContainerSettings.model_fields.items():
        if (text := variables.get(PREFIX + key.upper())) is not None:
            table[key] = shlex.split(text) if isinstance(field.default, tuple) else text
    try:
        return ContainerSettings.model_validate(table)
    except ValidationError as error:
        raise UsageError(f"{path} or {PREFIX}…: [container] {first_fault(error)}") from error
