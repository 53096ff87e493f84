"""The commands for workflows on a cluster, from the words to the requests."""

import io
import json

import pytest
from click.testing import CliRunner
from cluster_api import NAMESPACE, PODS, WORKFLOWS, listed, serving

from mdpipe.cli.cluster import logs, resume, status, stop, submit
from mdpipe.failures import MdpipeError
from mdpipe.workflows.cluster import api
from mdpipe.workflows.cluster.door import open_kubernetes
from mdpipe.workflows.cluster.follow import Events, Lines, Pace, follow
from mdpipe.workflows.cluster.names import settings_of
from mdpipe.workflows.cluster.status import read_status

STUDY = """
name = "Small_Water"
[[inputs]]
path = "inputs/*.gro"
[cluster]
store = "s3://bucket/lab"
storage = "artifacts"
"""


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    monkeypatch.setattr(api.time, "sleep", lambda _: None)
    monkeypatch.setenv("MDPIPE_SETTINGS", str(tmp_path / "none.toml"))
    with serving(monkeypatch, tmp_path) as server:
        yield server


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text(STUDY)
    return path


def run(command, *words):
    return CliRunner().invoke(command, [str(word) for word in words])


def node(name, kind, template, phase, **more):
    return {
        "id": name, "name": name, "type": kind, "templateName": template, "phase": phase,
        "startedAt": "2026-01-01T00:00:00Z", "finishedAt": "2026-01-01T00:01:00Z",
    } | more  # fmt: skip


def workflow(*nodes, phase="Running", spec=None, rows=None, **metadata):
    outputs = {}
    if rows is not None:
        outputs = {"parameters": [{"name": "rows", "value": str(rows)},
                                  {"name": "bounds", "value": json.dumps([rows])}]}  # fmt: skip
    return {
        "metadata": {"name": "water-1", "namespace": NAMESPACE, "uid": "u"} | metadata,
        "spec": spec or {"entrypoint": "main"},
        "status": {
            "phase": phase, "nodes": {one["id"]: one for one in nodes},
            "startedAt": "2026-01-01T00:00:00Z", "outputs": outputs,
        },
    }  # fmt: skip


def test_submit_creates_one_workflow_that_knows_its_settings_and_says_its_name(cluster, study):
    cluster.answers[f"POST {WORKFLOWS}"] = lambda _, body: (201, body)
    result = run(submit, study)
    assert result.exit_code == 0, result.output
    (made,) = [body for verb, _, _, body in cluster.asked if verb == "POST"]
    name = made["metadata"]["name"]
    assert name.startswith("small-water-")
    assert result.stdout.strip() == name
    assert settings_of(made).store == "s3://bucket/lab"
    assert settings_of(made).storage == "artifacts"
    assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "mdpipe"
    assert "secret" not in json.dumps(made["metadata"]["annotations"]).replace("store_secret", "")


def test_a_dry_run_is_checked_by_the_server_and_keeps_nothing(cluster, study):
    cluster.answers[f"POST {WORKFLOWS}"] = lambda _, body: (201, body)
    result = run(submit, study, "--dry-run", "--name", "mine", "--json")
    assert result.exit_code == 0, result.output
    assert [query for verb, _, query, _ in cluster.asked if verb == "POST"] == [{"dryRun": "All"}]
    assert json.loads(result.stdout)["name"] == "mine"


def test_two_submissions_never_share_a_name(cluster, study):
    cluster.answers[f"POST {WORKFLOWS}"] = lambda _, body: (201, body)
    names = {run(submit, study).stdout.strip() for _ in range(5)}
    assert len(names) == 5


def test_inputs_of_a_claim_cannot_be_uploaded_and_it_says_where_they_belong(cluster, study):
    study.write_text(STUDY.replace("artifacts", "split"))
    result = run(submit, study, "--upload-inputs")
    assert isinstance(result.exception, MdpipeError)
    assert "reads inputs from the claim mdpipe-inputs" in str(result.exception)
    assert cluster.asked == []


@pytest.mark.parametrize("profile", ["split", "volume"])
def test_a_claim_is_named_with_what_fills_it_before_anything_is_asked(profile, cluster, study):
    keys = f'{profile}"\ninputs_path = "ice"\ninputs_claim = "big'
    study.write_text(STUDY.replace("artifacts", keys))
    result = run(submit, study, "--upload-inputs")
    assert isinstance(result.exception, MdpipeError)
    assert "claim big, folder ice" in str(result.exception)
    assert "and submit without --upload-inputs" in str(result.exception)
    assert cluster.asked == []


def test_a_plan_that_was_made_here_tells_of_a_workflow_that_would_break(
    cluster, study, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    cluster.answers[f"POST {WORKFLOWS}"] = lambda _, body: (201, body)
    assert "the number of groups is known after preprocess" in run(submit, study).stderr
    plan = tmp_path / "Small_Water-run" / "plan.jsonl"
    plan.parent.mkdir()
    plan.write_text("{}\n" * 12)
    assert "12 groups, 50 pods" in run(submit, study, "--json").stderr
    made = len(cluster.calls("POST"))
    plan.write_text("{}\n" * 20_000)
    result = run(submit, study)
    assert isinstance(result.exception, MdpipeError)
    assert "20000 groups make" in str(result.exception)
    assert len(cluster.calls("POST")) == made == 2


def test_status_is_one_request(cluster):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow(phase="Succeeded")
    result = run(status, "water-1")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("water-1: Succeeded")
    assert len(cluster.asked) == 1
    assert json.loads(run(status, "water-1", "--json").stdout)["phase"] == "Succeeded"


def test_status_without_a_name_lists_the_workflows(cluster):
    cluster.answers[f"GET {WORKFLOWS}"] = listed("b", "a")
    assert run(status).stdout.split() == ["a", "b"]


def test_stop_holds_and_resume_goes_on(cluster):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow()
    cluster.answers[f"PATCH {WORKFLOWS}/water-1"] = {}
    assert run(stop, "water-1").exit_code == 0
    assert run(stop, "water-1", "--now").exit_code == 0
    assert run(resume, "water-1").stdout.strip() == "water-1"
    patches = [body["spec"] for verb, _, _, body in cluster.asked if verb == "PATCH"]
    assert patches == [{"suspend": True}, {"shutdown": "Terminate"}, {"suspend": None}]


def test_children_are_held_before_their_parent_can_make_more_of_them(cluster):
    parent = workflow(spec={"templates": [{"name": "shard"}]})
    child = workflow(name="water-1-0")
    for one in (parent, child, workflow(name="water-1-1", phase="Succeeded")):
        cluster.answers[f"GET {WORKFLOWS}/{one['metadata']['name']}"] = one
        cluster.answers[f"PATCH {WORKFLOWS}/{one['metadata']['name']}"] = {}
    cluster.answers[f"GET {WORKFLOWS}"] = listed("water-1", "water-1-0", "water-1-1", "ice-1-0")
    assert run(stop, "water-1").exit_code == 0
    assert [path.rpartition("/")[2] for path in cluster.calls("PATCH")] == ["water-1", "water-1-0"]


def test_a_failed_workflow_goes_on_as_a_new_one_of_the_same_study(cluster):
    old = workflow(
        phase="Failed",
        spec={"entrypoint": "main", "shutdown": "Terminate"},
        name="small-water-1a2b3",
        labels={"mdpipe/study": "w", "workflows.argoproj.io/phase": "Failed"},
        annotations={"mdpipe/settings": "{}", "mdpipe/reaped": "{}"},
    )
    cluster.answers[f"GET {WORKFLOWS}/small-water-1a2b3"] = old
    cluster.answers[f"POST {WORKFLOWS}"] = lambda _, body: (201, body)
    result = run(resume, "small-water-1a2b3")
    made = next(body for verb, _, _, body in cluster.asked if verb == "POST")
    assert result.stdout.strip() == made["metadata"]["name"] != "small-water-1a2b3"
    assert made["metadata"]["name"].startswith("small-water-")
    assert made["metadata"]["labels"] == {"mdpipe/study": "w"}
    assert set(made["metadata"]["annotations"]) == {"mdpipe/settings", "mdpipe/submission"}
    assert made["spec"] == {"entrypoint": "main"}


def test_what_has_succeeded_has_nothing_to_go_on_with(cluster):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow(phase="Succeeded")
    for command in (stop, resume):
        assert isinstance(run(command, "water-1").exception, MdpipeError)


def failed_render(row=3):
    base = f"water-1[1].chunk(0:0)[0].group({row}:{row:05d})[1].render"
    said = "main: Error (exit code 66): bad-input: no frame; remedy: mend"
    more = {"outputs": {"exitCode": "66"}, "message": said}
    return node(f"{base}(0)", "Pod", "render", "Failed", **more)


def test_logs_of_what_failed_are_printed_and_pods_that_have_gone_say_so(cluster):
    one, two = failed_render(3), failed_render(4)
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow(one, two)
    from mdpipe.workflows.cluster.names import pod_name

    path = f"{PODS}/{pod_name('water-1', one)}/log"
    cluster.answers[f"GET {path}"] = "first line\nlast line é"
    result = run(logs, "water-1")
    assert result.exit_code == 0, result.output
    assert "first line\nlast line é\n" in result.stdout
    assert "(the pod has gone, and its log with it; its node says: main: Error" in result.stdout
    only = run(logs, "water-1", "render 3")
    assert "the pod has gone" not in only.stdout
    for words in ("render-3", "render/00003", pod_name("water-1", one)):
        assert run(logs, "water-1", words).stdout == only.stdout


@pytest.mark.parametrize("step", ["render 9", "simulate", "nonsense"])
def test_a_step_that_is_not_there_is_told_with_how_steps_are_named(step, cluster):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow(failed_render())
    result = run(logs, "water-1", step)
    assert isinstance(result.exception, MdpipeError)
    assert f"no such pod: {step}; write a kind (preprocess, simulate" in str(result.exception)


def test_watching_tells_each_event_once_and_ends_with_the_class_of_the_failure(cluster):
    group = "water-1[1].chunk(0:0)[0].group(0:00000)"
    running = workflow(node(group, "Steps", "group", "Running"), rows=2)
    done = workflow(node(group, "Steps", "group", "Succeeded"), failed_render(1), rows=2)
    over = node("water-1[1].chunk(0:0)[0].group(1:00001)[1].render", "Retry", "render", "Failed")
    ended = workflow(
        node(group, "Steps", "group", "Succeeded"), failed_render(1), over, phase="Failed", rows=2
    )
    down = (500, "etcdserver: request timed out")
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = [
        workflow(), running, running, *[down] * api.ATTEMPTS, done, done, ended,
    ]  # fmt: skip
    out = io.StringIO()
    seen = follow(
        open_kubernetes(NAMESPACE), "water-1", out, pace=Pace(poll_s=0), sleep=lambda _: None
    )
    lines = out.getvalue().splitlines()
    assert [line.partition(",")[0] for line in lines[:4]] == [
        "mdpipe: water-1: Running",
        "mdpipe: planned: 2 scenes to simulate",
        lines[2].partition(",")[0],
        "mdpipe: failed attempt: render 1",
    ]
    assert "the cluster answers again after" in lines[2]
    assert sum("1/2 groups done" in line for line in lines) == 1
    assert any("failed: render 1: bad-input: no frame; remedy: mend" in line for line in lines)
    assert seen.exit_code == 66


def test_watching_gives_up_only_after_long_silence(cluster):
    cluster.answers[f"GET {WORKFLOWS}/water-1"] = (500, "down")
    with pytest.raises(MdpipeError, match="answers 500"):
        follow(open_kubernetes(NAMESPACE), "water-1", io.StringIO(),
               pace=Pace(poll_s=0, patience_s=-1), sleep=lambda _: None)  # fmt: skip


def test_of_many_groups_only_each_twentieth_part_is_told(cluster):
    lines = []
    events = Events()
    for done in range(101):
        groups = [node(f"w.group({n}:{n:05d})", "Steps", "group", "Succeeded") for n in range(done)]
        cluster.answers[f"GET {WORKFLOWS}/water-1"] = workflow(*groups, rows=100)
        lines += events.of(read_status(open_kubernetes(NAMESPACE), "water-1"))
    told = [line for line in lines if "groups done" in line]
    assert len(told) == 20
    assert told[-1].startswith("100/100")


def test_a_terminal_sees_a_line_that_changes_and_a_file_does_not():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    for stream, shown in ((Terminal(), True), (io.StringIO(), False)):
        lines = Lines(stream)
        lines.show("now")
        lines.say("event")
        assert ("\x1b[2Know" in stream.getvalue()) is shown
        assert stream.getvalue().endswith("mdpipe: event\n")
