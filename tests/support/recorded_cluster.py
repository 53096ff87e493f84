"""A cluster's answers, recorded from a real one, to be changed and asked again."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mdpipe.workflows.cluster.errors import AbsentError, InvalidError, RefusedError

HIDDEN = {"AWS_ENDPOINT_URL": "aHR0cDovL3g="}
"""What stands for a secret, in base64: `x`, but `http://x` where nothing else can be used."""
RECORDING = Path(__file__).parents[1] / "golden" / "cluster_answers.json"
NAMESPACE = "water"
DROPPED = {
    "managedFields", "uid", "resourceVersion", "creationTimestamp", "generation", "selfLink",
    "addresses", "nodeInfo", "daemonEndpoints", "clusterIP", "volumeName", "buildDate", "gitCommit",
    "goVersion", "platform", "compiler", "gitTreeState",
}  # fmt: skip


class RecordedCluster:
    """Answers as the real one did; what is changed here answers changed."""

    def __init__(self) -> None:
        told = json.loads(RECORDING.read_text("utf-8"))
        self.answers: dict[str, Any] = told["get"]
        self.rights: dict[str, bool] = told["rights"]
        node = self.answers["/api/v1/nodes"]["items"][0]
        named = [image for image in node["status"]["images"] if image.get("names")]
        self.image: str = named[0]["names"][0]
        self.refused: set[str] = set()
        self.posted: list[dict[str, Any]] = []
        self.deleted: list[str] = []
        self.taken_up = True
        self.unknown_field = ""

    def get(self, path: str) -> Any:
        """Answer as recorded."""
        if any(part in path for part in self.refused):
            raise RefusedError(f"may not get {path}")
        if "/workflows/mdpipe-doctor-" in path:
            return {"status": {"phase": "Running"}} if self.taken_up else {}
        if path not in self.answers or self.answers[path] is None:
            raise AbsentError(path)
        return copy.deepcopy(self.answers[path])

    def post(self, path: str, body: Any, query: Mapping[str, str] | None = None) -> Any:
        """Answer questions about rights as recorded, and take workflows."""
        if "accessreviews" in path:
            right = right_of(body["spec"])
            if any(part in right for part in self.refused):
                raise RefusedError(f"may not ask for {right}")
            return {"status": {"allowed": self.rights[right]}}
        if query and self.unknown_field:
            raise InvalidError(f'strict decoding error: unknown field "{self.unknown_field}"')
        self.posted.append(body)
        return body | {"metadata": {"name": body["metadata"]["generateName"] + "x"}}

    def delete(self, path: str) -> None:
        """Remember what was deleted."""
        self.deleted.append(path)

    def change(self, part: str, change: Callable[[Any], Any]) -> None:
        """Change the one recorded answer whose path ends so; None makes the object absent."""
        (path,) = [path for path in self.answers if path.endswith(part)]
        self.answers[path] = change(copy.deepcopy(self.answers[path]))

    def deny(self, part: str) -> None:
        """Take away the rights whose words contain these."""
        found = [right for right in self.rights if part in right]
        assert found, f"nobody asked for {part}"
        self.rights |= dict.fromkeys(found, False)


class Recorder:
    """Hands questions on to a real cluster and keeps its answers."""

    def __init__(self, door: Any, namespace: str) -> None:
        self.door, self.namespace = door, namespace
        self.told: dict[str, Any] = {"get": {}, "rights": {}}

    def get(self, path: str) -> Any:
        """Ask and keep; that something is absent, too."""
        answer = None
        try:
            answer = self.door.get(path)
        finally:
            if "mdpipe-doctor-" not in path.replace(self.namespace, ""):
                self.told["get"][self._own(path)] = json.loads(self._own(json.dumps(_bare(answer))))
        return answer

    def post(self, path: str, body: Any, query: Mapping[str, str] | None = None) -> Any:
        """Ask and keep what is about rights."""
        answer = self.door.post(path, body, query)
        if "accessreviews" in path:
            right = self._own(right_of(body["spec"]))
            self.told["rights"][right] = bool(answer["status"].get("allowed"))
        return answer

    def delete(self, path: str) -> None:
        """Hand it on."""
        self.door.delete(path)

    def _own(self, text: str) -> str:
        return text.replace(self.namespace, NAMESPACE)


def compare_or_write(told: dict[str, Any]) -> None:
    """See that a cluster was asked what is recorded; with MDPIPE_REGENERATE=1 record it."""
    if os.environ.get("MDPIPE_REGENERATE") == "1":
        RECORDING.write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", "utf-8")
    recorded = json.loads(RECORDING.read_text("utf-8"))
    assert set(told["get"]) == set(recorded["get"])
    assert told["rights"] == recorded["rights"]


def right_of(spec: Mapping[str, Any]) -> str:
    """Return a right in words: who, verb, group, resource, part of it, where."""
    asked = spec["resourceAttributes"]
    words = [asked[key] for key in ("verb", "group", "resource", "subresource", "namespace")]
    return " ".join([spec.get("user", "user"), *(word for word in words if word)])


def _bare(value: Any) -> Any:
    """Return an answer without what differs between clusters, and without any secret."""
    if isinstance(value, list):
        return [_bare(one) for one in value if not _is_simulated(one)]
    if not isinstance(value, dict):
        return value
    bare = {key: _bare(one) for key, one in value.items() if key not in DROPPED}
    if value.get("kind") == "Secret":
        bare["data"] = {key: HIDDEN.get(key, "eA==") for key in value.get("data") or {}}
    return bare


def _is_simulated(value: Any) -> bool:
    labels = (value.get("metadata") or {}).get("labels") if isinstance(value, dict) else None
    return bool(labels and labels.get("type") == "kwok")
