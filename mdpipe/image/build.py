"""Build the image from the source tree, with the library versions of this installation."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mdpipe
from mdpipe.failures import BusyError, UsageError
from mdpipe.image.settings import ContainerSettings

EXTRA = re.compile(r"extra == ['\"]s3['\"]")
"""What the image has beside the plain libraries: the client of the durable tier."""

REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)")


def source_folder() -> Path:
    """Return the source tree that this program runs from.

    Returns
    -------
    Path
        The folder with the Containerfile.

    Raises
    ------
    UsageError
        If it was installed without one.
    """
    folder = Path(mdpipe.__file__).resolve().parent.parent
    if not (folder / "Containerfile").is_file():
        raise UsageError(
            f"{folder}: no Containerfile there; name the source tree with --source DIR"
        )
    return folder


def pins(root: str = "mdpipe") -> list[str]:
    """Return the versions of all libraries that a distribution needs, as installed here.

    The image is built with the same, so that its products have the same bits.

    Parameters
    ----------
    root : str
        Name of the distribution.

    Returns
    -------
    list of str
        `name==version`, sorted; without `root` itself.
    """
    found: dict[str, str] = {}
    todo = [root]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # asked for only by another system or Python
        found[name] = distribution.version
        for line in distribution.requires or ():
            match = REQUIREMENT.match(line)
            if match and ("extra ==" not in line or (name == root and EXTRA.search(line))):
                todo.append(match.group(1))
    del found[root]
    return [f"{name}=={version}" for name, version in sorted(found.items())]


def build_command(
    settings: ContainerSettings, source: Path, *, base: str, tag: str, libraries: Sequence[str]
) -> list[str]:
    """Return the command that builds the image.

    Parameters
    ----------
    settings : ContainerSettings
        The tool and its flags.
    source : Path
        The source tree.
    base : str
        The image to start from.
    tag : str
        Name of the new image.
    libraries : sequence of str
        `name==version` of what must have this version if it is installed.

    Returns
    -------
    list of str
        Program and arguments.
    """
    arguments = {
        "BASE": base,
        "PINS": " ".join(libraries),
        "VERSION": mdpipe.__version__,
        "REVISION": _revision(source),
        "CREATED": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    return [
        *settings.command(), "build", *settings.build_flags,
        *(word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")),
        "--tag", tag, "--file", str(source / "Containerfile"), str(source),
    ]  # fmt: skip


def build_image(
    settings: ContainerSettings, source: Path, *, base: str, tag: str, report: Callable[[str], None]
) -> None:
    """Build the image; what the tool says goes to standard error.

    Parameters
    ----------
    settings : ContainerSettings
        The tool and its flags.
    source : Path
        The source tree.
    base : str
        The image to start from.
    tag : str
        Name of the new image.
    report : callable
        Takes lines for people.

    Raises
    ------
    BusyError
        If the tool fails; its own words say why.
    """
    report(f"building {tag} from {base} (a few minutes: libraries, then all kernels)")
    command = build_command(settings, source, base=base, tag=tag, libraries=pins())
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        raise BusyError(
            f"{tag}: the image could not be built, see above; flags that this machine needs can be "
            "put into build_flags of the settings"
        )


def _revision(source: Path) -> str:
    """Return the commit of the source tree, nothing if it is none."""
    try:
        asked = subprocess.run(
            ["git", "-C", str(source), "rev-parse", "HEAD"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except OSError:
        return ""
    return asked.stdout.strip()
