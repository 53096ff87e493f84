import base64
import gzip
import json
import os
import random

import pytest
from argo_cases import TEXT
from click.testing import CliRunner

from mdpipe import products
from mdpipe.cli.workflow import workflow
from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import InputError, UsageError
from mdpipe.steps.pending import MOST_KEYS
from mdpipe.study import load_study
from mdpipe.workflows.argo_memo import CONFIG_MAP_BYTES, CONFIG_MAPS, ENTRY_BYTES
from mdpipe.workflows.argo_size import (
    NODE_BYTES,
    OBJECT_BYTES,
    PACKED_NODE_BYTES,
    check_size,
    most_groups,
    size_of,
)
from mdpipe.workflows.argo_study import write_workflow
from mdpipe.workflows.resume import fingerprint
from mdpipe.workflows.study_graph import build_graph

STORE = ClusterSettings(store="s3://bucket/md")


def pod_node(chance, row, nth):
    """Return the status of a pod's node, as Argo 4.1.2 wrote it for this shape."""
    ids = [f"water-x7k2p-{chance.randrange(10**9, 4 * 10**9)}" for _ in range(3)]
    hours, minutes, seconds = (chance.randrange(most) for most in (24, 60, 60))
    second = f"2026-11-22T{hours:02d}:{minutes:02d}:{seconds:02d}Z"
    return {
        "boundaryID": ids[0],
        "children": [ids[1]],
        "displayName": f"simulate({nth}:{nth})(0)",
        "finishedAt": second,
        "hostNodeName": "node0",
        "id": ids[2],
        "inputs": {
            "artifacts": [
                {
                    "archive": {"none": {}},
                    "name": "slice",
                    "path": "/tmp/run",
                    "s3": {"key": f"md/runs/water-x7k2p/pending/{row:05d}"},
                }
            ],
            "parameters": [
                {"name": "row", "value": f"{row:05d}"},
                {"name": "nth", "value": str(nth)},
            ],
        },
        "name": (
            f"water-x7k2p[1].chunk({row // 100}:{row // 100})[0]"
            f".group({row % 100}:{row:05d})[0].simulate({nth}:{nth})(0)"
        ),
        "nodeFlag": {"retried": True},
        "outputs": {"exitCode": "0"},
        "phase": "Succeeded",
        "progress": "100/100",
        "resourcesDuration": {"cpu": chance.randrange(90), "memory": chance.randrange(900)},
        "startedAt": second,
        "taskResultSynced": True,
        "templateName": "simulate",
        "templateScope": "local/water-x7k2p",
        "type": "Pod",
    }


def test_the_size_of_a_node_is_that_of_the_nodes_that_argo_writes():
    chance = random.Random(1)
    nodes = {}
    for number in range(6000):
        node = pod_node(chance, number // 3, number % 3)
        nodes[node["id"]] = node
    text = json.dumps(nodes, separators=(",", ":")).encode()
    packed = base64.b64encode(gzip.compress(text))
    # pods are the longest of the nodes: other ones have no inputs and outputs of their own; but
    # they are all alike here, and so are easier to compress
    assert 0.7 < NODE_BYTES * len(nodes) / len(text) < 1.0
    assert 1.0 < PACKED_NODE_BYTES * len(nodes) / len(packed) < 1.4


@pytest.mark.parametrize(
    ("groups", "form"),
    [(10, "plain"), (100, "plain"), (200, "compressed"), (800, "compressed"), (1000, "offloaded")],
)
def test_three_scenes_of_a_group_make_eleven_nodes_and_four_pods(groups, form):
    size = size_of(groups, 3, 100)
    assert size.pods == 4 * groups + 2
    assert abs(size.nodes - 11 * groups) <= 30 + groups // 50
    assert size.form == form


def test_the_most_groups_are_the_last_that_fit():
    most = most_groups(3, 100)
    assert size_of(most, 3, 100).form == "compressed"
    assert size_of(most + 1, 3, 100).form == "offloaded"


def test_what_would_break_is_refused_with_both_remedies():
    with pytest.raises(UsageError) as caught:
        check_size(10_000, 3, STORE)
    said = str(caught.value)
    assert "10000 groups make 110208 nodes" in said
    assert "cluster.shard = 500" in said
    assert "cluster.offload = true" in said
    assert "offloaded" in check_size(10_000, 3, STORE.model_copy(update={"offload": True}))
    sharded = check_size(10_000, 3, STORE.model_copy(update={"shard": 500}))
    assert "20 child workflows of" in sharded


def test_a_shard_that_is_too_large_itself_is_refused():
    with pytest.raises(UsageError, match=r"cluster\.shard: a child workflow of 5000 groups"):
        check_size(None, 3, STORE.model_copy(update={"shard": 5000}))


def test_a_plan_or_the_bound_of_the_study_says_how_many_groups_to_expect(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDPIPE_SETTINGS", str(tmp_path / "none.toml"))
    path = tmp_path / "study.toml"
    text = TEXT + '[cluster]\nstore = "s3://bucket/md"\n'
    path.write_text(text)
    assert "known after preprocess" in write_workflow(path).size
    path.write_text(text + "[groups]\nmax_groups = 100000\n")
    with pytest.raises(UsageError, match="100000 groups make"):
        write_workflow(path)
    (tmp_path / "water-run").mkdir()
    (tmp_path / "water-run" / "plan.jsonl").write_text("{}\n" * 12)
    assert write_workflow(path).size == "12 groups, 50 pods, 142 nodes, plain"


def test_a_plan_of_other_inputs_is_not_believed_unless_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDPIPE_SETTINGS", str(tmp_path / "none.toml"))
    path, run = tmp_path / "study.toml", tmp_path / "water-run"
    path.write_text(TEXT + '[cluster]\nstore = "s3://bucket/md"\n')
    run.mkdir()
    (run / "plan.jsonl").write_text("{}\n" * 12)
    os.utime(run / "plan.jsonl", (1, 1))
    assert "known after preprocess" in write_workflow(path).size
    assert write_workflow(path, run=run).size.startswith("12 groups")
    # what an engine has noted is exact, and does not mind another table of the study
    study = load_study(path)
    first = build_graph(study, run, None, study_file=path).steps[0]
    products.record(run, "preprocess", ["plan.jsonl"], fingerprint(first, run))
    assert write_workflow(path).size.startswith("12 groups")
    path.write_text(path.read_text() + "shard = 100\n")
    assert write_workflow(path).size.startswith("12 groups")
    path.write_text(path.read_text() + "[groups]\nmin_frames = 2\n")
    assert "known after preprocess" in write_workflow(path).size


def test_a_run_that_is_named_and_has_no_plan_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MDPIPE_SETTINGS", str(tmp_path / "none.toml"))
    path, run = tmp_path / "study.toml", tmp_path / "run"
    path.write_text(TEXT + '[cluster]\nstore = "s3://bucket/md"\n')
    words = [str(path), "--run", str(run), "--format", "json"]
    for _ in range(2):
        told = CliRunner().invoke(workflow, words).exception
        assert isinstance(told, InputError)
        assert "plan.jsonl: no plan there; run `mdpipe preprocess`" in str(told)
        run.mkdir(exist_ok=True)
    (run / "plan.jsonl").write_text("{}\n" * 12)
    assert "12 groups" in CliRunner().invoke(workflow, words).stderr


def test_memoization_is_refused_where_a_config_map_could_fill():
    memoized = STORE.model_copy(update={"memoize": True})
    assert "plain" in check_size(12, 3, memoized)
    for groups in (None, MOST_KEYS // 3 + 1):
        with pytest.raises(UsageError, match="a full ConfigMap makes errors of finished steps"):
            check_size(groups, 3, memoized)
    # even if all scenes that are allowed fell on a third of the ConfigMaps
    assert MOST_KEYS / (CONFIG_MAPS / 3) * ENTRY_BYTES < CONFIG_MAP_BYTES
    assert OBJECT_BYTES == CONFIG_MAP_BYTES
