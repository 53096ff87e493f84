"""What `mdpipe doctor` makes of a cluster's answers, as recorded and as sabotaged."""

from __future__ import annotations

import base64
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from faulty_store import free_port
from manifests import DEPLOY
from recorded_cluster import NAMESPACE, RecordedCluster
from sabotages import CONTROLLER, SABOTAGES, merged, setting

from mdpipe.cli import cli
from mdpipe.cluster_settings import ClusterSettings, Toleration
from mdpipe.failures import BusyError
from mdpipe.workflows.cluster import doctor_engine, doctor_storage
from mdpipe.workflows.cluster.doctor import CHECKS, examine
from mdpipe.workflows.cluster.doctor_facts import Facts, parse_setting
from mdpipe.workflows.cluster.doctor_store import Problem
from mdpipe.workflows.cluster.findings import Report

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("yaml") is None, reason="PyYAML is not installed"
)

LARGE = 10_000


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> RecordedCluster:
    """A good cluster, whose store is not asked."""
    monkeypatch.setattr(doctor_storage, "try_store", lambda *_: None)
    monkeypatch.setattr(doctor_engine, "PROBE_S", 0.1)
    return RecordedCluster()


def look(cluster: RecordedCluster, groups: int | None = None, **settings: Any) -> Report:
    told = {"namespace": NAMESPACE, "store": "s3://mdpipe/x", "image": cluster.image}
    return examine(Facts(cluster, ClusterSettings(**(told | settings)), groups))


def checks(report: Report) -> set[str]:
    return {finding.check for finding in report.findings}


def deployment(*args: str, **env: str) -> dict[str, Any]:
    """A controller as Argo's manifests make it, with the patch of `deploy/controller`."""
    container = {
        "name": "workflow-controller",
        "image": "quay.io/argoproj/workflow-controller:v4.1.2",
        "command": ["workflow-controller"],
        "args": ["--namespaced", *args],
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "envFrom": [{"configMapRef": {"name": "mdpipe-controller-environment", "optional": True}}],
    }
    spec = {
        "serviceAccountName": "argo",
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    return {
        "metadata": {"name": "workflow-controller"},
        "spec": {"template": {"spec": spec}},
        "status": {"readyReplicas": 1},
    }


def with_controller(cluster: RecordedCluster, *args: str, **env: str) -> dict[str, Any]:
    found = deployment(*args, **env)
    cluster.change(f"{NAMESPACE}/deployments", lambda _: {"items": [found]})
    data = parse_environment()
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/mdpipe-controller-environment"
    cluster.answers[path] = {"data": data}
    return found


def parse_environment() -> dict[str, str]:
    import yaml

    path = DEPLOY / "components" / "throughput" / "environment.yaml"
    return dict(yaml.safe_load(path.read_text("utf-8"))["data"])


@pytest.mark.parametrize("storage", ["artifacts", "volume", "split", "sdk"])
def test_a_good_cluster_gives_no_finding(cluster: RecordedCluster, storage: str) -> None:
    report = look(cluster, LARGE, storage=storage, shard=100)
    assert report.findings == []
    assert report.exit_code == 0


def test_a_controller_with_the_settings_of_the_overlays_gives_no_finding(
    cluster: RecordedCluster,
) -> None:
    with_controller(cluster)
    report = look(cluster, LARGE)
    assert report.findings == []
    assert report.facts["controller"].endswith(":v4.1.2")


def test_the_probe_is_removed(cluster: RecordedCluster) -> None:
    look(cluster)
    probes = [body for body in cluster.posted if body["kind"] == "Workflow"]
    assert len(probes) == 2  # one of them a dry run
    assert [path.rpartition("/")[2] for path in cluster.deleted] == ["mdpipe-doctor-x"]


@pytest.mark.parametrize("name", SABOTAGES)
def test_a_sabotaged_setting_is_found(cluster: RecordedCluster, name: str) -> None:
    part, change, check, level = SABOTAGES[name]
    cluster.change(part, change)
    report = look(cluster, LARGE)
    found = [finding for finding in report.findings if finding.check == check]
    assert found, [finding.line() for finding in report.findings]
    assert found[0].level == level
    assert found[0].fix
    assert report.exit_code == (78 if level == "error" else 1)


@pytest.mark.parametrize(
    ("right", "check"),
    [
        ("user create argoproj.io workflows", "user-rights"),
        ("user get pods log", "user-rights"),
        (f"{NAMESPACE}:mdpipe create argoproj.io workflowtaskresults", "executor-rights"),
        (f"{NAMESPACE}:mdpipe create argoproj.io workflows", "executor-rights"),
        (":argo update configmaps", "controller-rights"),
        (":mdpipe-reaper patch pods status", "reaper"),
    ],
)
def test_a_missing_right_is_found(cluster: RecordedCluster, right: str, check: str) -> None:
    cluster.deny(right)
    assert checks(look(cluster, shard=100)) == {check}


def test_a_controller_that_does_not_react_is_found_and_the_probe_removed(
    cluster: RecordedCluster,
) -> None:
    cluster.taken_up = False
    assert checks(look(cluster)) == {"controller-answers"}
    assert len(cluster.deleted) == 1


def test_types_that_do_not_know_the_newest_field_are_found(cluster: RecordedCluster) -> None:
    cluster.unknown_field = "spec.templates[0].pendingTimeout"
    report = look(cluster)
    assert checks(report) == {"argo-fields"}
    assert "--argo 4.0" in report.findings[0].fix


def test_slow_flags_of_a_controller_are_named_with_what_they_should_be(
    cluster: RecordedCluster,
) -> None:
    found = with_controller(cluster, "--qps=20", "--burst", "30", MAX_OPERATION_TIME="1m30s")
    found["spec"]["template"]["spec"]["containers"][0].pop("envFrom")
    report = look(cluster, LARGE)
    assert checks(report) == {"throughput"}
    got = report.findings[0].got
    assert "qps 20 (at least 100)" in got
    assert "burst 30" in got
    assert "pod-cleanup-workers 4" in got
    assert "MAX_OPERATION_TIME 1m30s" in got
    assert look(cluster, 10).findings == []


def test_a_controller_of_another_namespace_or_version_is_found(cluster: RecordedCluster) -> None:
    found = with_controller(cluster, "--managed-namespace=ice")
    found["spec"]["template"]["spec"]["containers"][0]["image"] = "x/workflow-controller:v3.6.2"
    found["status"] = {}
    report = look(cluster)
    assert checks(report) == {"controller-runs", "argo-version"}
    assert {finding.got for finding in report.findings} == {
        *("0 of 1 pods ready", "--namespaced for ice", "x/workflow-controller:v3.6.2"),
    }


def test_what_the_user_may_not_see_is_told_and_stops_nothing(cluster: RecordedCluster) -> None:
    cluster.refused = {"/secrets/", "serviceaccount", "/nodes"}
    cluster.change(f"{NAMESPACE}/cronjobs", merged("items", value=[]))
    report = look(cluster)
    assert checks(report) == {"reaper"}
    unknown = {line.partition(":")[0] for line in report.unknown}
    assert {"store-secret", "store", "account", "executor-rights", "nodes", "image"} <= unknown


def test_limits_of_a_study_that_no_node_meets_are_found(cluster: RecordedCluster) -> None:
    assert "cores" in look(cluster, cpu=4096).findings[0].what
    assert checks(look(cluster, node_selectors=[{"pool": "gpu"}])) == {"nodes"}
    taint = {"key": "only", "value": "others", "effect": "NoSchedule"}
    cluster.answers["/api/v1/nodes"]["items"][0]["spec"]["taints"] = [taint]
    assert "nodes" in checks(look(cluster))
    tolerated = Toleration(key="only", value="others")
    assert look(cluster, tolerations=[tolerated]).findings == []


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("localhost/mdpipe:never-built", "none of 1 nodes"),
        ("registry.example.org/mdpipe:1.0", "a tag"),
        ("registry.example.org:5000/mdpipe", "neither tag nor digest"),
    ],
)
def test_an_image_that_is_not_there_or_may_change_is_found(
    cluster: RecordedCluster, image: str, words: str
) -> None:
    report = look(cluster, image=image)
    assert checks(report) == {"image"}
    assert words in report.findings[0].got


def test_an_image_by_digest_is_good(cluster: RecordedCluster) -> None:
    assert look(cluster, image=f"r.example.org/mdpipe@sha256:{'0' * 64}").findings == []


def test_a_claim_that_waits_for_its_first_pod_is_good(cluster: RecordedCluster) -> None:
    cluster.change("claims/mdpipe-inputs", merged("status", "phase", value="Pending"))
    cluster.change("claims/mdpipe-inputs", merged("spec", "storageClassName", value="late"))
    path = "/apis/storage.k8s.io/v1/storageclasses/late"
    cluster.answers[path] = {"volumeBindingMode": "WaitForFirstConsumer"}
    assert look(cluster).findings == []


def test_a_study_without_a_store_is_told(cluster: RecordedCluster) -> None:
    assert checks(look(cluster, store="")) == {"store"}
    assert look(cluster, store="", storage="volume").findings == []


def test_what_is_wrong_with_the_store_is_a_finding(
    cluster: RecordedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Problem("it must answer", "nothing", "start it")
    monkeypatch.setattr(doctor_storage, "try_store", lambda *_: problem)
    assert checks(look(cluster)) == {"store"}


def test_a_study_that_counts_on_a_database_is_told_that_there_is_none(
    cluster: RecordedCluster,
) -> None:
    cluster.change(CONTROLLER, setting("persistence", None))
    assert look(cluster).findings == []
    assert checks(look(cluster, offload=True)) == {"offload"}
    assert checks(look(cluster, LARGE, shard=5000)) == {"offload"}
    assert look(cluster, LARGE, shard=500).findings == []


def test_every_check_names_itself_once() -> None:
    names = [check.__name__ for check in CHECKS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("text", "value"), [("{enabled: false}", {"enabled": False}), ("a: 1\n", {"a": 1}), ("x", "x")]
)
def test_settings_are_parsed_by_the_rule_of_the_controller(text: str, value: Any) -> None:
    assert parse_setting("nodeEvents", text) == value


def test_the_command_says_where_no_cluster_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kubernetes")
    config = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    import yaml

    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config), "utf-8")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    done = CliRunner().invoke(cli, ["doctor"])
    assert isinstance(done.exception, BusyError)


def test_secrets_of_the_pods_are_decoded_for_the_store(
    cluster: RecordedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(doctor_storage, "try_store", lambda _, data: seen.append(data))
    coded = base64.b64encode(b"http://store.example.org").decode()
    cluster.change("secrets/mdpipe-store", merged("data", "AWS_ENDPOINT_URL", value=coded))
    look(cluster)
    assert seen[0]["AWS_ENDPOINT_URL"] == "http://store.example.org"


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("AWS_ACCESS_KEY_ID", b"\xff\xfe", "its AWS_ACCESS_KEY_ID must be a text"),
        ("AWS_ACCESS_KEY_ID", b"", "got no AWS_ACCESS_KEY_ID"),
        ("AWS_ENDPOINT_URL", b"minio:9000", "must be http:// or https://"),
    ],
)
def test_a_secret_that_the_client_of_a_store_cannot_use_is_one_finding(
    cluster: RecordedCluster, key: str, value: bytes, words: str
) -> None:
    coded = base64.b64encode(value).decode()
    cluster.change("secrets/mdpipe-store", merged("data", key, value=coded))
    (finding,) = look(cluster).findings
    assert finding.check == "store-secret"
    assert words in finding.line()
