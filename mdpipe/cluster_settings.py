"""The `[cluster]` table of a study or of the user's settings: how its steps run as pods."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from mdpipe import __version__
from mdpipe.scenes.spec import Frozen
from mdpipe.scenes.store_address import endpoint_fault, folder_fault, keeping, store_fault

Storage = Literal["artifacts", "volume", "split", "sdk"]
"""How data reach the pods; see `ClusterSettings`."""

STUDY_LABEL: Final = "mdpipe/study"
VERSION_LABEL: Final = "mdpipe/version"
MANAGED_BY: Final = ("app.kubernetes.io/managed-by", "mdpipe")
PENDING_ANNOTATION: Final = "mdpipe/pending-timeout-s"
"""On every pod: how long it may wait for a node or an image before a reaper ends it."""

STUDY_FILE: Final = "/mdpipe/study.toml"
RUN_FOLDER: Final = "/tmp/run"
INPUTS_FOLDER: Final = "/mdpipe/inputs"
SHARED_FOLDER: Final = "/mdpipe/shared"
TERMINATION_LOG: Final = "/dev/termination-log"
USER_ID: Final = 10001
"""Paths and user inside the image."""


class Toleration(Frozen):
    """A taint of nodes that pods may run on."""

    key: str
    operator: Literal["Equal", "Exists"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class ClusterSettings(Frozen):
    """How a study runs on a cluster.

    `storage` says how data reach the pods. `artifacts`: inputs and products travel through the
    object store by the workflow engine; `volume`: one shared writable claim has all; `split`:
    inputs on a read-only claim, products through the object store; `sdk`: the program itself reads
    from and writes to the object store. `store` is `s3://bucket/prefix`; its address and keys are
    in the secret `store_secret`, whose keys are names of variables (`AWS_ACCESS_KEY_ID`, …).
    """

    storage: Storage = "split"
    image: str = f"localhost/mdpipe:{__version__}"
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    namespace: str = Field("argo", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    service_account: str = "mdpipe"
    inputs_claim: str = "mdpipe-inputs"
    inputs_path: str = Field("", description="folder of the claim that is the study's folder")
    shared_claim: str = "mdpipe-shared"
    store: Annotated[str, keeping(store_fault)] = ""
    store_secret: str = "mdpipe-store"
    store_endpoint: Annotated[str, keeping(endpoint_fault)] = Field(
        "", description="none: AWS_ENDPOINT_URL of the secret"
    )
    inputs_key: Annotated[str, keeping(folder_fault)] = Field(
        "inputs", description="folder of the store, below its prefix"
    )
    cpu: float = Field(1.0, gt=0, description="cores of a simulation and of a rendering")
    chunk: int = Field(100, ge=1, le=1000, description="groups that are walked together")
    parallelism: int | None = Field(None, gt=0, description="pods at once; none: no bound")
    shard: int = Field(0, ge=0, description="groups of a child workflow; 0: one workflow")
    shards_at_once: int = Field(4, gt=0, description="child workflows that run at a time")
    pending_timeout_s: int = Field(300, gt=0, description="longest wait for a node or an image")
    quota_timeout_s: int | None = Field(
        None, gt=0, description="longest wait for a quota (Argo 4.1), which is else waited for"
    )
    deadline_s: int | None = Field(None, gt=0, description="longest time of the whole workflow")
    node_selectors: tuple[dict[str, str], ...] = Field(
        (), description="labels of nodes: the first choice, then what a retry may use"
    )
    tolerations: tuple[Toleration, ...] = ()
    offload: bool = Field(False, description="the controller keeps node statuses in a database")
    memoize: bool = Field(False, description="also use the workflow engine's own memoization")
