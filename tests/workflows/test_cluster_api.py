"""The door to the cluster: what it asks, and what it says when the answer is no."""

import os
import socket
import subprocess
import sys

import pytest
from cluster_api import NAMESPACE, PODS, WORKFLOWS, listed, one_line, problem, serving, use

from mdpipe.failures import BusyError, UsageError, exit_code_of
from mdpipe.workflows.cluster import api
from mdpipe.workflows.cluster.door import open_door, open_kubernetes
from mdpipe.workflows.cluster.errors import (
    AbsentError,
    ConflictError,
    InvalidError,
    RefusedError,
)


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    monkeypatch.setattr(api.time, "sleep", lambda _: None)
    with serving(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def door(request):
    request.getfixturevalue("cluster")
    return open_kubernetes(NAMESPACE)


def test_without_any_configuration_it_says_what_to_set(monkeypatch, tmp_path):
    monkeypatch.setattr(api, "IN_A_POD", tmp_path / "none")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    monkeypatch.delenv("ARGO_SERVER", raising=False)
    with pytest.raises(UsageError) as error:
        open_door(NAMESPACE)
    assert "set KUBECONFIG to a file that names a cluster, or ARGO_SERVER" in one_line(error)
    assert exit_code_of(error.value) == 2


def test_a_workflow_is_one_request(cluster, door):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = {"metadata": {"name": "water-1"}}
    assert door.workflow("water-1") == {"metadata": {"name": "water-1"}}
    assert len(cluster.asked) == 1


def test_of_a_missing_workflow_the_nearest_names_are_told(cluster, door):
    cluster.answers[f"GET {WORKFLOWS}"] = listed("ice-22222", "water-12345")
    with pytest.raises(AbsentError) as error:
        door.workflow("watr-12345")
    text = one_line(error)
    assert text.startswith("no workflow watr-12345 in namespace argo; the nearest are water-12345")
    assert exit_code_of(error.value) == 66


def test_an_empty_namespace_is_told_as_such(cluster, door):
    cluster.answers[f"GET {WORKFLOWS}"] = listed()
    with pytest.raises(AbsentError, match="mdpipe has none there"):
        door.workflow("water-1")
    assert door.names() == []


def test_names_are_read_page_by_page_without_the_objects(cluster, door):
    pages = [listed("b", following="more"), listed("a")]
    cluster.answers[f"GET {WORKFLOWS}"] = pages
    assert door.names() == ["a", "b"]
    queries = [query for _, _, query, _ in cluster.asked]
    assert queries[1]["continue"] == "more"
    assert all(q["labelSelector"] == "app.kubernetes.io/managed-by=mdpipe" for q in queries)


def test_a_cluster_without_argo_workflows_is_told_as_such(cluster, door):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = (404, "404 page not found\n")
    with pytest.raises(AbsentError) as error:
        door.workflow("water-1")
    assert "has no Argo Workflows (no CRD workflows.argoproj.io)" in one_line(error)


def test_a_lack_of_rights_names_user_verb_resource_and_the_overlay(cluster, door):
    said = (
        'workflows.argoproj.io is forbidden: User "ann" cannot create resource "workflows" in API '
        'group "argoproj.io" in the namespace "argo"'
    )
    cluster.answers[f"POST {WORKFLOWS}"] = (403, problem(said))
    with pytest.raises(RefusedError) as error:
        door.create({"metadata": {"name": "water-1"}})
    text = one_line(error)
    assert "ann may not create workflows" in text
    assert "workflows/deploy/components/users" in text


def test_credentials_that_have_run_out_are_told(cluster, door):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = (401, problem("Unauthorized"))
    with pytest.raises(RefusedError, match="renew the credentials of KUBECONFIG"):
        door.workflow("water-1")


@pytest.mark.parametrize("bad", [(503, problem("busy")), (429, problem("slow down")), (0, "")])
def test_what_can_pass_is_asked_again(bad, cluster, door):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = [bad, bad, {"metadata": {"name": "water-1"}}]
    assert door.workflow("water-1")["metadata"]["name"] == "water-1"
    assert len(cluster.asked) == 3


def test_a_cluster_that_stays_down_is_told_and_can_be_tried_again(cluster, door):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = (500, problem("etcdserver: leader changed"))
    with pytest.raises(BusyError, match="answers 500: etcdserver: leader changed") as error:
        door.workflow("water-1")
    assert exit_code_of(error.value) == 75
    assert len(cluster.asked) == api.ATTEMPTS


def test_nobody_at_the_address_is_told_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(api.time, "sleep", lambda _: None)
    with serving(monkeypatch, tmp_path):
        door = open_kubernetes(NAMESPACE)
    with pytest.raises(BusyError) as error:
        door.workflow("water-1")
    assert "does not answer" in one_line(error)
    assert exit_code_of(error.value) == 75


def test_a_creation_whose_answer_was_lost_is_found_and_not_made_twice(cluster, door):
    manifest = {
        "metadata": {"name": "water-1", "annotations": {"mdpipe/submission": "0123"}},
    }

    def lose(_, body):
        cluster.answers[f"GET {WORKFLOWS}/water-1"] = body | {"spec": {}}
        return 0, ""

    cluster.answers[f"POST {WORKFLOWS}"] = lose
    assert door.create(manifest)["spec"] == {}
    assert cluster.calls("POST") == [WORKFLOWS]


def test_a_name_that_is_taken_by_another_submission_is_a_conflict(cluster, door):
    manifest = {"metadata": {"name": "water-1", "annotations": {"mdpipe/submission": "0123"}}}
    other = {"metadata": {"name": "water-1", "annotations": {"mdpipe/submission": "4567"}}}
    cluster.answers[f"POST {WORKFLOWS}"] = (409, problem('workflows "water-1" already exists'))
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = other
    with pytest.raises(ConflictError, match="already exists"):
        door.create(manifest)


def test_what_the_cluster_finds_wrong_is_handed_on(cluster, door):
    cluster.answers[f"POST {WORKFLOWS}"] = (422, problem("spec.templates: Too many: 201"))
    with pytest.raises(InvalidError, match="Too many: 201"):
        door.create({"metadata": {"name": "water-1"}}, dry_run=True)
    assert cluster.asked[0][2] == {"dryRun": "All"}


def test_changes_are_merged(cluster, door):
    cluster.answers[f"PATCH {WORKFLOWS}/water-1"] = {}
    door.change("water-1", {"suspend": True})
    assert cluster.asked[0][3] == {"spec": {"suspend": True}}


def test_a_stream_is_read_as_it_comes(cluster, door):
    cluster.answers[f"GET {PODS}/p/log"] = "one\ntwo\n"
    with door.kubernetes.stream(f"{PODS}/p/log") as pieces:
        assert b"".join(pieces) == b"one\ntwo\n"
    with (
        pytest.raises(AbsentError),
        door.kubernetes.stream(f"{PODS}/q/log") as pieces,
    ):
        list(pieces)


def test_without_the_extra_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(UsageError, match=r"pip install 'mdpipe\[cluster\]'"):
        api.connect()


def test_the_command_line_does_not_load_the_client_before_it_is_needed():
    code = "import sys, mdpipe.cli.cluster as c; assert 'kubernetes' not in sys.modules; c.status"
    assert subprocess.run([sys.executable, "-c", code], check=False, env=os.environ).returncode == 0


def test_a_silent_server_is_not_waited_for_for_ever(monkeypatch, tmp_path):
    monkeypatch.setattr(api, "TIMEOUT_S", (0.2, 0.2))
    monkeypatch.setattr(api, "ATTEMPTS", 1)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        use(monkeypatch, tmp_path, mute.getsockname()[1])
        with pytest.raises(BusyError, match="does not answer"):
            open_kubernetes(NAMESPACE).workflow("water-1")
