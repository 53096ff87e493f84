import copy
import json

import pytest
from argo_cases import OPTIONS, PROFILES, documents_of
from argo_walk import CRD, SCHEMA, crd_faults, load_crd, reference_faults, schema_faults

from mdpipe.workflows.argo_shard import TOLD

pytestmark = pytest.mark.skipif(
    not (SCHEMA.is_file() and CRD.is_file()),
    reason=f"Argo's schema and CRD are not beside the project ({SCHEMA.parent} lacks them)",
)


@pytest.fixture(scope="module")
def crd():
    return load_crd()


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("profile", PROFILES)
def test_objects_follow_schema_and_crd_and_every_reference_resolves(profile, option, tmp_path, crd):
    for document in documents_of(tmp_path, profile, option):
        assert schema_faults(document) == []
        assert crd_faults(document, crd) == []
        assert list(reference_faults(document)) == []


def test_what_a_shard_starts_is_a_workflow_that_fits_its_template(tmp_path, crd):
    template, parent = documents_of(tmp_path, "split", "shard")
    manifest = next(t for t in parent["spec"]["templates"] if t["name"] == "shard")
    text = manifest["resource"]["manifest"]
    # as Argo replaces it: texts by `toJson`, so in quotes
    values = {"workflow.outputs.parameters.memory": '{"render": [100]}', "workflow.name": "water-1"}
    for name in TOLD:
        start = text.index("{{=toJson(")
        end = text.index(")}}", start) + 3
        text = text[:start] + json.dumps(values.get(text[start + 10 : end - 3], name)) + text[end:]
    text = text.replace("{{workflow.name}}", "water-1").replace("{{inputs.parameters.shard}}", "0")
    child = json.loads(text)
    assert schema_faults(child) == []
    assert crd_faults(child, crd) == []
    assert list(reference_faults(child)) == []
    assert child["spec"]["workflowTemplateRef"]["name"] == template["metadata"]["name"]
    told = {p["name"]: p["value"] for p in child["spec"]["arguments"]["parameters"]}
    assert set(told) == {p["name"] for p in template["spec"]["arguments"]["parameters"]}
    assert told["memory"] == '{"render": [100]}'


def template(document, name):
    return next(t for t in document["spec"]["templates"] if t["name"] == name)


def rename(document):
    template(document, "render")["name"] = "rendre"


def many(document):
    document["spec"]["templates"] += [{"name": f"t{n}", "suspend": {}} for n in range(200)]


PLANTED = {
    "unknown key": (lambda d: d["spec"].update(entryPoint="main"), "no such key entryPoint"),
    "integer": (
        lambda d: template(d, "simulate")["retryStrategy"].update(limit=8),
        "retryStrategy.limit: must be string, got 8",
    ),
    "required": (lambda d: template(d, "render")["container"].pop("image"), "lacks image"),
    "two types": (lambda d: template(d, "render").update(suspend={}), "must have one type"),
    "too many": (many, "at most 200 items"),
    "name": (
        lambda d: template(d, "combine").update(name="com_bine"),
        "must match ^[a-zA-Z0-9]",
    ),
    "lost template": (rename, "no template render"),
    "lost parameter": (
        lambda d: template(d, "simulate")["container"]["args"].append("{{inputs.parameters.rwo}}"),
        "{{inputs.parameters.rwo}} resolves to nothing",
    ),
    "lost variable": (
        lambda d: template(d, "render").update(
            podSpecPatch="{{=fromJSON(workflow.outputs.parameters.memroy).render}}"
        ),
        "workflow.outputs.parameters.memroy of an expression",
    ),
    "retries of nothing": (
        lambda d: template(d, "render").pop("retryStrategy"),
        "retries of an expression resolves to nothing",
    ),
    "argument": (
        lambda d: template(d, "group")["steps"][1][0]["arguments"]["parameters"].clear(),
        "gives [], render takes ['row']",
    ),
    "count and end": (
        lambda d: template(d, "chunk")["steps"][0][0]["withSequence"].update(count="1"),
        "count or end, not both",
    ),
    "volume": (lambda d: template(d, "render")["volumes"].clear(), "no volume scratch"),
    "time of steps": (
        lambda d: template(d, "main").update(activeDeadlineSeconds="5"),
        "activeDeadlineSeconds is for pods",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_walk_finds_planted_faults(name, tmp_path, crd):
    (document,) = documents_of(tmp_path, "split", "plain")
    broken = copy.deepcopy(document)
    plant, words = PLANTED[name]
    plant(broken)
    found = schema_faults(broken) + crd_faults(broken, crd) + list(reference_faults(broken))
    assert any(words in fault for fault in found), found
