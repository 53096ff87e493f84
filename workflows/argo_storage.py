"""How data reach the pods of a study: the four storage profiles, as plain data.

============  ==================  ============================  ==================================
profile       inputs              plan, slices, products        scenes, films, checkpoints
============  ==================  ============================  ==================================
`artifacts`   artifact, once      artifacts                     store, by the program
`volume`      read-only claim     shared claim                  folder of the shared claim
`split`       read-only claim     artifacts                     store, by the program
`sdk`         store, by program   store, by program             store, by the program
============  ==================  ============================  ==================================

Only preprocess sees the inputs. Artifacts have a key and nothing else: bucket, address and secrets
are the artifact repository's, and the bucket must be the store's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mdpipe.cluster_settings import (
    INPUTS_FOLDER,
    RUN_FOLDER,
    SHARED_FOLDER,
    STUDY_FILE,
    TERMINATION_LOG,
    ClusterSettings,
)
from mdpipe.run_folder import RunFolder
from mdpipe.study import STUDY_TEXT, Study
from mdpipe.workflows.argo_check import check_storage
from mdpipe.workflows.graph import Step

SCRATCH: Final = "/tmp"
"""The one folder of the pod's own, and all that a step may write to: artifacts, caches, the rest.
A second one would stand in each of the pod's three containers."""

CARRIED_INPUTS: Final = f"{SCRATCH}/inputs"
"""Where inputs lie that come as an artifact."""

PARAMETERS: Final = ("rows", "bounds", "memory")
"""Files of `pending/parameters` that become outputs of the workflow."""

ROW: Final = "{{inputs.parameters.row}}"

SLICED: Final = frozenset({"simulate", "render"})
"""Kinds of steps that are told the slice of their group."""

LAYOUT: Final = RunFolder(Path())
"""Names of files, relative to a run folder."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of a pod; without a claim it is the pod's own and ends with it."""

    name: str
    path: str
    claim: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file or folder that the workflow engine carries, by its key alone."""

    name: str
    path: str
    key: str
    optional: bool = False


class Storage:
    """The storage profile of a study.

    Parameters
    ----------
    study : Study
        The checked study.
    settings : ClusterSettings
        How it runs on the cluster.
    run : str
        The run's own name, such as `{{workflow.name}}`.

    Raises
    ------
    StudyError
        If study and profile do not fit.
    """

    def __init__(self, study: Study, settings: ClusterSettings, run: str) -> None:
        check_storage(study, settings)
        self.settings = settings
        self.study = study
        self._run = f"runs/{run}"
        self.profile = settings.storage
        self.prefix = settings.store.removeprefix("s3://").partition("/")[2].strip("/")

    def run(self, kind: str) -> str:
        """Return the run folder that a step is told.

        Parameters
        ----------
        kind : str
            Kind of step; simulate and render get the slice of their group.

        Returns
        -------
        str
            A path in the pod, or an address in the store.
        """
        part = f"/pending/{ROW}" if kind in SLICED else ""
        if self.profile == "volume":
            return f"{SHARED_FOLDER}/{self._run}{part}"
        if self.profile == "sdk":
            return f"{self.settings.store.rstrip('/')}/{self._run}{part}"
        return RUN_FOLDER

    def study_file(self, kind: str) -> str:
        """Return the study file that a step is told.

        Parameters
        ----------
        kind : str
            Kind of step.

        Returns
        -------
        str
            A path in the pod: the slice's plan, which carries the text, or none that exists.
            A study's text in each pod would be the greater part of it, three times.
        """
        if kind not in SLICED:
            return STUDY_FILE
        folder = self.run(kind) if self.profile == "volume" else RUN_FOLDER
        return f"{folder}/{LAYOUT.plan}"

    @property
    def cache(self) -> str:
        """Folder of the scene cache in the pod."""
        return f"{SHARED_FOLDER}/scenes" if self.profile == "volume" else f"{SCRATCH}/scenes"

    def mounts(self, kind: str) -> list[Mount]:
        """Return the folders of a step's pod.

        Parameters
        ----------
        kind : str
            Kind of step.

        Returns
        -------
        list of Mount
            Enclosing folders first.
        """
        found = [Mount("scratch", SCRATCH)]
        if self.profile == "volume":
            found.append(Mount("shared", SHARED_FOLDER, self.settings.shared_claim))
        if kind == "preprocess" and self.profile in {"volume", "split"}:
            claim = self.settings.inputs_claim
            found.append(Mount("inputs", INPUTS_FOLDER, claim, read_only=True))
        return found

    def environment(self, kind: str) -> dict[str, str]:
        """Return the variables of a step; keys of the store are not among them.

        Parameters
        ----------
        kind : str
            Kind of step.

        Returns
        -------
        dict
            Name to value.
        """
        found = {"MDPIPE_TERMINATION_LOG": TERMINATION_LOG}
        if kind not in SLICED:
            # `$` begins a reference to another variable, `$$` stands for it
            found[STUDY_TEXT] = "{{=replace(workflow.parameters.study, '$', '$$')}}"
        if kind == "preprocess":
            found["MDPIPE_STUDY_FOLDER"] = self._inputs
        if self.profile == "sdk":
            # a known place, for Argo reads parameters from it
            found["MDPIPE_SCRATCH"] = RUN_FOLDER
        if self.settings.store:
            found["MDPIPE_STORE"] = self.settings.store
            if self.profile != "volume":
                found["MDPIPE_CHECKPOINTS"] = self.settings.store
            if self.settings.store_endpoint:
                found["AWS_ENDPOINT_URL"] = self.settings.store_endpoint
        return found

    @property
    def secret(self) -> str:
        """Name of the secret with the keys of the store; empty where there is no store."""
        return self.settings.store_secret if self.settings.store else ""

    @property
    def _inputs(self) -> str:
        """What the study's paths are relative to."""
        if self.profile == "sdk":
            return f"{self.settings.store.rstrip('/')}/{self.settings.inputs_key}"
        if self.profile == "artifacts":
            return CARRIED_INPUTS
        return f"{INPUTS_FOLDER}/{self.settings.inputs_path}".rstrip("/")

    def inputs(self, kind: str) -> list[Artifact]:
        """Return what is fetched before a step.

        Parameters
        ----------
        kind : str
            Kind of step.

        Returns
        -------
        list of Artifact
            Empty where the program fetches for itself.
        """
        if self.profile not in {"artifacts", "split"}:
            return []
        if kind in SLICED:
            return [Artifact("slice", RUN_FOLDER, self._key(f"{self._run}/pending/{ROW}"))]
        if kind == "combine":
            return [self._product(str(path)) for path in (LAYOUT.plan, LAYOUT.preprocess)]
        if self.profile == "artifacts":
            return [Artifact("inputs", CARRIED_INPUTS, self._key(self.settings.inputs_key))]
        return []

    def outputs(self, step: Step) -> list[Artifact]:
        """Return what is kept after a step, whether it ended well or not.

        Parameters
        ----------
        step : Step
            The step, with its products.

        Returns
        -------
        list of Artifact
            Empty where the program stores for itself.
        """
        if self.profile not in {"artifacts", "split"}:
            return []
        if step.kind == "preprocess":
            return [Artifact("run", RUN_FOLDER, self._key(self._run))]
        if step.kind == "combine":
            # the message of a combine that could not make one must not be hidden by its absence
            return [self._product(name, optional=True) for name in step.products]
        return []

    def parameter_file(self, name: str) -> str:
        """Return where preprocess leaves a parameter.

        Parameters
        ----------
        name : str
            One of `PARAMETERS`.

        Returns
        -------
        str
            A path in the pod.
        """
        where = RUN_FOLDER if self.profile == "sdk" else self.run("preprocess")
        return f"{where}/{LAYOUT.parameters}/{name}"

    def _product(self, name: str, *, optional: bool = False) -> Artifact:
        """Return the artifact of one file of the run folder."""
        label = name.replace(".", "-").replace("/", "-")
        return Artifact(label, f"{RUN_FOLDER}/{name}", self._key(f"{self._run}/{name}"), optional)

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key


def words_of(step: Step, storage: Storage, threads: int) -> Sequence[str]:
    """Return the arguments of a step's pod: those of the graph, with the pod's own folders.

    Parameters
    ----------
    step : Step
        The step.
    storage : Storage
        Where its run folder and its cache are.
    threads : int
        Threads of its kernels.

    Returns
    -------
    sequence of str
        The program and its arguments.
    """
    words = list(step.command)
    words[words.index("--run") + 1] = storage.run(step.kind)
    words[words.index(STUDY_FILE)] = storage.study_file(step.kind)
    words = [word.format(threads=threads) if word == "{threads}" else word for word in words]
    more = {"preprocess": ["--pending"], "combine": ["--require-all"]}
    return [*words, "--cache", storage.cache, *more.get(step.kind, [])]
