"""Faults on a real cluster: each is told by its class, retried as the table says, and harmless.

Two groups of two scenes, eight pods. Whatever ends well has the products of the local engine. What
needs the machine of the cluster is done by commands that the environment names, such as
`MDPIPE_TEST_STOP_KUBELET` and `MDPIPE_TEST_START_KUBELET` (and `…CONTROLLER`, `…APISERVER`); the
rest that has to be set is said in `tests/support/drill_place.py`.
"""

import base64
import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter

import pytest
from drill_place import Place, need, need_place, run_here, write_study, write_table

from mdpipe.workflows.cluster.control import stop
from mdpipe.workflows.cluster.errors import AbsentError
from mdpipe.workflows.cluster.show import attempt_line, failure_line

pytestmark = pytest.mark.cluster

GROUPS = 2
COLUMNS = ("drill", "class", "what Argo showed", "what mdpipe said", "retries", "outcome")
PYTHON = "/opt/mdpipe/env/bin/python"
FOREIGN = bytes.fromhex("7f454c460201010000000000000000000200f300") + bytes(108)  # RISC-V


@pytest.fixture(scope="module")
def rows():
    found = []
    yield found
    write_table("faults", "Faults on a real cluster", COLUMNS, found)


@pytest.fixture(scope="module")
def local(tmp_path_factory, reference):
    need_place()
    folder = tmp_path_factory.mktemp("local")
    return run_here(write_study(folder, reference, groups=GROUPS), folder / "run", folder / "cache")


class Drill(Place):
    """One fault: a study that is submitted, followed and compared."""

    def __init__(self, folder, reference, rows, local):
        super().__init__()
        self.tmp, self.reference, self.rows, self.local = folder, reference, rows, local
        self.shared = None

    def study(self, **keys):
        """Write the study, its inputs on a claim of its own."""
        here, there = self.folder()
        keys = {"storage": "split", "store": self.new_store()} | keys
        if keys["storage"] == "volume":
            keys["store"] = ""  # whatever the environment says
        keys["inputs_claim"] = self.claim(there, writable=False)
        return write_study(here, self.reference, groups=GROUPS, more=self.settings(**keys))

    def told(self, name, prepared, status, **more):
        """Keep a row of the table; return the status."""
        nodes = list(self.door.nodes(self.door.workflow(prepared.name)))
        bad = [n for n in nodes if n["type"] == "Pod" and n.get("phase") in {"Failed", "Error"}]
        messages = Counter(" ".join((node.get("message") or "").split())[:240] for node in bad)
        seen = status.tally.latest(1)
        self.rows.append({
            "drill": name,
            "class": ", ".join(f"{n} {c}" for c, n in status.tally.classes.items()),
            "what Argo showed": "; ".join(text for text, _ in messages.most_common(2)),
            "what mdpipe said": "; ".join(
                [*map(attempt_line, seen), *map(failure_line, status.tally.final()[:1])]
            ),
            "retries": len(status.tally.attempts),
            "outcome": status.phase + (f", code {status.exit_code}" if status.exit_code else ""),
        } | more)  # fmt: skip
        return status

    def done(self, name, prepared, status, **more):
        """Keep the row of a workflow that has to end well, and compare its products."""
        self.told(name, prepared, status, **more)
        assert status.exit_code == 0, status.as_dict()
        number = len(list(self.tmp.iterdir()))
        assert self.products(prepared, self.tmp / f"products{number}", self.shared) == self.local
        self.rows[-1]["outcome"] += ", identical"


@pytest.fixture
def drill(tmp_path, reference, rows, local):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ARGO_SERVER", raising=False)
        found = Drill(tmp_path, reference, rows, local)
        yield found
        found.clear()


def first_attempt(template, command):
    """Make the first attempt of a template run another program."""

    def change(spec):
        (one,) = [t for t in spec["templates"] if t["name"] == template]
        own = one["container"]["command"]
        code = (
            f"import os, sys\nif sys.argv[1] == '0':\n    {command}\n"
            "os.execv(sys.argv[2], sys.argv[2:])"
        )
        one["container"]["command"] = [PYTHON, "-I", "-c", code, "{{retries}}", *own]

    return change


@pytest.mark.parametrize("seed", range(10))
def test_pods_deleted_at_random_change_nothing(drill, seed):
    chance = random.Random(seed)
    deleted = []

    def delete(_):
        # a pending pod that is deleted is made again as it was and counts as no attempt
        there = [p for p in drill.pods(name) if p["status"]["phase"] == "Running"]
        if there and len(deleted) < 4 and chance.random() < 0.5:
            pod = chance.choice(sorted(p["metadata"]["name"] for p in there))
            grace = {"gracePeriodSeconds": chance.choice([0, 5])}
            with contextlib.suppress(AbsentError):
                drill.door.kubernetes.delete(drill.path("pods", pod), grace)
                deleted.append(pod)

    prepared = drill.submit(drill.study())
    name = prepared.name
    status = drill.wait(name, delete)
    drill.done(f"pods deleted, run {seed}: {len(deleted)}", prepared, status)
    assert set(status.tally.classes) <= {"interrupted"}


@pytest.mark.parametrize(
    ("what", "away_s"), [("CONTROLLER", 15), ("KUBELET", 120), ("APISERVER", 20)]
)
def test_a_part_of_the_cluster_that_goes_away_and_comes_back_changes_nothing(drill, what, away_s):
    stops = need(f"MDPIPE_TEST_STOP_{what}", "a command that stops it")
    starts = need(f"MDPIPE_TEST_START_{what}", "a command that starts it again")
    prepared = drill.submit(drill.study())
    command = [sys.executable, "-m", "mdpipe.cli", "status", "--watch", prepared.name]
    watching = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    end = time.monotonic() + 300
    while not drill.look(prepared.name).tally.steps["simulate"].running:
        assert time.monotonic() < end, "no scene began"
        time.sleep(0.5)
    subprocess.run(stops, shell=True, check=True)
    time.sleep(away_s)
    subprocess.run(starts, shell=True, check=True)
    _, said = watching.communicate(timeout=900)
    assert watching.returncode == 0, said
    status = drill.wait(prepared.name)
    last = "; ".join(line for line in said.splitlines() if "answers again" in line)
    more = {"what mdpipe said": last} if last else {}
    drill.done(f"{what.lower()} away for {away_s} s", prepared, status, **more)


@pytest.mark.parametrize(
    ("name", "faults"),
    [
        ("store answers one of 12 requests with 500", {"error": 0.08}),
        ("store breaks one of 12 answers off", {"short": 0.08}),
        ("store changes a bit of one of 12 answers", {"flip": 0.08}),
        ("store answers half a second late", {"slow": 1.0}),
    ],
)
def test_a_store_that_answers_badly_changes_nothing(drill, name, faults):
    proxy = drill.proxy(seed=3, **faults)
    proxy.slow_s = 0.5
    prepared = drill.submit(
        drill.study(store_endpoint=proxy.url), repository=drill.repository(proxy.url)
    )
    status = drill.wait(prepared.name, limit_s=600)
    (fault,) = faults
    struck = sum(count for key, count in proxy.counts.items() if key.endswith(f" {fault}"))
    drill.done(f"{name} ({struck} of {proxy.counts['requests']})", prepared, status)
    assert struck


def test_a_store_that_is_away_for_a_while_is_waited_for(drill):
    proxy = drill.proxy(seed=3)
    prepared = drill.submit(
        drill.study(store_endpoint=proxy.url), repository=drill.repository(proxy.url)
    )
    begun = []

    def cut(status):
        if status.tally.steps["simulate"].running and not begun:
            begun.append(time.monotonic())
            proxy.probabilities["error"] = 1.0
        elif begun and time.monotonic() - begun[0] > 45:
            proxy.probabilities["error"] = 0.0

    drill.done("store away for 45 s", prepared, drill.wait(prepared.name, cut, limit_s=600))
    assert begun


def test_a_node_that_is_not_there_is_given_up_for_the_next_kind(drill):
    prepared = drill.submit(
        drill.study(node_selectors=[{"drill/none": "here"}, {}], pending_timeout_s=15)
    )
    status = drill.wait(prepared.name, limit_s=600)
    drill.done("no node of the first kind", prepared, status)
    assert set(status.tally.classes) == {"out-of-stock"}
    assert "Unschedulable" in status.tally.attempts[0].cause


def test_a_missing_image_is_told_and_tried_again_until_it_is_stopped(drill):
    prepared = drill.submit(drill.study(image="localhost/mdpipe:nowhere", pending_timeout_s=15))
    enough = []

    def end(status):
        if status.tally.attempts and not enough:
            enough.append(True)
            stop(drill.door, prepared.name, now=True)

    status = drill.told("missing image", prepared, drill.wait(prepared.name, end, limit_s=300))
    assert status.exit_code == 75
    first = status.tally.attempts[0]
    assert first.failure == "out-of-stock"
    assert "Image" in first.cause


def test_a_program_for_another_processor_is_tried_on_the_next_kind_of_node(drill):
    name = drill.repository("http://none:1")["configMap"]  # any ConfigMap of the drill will do
    drill.door.kubernetes.patch(
        drill.path("configmaps", name),
        {"binaryData": {"python": base64.b64encode(FOREIGN).decode()}},
    )

    def change(spec):
        (one,) = [t for t in spec["templates"] if t["name"] == "simulate"]
        own = one["container"]["command"]
        one["container"]["command"] = [
            f"{{{{=retries == '0' ? '/foreign/python' : '{own[0]}'}}}}",
            *own[1:],
        ]
        one["container"]["volumeMounts"].append({"name": "foreign", "mountPath": "/foreign"})
        one["volumes"].append({"name": "foreign", "configMap": {"name": name, "defaultMode": 493}})

    prepared = drill.submit(drill.study(), change=change)
    status = drill.wait(prepared.name)
    drill.done("program of another processor", prepared, status)
    assert set(status.tally.classes) == {"incompatible-image"}


@pytest.mark.parametrize(
    ("name", "command", "failure"),
    [
        ("instruction that is not there", "os.kill(os.getpid(), 4)", "incompatible-image"),
        ("kernel ends the program for its memory", "b'x' * (4 << 30)", "out-of-memory"),
    ],
)
def test_a_program_that_is_ended_is_tried_again(drill, name, command, failure):
    prepared = drill.submit(drill.study(), change=first_attempt("simulate", command))
    status = drill.wait(prepared.name)
    drill.done(name, prepared, status)
    assert dict(status.tally.classes) == {failure: 2 * GROUPS}


def test_a_bad_study_stops_at_once_with_the_key_in_the_message(drill):
    def change(spec):
        (text,) = spec["arguments"]["parameters"]
        text["value"] = text["value"].replace("samples = 1", "samples = 99")

    prepared = drill.submit(drill.study(), change=change)
    status = drill.told("bad study", prepared, drill.wait(prepared.name))
    assert status.exit_code == 78
    (seen,) = status.tally.attempts
    assert "render.samples" in seen.cause


def test_a_missing_input_stops_at_once_with_its_name_in_the_message(drill):
    study = drill.study()
    (study.parent / "inputs" / "water-01.gro").unlink()
    prepared = drill.submit(study)
    status = drill.told("missing input", prepared, drill.wait(prepared.name))
    assert status.exit_code == 66
    (seen,) = status.tally.attempts
    assert "water-01.gro" in seen.cause


def test_a_full_volume_is_told_and_the_next_submission_goes_on(drill):
    here, there = drill.folder()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k,mode=777", "tmpfs", here]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small volume needs the right to mount")
    drill._ends.callback(subprocess.run, ["umount", "-l", here], check=False)
    shared = drill.claim(there, writable=True)
    study = drill.study(storage="volume", shared_claim=shared)
    prepared = drill.submit(study)
    status = drill.told("full volume", prepared, drill.wait(prepared.name))
    assert set(status.tally.classes) == {"disk-full"}
    assert status.exit_code == 75
    subprocess.run(["mount", "-o", "remount,size=200m", here], check=True)
    drill.shared = here
    again = drill.submit(study)
    drill.done("the same volume, made larger", again, drill.wait(again.name))
