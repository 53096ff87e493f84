"""The commands for workflows on a real cluster, with steps that are a line of Python.

`MDPIPE_TEST_KUBECONFIG` names the cluster, `MDPIPE_TEST_NAMESPACE` the namespace, which has to be
as `workflows/deploy` makes it, and `MDPIPE_CLUSTER_IMAGE` the image.
"""

import io
import os
import time

import pytest

from mdpipe import __version__
from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import MdpipeError
from mdpipe.workflows.cluster.claim import PYTHON, claim_source
from mdpipe.workflows.cluster.control import resume, stop
from mdpipe.workflows.cluster.door import open_kubernetes
from mdpipe.workflows.cluster.errors import AbsentError, ConflictError
from mdpipe.workflows.cluster.fetch import fetch
from mdpipe.workflows.cluster.follow import Pace, follow
from mdpipe.workflows.cluster.logs import chosen_pods, log_lines
from mdpipe.workflows.cluster.names import new_name, noted
from mdpipe.workflows.cluster.status import read_status

pytestmark = pytest.mark.cluster

KUBECONFIG = os.environ.get("MDPIPE_TEST_KUBECONFIG", "")
NAMESPACE = os.environ.get("MDPIPE_TEST_NAMESPACE", "argo")
IMAGE = os.environ.get("MDPIPE_CLUSTER_IMAGE", f"localhost/mdpipe:{__version__}")
RESTRICTED = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}  # fmt: skip
AGAIN = "lastRetry.message matches '(?i)unschedulable|imagepull' || lastRetry.exitCode == '75'"
DIES_ONCE = (
    "import sys; print('first words')\n"
    "if '{{retries}}' == '0':\n"
    "    open('/dev/termination-log', 'w').write('network: no store; remedy: wait')\n"
    "    sys.exit(75)"
)
QUICK = Pace(poll_s=1, reap_s=5)


@pytest.fixture(scope="module")
def door():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", KUBECONFIG)
        patch.delenv("ARGO_SERVER", raising=False)
        opened = open_kubernetes(NAMESPACE)
        yield opened
        opened.kubernetes.close()


def template(name, code, *parameters, **more):
    return {
        "name": name,
        "inputs": {"parameters": [{"name": one} for one in parameters]},
        "retryStrategy": {"limit": "3", "retryPolicy": "Always", "expression": AGAIN},
        "container": {
            "image": IMAGE, "imagePullPolicy": "IfNotPresent", "command": [PYTHON, "-c"],
            "args": [code], "securityContext": RESTRICTED,
            "resources": {
                "requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"},
            },
        },
    } | more  # fmt: skip


def study_like(name, simulate, render, *, rows=2):
    row = {"parameters": [{"name": "row", "value": "{{inputs.parameters.row}}"}]}
    both = {"parameters": [*row["parameters"], {"name": "nth", "value": "{{item}}"}]}
    one = {"parameters": [{"name": "row", "value": "{{item}}"}]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": {"app.kubernetes.io/managed-by": "mdpipe", "mdpipe/study": "test"},
            "annotations": {"mdpipe/submission": name},
        },
        "spec": {
            "entrypoint": "main",
            "serviceAccountName": "mdpipe",
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "podMetadata": {
                "labels": {"app.kubernetes.io/managed-by": "mdpipe"},
                "annotations": {"mdpipe/pending-timeout-s": "10"},
            },
            "templates": [
                {"name": "main", "steps": [[
                    {"name": "group", "template": "group", "arguments": one,
                     "withSequence": {"count": str(rows), "format": "%05d"}},
                ]]},
                {"name": "group", "inputs": {"parameters": [{"name": "row"}]}, "steps": [
                    [{"name": "simulate", "template": "simulate", "arguments": both,
                      "withSequence": {"count": "1"}}],
                    [{"name": "render", "template": "render", "arguments": row}],
                ]},
                simulate,
                render,
            ],
        },
    }  # fmt: skip


@pytest.fixture
def run(door):
    made = []

    def create(simulate, render, **more):
        name = new_name("mdpipe-test")
        made.append(name)
        manifest = study_like(name, simulate, render, **more)
        door.create(manifest)
        return name, manifest

    yield create
    for name in made:
        door.kubernetes.delete(f"{door.path}/{name}")


def quick(name, *parameters, **more):
    return template(name, "print('first words')", *parameters, **more)


def words(door, name, step):
    workflow = door.workflow(name)
    return [
        line for pod in chosen_pods(door, workflow, step) for line in log_lines(door, workflow, pod)
    ]


def test_a_step_that_fails_once_is_told_with_class_and_cause_and_then_done(door, run):
    name, manifest = run(
        quick("simulate", "row", "nth"), template("render", DIES_ONCE, "row"), rows=1
    )
    out = io.StringIO()
    status = follow(door, name, out, pace=QUICK)
    assert status.exit_code == 0, out.getvalue()
    assert "failed attempt: render 0, attempt 1: network: no store" in out.getvalue()
    assert status.tally.steps["simulate"].done == status.tally.steps["render"].done == 1
    assert dict(status.tally.classes) == {"network": 1}
    assert "first words" in words(door, name, "render 0")
    assert not any("argo=true" in line for line in words(door, name, "simulate 0 #0"))
    with pytest.raises(ConflictError):
        door.create(manifest | {"metadata": manifest["metadata"] | {"annotations": {}}})
    assert door.create(manifest)["metadata"]["name"] == name  # as after a lost answer
    with pytest.raises(AbsentError, match=f"the nearest are .*{name}"):
        door.workflow(name[:-1])


@pytest.mark.parametrize(
    ("first", "cause"),
    [
        ('{"nodeSelector": {"mdpipe/none": "here"}}', "Unschedulable"),
        (
            '{"containers": [{"name": "main", "image": "localhost/none:1", '  # noqa: ISC004
            '"imagePullPolicy": "Never"}]}',
            "ErrImageNeverPull",
        ),
    ],
)
def test_a_pod_that_waits_in_vain_is_given_up_and_its_step_tried_elsewhere(first, cause, door, run):
    # braces that follow each other would end the expression
    spaced = first.replace("}}", "} }").replace("}]}", "}] }")
    patch = f"{{{{= retries == '0' ? '{spaced}' : '{{}}' }}}}"
    patience = {"limit": "3", "retryPolicy": "Always"}
    waits = quick("simulate", "row", "nth", podSpecPatch=patch, retryStrategy=patience)
    name, _ = run(waits, quick("render", "row"), rows=1)
    out = io.StringIO()
    status = follow(door, name, out, pace=QUICK, reaper=door)
    assert status.exit_code == 0, out.getvalue()
    assert f"ended {name}-simulate-" in out.getvalue()
    (seen,) = status.tally.attempts
    assert (seen.label, seen.number, seen.failure) == ("simulate 0 #0", 1, "out-of-stock")
    assert cause in seen.cause


def test_what_is_held_starts_nothing_and_goes_on_when_told(door, run):
    slow = template("simulate", "import time; time.sleep(5)", "row", "nth")
    name, _ = run(slow, quick("render", "row"), rows=1)
    _until(door, name, lambda s: s.tally.steps["simulate"].running)
    stop(door, name)
    # the engine counts a step as done only when it goes on
    _until(door, name, lambda s: not s.tally.steps["simulate"].running)
    time.sleep(5)
    held = read_status(door, name)
    assert held.suspended
    assert not held.over
    assert held.tally.steps["render"].done == held.tally.steps["render"].running == 0
    assert resume(door, name) == name
    assert follow(door, name, io.StringIO(), pace=QUICK).phase == "Succeeded"
    with pytest.raises(MdpipeError, match="has succeeded"):
        resume(door, name)


def test_what_is_ended_goes_on_as_a_new_workflow(door, run):
    slow = template("simulate", "import time; time.sleep(600)", "row", "nth")
    name, _ = run(slow, quick("render", "row"), rows=1)
    _until(door, name, lambda s: s.tally.steps["simulate"].running)
    stop(door, name, now=True)
    ended = follow(door, name, io.StringIO(), pace=QUICK)
    assert ended.exit_code == 75
    new = resume(door, name)
    try:
        assert new != name
        _until(door, new, lambda s: s.phase == "Running")
    finally:
        door.kubernetes.delete(f"{door.path}/{new}")


def test_products_on_the_shared_claim_are_fetched_through_a_pod(door, run, tmp_path):
    settings = ClusterSettings(storage="volume", image=IMAGE, namespace=NAMESPACE)
    claim = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/{settings.shared_claim}"
    try:
        door.kubernetes.get(claim)
    except AbsentError:
        pytest.skip(f"the namespace has no claim {settings.shared_claim}")
    code = (
        "import os, random; os.makedirs('/s/runs/{{workflow.name}}')\n"
        "film = open('/s/runs/{{workflow.name}}/film.mp4', 'wb')\n"
        "film.write(random.Random(1).randbytes(10_000_000)); film.close()"
    )
    writes = template("simulate", code, "row", "nth")
    writes["container"]["volumeMounts"] = [{"name": "s", "mountPath": "/s"}]
    writes["volumes"] = [
        {"name": "s", "persistentVolumeClaim": {"claimName": settings.shared_claim}}
    ]
    name, _ = run(writes, quick("render", "row"), rows=1)
    assert follow(door, name, io.StringIO(), pace=QUICK).phase == "Succeeded"
    marks = {"metadata": {"annotations": {"mdpipe/settings": noted(settings)}}}
    door.kubernetes.patch(f"{door.path}/{name}", marks)
    (film,) = fetch(door, name, tmp_path)
    import random

    assert film.read_bytes() == random.Random(1).randbytes(10_000_000)
    with claim_source(door, settings, "runs/of-nobody") as source:
        assert source.files(("film.mp4",)) == []


def _until(door, name, there, seconds=120):
    deadline = time.monotonic() + seconds
    while not there(status := read_status(door, name)):
        assert time.monotonic() < deadline, status.as_dict()
        time.sleep(1)
