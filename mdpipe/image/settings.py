"""Which container tool is used, and how: settings of the user and the machine, not of a study.

They stand in the `[container]` table of the user's settings, and each key can be set by the
environment, such as `MDPIPE_CONTAINER_RUN_FLAGS`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Final

from mdpipe import __version__
from mdpipe.failures import UsageError
from mdpipe.scenes.spec import Frozen
from mdpipe.user_settings import read_settings

DEFAULT_BASE: Final = "docker.io/library/python:3.12-slim"


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
    return read_settings(ContainerSettings, "container", environment)
