"""What is said of a workflow from its nodes."""

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mdpipe.failures import TABLE
from mdpipe.workflows.cluster.errors import AbsentError
from mdpipe.workflows.cluster.names import (
    checked_name,
    new_name,
    noted,
    pod_name,
    reaped_of,
    settings_of,
)
from mdpipe.workflows.cluster.show import status_lines
from mdpipe.workflows.cluster.status import read_status, totals_of
from mdpipe.workflows.cluster.tally import Tally, attempt_of, failure_of

RECORDED = Path(__file__).parents[1] / "golden" / "cluster_workflow.json"
NAME = "b5-exp-tjg4h"


class Shelf:
    """A door to objects that lie here."""

    namespace = "argo"

    def __init__(self, *workflows, reachable=True):
        self.workflows = {one["metadata"]["name"]: one for one in workflows}
        self.reachable = reachable

    def workflow(self, name):
        if name not in self.workflows:
            raise AbsentError(f"no {name}")
        return self.workflows[name]

    def nodes(self, workflow):
        return iter(workflow["status"].get("nodes", {}).values()) if self.reachable else None


@pytest.fixture(scope="module")
def recorded():
    """A workflow as a real controller left it: three groups, of which one failed for good."""
    return json.loads(RECORDED.read_text())


def pod(name, template, phase, message="", **more):
    node = {
        "id": name, "name": name, "type": "Pod", "templateName": template, "phase": phase,
        "message": message, "startedAt": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return node | more


def step(name, template, phase, seconds=60, message=""):
    return {
        "id": name, "name": name, "type": "Retry", "templateName": template, "phase": phase,
        "startedAt": "2026-01-01T00:00:00Z", "message": message,
        "finishedAt": f"2026-01-01T00:{seconds // 60:02d}:{seconds % 60:02d}Z",
    }  # fmt: skip


def workflow(*nodes, rows=None, bounds=None, memory=None, phase="Running", **metadata):
    told = {"rows": rows, "bounds": bounds, "memory": memory}
    outputs = [
        {"name": key, "value": json.dumps(value)}
        for key, value in told.items()
        if value is not None
    ]
    return {
        "metadata": {"name": "water-1", "namespace": "argo"} | metadata,
        "spec": {},
        "status": {
            "phase": phase,
            "startedAt": "2026-01-01T00:00:00Z",
            "outputs": {"parameters": outputs},
            "nodes": {node["id"]: node for node in nodes},
        },
    }


def test_a_recorded_workflow_is_read_as_it_was(recorded):
    status = read_status(Shelf(recorded), NAME)
    done = {kind: (steps.done, steps.failed) for kind, steps in status.tally.steps.items()}
    assert done == {"preprocess": (1, 0), "simulate": (4, 0), "render": (2, 1), "combine": (0, 1)}
    assert status.totals == {"preprocess": 1, "simulate": 4, "render": 3, "combine": 1}
    assert status.tally.groups == Counter(succeeded=2, failed=1)
    assert status.tally.classes == Counter({"bad-input": 2, "try-again": 1})
    assert status.exit_code == 66
    assert status.eta_s is None
    assert status.elapsed_s == 32.0
    plain = status.as_dict()
    assert plain["groups"] == {"pending": 3, "done": 2, "running": [], "failed": [1]}
    json.dumps(plain)


def test_a_recorded_workflow_is_told_with_causes_and_remedies(recorded):
    text = "\n".join(status_lines(read_status(Shelf(recorded), NAME)))
    assert "render     2/3 done, 1 failed" in text
    assert "simulate 0 #1, attempt 1 with 64 Mi: try-again: something" in text
    assert "failed: combine: bad-input: 1 of 3 groups is missing; remedy: submit again" in text


def test_names_of_pods_are_those_of_the_controller(recorded):
    nodes = [n for n in recorded["status"]["nodes"].values() if n["type"] == "Pod"]
    seen = {pod_name(NAME, node) for node in nodes}
    assert {f"{NAME}-combine-1145589786", f"{NAME}-render-3572459901"} < seen
    for node in nodes:
        # the controller makes both from the same hash of the node's name
        assert pod_name(NAME, node).rpartition("-")[2] == node["id"].rpartition("-")[2]


@pytest.mark.parametrize(
    ("code", "message", "name", "cause"),
    [
        ("137", "main: OOMKilled (exit code 137)", "out-of-memory", "main: OOMKilled"),
        (None, "init: OOMKilled (exit code 137)", "out-of-memory", "init: OOMKilled"),
        ("137", "main: OOMKilled (exit code 137): network: x; remedy: y", "out-of-memory", "main"),
        (
            "75",
            "main: Error (exit code 75): network: no store; remedy: wait",
            "network",
            "no store",
        ),
        ("70", "main: Error (exit code 70): bug: KeyError: 'a: b'", "bug", "KeyError: 'a: b'"),
        ("75", "main: Error (exit code 75)", "try-again", "main: Error"),
        (None, "pod deleted", "interrupted", "pod deleted"),
        (None, "Pod was terminated in response to imminent node shutdown.", "interrupted", "Pod"),
        (None, "can't find failed message for pod x", "out-of-stock", "can't find"),
        ("66", "main: Error (exit code 66): unknown-word: x", "bad-input", "main: Error"),
        ("126", "main: exec format error", "incompatible-image", "main: exec"),
    ],
)
def test_a_failed_pod_has_class_and_cause(code, message, name, cause):
    node = pod("w.render(0)", "render", "Failed", message)
    if code is not None:
        node["outputs"] = {"exitCode": code}
    seen = attempt_of(node)
    assert (seen.failure, seen.cause[: len(cause)]) == (name, cause)
    assert seen.number == 1
    assert seen.remedy


def test_every_class_is_read_back_from_a_programs_last_words():
    for row in TABLE:
        message = f"main: Error (exit code {row.exit_code}): {row.name}: it broke; remedy: mend it"
        assert failure_of(row.exit_code, message) == (row, "it broke", "mend it")


def test_attempts_carry_the_tier_they_had_and_stay_at_the_highest():
    base = "w[1].chunk(0:0)[0].group(3:00003)[1].render"
    nodes = [pod(f"{base}({n})", "render", "Failed", "OOMKilled") for n in range(4)]
    status = read_status(
        Shelf(workflow(*nodes, rows=4, bounds=[4], memory={"render": [64, 128, 256]})), "water-1"
    )
    assert [(a.number, a.memory_mi) for a in status.tally.latest(9)] == [
        (1, 64), (2, 128), (3, 256), (4, 256),
    ]  # fmt: skip
    assert {a.label for a in status.tally.attempts} == {"render 3"}


def test_a_pod_that_was_reaped_says_why_it_has_gone():
    gone = pod("w.render(0)", "render", "Error", "pod deleted")
    why = json.dumps({"w.render(0)": "Unschedulable: 0/1 nodes for 400 s"})
    status = read_status(Shelf(workflow(gone, annotations={"mdpipe/reaped": why})), "water-1")
    (seen,) = status.tally.attempts
    assert (seen.failure, seen.cause) == ("out-of-stock", "Unschedulable: 0/1 nodes for 400 s")
    assert reaped_of({"metadata": {"annotations": {"mdpipe/reaped": "not json"}}}) == {}


def test_pods_count_as_running_and_pending_and_retries_do_not_count_twice():
    nodes = [
        step("w.simulate(0:0)", "simulate", "Running"),
        pod("w.simulate(0:0)(0)", "simulate", "Failed", nodeFlag={"retried": True}),
        pod("w.simulate(0:0)(1)", "simulate", "Running", progress="3/4"),
        step("w.simulate(1:1)", "simulate", "Running"),
        pod("w.simulate(1:1)(0)", "simulate", "Pending"),
        step("w.simulate(2:2)", "simulate", "Succeeded"),
        pod("w.simulate(2:2)(0)", "simulate", "Succeeded"),
    ]
    steps = read_status(Shelf(workflow(*nodes)), "water-1").tally.steps["simulate"]
    assert (steps.done, steps.running, steps.pending, steps.failed) == (1, 1, 1, 0)
    assert steps.parts == 0.75


def test_totals_are_those_of_the_slices():
    assert totals_of({"rows": "3", "bounds": "[3,2,0]"}) == (
        {"preprocess": 1, "simulate": 5, "render": 3, "combine": 1}, 3,
    )  # fmt: skip
    assert totals_of({}) == ({}, None)
    assert totals_of({"rows": "x", "bounds": "[1]"}) == ({}, None)


def test_the_time_left_is_the_work_left_at_the_pace_so_far():
    # ten scenes of 60 s done in 60 s: ten at once; ten more and ten pictures of 30 s are left
    done = [step(f"w.simulate({n}:{n})", "simulate", "Succeeded") for n in range(10)]
    drawn = [step("w.render", "render", "Succeeded", 30)]
    first = pod("w.simulate(0:0)(0)", "simulate", "Succeeded")
    shelf = Shelf(workflow(*done, *drawn, first, rows=11, bounds=[11, 9]))
    status = read_status(shelf, "water-1", datetime(2026, 1, 1, 0, 1, tzinfo=UTC))
    left_s = 10 * 60 + 10 * 30
    assert status.eta_s == pytest.approx(left_s * 60 / (10 * 60 + 30))


def test_before_the_first_scene_is_done_no_time_is_told():
    assert read_status(Shelf(workflow(rows=2, bounds=[2])), "water-1").eta_s is None


def test_nodes_that_cannot_be_reached_leave_progress_and_say_what_to_set():
    far = workflow(rows=2, bounds=[2, 2])
    far["status"] |= {"progress": "3/8", "offloadNodeStatusVersion": "fnv:1"}
    status = read_status(Shelf(far, reachable=False), "water-1")
    text = "\n".join(status_lines(status))
    assert not status.steps_known
    assert "3/8 of the work that has begun" in text
    assert "set MDPIPE_ARGO_DATABASE or ARGO_SERVER" in text
    assert status.as_dict()["steps"] is None
    assert status.totals["simulate"] == 4


def test_children_are_counted_with_their_parent():
    shards = [
        pod(f"w.shard({n}:{n})", "shard", "Running",
            inputs={"parameters": [{"name": "shard", "value": str(n)}]})
        for n in range(3)
    ]  # fmt: skip
    children = []
    for n in range(2):
        child = workflow(step("c.render", "render", "Succeeded"), name=f"water-1-{n}")
        children.append(child)
    status = read_status(Shelf(workflow(*shards, rows=3, bounds=[]), *children), "water-1")
    assert status.tally.steps["render"].done == 2
    assert status.steps_known


@pytest.mark.parametrize(
    ("nodes", "phase", "code"),
    [
        ([], "Running", 0),
        ([], "Succeeded", 0),
        ([], "Failed", 70),
        (["66"], "Failed", 66),
        (["137"], "Failed", 137),
        (["75"], "Error", 75),
    ],
)
def test_the_exit_code_is_that_of_the_first_class_that_failed(nodes, phase, code):
    made = []
    for exit_code in nodes:
        made += [
            step("w.render", "render", "Failed", message="retryStrategy.expression evaluated"),
            pod("w.render(0)", "render", "Failed", outputs={"exitCode": exit_code}),
        ]
    assert read_status(Shelf(workflow(*made, phase=phase)), "water-1").exit_code == code


def test_a_workflow_that_was_ended_on_purpose_can_be_gone_on_with():
    said = "Stopped with strategy 'Terminate'"
    ended = workflow(step("w.render", "render", "Failed", message=said), phase="Failed")
    ended["status"]["message"] = said
    status = read_status(Shelf(ended), "water-1")
    assert status.exit_code == 75
    assert [seen.failure for seen in status.tally.final()] == ["interrupted"]


def test_a_step_without_any_attempt_is_told_by_its_own_message():
    tally = Tally()
    tally.add(step("w.group(2:00002)[1].render", "render", "Error", message="pods is forbidden"))
    (seen,) = tally.final()
    assert (seen.kind, seen.row, seen.cause) == ("render", 2, "pods is forbidden")


def test_a_step_that_could_not_even_be_made_has_failed():
    tally = Tally()
    bad = step("w.group(0:00000)[0].simulate(0:0)", "simulate", "Error", message="bad expression")
    tally.add(bad | {"type": "Skipped"})
    tally.add(step("w.group(1:00001)[0].simulate", "simulate", "Skipped") | {"type": "Skipped"})
    assert tally.steps["simulate"].failed == 1
    assert [seen.cause for seen in tally.final()] == ["bad expression"]


def test_details_are_bounded_and_counts_are_not(monkeypatch):
    monkeypatch.setattr("mdpipe.workflows.cluster.tally.MOST", 5)
    tally = Tally()
    for n in range(20):
        tally.add(pod(f"w.simulate({n}:{n})(0)", "simulate", "Failed", "OOMKilled"))
    assert len(tally.attempts) == 5
    assert tally.classes["out-of-memory"] == 20


def test_names_of_workflows_are_new_and_legal():
    names = {new_name("My_Water.Study " + "x" * 80) for _ in range(50)}
    assert len(names) == 50
    for name in names:
        assert checked_name(name) == name
        assert name.startswith("my-water-study-xxx")
    assert new_name("_").startswith("study-")


@pytest.mark.parametrize("name", ["Water", "a_b", "-a", "a-", "a" * 64, ""])
def test_names_that_no_workflow_can_have_are_refused_with_one_that_can(name):
    from mdpipe.failures import UsageError

    with pytest.raises(UsageError, match="for example "):
        checked_name(name)


def test_settings_are_noted_at_the_workflow_and_read_again():
    from mdpipe.cluster_settings import ClusterSettings

    settings = ClusterSettings(storage="volume", shared_claim="big", cpu=3)
    found = settings_of({"metadata": {"annotations": {"mdpipe/settings": noted(settings)}}})
    assert (found.storage, found.shared_claim, found.cpu) == ("volume", "big", 1.0)
    assert settings_of({"metadata": {}}) is None
    assert settings_of({"metadata": {"annotations": {"mdpipe/settings": "{"}}}) is None
