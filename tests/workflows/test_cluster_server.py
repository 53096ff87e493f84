"""The ways to nodes that are not in the object: an Argo Server, and the controller's database."""

import base64
import gzip
import json

import pytest
from cluster_api import NAMESPACE, serving

from mdpipe.failures import BusyError, MdpipeError, UsageError
from mdpipe.workflows.cluster import offload
from mdpipe.workflows.cluster.control import resume, stop
from mdpipe.workflows.cluster.door import KubernetesDoor, open_door
from mdpipe.workflows.cluster.errors import AbsentError, RefusedError
from mdpipe.workflows.cluster.logs import chosen_pods, log_lines
from mdpipe.workflows.cluster.status import read_status

ROOT = f"/api/v1/workflows/{NAMESPACE}"
NODES = {
    "w-1": {"id": "w-1", "name": "w[1].render(0)", "type": "Pod", "templateName": "render",
            "phase": "Failed", "message": "main: Error (exit code 75): network: no; remedy: x"},
}  # fmt: skip


@pytest.fixture
def server(monkeypatch, tmp_path):
    with serving(monkeypatch, tmp_path) as cluster:
        monkeypatch.setenv("ARGO_SERVER", f"127.0.0.1:{cluster.port}")
        monkeypatch.setenv("ARGO_SECURE", "false")
        yield cluster


def workflow(**status):
    return {
        "metadata": {"name": "w", "namespace": NAMESPACE, "uid": "u"},
        "spec": {},
        "status": {"phase": "Running"} | status,
    }


def test_offloaded_nodes_are_read_through_the_server(server):
    def answer(query, _):
        if query.get("fields") == "-status.nodes":
            return workflow(offloadNodeStatusVersion="fnv:1")
        return workflow(nodes=NODES)

    server.answers[f"GET {ROOT}/w"] = answer
    status = read_status(open_door(NAMESPACE), "w")
    assert status.form == "offloaded"
    assert status.steps_known
    assert status.tally.classes == {"network": 1}


def test_compressed_nodes_are_not_asked_for_twice(server):
    packed = base64.b64encode(gzip.compress(json.dumps(NODES).encode())).decode()
    server.answers[f"GET {ROOT}/w"] = workflow(compressedNodes=packed)
    status = read_status(open_door(NAMESPACE), "w")
    assert (status.form, status.tally.pods) == ("gzip", 1)
    assert len(server.asked) == 1


def test_the_token_is_sent_and_never_told(server, monkeypatch):
    monkeypatch.setenv("ARGO_TOKEN", "very-secret")
    server.answers[f"GET {ROOT}/w"] = (403, "token not valid")
    with pytest.raises(RefusedError, match="set ARGO_TOKEN to a token that has the right") as error:
        read_status(open_door(NAMESPACE), "w")
    assert "very-secret" not in str(error.value)


def test_workflows_are_created_checked_and_listed(server):
    server.answers[f"POST {ROOT}"] = lambda _, body: body["workflow"]
    server.answers[f"POST {ROOT}/lint"] = lambda _, body: body["workflow"]
    server.answers[f"GET {ROOT}"] = {"items": [{"metadata": {"name": "b"}}]}
    door = open_door(NAMESPACE)
    # a field that Hera's models do not know must not get lost
    manifest = workflow() | {"spec": {"templates": [{"pendingTimeout": "1s"}]}}
    assert door.create(manifest)["spec"] == manifest["spec"]
    assert door.create(manifest, dry_run=True)["spec"] == manifest["spec"]
    assert door.names() == ["b"]


def test_workflows_are_held_gone_on_with_and_ended(server):
    server.answers[f"GET {ROOT}/w"] = workflow()
    for verb in ("suspend", "resume", "terminate"):
        server.answers[f"PUT {ROOT}/w/{verb}"] = {}
    door = open_door(NAMESPACE)
    stop(door, "w")
    resume(door, "w")
    stop(door, "w", now=True)
    assert [path.rpartition("/")[2] for path in server.calls("PUT")] == [
        "suspend", "resume", "terminate",
    ]  # fmt: skip


def test_logs_come_line_by_line(server):
    server.answers[f"GET {ROOT}/w"] = workflow(nodes=NODES)
    entries = [json.dumps({"result": {"content": line}}) for line in ("one", "two")]
    server.answers[f"GET {ROOT}/w/log"] = "\n".join(entries)
    door = open_door(NAMESPACE)
    found = door.workflow("w")
    (pod,) = chosen_pods(door, found, None)
    assert list(log_lines(door, found, pod)) == ["one", "two"]


def test_a_workflow_that_is_not_there_and_a_server_that_is_down_are_told(server):
    server.answers[f"GET {ROOT}/v"] = (404, '{"code":5,"message":"workflows \\"v\\" not found"}')
    server.answers[f"GET {ROOT}"] = {"items": [{"metadata": {"name": "w"}}]}
    door = open_door(NAMESPACE)
    with pytest.raises(AbsentError, match="no workflow v in namespace argo; the nearest are w"):
        door.workflow("v")
    server.close()
    door.service.session.close()
    with pytest.raises(BusyError, match="does not answer"):
        door.workflow("v")


def test_without_a_server_the_database_is_read_where_one_is_configured(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "mdpipe.workflows.cluster.door.offloaded_nodes",
        lambda *words: asked.append(words) or iter(NODES.values()),
    )
    door = KubernetesDoor(None, NAMESPACE)
    far = workflow(offloadNodeStatusVersion="fnv:1")
    monkeypatch.delenv("MDPIPE_ARGO_DATABASE", raising=False)
    assert door.nodes(far) is None
    monkeypatch.setenv("MDPIPE_ARGO_DATABASE", "postgresql://u@h/d")
    assert list(door.nodes(far)) == list(NODES.values())
    assert asked == [("postgresql://u@h/d", "u", "fnv:1")]


@pytest.mark.parametrize(
    "address",
    ["mysql://h/d", "host", "postgresql://h/d?table=a;drop", "postgresql://h/d?table=a b"],
)
def test_an_address_that_is_none_of_a_database_is_told(address):
    with pytest.raises(UsageError, match="must be postgresql://user:password@host"):
        list(offload.offloaded_nodes(address, "u", "v"))


def test_a_database_that_is_down_is_told_without_its_password(monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "very-secret")
    with pytest.raises(BusyError) as error:
        list(offload.offloaded_nodes("postgresql://u:pw-secret@127.0.0.1:9/d", "u", "v"))
    assert "secret" not in str(error.value)


def test_the_row_of_the_version_is_read_and_its_nodes_streamed(monkeypatch):
    asked = []

    class Connection:
        def __init__(self, **options):
            asked.append(options)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            asked.append("closed")

        def run(self, query, **values):
            asked.append((query, values))
            return [[json.dumps(NODES)]]

    monkeypatch.setattr("pg8000.native.Connection", Connection)
    address = "postgresql://ann:p%40ss@db:5433/argo?table=nodes.kept&sslmode=disable"
    assert list(offload.offloaded_nodes(address, "u", "v")) == list(NODES.values())
    options, (query, values), closed = asked
    assert (options["user"], options["password"], options["host"]) == ("ann", "p@ss", "db")
    assert (options["port"], options["database"], options["ssl_context"]) == (5433, "argo", False)
    assert " from nodes.kept where " in query
    assert values == {"uid": "u", "version": "v"}
    assert closed == "closed"


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pg8000.native", None)
    with pytest.raises(MdpipeError, match=r"pip install 'mdpipe\[cluster\]'"):
        list(offload.offloaded_nodes("postgresql://u@h/d", "u", "v"))
