"""Groups are called as in the report, where the store of a workflow can be asked in time."""

import base64
import io
import json
import os
import socket
import time

import pytest
from click.testing import CliRunner
from cluster_api import NAMESPACE, WORKFLOWS, problem, serving
from faulty_store import BUCKET, Proxy, address

from mdpipe.cli.cluster import status
from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import UsageError
from mdpipe.scenes.objects import Objects
from mdpipe.sealed import seal
from mdpipe.workflows.cluster import api
from mdpipe.workflows.cluster.door import open_kubernetes
from mdpipe.workflows.cluster.follow import Pace, follow
from mdpipe.workflows.cluster.group_names import GroupNames
from mdpipe.workflows.cluster.names import noted
from mdpipe.workflows.cluster.store import open_store

SETTINGS = ClusterSettings(storage="split", store=f"s3://{BUCKET}/lab")
NO_PAUSE = Pace(poll_s=0)
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/mdpipe-store"


@pytest.fixture
def store(served, monkeypatch):
    address(monkeypatch, served[1])
    return Objects(SETTINGS.store)


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("MDPIPE_SETTINGS", str(tmp_path / "none.toml"))
    with serving(monkeypatch, tmp_path) as server:
        yield server


def title(row):
    return f"g{90 + row:03d}: water {300 + row} K 0.997 g/cm³ (216)"


def write_slices(store, *rows, run="water-1"):
    for row in rows:
        name, _, label = title(row).partition(": ")
        line = json.dumps({"id": name, "label": label, "missing": [], "study": "x" * 10_000})
        store.put(f"runs/{run}/pending/{row:05d}/plan.jsonl", seal(line.encode()))


def node(name, kind, template, phase, **more):
    return {
        "id": name, "name": name, "type": kind, "templateName": template, "phase": phase,
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z",
    } | more  # fmt: skip


def workflow(*, settings=SETTINGS, running=(0, 1), failed=2, rows=200):
    base = "water-1[1].chunk(0:0)[0].group"
    said = "main: Error (exit code 66): bad-input: no frame; remedy: mend"
    render = f"{base}({failed}:{failed:05d})[1].render"
    nodes = [
        *(node(f"{base}({n}:{n:05d})", "Steps", "group", "Running") for n in running),
        node(f"{base}({failed}:{failed:05d})", "Steps", "group", "Failed"),
        node(render, "Retry", "render", "Failed", message=said),
        node(f"{render}(0)", "Pod", "render", "Failed", message=said, outputs={"exitCode": "66"}),
    ]
    told = {"rows": rows, "bounds": [rows]}
    return {
        "metadata": {
            "name": "water-1", "namespace": NAMESPACE,
            "annotations": {"mdpipe/settings": noted(settings)},
        },
        "spec": {"entrypoint": "main"},
        "status": {
            "phase": "Running", "nodes": {one["id"]: one for one in nodes},
            "startedAt": "2026-01-01T00:00:00Z",
            "outputs": {
                "parameters": [{"name": k, "value": json.dumps(v)} for k, v in told.items()]
            },
        },
    }  # fmt: skip


def run_status(*words):
    result = CliRunner().invoke(status, ["water-1", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_groups_that_run_or_failed_have_the_names_of_the_report(store, cluster):
    write_slices(store, 0, 1, 2)
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow()
    text = run_status()
    assert "2 running (0, 1), 1 failed (2)" in text
    assert f" 0 running: {title(0)}\n" in text
    assert f" 2 failed: {title(2)}\n" in text
    # the row stays: it is what `mdpipe logs` takes
    assert f"render 2 [{title(2)}], attempt 1: bad-input: no frame" in text
    assert f"failed: render 2 [{title(2)}]: bad-input: no frame; remedy: mend" in text
    names = json.loads(run_status("--json"))["group_names"]
    assert names == {str(row): title(row) for row in range(3)}
    assert cluster.calls("GET") == [f"{WORKFLOWS}/water-1"] * 2  # the environment has the keys


def test_only_what_is_told_of_is_looked_up_and_that_once(store, served, cluster, monkeypatch):
    write_slices(store, *range(60))
    proxy = Proxy(served[1])
    try:
        address(monkeypatch, proxy.port)
        names = GroupNames(open_kubernetes(NAMESPACE))
        many = workflow(running=[n for n in range(60) if n != 2])
        cluster.answers[f"GET {WORKFLOWS}/water-1"] = many
        run_status()
        assert sum(row[0] for row in proxy.traffic.values()) == 13  # twelve that run, one failed
        for _ in range(3):
            assert names.of(many, [5, 5, 6]) == {5: title(5), 6: title(6)}
        assert sum(row[0] for row in proxy.traffic.values()) == 15
    finally:
        proxy.close()


def test_watching_looks_up_only_groups_that_failed(store, served, cluster, monkeypatch):
    write_slices(store, *range(20))
    seen = workflow(running=[n for n in range(20) if n != 2])
    ended = workflow(running=())
    ended["status"]["phase"] = "Failed"
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = [seen, seen, ended]
    proxy, said = Proxy(served[1]), io.StringIO()
    try:
        address(monkeypatch, proxy.port)
        follow(open_kubernetes(NAMESPACE), "water-1", said, pace=NO_PAUSE, sleep=lambda _: None)
        assert f"failed: render 2 [{title(2)}]" in said.getvalue()
        assert sum(row[0] for row in proxy.traffic.values()) == 1
    finally:
        proxy.close()


def test_slices_that_are_gone_or_damaged_leave_the_row(store, cluster):
    write_slices(store, 1, run="water-1")
    path = "runs/water-1/pending/00001/plan.jsonl"
    store.put(path, store.read(path).replace(b"g091", b"g092"))
    store.put("runs/water-1/pending/00002/plan.jsonl", b"")
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow(running=(77, 1))
    text = run_status()
    assert "2 running (1, 77), 1 failed (2)" in text
    assert "g09" not in text
    assert "failed: render 2: bad-input" in text


def test_a_store_out_of_reach_costs_no_more_than_a_moment(cluster, monkeypatch):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow(running=range(3, 60))
    with socket.socket() as silent:  # takes connections and never answers
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        address(monkeypatch, silent.getsockname()[1])
        begun = time.monotonic()
        text = run_status()
    assert time.monotonic() - begun < 2.5
    assert "57 running (3, 4, 5" in text
    assert "g09" not in text


@pytest.mark.parametrize("storage", ["split", "volume"])
def test_without_keys_or_a_store_the_row_is_told(storage, cluster, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    settings = SETTINGS.model_copy(update={"storage": storage})
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow(settings=settings)
    cluster.answers[f"GET {SECRET}"] = (403, problem("secrets is forbidden"))
    assert "failed: render 2: bad-input" in run_status()
    asked = [path for path in cluster.calls("GET") if path == SECRET]
    assert len(asked) == (storage == "split")


def secret(**values):
    return {"data": {key: base64.b64encode(value).decode() for key, value in values.items()}}


def take_keys(monkeypatch):
    """Take the keys of the store out of the environment; return a secret with them."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    taken = secret(**{name: os.environ[name].encode() for name in keys})
    for name in keys:
        monkeypatch.delenv(name)
    return taken


def test_a_secret_that_comes_late_is_asked_for_again(store, cluster, monkeypatch):
    write_slices(store, 2)
    late = [(500, problem("etcdserver: timed out"))] * api.ATTEMPTS
    cluster.answers[f"GET {SECRET}"] = [*late, take_keys(monkeypatch)]
    monkeypatch.setattr(api.time, "sleep", lambda _: None)
    names = GroupNames(open_kubernetes(NAMESPACE))
    assert names.of(workflow(), [2]) == {}
    assert names.of(workflow(), [2]) == {2: title(2)}


def test_a_secret_that_is_no_text_leaves_the_row_and_is_told_to_who_needs_it(
    store, cluster, monkeypatch
):
    write_slices(store, 2)
    take_keys(monkeypatch)
    cluster.answers[f"GET {SECRET}"] = secret(AWS_ACCESS_KEY_ID=b"\xff\xfe")
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow()
    assert "failed: render 2: bad-input" in run_status()
    with pytest.raises(UsageError, match="AWS_ACCESS_KEY_ID of the secret mdpipe-store is no text"):
        open_store(SETTINGS, open_kubernetes(NAMESPACE))
