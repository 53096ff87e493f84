import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from argo_cases import OPTIONS, PROFILES, TARGETS, TEXT, documents_of, golden_text, study_of

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import StudyError, UsageError
from mdpipe.workflows import argo_shard
from mdpipe.workflows.argo import compile_study

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "workflows"

PODS = {"preprocess", "simulate", "render", "combine"}


def templates_of(documents):
    return {t["name"]: t for document in documents for t in document["spec"]["templates"]}


def pods_of(documents):
    return {name: t for name, t in templates_of(documents).items() if "container" in t}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_workflow_is_the_golden_one(profile, option, tmp_path):
    text = golden_text(documents_of(tmp_path, profile, option))
    path = GOLDEN / f"{profile}-{option}.json"
    if os.environ.get("MDPIPE_REGENERATE") == "1":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text)
    assert path.read_text() == text


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("option", ["plain", "shard", "memoize"])
@pytest.mark.parametrize("profile", PROFILES)
def test_older_targets_get_the_same_where_nothing_new_is_asked_for(
    profile, option, target, tmp_path
):
    newest = documents_of(tmp_path, profile, option)
    assert documents_of(tmp_path, profile, option, target) == newest


@pytest.mark.parametrize("target", ["3.7", "4.0"])
def test_what_a_target_does_not_know_is_refused_and_never_left_out_silently(target, tmp_path):
    with pytest.raises(UsageError, match=rf"quota_timeout_s: .*since 4\.1, got --argo {target}"):
        documents_of(tmp_path, "split", "all", target)


def test_new_fields_stand_in_pods_alone(tmp_path):
    for name, template in templates_of(documents_of(tmp_path, "split", "all")).items():
        assert ("pendingTimeout" in template) == (name in PODS)


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("profile", PROFILES)
def test_every_pod_is_as_pod_security_restricted_wants_it(profile, option, tmp_path):
    documents = documents_of(tmp_path, profile, option)
    for document in documents:
        spec = document["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["executor"]["serviceAccountName"] == spec["serviceAccountName"]
    pods = pods_of(documents)
    assert set(pods) == PODS
    for template in pods.values():
        context = template["container"]["securityContext"]
        assert context == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }
        # tokens are for what speaks to the cluster
        assert "automountServiceAccountToken" not in template
        volumes = {key for volume in template["volumes"] for key in volume} - {"name"}
        assert volumes <= {"emptyDir", "persistentVolumeClaim"}


@pytest.mark.parametrize("profile", PROFILES)
def test_keys_of_the_store_come_from_the_secret_alone(profile, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    documents = documents_of(tmp_path, profile, "all")
    text = json.dumps(documents)
    assert "very-secret" not in text
    assert "somebody" not in text
    for template in pods_of(documents).values():
        assert template["container"]["envFrom"] == [{"secretRef": {"name": "store-keys"}}]


@pytest.mark.parametrize("profile", PROFILES)
def test_only_preprocess_gets_the_inputs_and_claims_of_inputs_are_read_only(profile, tmp_path):
    for name, template in pods_of(documents_of(tmp_path, profile, "plain")).items():
        mounts = {m["mountPath"]: m for m in template["container"]["volumeMounts"]}
        artifacts = {a["name"] for a in template.get("inputs", {}).get("artifacts", ())}
        variables = {e["name"]: e["value"] for e in template["container"]["env"]}
        seen = "/mdpipe/inputs" in mounts or "inputs" in artifacts
        assert ("MDPIPE_STUDY_FOLDER" in variables) == (name == "preprocess")
        assert seen == (name == "preprocess" and profile != "sdk")
        if "/mdpipe/inputs" in mounts:
            assert mounts["/mdpipe/inputs"]["readOnly"] is True
            claims = [v.get("persistentVolumeClaim", {}) for v in template["volumes"]]
            assert {"claimName": "mdpipe-inputs", "readOnly": True} in claims


def test_steps_run_the_commands_of_the_graph(tmp_path):
    pods = pods_of(documents_of(tmp_path, "split", "plain"))
    assert pods["simulate"]["container"]["args"] == [
        *("mdpipe", "simulate", "/tmp/run/plan.jsonl", "--run", "/tmp/run", "--group", "0"),
        *("--scene", "#{{inputs.parameters.nth}}", "--threads", "1", "--cache", "/tmp/scenes"),
    ]
    assert pods["preprocess"]["container"]["args"][-1] == "--pending"
    assert pods["combine"]["container"]["args"][-1] == "--require-all"
    volume = pods_of(documents_of(tmp_path, "volume", "plain"))["render"]["container"]["args"]
    assert "/mdpipe/shared/runs/{{workflow.name}}/pending/{{inputs.parameters.row}}" in volume
    sdk = pods_of(documents_of(tmp_path, "sdk", "plain"))["combine"]["container"]["args"]
    assert "s3://bucket/md/runs/{{workflow.name}}" in sdk


def test_time_limits_and_memory_set_by_hand_reach_the_pods(tmp_path):
    pods = pods_of(documents_of(tmp_path, "split", "plain"))
    assert pods["simulate"]["activeDeadlineSeconds"] == "3600"
    assert "activeDeadlineSeconds" not in pods["render"]
    # 500 MB and 50 for Argo's own program, in MiB, doubled twice
    assert "{{=[525, 1002, 1956][min(asInt(retries), 2)]}}Mi" in pods["preprocess"]["podSpecPatch"]
    assert ".render[min(asInt(retries), 2)]}}Mi" in pods["render"]["podSpecPatch"]


def test_pods_of_all_children_at_a_time_keep_to_the_bound_of_the_study(tmp_path):
    settings = ClusterSettings(
        store="s3://bucket/md", shard=200, shards_at_once=3, parallelism=1000
    )
    child, parent = compile_study(study_of(tmp_path), TEXT, settings)
    assert child["spec"]["parallelism"] == 333
    # the parent's pods only wait for children, whose number is bounded instead
    assert "parallelism" not in parent["spec"]
    assert templates_of([parent])["main"]["parallelism"] == 3
    assert argo_shard.pods_at_once(settings.model_copy(update={"parallelism": 2})) == 1


def test_a_single_kind_of_nodes_needs_no_expression(tmp_path):
    settings = ClusterSettings(store="s3://bucket/md", node_selectors=({"pool": "steady"},))
    documents = compile_study(study_of(tmp_path), TEXT, settings)
    patch = json.loads(pods_of(documents)["simulate"]["podSpecPatch"])
    assert patch["nodeSelector"] == {"pool": "steady"}


def test_the_second_choice_of_nodes_is_for_retries(tmp_path):
    patch = pods_of(documents_of(tmp_path, "split", "all"))["combine"]["podSpecPatch"]
    choices = """['{"pool": "spot"}', '{"pool": "steady"}'][min(asInt(retries), 1)]"""
    selector = f'"nodeSelector":{{{{={choices}}}}}}}'
    assert patch.endswith(selector)
    # what Argo makes of it is whole
    memory = "{{=fromJSON(workflow.outputs.parameters.memory).combine[min(asInt(retries), 2)]}}"
    replaced = patch.replace(selector[15:-1], '{"pool": "spot"}').replace(memory, "512")
    assert json.loads(replaced)["nodeSelector"] == {"pool": "spot"}


def test_nothing_of_this_machine_is_in_the_workflow(tmp_path):
    assert str(tmp_path) not in json.dumps(documents_of(tmp_path, "artifacts", "all"))


def test_the_same_study_gives_the_same_bytes(tmp_path):
    code = (
        "import json, sys, pathlib; from argo_cases import documents_of;"
        "print(json.dumps(documents_of(pathlib.Path(sys.argv[1]), 'split', 'shard')))"
    )
    support = Path(__file__).resolve().parents[1] / "support"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)],
            env=os.environ | {"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(support)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in (1, 2)
    }  # fmt: skip
    assert len(seen) == 1


def test_the_workflow_of_a_hundred_thousand_groups_is_as_large_as_that_of_ten(tmp_path):
    sizes = set()
    for groups in (10, 1_000, 100_000):
        # of one length, so that the study's own text does not count
        text = f"{TEXT}[groups]\nmax_groups = {groups:<6d}\n"
        settings = ClusterSettings(store="s3://bucket/md", shard=500)
        documents = compile_study(study_of(tmp_path, text), text, settings, groups=groups)
        sizes.add(len(json.dumps(documents)))
    assert len(sizes) == 1
    assert sizes.pop() < 30_000


def test_a_study_is_compiled_in_three_seconds_of_one_core(tmp_path):
    path = tmp_path / "water.toml"
    path.write_text(TEXT + '[cluster]\nstore = "s3://bucket/md"\n')
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "mdpipe.cli", "workflow", str(path), "--format", "json"],
        check=True, capture_output=True, cwd=tmp_path,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # processor time: what else runs on the machine does not count
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3.0


@pytest.mark.parametrize(
    ("change", "more", "words"),
    [
        ('path = "{{x}}"', {}, "`{{`"),
        ("#" + "x" * 60_000, {}, "bytes, pods take 60000"),
        ("", {"store": ""}, "cluster.store: storage = 'split' needs a store"),
        ('[cache]\nstore = "s3://other"', {}, "cache.store: pods share their scenes"),
        ('[cache]\npush = "on-demand"', {}, "cache.push: pods share"),
        ("", {"memoize": True}, "cache.policy must be 'guaranteed', got 'best-effort'"),
    ],
)
def test_a_study_that_cannot_run_as_pods_is_refused_with_the_remedy(change, more, words, tmp_path):
    text = 'name = "a"\n[[inputs]]\npath = "b"\n'
    text = text.replace('path = "b"', change) if change.startswith("path") else text + change
    settings = ClusterSettings(store="s3://bucket/md").model_copy(update=more)
    with pytest.raises(StudyError) as caught:
        compile_study(study_of(tmp_path, text), text, settings)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)


def test_names_are_made_fit_for_kubernetes(tmp_path):
    text = TEXT.replace('"water"', '"Water_ICE-2' + "x" * 60 + '_"')
    settings = ClusterSettings(store="s3://bucket/md")
    (document,) = compile_study(study_of(tmp_path, text), text, settings)
    assert document["metadata"]["generateName"] == "water-ice-2" + "x" * 29 + "-"
    label = document["metadata"]["labels"]["mdpipe/study"]
    assert len(label) <= 63
    assert label.startswith("Water_ICE-2")
