"""Pods that wait in vain are made to fail; pods that get on are left alone."""

import json
from datetime import UTC, datetime

import pytest
from cluster_api import NAMESPACE, PODS, WORKFLOWS, problem, serving

from mdpipe.failures import classify
from mdpipe.workflows.cluster.door import open_kubernetes
from mdpipe.workflows.cluster.names import reaped_of
from mdpipe.workflows.cluster.reap import reap, stuck_since
from mdpipe.workflows.cluster.room import quantity

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    with serving(monkeypatch, tmp_path) as server:
        yield server


def pod(name="p", *, created="2026-01-01T00:00:00Z", annotations=None, **status):
    return {
        "metadata": {
            "name": name, "uid": "u", "resourceVersion": "7", "creationTimestamp": created,
            "labels": {"workflows.argoproj.io/workflow": "water-1"},
            "annotations": {"workflows.argoproj.io/node-id": f"node-{name}"} | (annotations or {}),
        },
        "status": {"phase": "Pending"} | status,
    }  # fmt: skip


def unscheduled(since="2026-01-01T00:00:00Z"):
    return {
        "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
            "lastTransitionTime": since,
            "message": "0/1 nodes are available: 1 Insufficient memory.\nmore",
        }]
    }  # fmt: skip


def asking(one, node="", cpu="400m", memory="300Mi", selector=None):
    requests = {"cpu": cpu, "memory": memory}
    spec = {"containers": [{"name": "main", "resources": {"requests": requests}}]}
    return one | {"spec": spec | {"nodeSelector": selector or {}, "nodeName": node}}


def waiting(reason, key="containerStatuses"):
    return {key: [{"state": {"waiting": {"reason": reason, "message": "no such image"}}}]}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (unscheduled(), "Unschedulable: 0/1 nodes are available: 1 Insufficient memory. more"),
        (unscheduled("2026-01-01T00:09:00Z"), None),
        (waiting("ImagePullBackOff"), "ImagePullBackOff: no such image"),
        (waiting("ErrImageNeverPull", "initContainerStatuses"), "ErrImageNeverPull: no such image"),
        (waiting("ContainerCreating"), None),
        ({"initContainerStatuses": [{"state": {"running": {}}}]}, None),
        ({"phase": "Running"}, None),
    ],
)
def test_only_what_waits_in_vain_is_stuck(status, reason):
    stuck = stuck_since(pod(**status), 300, NOW.isoformat())
    assert (stuck and stuck[0]) == reason


def test_a_pod_is_given_its_time_and_a_node_three_times_as_long():
    assert stuck_since(pod(**unscheduled()), 601, NOW.isoformat()) is None
    late = stuck_since(pod(**waiting("ContainerCreating")), 150, NOW.isoformat())
    assert late == ("its containers were not started (image or volume on the way)", 600.0)


def test_a_pod_that_is_being_deleted_is_left():
    gone = pod(**unscheduled())
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:09:00Z"
    assert stuck_since(gone, 1, NOW.isoformat()) is None


def test_reasons_of_the_reaper_are_of_the_class_out_of_stock():
    for status in (unscheduled(), waiting("ImagePullBackOff"), waiting("ErrImagePull")):
        reason, _ = stuck_since(pod(**status), 1, NOW.isoformat())
        assert classify(None, None, reason).name == "out-of-stock"


def serve_pods(cluster, *pods):
    cluster.answers[f"GET {PODS}"] = {"metadata": {}, "items": list(pods)}
    for one in pods:
        cluster.answers[f"PATCH {PODS}/{one['metadata']['name']}"] = {}
        cluster.answers[f"PATCH {PODS}/{one['metadata']['name']}/status"] = {}
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = {"metadata": {"name": "water-1", "uid": "w"}}
    cluster.answers[f"PATCH {WORKFLOWS}/water-1"] = {}
    cluster.answers[f"POST {EVENTS}"] = (201, {})


def patch_of(cluster, path):
    return next(body for verb, p, _, body in cluster.asked if (verb, p) == ("PATCH", path))


def test_stuck_pods_fail_and_the_reason_is_noted_and_told(cluster):
    serve_pods(cluster, pod("a", **unscheduled()), pod("b", phase="Pending"))
    (seen,) = reap(open_kubernetes(NAMESPACE), now=NOW)
    assert (seen.pod, seen.workflow, seen.node, seen.waited_s) == ("a", "water-1", "node-a", 600.0)
    # a pending pod that is deleted is made again as it was
    assert cluster.calls("DELETE") == []
    assert cluster.calls("PATCH") == [f"{PODS}/a/status", f"{WORKFLOWS}/water-1"]
    body = patch_of(cluster, f"{PODS}/a/status")
    assert body["metadata"] == {"uid": "u", "resourceVersion": "7"}
    assert body["status"]["phase"] == "Failed"
    assert classify(None, None, body["status"]["message"]).name == "out-of-stock"
    patch = patch_of(cluster, f"{WORKFLOWS}/water-1")
    assert "Insufficient memory" in reaped_of(patch)["node-a"]
    event = next(body for verb, path, _, body in cluster.asked if path == EVENTS)
    assert event["involvedObject"]["uid"] == "w"
    assert "pending for 600 s: Unschedulable" in event["message"]
    query = cluster.asked[0][2]
    assert query["fieldSelector"] == "status.phase=Pending"
    assert query["labelSelector"].endswith("app.kubernetes.io/managed-by=mdpipe")


@pytest.mark.parametrize(
    ("holder", "ended"),
    [
        ({}, []),
        ({"memory": "1Gi", "cpu": "2"}, []),
        ({"memory": "200Mi"}, ["a"]),
        ({"cpu": "100m"}, []),  # the scheduler says that memory alone is lacking
        ({"selector": {"kind": "large"}}, []),
    ],
)
def test_a_pod_that_waits_for_room_which_others_hold_is_left(cluster, holder, ended):
    waits, holds = asking(pod("a", **unscheduled())), asking(pod("b"), node="node0", **holder)
    serve_pods(cluster, waits, holds)
    cluster.answers[f"GET {PODS}"] = [
        {"metadata": {}, "items": [one]} for one in (waits, holds)
    ]  # fmt: skip
    assert [seen.pod for seen in reap(open_kubernetes(NAMESPACE), now=NOW)] == ended
    assert "spec.nodeName!=" in cluster.asked[1][2]["fieldSelector"]


def test_a_pod_that_no_node_would_take_is_ended_whatever_else_runs(cluster):
    status = unscheduled()
    status["conditions"][0]["message"] = "0/1 nodes are available: 1 node(s) had untolerated taint"
    waits, holds = asking(pod("a", **status)), asking(pod("b"), node="node0")
    serve_pods(cluster, waits, holds)
    cluster.answers[f"GET {PODS}"] = [{"metadata": {}, "items": [one]} for one in (waits, holds)]
    assert [seen.pod for seen in reap(open_kubernetes(NAMESPACE), now=NOW)] == ["a"]


def test_quantities_are_read_as_kubernetes_writes_them():
    assert [quantity(text) for text in ("2", "500m", "1Gi", "3k")] == [2.0, 0.5, 2.0**30, 3000.0]
    with pytest.raises(ValueError, match="4 GB"):
        quantity("4 GB")


def test_a_pod_on_a_node_is_ended_by_its_kubelet(cluster):
    stuck = pod("a", **waiting("ImagePullBackOff")) | {"spec": {"nodeName": "node0"}}
    serve_pods(cluster, stuck)
    assert len(reap(open_kubernetes(NAMESPACE), now=NOW)) == 1
    assert patch_of(cluster, f"{PODS}/a") == {
        "metadata": {"uid": "u", "resourceVersion": "7"},
        "spec": {"activeDeadlineSeconds": 1},
    }


def test_each_pod_says_how_long_it_may_wait_and_the_user_has_the_last_word(cluster):
    patient = pod("a", annotations={"mdpipe/pending-timeout-s": "3600"}, **unscheduled())
    serve_pods(cluster, patient)
    door = open_kubernetes(NAMESPACE)
    assert reap(door, now=NOW) == []
    assert [seen.pod for seen in reap(door, older_s=10, now=NOW)] == ["a"]


def test_a_dry_run_ends_nothing(cluster):
    serve_pods(cluster, pod("a", **unscheduled()))
    assert [seen.pod for seen in reap(open_kubernetes(NAMESPACE), dry_run=True, now=NOW)] == ["a"]
    assert cluster.calls("DELETE") == cluster.calls("PATCH") == []


@pytest.mark.parametrize("status", [404, 409])
def test_a_pod_that_has_got_on_meanwhile_is_left(status, cluster):
    serve_pods(cluster, pod("a", **unscheduled()))
    cluster.answers[f"PATCH {PODS}/a/status"] = (status, problem("it has changed"))
    assert reap(open_kubernetes(NAMESPACE), now=NOW) == []
    assert cluster.calls("PATCH") == [f"{PODS}/a/status"]


def test_who_may_not_note_why_still_reaps(cluster):
    serve_pods(cluster, pod("a", **unscheduled()))
    cluster.answers[f"PATCH {WORKFLOWS}/water-1"] = (403, problem("forbidden"))
    assert len(reap(open_kubernetes(NAMESPACE), now=NOW)) == 1


def test_notes_do_not_grow_without_bound(cluster, monkeypatch):
    monkeypatch.setattr("mdpipe.workflows.cluster.reap.NOTED", 3)
    serve_pods(cluster, pod("a", **unscheduled()))
    known = json.dumps({f"old-{n}": "why" for n in range(3)})
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = {
        "metadata": {"name": "water-1", "annotations": {"mdpipe/reaped": known}}
    }
    reap(open_kubernetes(NAMESPACE), workflow="water-1", now=NOW)
    patch = patch_of(cluster, f"{WORKFLOWS}/water-1")
    assert list(reaped_of(patch)) == ["old-1", "old-2", "node-a"]
