"""Where everything lies that a run makes: one folder, one name for each thing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WORK = "work"
"""Folder beside a scene's products that holds its checkpoints while it runs."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The layout of a run folder; every path is below `path`."""

    path: Path

    @property
    def plan(self) -> Path:
        """One JSON line for each group."""
        return self.path / "plan.jsonl"

    @property
    def preprocess(self) -> Path:
        """What `preprocess` saw, problems included."""
        return self.path / "preprocess.json"

    @property
    def story(self) -> Path:
        """What happened: status, attempts, times and peaks of each step."""
        return self.path / "story.json"

    @property
    def film(self) -> Path:
        """The film of all groups."""
        return self.path / "film.mp4"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        """All observables, for programs."""
        return self.path / "summary.json"

    @property
    def table(self) -> Path:
        """All observables, as a table."""
        return self.path / "summary.csv"

    @property
    def pending(self) -> Path:
        """Slices: a run folder for each group that is not wholly cached, and `parameters`."""
        return self.path / "pending"

    @property
    def parameters(self) -> Path:
        """What a workflow must know of the slices: a small file for each parameter."""
        return self.pending / "parameters"

    def slice(self, row: int) -> Path:
        """Return the run folder of one pending group.

        Parameters
        ----------
        row : int
            Its place among the pending groups, from 0.

        Returns
        -------
        Path
            The folder.
        """
        return self.pending / f"{row:05d}"

    def group(self, group: str) -> Path:
        """Return the folder of a group.

        Parameters
        ----------
        group : str
            The group's id.

        Returns
        -------
        Path
            The folder.
        """
        return self.path / "groups" / group

    def start(self, group: str) -> Path:
        """Return the start state of a group.

        Parameters
        ----------
        group : str
            The group's id.

        Returns
        -------
        Path
            An npz file.
        """
        return self.group(group) / "start.npz"

    def scene(self, group: str, scene: str) -> Path:
        """Return the folder of a scene's products.

        Parameters
        ----------
        group : str
            The group's id.
        scene : str
            The scene's name.

        Returns
        -------
        Path
            The folder.
        """
        return self.group(group) / scene

    def scene_film(self, group: str, scene: str) -> Path:
        """Return the film of a scene; its still has the suffix `.png`.

        Parameters
        ----------
        group : str
            The group's id.
        scene : str
            The scene's name.

        Returns
        -------
        Path
            An mp4 file.
        """
        return self.group(group) / f"{scene}.mp4"

    def log(self, step: str) -> Path:
        """Return the log of a step.

        Parameters
        ----------
        step : str
            The step's id.

        Returns
        -------
        Path
            A text file.
        """
        return self.path / "logs" / f"{step}.log"

    def progress(self, step: str) -> Path:
        """Return the progress file of a step.

        Parameters
        ----------
        step : str
            The step's id.

        Returns
        -------
        Path
            A file of JSON lines.
        """
        return self.path / "logs" / f"{step}.progress"

    def relative(self, path: Path) -> str:
        """Return a path below the run folder as it is written in graphs and manifests.

        Parameters
        ----------
        path : Path
            A path below the folder.

        Returns
        -------
        str
            Relative, with forward slashes.
        """
        return path.relative_to(self.path).as_posix()
