"""From a study and the user's settings to the runner of its containers."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from pathlib import Path

from mdpipe.failures import UsageError
from mdpipe.image.settings import ContainerSettings
from mdpipe.scenes.settings import store_url
from mdpipe.study import Study
from mdpipe.workflows.container import LABEL, Box, ContainerRunner
from mdpipe.workflows.container_mounts import study_mounts

OWN_VARIABLES = re.compile(
    r"MDPIPE_(?!CACHE_DIR$|SETTINGS$|PROGRESS$|CONTAINER_|WARM_CACHE$|USAGE$)\w+"
)
"""Variables of the engine that steps see too."""

STORE_PREFIX = "AWS_"
"""Variables that only steps with a store see: its address and keys."""


def study_runner(
    study: Study,
    study_file: Path,
    run: Path,
    settings: ContainerSettings,
    scene_cache: Path,
) -> ContainerRunner:
    """Return the runner of a study's steps.

    Parameters
    ----------
    study : Study
        The checked study; its `[container]` names another image.
    study_file : Path
        Its file.
    run : Path
        The run folder; made here, for it is mounted.
    settings : ContainerSettings
        The tool and its flags.
    scene_cache : Path
        The folder of the scene cache; made here. Only where the study's cache has a store behind
        it, steps get the network and the keys of the store.

    Returns
    -------
    ContainerRunner
        For `run_study(runner=…)`.

    Raises
    ------
    UsageError
        If there is no container tool, or no such image.
    """
    tool = settings.command()
    image = study.container.image or settings.image
    identity = image_id(tool, image)
    kernels = _cache_root() / "container" / identity[:12]
    for folder in (run, scene_cache, kernels):
        folder.mkdir(parents=True, exist_ok=True)
    remote = bool(store_url(study.cache.store))
    wanted = {*settings.pass_env, (study.cache.store or "").removeprefix("env:")}
    environment = {
        key: value
        for key, value in os.environ.items()
        if OWN_VARIABLES.fullmatch(key)
        or (remote and (key in wanted or key.startswith(STORE_PREFIX)))
    }
    where = hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]
    box = Box(
        tool=tool,
        image=identity,  # by its id: the name may mean another one before the run has ended
        label=f"{LABEL}={where}",
        mounts=study_mounts(study, study_file, run, scene_cache),
        user=user_flags(tool),
        kernels=kernels,
        network=settings.network_flags if remote else ("--network=none",),
        run_flags=settings.run_flags,
        environment=environment | {"MDPIPE_SCENE_CACHE": str(scene_cache.resolve())},
    )
    return ContainerRunner(box)


def user_flags(tool: tuple[str, ...]) -> tuple[str, ...]:
    """Return the flags that make the products belong to the caller.

    Parameters
    ----------
    tool : tuple of str
        The container tool and its flags.

    Returns
    -------
    tuple of str
        User and group; for podman without root also the mapping that keeps them.
    """
    me = f"--user={os.getuid()}:{os.getgid()}"
    rootless_podman = "podman" in Path(tool[0]).name and os.getuid() != 0
    return ("--userns=keep-id", me) if rootless_podman else (me,)


def image_id(tool: tuple[str, ...], image: str) -> str:
    """Return the id of an image that is on this machine.

    Parameters
    ----------
    tool : tuple of str
        The container tool and its flags.
    image : str
        Name and tag.

    Returns
    -------
    str
        Hex digits.

    Raises
    ------
    UsageError
        If there is no such image, or the tool does not work.
    """
    asked = subprocess.run(
        [*tool, "image", "inspect", "--format", "{{.Id}}", image],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if asked.returncode != 0:
        said = (asked.stderr.strip().splitlines() or ["no message"])[-1]
        raise UsageError(
            f"{image}: no such image here ({said}); build it with `mdpipe image build`, or name "
            "another in [container] of the settings"
        )
    return asked.stdout.strip().removeprefix("sha256:")


def _cache_root() -> Path:
    """Return the user's cache folder of mdpipe."""
    named = os.environ.get("MDPIPE_CACHE_DIR")
    return Path(named) if named else Path.home() / ".cache" / "mdpipe"
