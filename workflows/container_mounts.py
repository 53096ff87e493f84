"""What a study's containers see of this machine: folders under their own names, and how."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mdpipe.failures import UsageError
from mdpipe.steps.fingerprint import input_files
from mdpipe.study import Study

GLOB = frozenset("*?[")


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder that a container sees under the same path as this machine, read-only or not."""

    path: Path
    writable: bool = False

    def words(self, target: str | None = None) -> tuple[str, str]:
        """Return the arguments of podman and docker.

        Parameters
        ----------
        target : str or None
            Path inside; None for the same.

        Returns
        -------
        tuple of str
            A flag and its value.

        Raises
        ------
        UsageError
            If the path cannot be said to these tools.
        """
        if ":" in str(self.path):
            raise UsageError(
                f"{self.path}: a folder with a colon in its name cannot be mounted in a container; "
                "rename it, or run with --engine process"
            )
        return ("--volume", f"{self.path}:{target or self.path}:{'rw' if self.writable else 'ro'}")


def study_mounts(
    study: Study, study_file: Path, run: Path, scene_cache: Path | None
) -> tuple[Mount, ...]:
    """Return what the steps of a study need to see.

    Parameters
    ----------
    study : Study
        The checked study.
    study_file : Path
        Its file.
    run : Path
        The run folder.
    scene_cache : Path or None
        The folder of the scene cache.

    Returns
    -------
    tuple of Mount
        Outer folders before inner ones: the study's folder and its inputs' read-only, the run
        folder and the cache writable. Where an input is a link, its target's folder is there too.
    """
    read = {study_file.resolve().parent, study.folder}
    for item in study.inputs:
        for pattern in filter(None, (item.path, item.topology)):
            place = _fixed_folder(study.folder, pattern)
            read.add(place)
            read.add(place.resolve())
    for name, _, _ in input_files(study.inputs, study.folder, run.resolve()):
        target = Path(os.path.normpath(study.folder / name)).resolve()
        if not any(folder in target.parents for folder in read):
            read.add(target.parent)
    written = {run.resolve(), *([scene_cache.resolve()] if scene_cache else [])}
    return merge(read, written)


def merge(read: Iterable[Path], written: Iterable[Path]) -> tuple[Mount, ...]:
    """Put mounts in order and leave out what another one shows already.

    Parameters
    ----------
    read, written : iterable of Path
        Folders, absolute.

    Returns
    -------
    tuple of Mount
        Outer folders first; one below another that is mounted the same way is left out.
    """
    mounts: list[Mount] = []
    writable = set(written)
    for path in sorted({*read, *writable}, key=lambda p: (len(p.parts), p)):
        above = next((m for m in reversed(mounts) if m.path in path.parents), None)
        if above is None or above.writable != (path in writable):
            mounts.append(Mount(path, path in writable))
    return tuple(mounts)


def _fixed_folder(folder: Path, pattern: str) -> Path:
    """Return the deepest folder that holds all that a path or glob can mean."""
    whole = Path(os.path.normpath(folder / pattern))
    fixed: list[str] = []
    for part in whole.parts:
        if GLOB & set(part):
            break
        fixed.append(part)
    place = Path(*fixed)
    return place if place.is_dir() else place.parent
