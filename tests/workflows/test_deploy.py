"""The manifests of `workflows/deploy`: they render, refer to what is there, and hold no secret."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from manifests import (
    COMPONENTS,
    DEPLOY,
    KUSTOMIZATIONS,
    OVERLAYS,
    Manifest,
    pod_specs,
    read_all,
    render,
    write_kustomization,
)

from mdpipe.cluster_settings import ClusterSettings

BASE = DEPLOY / "base"
FLUID = Path(__file__).parents[2].parent / "shared" / "argo" / "fluid"
SECRETS_OF_THE_USER = {"mdpipe-store", "argo-postgres-config"}
ACCOUNTS_OF_THE_ENGINE = {"argo"}

by_name = pytest.mark.parametrize("folder", KUSTOMIZATIONS, ids=lambda folder: folder.name)
each_overlay = pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: folder.name)
each_component = pytest.mark.parametrize("folder", COMPONENTS, ids=lambda folder: folder.name)


def _paths_of(kustomization: dict[str, Any]) -> set[str]:
    patches = {patch["path"] for patch in kustomization.get("patches", []) if "path" in patch}
    return {*kustomization.get("resources", []), *kustomization.get("components", []), *patches}


@by_name
def test_a_kustomization_names_what_is_there_and_leaves_no_file_out(folder: Path) -> None:
    named = _paths_of(read_all(folder / "kustomization.yaml")[0])
    for path in named:
        target = folder / path
        assert target.is_file() or (target / "kustomization.yaml").is_file(), path
    files = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
    assert files <= named


@by_name
def test_every_part_says_at_its_head_what_it_is_for(folder: Path) -> None:
    assert (folder / "kustomization.yaml").read_text("utf-8").startswith("# ")


@each_component
def test_a_component_says_what_breaks_without_it(folder: Path) -> None:
    text = "".join(path.read_text("utf-8") for path in folder.glob("*.yaml")).lower()
    comments = "\n".join(line for line in text.splitlines() if line.lstrip().startswith("#"))
    assert "without" in comments


@each_component
def test_a_component_renders_on_the_base_in_any_namespace(folder: Path, tmp_path: Path) -> None:
    manifests = render(write_kustomization(tmp_path, "water", BASE, folder))
    assert len(manifests) > len(read_all(BASE / "executor-role.yaml"))
    _check_references(manifests, "water")


@each_overlay
def test_an_overlay_renders_and_its_references_are_there(folder: Path) -> None:
    _check_references(render(folder), "argo")


@each_overlay
def test_an_overlay_moves_to_another_namespace_as_a_whole(folder: Path, tmp_path: Path) -> None:
    _check_references(render(write_kustomization(tmp_path, "water", folder)), "water")


def _check_references(manifests: list[Manifest], namespace: str) -> None:
    there = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    assert len(there) == len(manifests)
    for manifest in manifests:
        assert manifest["metadata"].get("namespace", namespace) == namespace
        if manifest["kind"] == "RoleBinding":
            assert ("Role", manifest["roleRef"]["name"]) in there
            for subject in manifest["subjects"]:
                if subject["kind"] == "Group":
                    continue
                if subject["name"] not in ACCOUNTS_OF_THE_ENGINE:
                    assert ("ServiceAccount", subject["name"]) in there
                    assert subject["namespace"] == namespace
    for name, spec in pod_specs(manifests):
        account = spec.get("serviceAccountName")
        assert account is None or ("ServiceAccount", account) in there, name
        for volume in spec.get("volumes", []):
            if "persistentVolumeClaim" in volume:
                claim = volume["persistentVolumeClaim"]["claimName"]
                assert ("PersistentVolumeClaim", claim) in there, name
        for container in spec["containers"]:
            for variable in container.get("env", []):
                if "valueFrom" in variable:
                    assert variable["valueFrom"]["secretKeyRef"]["name"] in SECRETS_OF_THE_USER


def _all_manifests() -> list[Manifest]:
    named = [
        folder / path
        for folder in KUSTOMIZATIONS
        for path in read_all(folder / "kustomization.yaml")[0].get("resources", [])
    ]
    return [manifest for path in named if path.is_file() for manifest in read_all(path)]


def test_every_pod_meets_the_level_restricted() -> None:
    specs = list(pod_specs(_all_manifests()))
    assert len(specs) >= 3
    for name, spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert not any("hostPath" in volume for volume in spec.get("volumes", [])), name
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert "memory" in container["resources"]["limits"], name


def test_no_manifest_holds_a_secret() -> None:
    for manifest in _all_manifests():
        if manifest["kind"] == "Secret":
            assert "data" not in manifest
            assert "stringData" not in manifest


def test_no_role_has_a_wildcard_or_deletes_pods_or_sees_secrets() -> None:
    roles = [manifest for manifest in _all_manifests() if manifest["kind"] == "Role"]
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])
            assert "secrets" not in rule["resources"]
            assert not ("delete" in rule["verbs"] and "pods" in rule["resources"])
    pods = next(role for role in roles if role["metadata"]["name"] == "mdpipe-executor")
    assert [rule["resources"] for rule in pods["rules"]] == [["workflowtaskresults"]]


def test_the_settings_of_the_controller_are_yaml_of_the_right_form() -> None:
    found = {}
    for path in DEPLOY.rglob("*.yaml"):
        for manifest in read_all(path):
            named = manifest.get("metadata", {}).get("name") if isinstance(manifest, dict) else ""
            if named == "workflow-controller-configmap":
                for key, value in manifest["data"].items():
                    found[key] = yaml.safe_load(value)
    assert found["nodeEvents"] == {"enabled": False}
    assert found["persistence"]["nodeStatusOffLoad"] is True
    assert found["executor"]["securityContext"]["runAsNonRoot"] is True
    assert found["workflowDefaults"]["spec"]["podGC"] == {"strategy": "OnPodSuccess"}
    assert found["failedPodRestart"]["enabled"] is True
    assert set(found) == {
        *("executor", "nodeEvents", "workflowEvents", "persistence", "workflowDefaults"),
        *("podGCDeleteDelayDuration", "failedPodRestart"),
    }


def test_no_two_components_set_the_same_key_of_the_controller() -> None:
    seen: dict[str, Path] = {}
    for folder in (BASE, *COMPONENTS):
        for path in folder.glob("controller-config.yaml"):
            for key in read_all(path)[0]["data"]:
                assert key not in seen, f"{key}: {seen.get(key)} and {path}"
                seen[key] = path


def test_the_environment_of_the_controller_is_text() -> None:
    environment = read_all(DEPLOY / "components" / "throughput" / "environment.yaml")[0]
    assert all(isinstance(value, str) for value in environment["data"].values())


def test_the_patch_of_the_controller_brings_the_environment_of_throughput() -> None:
    (patch,) = read_all(DEPLOY / "controller" / "deployment.yaml")
    spec = patch["spec"]["template"]["spec"]
    environment = read_all(DEPLOY / "components" / "throughput" / "environment.yaml")[0]
    named = spec["containers"][0]["envFrom"][0]["configMapRef"]
    assert named == {"name": environment["metadata"]["name"], "optional": True}
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_names_and_image_are_those_that_a_study_expects() -> None:
    settings = ClusterSettings()
    manifests = _all_manifests()
    there = {(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests}
    assert ("Namespace", settings.namespace) in there
    assert ("ServiceAccount", settings.service_account) in there
    assert ("Secret", f"{settings.service_account}.service-account-token") in there
    assert ("PersistentVolumeClaim", settings.inputs_claim) in there
    assert ("PersistentVolumeClaim", settings.shared_claim) in there
    images = [c["image"] for _, spec in pod_specs(manifests) for c in spec["containers"]]
    assert settings.image in images
    assert settings.store_secret in SECRETS_OF_THE_USER


def test_the_objects_of_fluid_have_only_keys_that_fluid_knows() -> None:
    if not FLUID.is_dir():
        pytest.skip("the resource definitions of Fluid are not beside this checkout")
    schemas = {}
    for path in FLUID.glob("*.yaml"):
        definition = read_all(path)[0]["spec"]
        schemas[definition["names"]["kind"]] = definition["versions"][0]["schema"]
    for path in (DEPLOY / "components" / "fluid").glob("[!k]*.yaml"):
        for manifest in read_all(path):
            _walk(manifest, schemas[manifest["kind"]]["openAPIV3Schema"], manifest["kind"])


def _walk(value: Any, schema: dict[str, Any], where: str) -> None:
    if isinstance(value, dict):
        assert set(schema.get("required", [])) <= set(value), where
        for key, inner in value.items():
            if where.count(".") == 0 and key == "metadata":
                continue
            known = schema.get("properties", {})
            if key in known:
                _walk(inner, known[key], f"{where}.{key}")
            else:
                extra = schema.get("additionalProperties")
                assert extra, f"{where}.{key} is not known"
                _walk(inner, extra, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            _walk(inner, schema["items"], where)
    elif not schema.get("x-kubernetes-int-or-string"):
        kinds = {"string": str, "integer": int, "boolean": bool, "number": (int, float)}
        assert isinstance(value, kinds[schema["type"]]), f"{where}: {value!r}"
        assert value in schema.get("enum", [value]), where


def test_wheels_hold_every_file() -> None:
    root = DEPLOY.parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["mdpipe"]
    packed = {path for pattern in patterns for path in (root / "mdpipe").glob(pattern)}
    for path in DEPLOY.rglob("*.yaml"):
        assert root / "mdpipe" / path.relative_to(root) in packed
