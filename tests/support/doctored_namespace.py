"""A namespace of its own on a real cluster, set up as `workflows/deploy` says, to be sabotaged."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from manifests import COMPONENTS, DEPLOY, Manifest, read_all, render, write_kustomization

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.workflows.cluster.api import Kubernetes
from mdpipe.workflows.cluster.doctor import CHECKS, Check, examine
from mdpipe.workflows.cluster.doctor_facts import Facts
from mdpipe.workflows.cluster.errors import AbsentError, ConflictError
from mdpipe.workflows.cluster.findings import Finding

CLUSTER_WIDE = {"Namespace": "namespaces", "PersistentVolume": "persistentvolumes"}
PARTS = (
    *("reaper", "child-workflows", "offload", "throughput", "network-policy", "claims"),
    *("pod-gc", "pod-restarts", "disruption", "users"),
)
NEVER = "0 0 31 2 *"


class OwnDoor:
    """The way to a cluster on which no other namespace has a controller."""

    def __init__(self, door: Kubernetes, namespace: str) -> None:
        self.door, self.namespace = door, namespace

    def get(self, path: str) -> Any:
        """Read an object or a list."""
        other = path.endswith("/deployments") and f"/{self.namespace}/" not in path
        return {"items": []} if other else self.door.get(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.door, name)


class Workplace:
    """A namespace in which everything is right but that no controller looks at it."""

    def __init__(self, door: Kubernetes, name: str, bucket: str, image: str) -> None:
        self.door = OwnDoor(door, name)
        self.name = name
        self.settings = ClusterSettings(
            namespace=name, store=f"s3://{bucket}/{name}", image=image, storage="volume"
        )

    def findings(
        self, checks: tuple[Check, ...] = CHECKS, groups: int | None = None, **settings: Any
    ) -> list[Finding]:
        """Return what the doctor finds, the absent controller left out."""
        changed = self.settings.model_copy(update=settings)
        wanted = tuple(check for check in checks if check.__name__ != "controller_answers")
        return examine(Facts(self.door, changed, groups), wanted).findings

    def path(self, kind: str, name: str = "", group: str = "") -> str:
        """Return the path of an object of the namespace."""
        start = f"/apis/{group}" if group else "/api/v1"
        return f"{start}/namespaces/{self.name}/{kind}/{name}".rstrip("/")

    @contextlib.contextmanager
    def changed(self, path: str, change: dict[str, Any]) -> Iterator[None]:
        """Merge a change into an object, and put back what was there."""
        before = self.door.get(path)
        self.door.patch(path, change)
        try:
            yield
        finally:
            self.door.patch(path, _undo(before, change))

    @contextlib.contextmanager
    def without(self, path: str) -> Iterator[None]:
        """Delete an object, and make it again."""
        before = self.door.get(path)
        self.door.delete(path)
        try:
            yield
        finally:
            self.make(path.rpartition("/")[0], _plain(before))

    @contextlib.contextmanager
    def with_extra(self, kinds: str, manifest: Manifest, group: str = "") -> Iterator[None]:
        """Make an object, and delete it."""
        self.make(self.path(kinds, group=group), manifest)
        try:
            yield
        finally:
            self.door.delete(self.path(kinds, manifest["metadata"]["name"], group))

    def make(self, path: str, manifest: Manifest) -> None:
        """Make an object; one of its name that is about to go is waited for."""
        for _ in range(50):
            try:
                self.door.post(path, manifest)
            except ConflictError:
                time.sleep(0.1)
            else:
                return
        raise AssertionError(f"{path} did not go away")


def _undo(before: Any, change: dict[str, Any]) -> dict[str, Any]:
    """Return the merge patch that takes a change back."""
    undone: dict[str, Any] = {}
    for key, value in change.items():
        old = before.get(key) if isinstance(before, dict) else None
        undone[key] = _undo(old, value) if isinstance(value, dict) and old is not None else old
    return undone


def _plain(manifest: Manifest) -> Manifest:
    """Return an object as one that can be made again."""
    dropped = {"uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"}
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in dropped}
    plain = {k: v for k, v in manifest.items() if k not in {"status", "metadata"}}
    return plain | {"metadata": metadata}


@contextlib.contextmanager
def open_workplace(door: Kubernetes, folder: Path, like: str) -> Iterator[Workplace]:
    """Make a namespace with the store and the image of another one; remove it in the end."""
    name = f"mdpipe-doctor-{secrets.token_hex(3)}"
    parts = [path for path in COMPONENTS if path.name in PARTS]
    manifests = render(write_kustomization(folder, name, DEPLOY / "base", *parts))
    try:
        for manifest in [*manifests, *_own(door, name, like)]:
            _make(door, name, _adapted(manifest))
        _wait(lambda: "token" in _secret(door, name, "mdpipe.service-account-token"))
        for claim in ("mdpipe-inputs", "mdpipe-shared"):
            _wait(partial(_is_bound, door, name, claim))
        yield Workplace(door, name, _bucket(door, like), _good_image(door))
    finally:
        for path in (f"namespaces/{name}", *(f"persistentvolumes/{name}-{i}" for i in range(2))):
            with contextlib.suppress(AbsentError):
                door.delete(f"/api/v1/{path}")


def _own(door: Kubernetes, name: str, like: str) -> Iterator[Manifest]:
    """Yield what the overlay leaves to the user: the secrets, and volumes for the claims."""
    for secret, data in (
        ("mdpipe-store", _secret(door, like, "mdpipe-store")),
        ("argo-postgres-config", {"username": "YXJnbw==", "password": "YXJnbw=="}),
    ):
        metadata = {"name": secret, "namespace": name}
        yield {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    for index, (claim, mode) in enumerate(
        (("mdpipe-inputs", "ReadOnlyMany"), ("mdpipe-shared", "ReadWriteMany"))
    ):
        volume = read_all(DEPLOY / "components" / "host-folders" / "volumes.yaml")[index]
        volume["metadata"]["name"] = f"{name}-{index}"
        volume["spec"]["claimRef"] = {"namespace": name, "name": claim}
        assert volume["spec"]["accessModes"] == [mode]
        yield volume


def _adapted(manifest: Manifest) -> Manifest:
    """Keep the reaper from running, the claims from a class, and the controller in its place."""
    if manifest["metadata"]["name"] == "mdpipe-controller-configmaps":
        for subject in manifest.get("subjects", []):
            subject["namespace"] = manifest["metadata"]["namespace"]
    if manifest["kind"] == "CronJob":
        manifest["spec"]["schedule"] = NEVER
    if manifest["kind"] == "PersistentVolumeClaim":
        manifest["spec"]["storageClassName"] = ""
    return manifest


def _make(door: Kubernetes, namespace: str, manifest: Manifest) -> None:
    version, kind = manifest["apiVersion"], manifest["kind"]
    start = "/api/v1" if version == "v1" else f"/apis/{version}"
    plural = "networkpolicies" if kind == "NetworkPolicy" else f"{kind.lower()}s"
    scope = "" if kind in CLUSTER_WIDE else f"/namespaces/{namespace}"
    # the account `default` and its like are made by the cluster itself a moment later
    door.post(f"{start}{scope}/{plural}", manifest)


def _secret(door: Kubernetes, namespace: str, name: str) -> dict[str, str]:
    found = door.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    return dict(found.get("data") or {})


def _is_bound(door: Kubernetes, namespace: str, name: str) -> bool:
    found = door.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}")
    return bool(found["status"]["phase"] == "Bound")


def _good_image(door: Kubernetes) -> str:
    """Return an image that is loaded into a node, or named by digest."""
    nodes = door.get("/api/v1/nodes")["items"]
    images = [image for node in nodes for image in node["status"].get("images", [])]
    names = [name for image in images for name in image.get("names") or []]
    return next(n for n in names if n.startswith("localhost/") or "@sha256:" in n)


def _bucket(door: Kubernetes, namespace: str) -> str:
    import yaml

    found = door.get(f"/api/v1/namespaces/{namespace}/configmaps/artifact-repositories")
    return str(yaml.safe_load(found["data"]["mdpipe"])["s3"]["bucket"])


def _wait(condition: Any) -> None:
    for _ in range(300):
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError("the cluster did not fill in what was waited for within 60 s")


def weak_token(kubeconfig: str, namespace: str) -> str:
    """Return a token of the account `default` of a namespace, which has no rights."""
    done = subprocess.run(
        ["kubectl", "--kubeconfig", kubeconfig, "-n", namespace, "create", "token", "default"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def as_json(value: Any) -> str:
    """Return a value as the YAML of a ConfigMap's key; JSON is YAML."""
    return json.dumps(value)
