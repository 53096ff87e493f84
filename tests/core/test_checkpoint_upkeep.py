"""Checkpoints of scenes that were never finished go from a real store, those under way stay."""

import hashlib
import json
import os
import time

import pytest
from click.testing import CliRunner
from faulty_store import BUCKET, address, free_port

from mdpipe.cli.cache import cache as command
from mdpipe.failures import MdpipeError, UsageError
from mdpipe.scenes import checkpoint_upkeep
from mdpipe.scenes.checkpoint_store import CheckpointStore
from mdpipe.scenes.checkpoint_upkeep import prune
from mdpipe.scenes.objects import Objects

DAY_S = 86400.0


@pytest.fixture
def url(served, monkeypatch, request):
    address(monkeypatch, served[1])
    for name in ("MDPIPE_CHECKPOINTS", "MDPIPE_STORE", "MDPIPE_CLUSTER_STORE"):
        monkeypatch.delenv(name, raising=False)
    return f"s3://{BUCKET}/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"


def key_of(name):
    return hashlib.sha256(name.encode()).hexdigest()


def save(url, name, step=1):
    store = CheckpointStore(url, key_of(name))
    store.look()
    store.save(step, {"c.npz": b"state %d" % step}, {})


def age(served, url, name, days):
    """Let all that a scene has left be written so many days ago."""
    then = time.time() - days * DAY_S
    below = served[0] / url.removeprefix(f"s3://{BUCKET}/") / "checkpoints" / key_of(name)
    for path in below.iterdir():
        os.utime(path, (then, then))


def there(url):
    return {path.split("/")[1] for path in Objects(url).list("checkpoints")}


def test_what_was_last_written_long_ago_goes_whole_and_the_rest_stays(served, url):
    for name, days in (("old", 9), ("older", 30), ("young", 3), ("running", 40)):
        save(url, name)
        age(served, url, name, days)
    save(url, "running", step=2)  # its first objects are old, its last one is not
    objects = Objects(url)
    objects.put("checkpoints/notes.txt", b"of somebody else")
    objects.put(f"scenes/default/{key_of('old')[:2]}/{key_of('old')}/entry.json", b"{}")
    would = prune(objects, 7 * DAY_S, dry_run=True)
    assert [left.key for left in would] == [key_of("older"), key_of("old")]
    assert len(there(url)) == 5
    gone = prune(objects, 7 * DAY_S)
    assert [(one.key, one.objects) for one in gone] == [(one.key, one.objects) for one in would]
    assert all(left.objects == 2 and left.bytes > 0 for left in gone)
    assert there(url) == {key_of("young"), key_of("running"), "notes.txt"}
    assert len(objects.list("scenes")) == 1
    assert prune(objects, 7 * DAY_S) == []


def test_a_scene_that_is_begun_again_meanwhile_keeps_its_checkpoint(served, url):
    save(url, "again")
    age(served, url, "again", 9)
    objects = Objects(url)
    first = objects.list("checkpoints")
    save(url, "again", step=2)
    answers = iter([first, {}])

    class Late(Objects):
        def list(self, prefix):
            return next(answers) if prefix in {"checkpoints", checkpoint_upkeep.ASIDE} else (
                super().list(prefix)
            )  # fmt: skip

    assert prune(Late(url), 7 * DAY_S) == []
    assert CheckpointStore(url, key_of("again")).look() == 2


def test_damaged_ones_that_were_set_aside_go_too(url):
    save(url, "damaged")
    store = CheckpointStore(url, key_of("damaged"))
    store.set_aside("a test")
    objects = Objects(url)
    assert prune(objects, DAY_S) == []
    (gone,) = prune(objects, DAY_S, now=time.time() + 2 * DAY_S)
    assert (gone.key, gone.prefix[:22]) == (key_of("damaged"), "quarantine/checkpoints")
    assert objects.list("quarantine") == {}


def test_the_command_takes_the_store_of_a_study_or_of_the_environment(
    served, url, tmp_path, monkeypatch
):
    save(url, "old")
    age(served, url, "old", 9)
    study = study_with(tmp_path, monkeypatch, f'store = "{url}"')

    def run(*words):
        return CliRunner().invoke(command, ["prune", *map(str, words)])

    said = run("--study", study, "--dry-run")
    assert said.exit_code == 0, said.output
    assert f"checkpoints/{key_of('old')}: 0.00 MB, 9.0 days old" in said.stderr
    assert "checkpoints of 1 scenes, 0.0 MB would go" in said.stderr
    young = run("--study", study, "--older-than", 10, "--json")
    assert json.loads(young.stdout) == {"rows": []}
    assert isinstance(run().exception, UsageError)
    monkeypatch.setenv("MDPIPE_CHECKPOINTS", url)
    (row,) = json.loads(run("--json").stdout)["rows"]
    assert (row["key"], row["objects"]) == (key_of("old"), 2)
    assert there(url) == set()
    assert run("--older-than", 0.01).exit_code == 2  # a scene under way may write less often


def study_with(tmp_path, monkeypatch, *lines):
    monkeypatch.setenv("MDPIPE_SETTINGS", str(tmp_path / "none.toml"))
    study = tmp_path / "study.toml"
    study.write_text("\n".join(['name = "w"\n[[inputs]]\npath = "x.gro"\n[cluster]', *lines]))
    return study


def test_a_study_without_a_store_does_not_mean_that_of_the_environment(
    served, url, tmp_path, monkeypatch
):
    save(url, "of-others")
    age(served, url, "of-others", 9)
    monkeypatch.setenv("MDPIPE_CHECKPOINTS", url)
    study = study_with(tmp_path, monkeypatch, 'storage = "volume"')
    result = CliRunner().invoke(command, ["prune", "--study", str(study)])
    assert isinstance(result.exception, UsageError)
    assert f"{study}: its [cluster] has no store" in str(result.exception)
    assert there(url) == {key_of("of-others")}


def test_the_store_of_a_study_is_where_its_endpoint_is(served, url, tmp_path, monkeypatch):
    save(url, "old")
    age(served, url, "old", 9)
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    endpoint = f'store_endpoint = "http://127.0.0.1:{served[1]}"'
    study = study_with(tmp_path, monkeypatch, f'store = "{url}"', endpoint)
    result = CliRunner().invoke(command, ["prune", "--study", str(study), "--json"])
    assert [row["key"] for row in json.loads(result.stdout)["rows"]] == [key_of("old")]
    assert there(url) == set()


def test_a_store_that_does_not_answer_is_told(url, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    result = CliRunner().invoke(command, ["prune", "--store", url])
    assert isinstance(result.exception, MdpipeError)
    assert "try again, or check AWS_ENDPOINT_URL" in str(result.exception)
