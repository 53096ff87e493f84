"""The workflows of `argo_scale.py`: bare lists of pods, and what mdpipe compiles, fitted to it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mdpipe.cluster_settings import USER_ID, ClusterSettings, Toleration
from mdpipe.study import load_study
from mdpipe.workflows.argo import compile_study

STUDY: Final = Path(__file__).parents[2] / "data" / "demo" / "study.toml"
PYTHON: Final = "/opt/mdpipe/env/bin/python"
WRITE: Final = (
    "import pathlib, sys\n"
    "for path, text in zip(sys.argv[1::2], sys.argv[2::2]):\n"
    "    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)\n"
    "    pathlib.Path(path).write_text(text)\n"
)
Document = dict[str, Any]


def count_scenes() -> int:
    """Return the scenes of each group of the study."""
    return len(load_study(STUDY).scenes)


def flat_workflow(name: str, pods: int, options: argparse.Namespace) -> list[Document]:
    """Return the bare list: one template, one step, no retries."""
    step = {
        "name": "pod",
        "template": "pod",
        "arguments": {"parameters": [{"name": "row", "value": "{{item}}"}]},
        "withSequence": {"count": str(pods)},
    }
    container = {
        "image": options.plan_image,
        "command": ["true"],
        "args": ["{{inputs.parameters.row}}"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    key, value = options.fake
    document = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, "namespace": options.namespace},
        "spec": {
            "entrypoint": "main",
            "serviceAccountName": options.service_account,
            "nodeSelector": {key: value},
            "tolerations": [{"key": options.taint, "operator": "Exists"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "podGC": {"strategy": "OnPodSuccess"},
            "templates": [
                {"name": "main", "steps": [[step]]},
                {
                    "name": "pod",
                    "inputs": {"parameters": [{"name": "row"}]},
                    "container": container,
                },
            ],
        },
    }
    return [document]


def compiled_workflow(
    name: str, groups: int, shard: int, options: argparse.Namespace
) -> list[Document]:
    """Return what mdpipe compiles, fitted to simulated nodes."""
    key, value = options.fake
    settings = ClusterSettings.model_validate(
        {
            "storage": "split",
            "store": "s3://mdpipe/scale",
            "namespace": options.namespace,
            "service_account": options.service_account,
            "image": options.plan_image,
            "node_selectors": ({key: value},),
            "tolerations": (Toleration(key=options.taint, operator="Exists"),),
            "shard": shard,
            "offload": True,
            **options.set,
        }
    )
    study = load_study(STUDY)
    found = compile_study(study, STUDY.read_text(), settings, name=name, groups=groups)
    told = {
        "rows": str(groups),
        "bounds": json.dumps([groups] * count_scenes()),
        "memory": json.dumps(dict.fromkeys(("simulate", "render", "combine"), [256] * 9)),
    }
    for document in found:
        for template in document["spec"]["templates"]:
            if "container" in template:
                _fit(template, told)
            if template["name"] in ("preprocess", "combine", "shard"):
                # the toleration would let them go to a simulated node too
                template["nodeSelector"] = dict([options.real])
    return found


def list_workflow(name: str, pods: int, options: argparse.Namespace) -> list[Document]:
    """Return a flat list of the very pods of a compiled simulation, with their retries."""
    (found,) = compiled_workflow(name, options.groups, 0, options)
    templates = {template["name"]: template for template in found["spec"]["templates"]}
    main = templates["main"]
    simulate = {
        "name": "simulate",
        "template": "simulate",
        "arguments": {
            "parameters": [{"name": "row", "value": "{{item}}"}, {"name": "nth", "value": "0"}]
        },
        "withSequence": {"count": str(pods)},
    }
    main["steps"] = [main["steps"][0], [simulate]]
    found["spec"]["templates"] = [templates[one] for one in ("main", "preprocess", "simulate")]
    return [found]


def _fit(template: Document, told: Mapping[str, str]) -> None:
    """Fit a pod's template to a node that is simulated, or to a planner that is none."""
    for volume in template.get("volumes", []):
        if volume.pop("persistentVolumeClaim", None):
            volume["emptyDir"] = {}
    outputs = template.get("outputs", {})
    outputs.pop("artifacts", None)
    if template["name"] in ("simulate", "render"):
        template.pop("outputs", None)
        return
    patch = {"containers": [{"name": "main", "resources": {"limits": {"memory": "128Mi"}}}]}
    template["podSpecPatch"] = json.dumps(patch)
    template.get("inputs", {}).pop("artifacts", None)
    container = template["container"]
    container.pop("envFrom", None)
    container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    wanted = [
        word
        for one in outputs.get("parameters", [])
        for word in (one["valueFrom"]["path"], told[one["name"]])
    ]
    container["command"], container["args"] = [PYTHON, "-I", "-S", "-c", WRITE], wanted
