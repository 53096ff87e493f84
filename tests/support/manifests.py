"""Kustomizations and what they render to, for tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "workflows" / "deploy"
KUSTOMIZATIONS = sorted(path.parent for path in DEPLOY.rglob("kustomization.yaml"))
COMPONENTS = sorted(path for path in KUSTOMIZATIONS if path.parent.name == "components")
OVERLAYS = sorted(path for path in KUSTOMIZATIONS if path.parent.name == "overlays")

Manifest = dict[str, Any]


def render(folder: Path) -> list[Manifest]:
    """Return what `kubectl kustomize` makes of a folder; the test is skipped without kubectl."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on PATH; only the references of the files were checked")
    done = subprocess.run(
        [kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{folder.name}: {done.stderr}"
    return list(yaml.safe_load_all(done.stdout))


def write_kustomization(folder: Path, namespace: str, *parts: Path) -> Path:
    """Write a kustomization of bases, components and overlays into a folder and return it."""
    paths = {part: os.path.relpath(part, folder.resolve()) for part in parts}
    named = {
        "resources": [paths[part] for part in parts if part not in COMPONENTS],
        "components": [paths[part] for part in parts if part in COMPONENTS],
    }
    head = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    text = yaml.safe_dump(head | {"namespace": namespace} | named)
    (folder / "kustomization.yaml").write_text(text, "utf-8")
    return folder


def read_all(path: Path) -> list[Any]:
    """Return the documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text("utf-8")))


def pod_specs(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """Yield name and pod specification of every object that makes pods."""
    for manifest in manifests:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "CronJob":
            spec = spec["jobTemplate"]["spec"]
        if "template" in spec:
            yield manifest["metadata"]["name"], spec["template"]["spec"]
