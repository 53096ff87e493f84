"""`mdpipe doctor` on a real cluster: it finds each sabotaged setting, and nothing before."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator

import pytest
from doctored_namespace import Workplace, as_json, open_workplace, weak_token
from recorded_cluster import Recorder, compare_or_write

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.workflows.cluster import doctor_access, doctor_engine
from mdpipe.workflows.cluster.api import Kubernetes, connect
from mdpipe.workflows.cluster.doctor import CHECKS, examine
from mdpipe.workflows.cluster.doctor_facts import Facts

pytestmark = pytest.mark.cluster

KUBECONFIG = os.environ.get("MDPIPE_TEST_KUBECONFIG", "")
NAMESPACE = os.environ.get("MDPIPE_TEST_NAMESPACE", "argo")
ROLES = "rbac.authorization.k8s.io/v1"


@pytest.fixture(scope="module")
def door() -> Kubernetes:
    """The cluster of $MDPIPE_TEST_KUBECONFIG."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", KUBECONFIG)
        return connect()


@pytest.fixture(scope="module")
def place(door: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """A namespace as the overlays make it, sabotaged by one test after the other."""
    with open_workplace(door, tmp_path_factory.mktemp("overlay"), NAMESPACE) as workplace:
        yield workplace


def only(place: Workplace, check: str, **more: object) -> str:
    """Return the line of the one finding there is, which is of a check."""
    findings = place.findings(**more)
    assert [finding.check for finding in findings] == [check], [f.line() for f in findings]
    return findings[0].line()


def config(key: str, value: str | None) -> dict[str, object]:
    return {"data": {key: value}}


def test_a_good_cluster_gives_no_finding(place: Workplace) -> None:
    assert place.findings() == []
    assert place.findings(groups=100_000) == []
    assert place.findings(storage="split", shard=100) == []


def test_the_recorded_answers_are_to_what_a_cluster_is_asked(place: Workplace) -> None:
    recorder = Recorder(place.door, place.name)
    checks = tuple(check for check in CHECKS if check.__name__ != "controller_answers")
    changed = place.settings.model_copy(update={"shard": 100, "image": "localhost/mdpipe:0.1.0"})
    examine(Facts(recorder, changed), checks)
    for storage in ("split", "volume"):
        examine(Facts(recorder, changed.model_copy(update={"storage": storage})), checks)
    compare_or_write(recorder.told)


def test_the_controller_of_the_test_namespace_takes_up_a_workflow(door: Kubernetes) -> None:
    settings = ClusterSettings(namespace=NAMESPACE)
    report = examine(Facts(door, settings), (doctor_engine.controller_answers,))
    assert report.findings == []
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/workflows"
    names = [flow["metadata"]["name"] for flow in door.get(path)["items"]]
    assert not [name for name in names if name.startswith("mdpipe-doctor-")]


def test_a_namespace_without_controller_is_found(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_engine, "PROBE_S", 2.0)
    report = examine(Facts(place.door, place.settings), (doctor_engine.controller_answers,))
    assert [finding.check for finding in report.findings] == ["controller-answers"]


def test_a_missing_namespace_is_found(place: Workplace) -> None:
    settings = place.settings.model_copy(update={"namespace": "mdpipe-doctor-nowhere"})
    report = examine(Facts(place.door, settings), (doctor_access.namespace_is_there,))
    assert report.exit_code == 78


def test_an_executor_without_security_is_found(place: Workplace) -> None:
    path = place.path("configmaps", "workflow-controller-configmap")
    block = {"resources": {"limits": {"memory": "512Mi"}}}
    with place.changed(path, config("executor", as_json(block))):
        assert "allowPrivilegeEscalation" in only(place, "executor-security")


def test_a_namespace_that_enforces_nothing_is_found(place: Workplace) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}}
    with place.changed(f"/api/v1/namespaces/{place.name}", label):
        assert "kubectl label ns" in only(place, "pod-security")


def test_events_as_one_line_are_found(place: Workplace) -> None:
    path = place.path("configmaps", "workflow-controller-configmap")
    with place.changed(path, config("nodeEvents", "enabled: false")):
        assert "nodeEvents" in only(place, "controller-config")


def test_a_default_pending_timeout_is_found(place: Workplace) -> None:
    path = place.path("configmaps", "workflow-controller-configmap")
    defaults = {"spec": {"templateDefaults": {"pendingTimeout": "5m"}}}
    with place.changed(path, config("workflowDefaults", as_json(defaults))):
        assert "components/reaper" in only(place, "pending-timeout")


def test_an_instance_id_is_found(place: Workplace) -> None:
    path = place.path("configmaps", "workflow-controller-configmap")
    with place.changed(path, config("instanceID", "mine")):
        facts = Facts(place.door, place.settings)
        report = examine(facts, (doctor_engine.controller_answers,))
        assert "instanceID" in report.findings[0].where


def test_a_large_study_without_a_database_is_found(place: Workplace) -> None:
    path = place.path("configmaps", "workflow-controller-configmap")
    with place.changed(path, config("persistence", None)):
        assert place.findings() == []
        assert "shard" in only(place, "offload", groups=10_000)
        assert place.findings(groups=10_000, shard=500) == []


def test_a_database_without_an_account_is_found(place: Workplace) -> None:
    with place.without(place.path("secrets", "argo-postgres-config")):
        findings = place.findings()
        assert {finding.check for finding in findings} == {"offload"}


def test_settings_that_hold_up_a_large_study_are_found(place: Workplace) -> None:
    path = place.path("configmaps", "workflow-controller-configmap")
    limit = config("resourceRateLimit", as_json({"limit": 10, "burst": 25}))
    with place.changed(path, limit):
        assert "resourceRateLimit 10" in only(place, "throughput", groups=10_000)


def test_a_controller_that_is_scaled_down_is_found(place: Workplace) -> None:
    labels = {"app": "workflow-controller"}
    container = {
        "name": "workflow-controller",
        "image": "quay.io/argoproj/workflow-controller:v3.5",
    }
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "workflow-controller"},
        "spec": spec,
    }
    with place.with_extra("deployments", manifest, "apps/v1"):
        findings = place.findings(groups=10_000)
        found = {finding.check: finding for finding in findings}
        runs = [f.got for f in findings if f.check == "controller-runs"]
        assert runs == ["0 of 0 pods ready", "no seccompProfile"]
        assert "v3.5" in found["argo-version"].got
        assert "qps 20" in found["throughput"].got
        assert "controller-rights" in found  # its account is `default` then


def test_pods_that_may_not_report_results_are_found(place: Workplace) -> None:
    with place.without(place.path("rolebindings", "mdpipe-executor", ROLES)):
        assert "workflowtaskresults" in only(place, "executor-rights")


def test_a_controller_that_may_not_write_configmaps_is_found(place: Workplace) -> None:
    with place.without(place.path("rolebindings", "mdpipe-controller-configmaps", ROLES)):
        assert "memoize" in only(place, "controller-rights")


def test_a_sharded_study_without_the_right_is_found(place: Workplace) -> None:
    with place.without(place.path("rolebindings", "mdpipe-child-workflows", ROLES)):
        assert place.findings() == []
        assert "child-workflows" in only(place, "executor-rights", shard=100)


def test_pods_with_too_many_rights_are_found(place: Workplace) -> None:
    binding = {
        "apiVersion": ROLES,
        "kind": "RoleBinding",
        "metadata": {"name": "too-much"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "mdpipe", "namespace": place.name}],
    }
    with place.with_extra("rolebindings", binding, ROLES):
        assert "it may get secrets" in only(place, "executor-rights")


def test_a_missing_account_and_a_missing_token_are_found(place: Workplace) -> None:
    with place.without(place.path("secrets", "mdpipe.service-account-token")):
        assert "no such secret" in only(place, "account")
    settings = {"service_account": "nobody"}
    assert {f.check for f in place.findings(**settings)} == {"account", "executor-rights"}


def test_a_user_without_rights_is_told(place: Workplace) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", KUBECONFIG)
        weak = connect()
    token = weak_token(KUBECONFIG, place.name)
    weak.client.configuration.refresh_api_key_hook = None
    weak.client.configuration.api_key["BearerToken"] = f"Bearer {token}"
    report = examine(Facts(weak, place.settings))
    found = {finding.check: finding for finding in report.findings}
    assert found["user-rights"].level == "error"
    assert "create workflows" in found["user-rights"].got
    assert any(line.startswith("store-secret: you may not see it") for line in report.unknown)


@pytest.mark.parametrize("annotation", [None, "other"])
def test_a_missing_artifact_repository_is_found(place: Workplace, annotation: str | None) -> None:
    path = place.path("configmaps", "artifact-repositories")
    key = "workflows.argoproj.io/default-artifact-repository"
    with place.changed(path, {"metadata": {"annotations": {key: annotation}}}):
        assert "default artifact repository" in only(
            place, "artifact-repository", storage="artifacts"
        )
        assert place.findings(storage="volume") == []


def test_an_artifact_repository_of_another_bucket_is_found(place: Workplace) -> None:
    path = place.path("configmaps", "artifact-repositories")
    other = {"s3": {"bucket": "other", "endpoint": "x"}}
    with place.changed(path, config("mdpipe", as_json(other))):
        assert "bucket other" in only(place, "artifact-repository", storage="split")


def secret(**values: str | None) -> dict[str, object]:
    coded = {k: v and base64.b64encode(v.encode()).decode() for k, v in values.items()}
    return {"data": coded}


def test_a_secret_without_a_key_is_found(place: Workplace) -> None:
    with place.changed(place.path("secrets", "mdpipe-store"), secret(AWS_SECRET_ACCESS_KEY=None)):
        found = place.findings(storage="artifacts")
        assert {f.check for f in found} == {"store-secret", "artifact-repository"}


def test_wrong_keys_of_the_store_are_found(place: Workplace) -> None:
    wrong = secret(AWS_SECRET_ACCESS_KEY="wrong-" * 6)
    with place.changed(place.path("secrets", "mdpipe-store"), wrong):
        line = only(place, "store")
        assert "let the pods write" in line
        assert "wrong-" not in line


def test_a_store_that_does_not_answer_is_found(place: Workplace) -> None:
    closed = secret(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    with place.changed(place.path("secrets", "mdpipe-store"), closed):
        assert "must answer" in only(place, "store")


def test_a_store_without_the_bucket_is_found(place: Workplace) -> None:
    assert "no such bucket" in only(place, "store", store="s3://mdpipe-no-such-bucket/x")


def test_a_claim_that_is_not_bound_and_not_shared_is_found(place: Workplace) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "mine"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "resources": {"requests": {"storage": "900Ti"}},
        },
    }
    with place.with_extra("persistentvolumeclaims", claim):
        found = place.findings(inputs_claim="mine")
        assert [finding.check for finding in found] == ["claims", "claims"]
        assert "ReadWriteOnce" in found[1].got
    assert "no such claim" in only(place, "claims", shared_claim="none")


def test_an_image_that_no_node_has_is_found(place: Workplace) -> None:
    assert "none of" in only(place, "image", image="localhost/mdpipe:never-built")


def test_an_image_by_tag_is_found(place: Workplace) -> None:
    assert "by digest" in only(place, "image", image="registry.example.org/mdpipe:1")


def test_a_study_that_no_node_can_take_is_found(place: Workplace) -> None:
    assert "cores" in only(place, "nodes", cpu=4096.0)
    assert "on no node" in only(place, "nodes", node_selectors=({"pool": "no-such"},))


def test_limits_that_are_too_low_are_found(place: Workplace) -> None:
    low = {"limits": [{"type": "Container", "max": {"memory": "128Mi"}}]}
    manifest = {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "low"}, "spec": low}
    with place.with_extra("limitranges", manifest):
        assert "max.memory 128Mi" in only(place, "limits")


def test_a_network_that_lets_nothing_out_is_found(place: Workplace) -> None:
    closed = {"egress": []}
    path = place.path("networkpolicies", "mdpipe-steps", "networking.k8s.io/v1")
    with place.changed(path, {"spec": closed}):
        assert "network-policy" in only(place, "network")


def test_a_reaper_that_is_missing_suspended_or_powerless_is_found(place: Workplace) -> None:
    path = place.path("cronjobs", "mdpipe-reaper", "batch/v1")
    with place.changed(path, {"spec": {"suspend": True}}):
        assert "suspend: true" in only(place, "reaper")
    with place.without(place.path("rolebindings", "mdpipe-reaper", ROLES)):
        assert "patch pods/status" in only(place, "reaper")
    with place.without(path):
        assert "no CronJob" in only(place, "reaper")


def test_the_command_prints_findings_and_ends_with_the_worst(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from mdpipe.cli import cli

    monkeypatch.setenv("KUBECONFIG", KUBECONFIG)
    monkeypatch.setattr(doctor_engine, "PROBE_S", 2.0)
    done = CliRunner().invoke(cli, ["doctor", "--namespace", place.name, "--json"])
    assert done.exit_code == 78
    assert [row["check"] for row in json.loads(done.stdout)["findings"]] == ["controller-answers"]
