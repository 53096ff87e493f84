"""Inputs go into a real store once, products come out of it whole."""

import base64
import os

import pytest
from cluster_api import NAMESPACE, WORKFLOWS, problem, serving
from faulty_store import ACCESS, BUCKET, SECRET, address

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import BusyError, InputError, MdpipeError, UsageError
from mdpipe.products import file_digest
from mdpipe.scenes.objects import Objects
from mdpipe.study import study_from_table
from mdpipe.workflows.cluster.claim import ClaimSource, reader_pod
from mdpipe.workflows.cluster.door import open_kubernetes
from mdpipe.workflows.cluster.fetch import PIECE, PRODUCTS, Remote, StoreSource, fetch, fetch_from
from mdpipe.workflows.cluster.names import noted
from mdpipe.workflows.cluster.store import open_store, same_content
from mdpipe.workflows.cluster.upload import upload_inputs

PREFIX = "lab"
SETTINGS = ClusterSettings(storage="artifacts", store=f"s3://{BUCKET}/{PREFIX}")


@pytest.fixture
def store(served, monkeypatch):
    address(monkeypatch, served[1])
    return Objects(SETTINGS.store)


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "study"
    (folder / "inputs").mkdir(parents=True)
    (folder / "inputs" / "a.gro").write_bytes(b"small")
    (folder / "inputs" / "b.xtc").write_bytes(os.urandom(12_000_000))
    table = {"name": "water", "inputs": [{"path": "inputs/*"}]}
    return study_from_table(table, folder / "study.toml")


def test_inputs_are_sent_once_and_again_only_where_they_differ(store, study, served):
    settings = SETTINGS.model_copy(update={"inputs_key": "inputs-of-one"})
    first = upload_inputs(study, settings, store)
    assert (first.sent, first.there) == (2, 0)
    there = served[0] / PREFIX / "inputs-of-one" / "inputs"
    for name in ("a.gro", "b.xtc"):
        assert file_digest(there / name) == file_digest(study.folder / "inputs" / name)
    again = upload_inputs(study, settings, store)
    assert (again.sent, again.sent_bytes, again.there) == (0, 0, 2)
    (study.folder / "inputs" / "a.gro").write_bytes(b"SMALL")
    changed = upload_inputs(study, settings, store)
    assert (changed.sent, changed.sent_bytes) == (1, 5)


def test_a_dry_run_sends_nothing(store, study, served):
    settings = SETTINGS.model_copy(update={"inputs_key": "inputs-of-none"})
    assert upload_inputs(study, settings, store, dry_run=True).sent == 2
    assert not (served[0] / PREFIX / "inputs-of-none").exists()


def test_inputs_that_have_no_name_in_the_store_are_told(store, study, tmp_path):
    (tmp_path / "far.gro").write_bytes(b"x")
    where = study.folder / "study.toml"
    far = study_from_table({"name": "w", "inputs": [{"path": "../far.gro"}]}, where)
    with pytest.raises(InputError, match=r"\.\./far\.gro: lies outside the study's folder"):
        upload_inputs(far, SETTINGS, store)
    none = study_from_table({"name": "w", "inputs": [{"path": "nothing/*"}]}, where)
    with pytest.raises(InputError, match="none of the study's inputs is there"):
        upload_inputs(none, SETTINGS, store)


def fill(store, name, **files):
    for file, data in files.items():
        store.put(f"runs/{name}/{file.replace('_', '.')}", data)


def test_products_are_fetched_whole_and_only_once(store, tmp_path):
    film = os.urandom(PIECE + 1000)
    fill(store, "one", film_mp4=film, report_html=b"<html>")
    said = []
    files = fetch_from(StoreSource(store, "runs/one"), "one", tmp_path / "to", said.append)
    assert [path.name for path in files] == ["film.mp4", "report.html"]
    assert (tmp_path / "to" / "film.mp4").read_bytes() == film
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == ["film.mp4", "report.html"]
    said.clear()
    fetch_from(StoreSource(store, "runs/one"), "one", tmp_path / "to", said.append)
    assert all(line.endswith("was there") for line in said)


def test_a_changed_file_is_fetched_again_and_a_half_fetched_one_goes_on(store, tmp_path):
    film = os.urandom(2 * PIECE + 77)
    fill(store, "two", film_mp4=film)
    (tmp_path / "film.mp4").write_bytes(b"another")

    class Breaking(StoreSource):
        read_pieces = 0

        def read(self, remote, target, begin, end):
            type(self).read_pieces += 1
            if self.read_pieces == 2:
                raise BusyError("gone")
            super().read(remote, target, begin, end)

    with pytest.raises(BusyError):
        fetch_from(Breaking(store, "runs/two"), "two", tmp_path)
    assert (tmp_path / "film.mp4").read_bytes() == b"another"
    fetch_from(Breaking(store, "runs/two"), "two", tmp_path)
    assert (tmp_path / "film.mp4").read_bytes() == film
    assert Breaking.read_pieces == 4  # the first piece was not read twice
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["film.mp4"]


def test_damage_on_the_way_is_never_given_a_name(store, tmp_path):
    fill(store, "three", film_mp4=os.urandom(200_000))

    class Damaging(StoreSource):
        def read(self, remote, target, begin, end):
            super().read(remote, target, begin, end)
            os.pwrite(target, bytes([os.pread(target, 1, 1000)[0] ^ 1]), 1000)

    with pytest.raises(BusyError, match="what came is not what"):
        fetch_from(Damaging(store, "runs/three"), "three", tmp_path)
    assert list(tmp_path.iterdir()) == []
    fetch_from(StoreSource(store, "runs/three"), "three", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]


def test_a_run_without_products_says_how_far_it_is_to_be_asked(store, tmp_path):
    with pytest.raises(InputError, match="`mdpipe status none` says how far it is"):
        fetch_from(StoreSource(store, "runs/none"), "none", tmp_path)


def test_content_is_compared_with_the_tags_of_the_store(store, tmp_path):
    path = tmp_path / "x"
    for size in (0, 10, 11_000_000):
        path.write_bytes(os.urandom(size))
        store.put("tags/x", path)
        listed = store.find("tags/x")
        assert same_content(path, listed) is True
        assert same_content(path, listed._replace(tag='"of-another-kind"')) is None
        path.write_bytes(os.urandom(size) + b"y")
        assert same_content(path, listed) is False
    path.write_bytes(b"0123456789")
    store.put("tags/x", path)
    path.write_bytes(b"9876543210")
    assert same_content(path, store.find("tags/x")) is False


@pytest.fixture
def cluster(monkeypatch, tmp_path):
    folder = tmp_path / "kube"
    folder.mkdir()
    with serving(monkeypatch, folder) as server:
        yield server


def workflow(settings):
    return {"metadata": {"name": "w", "annotations": {"mdpipe/settings": noted(settings)}}}


@pytest.mark.parametrize("empty", [False, True])
def test_a_workflow_says_where_its_products_are_and_its_secret_how_to_reach_them(
    served, cluster, tmp_path, monkeypatch, empty
):
    address(monkeypatch, served[1])
    fill(Objects(SETTINGS.store), "w", summary_csv=b"a,b\n")
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        # set and not deleted at the end: what the secret says must not stay in the environment
        monkeypatch.setenv(name, "")
        if not empty:
            monkeypatch.delenv(name)
    cluster.answers[f"GET {WORKFLOWS}/w"] = workflow(SETTINGS)
    secret = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET,
              "AWS_ENDPOINT_URL": endpoint, "OTHER": "x"}  # fmt: skip
    data = {key: base64.b64encode(value.encode()).decode() for key, value in secret.items()}
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/mdpipe-store"
    cluster.answers[f"GET {path}"] = {"data": data}
    (file,) = fetch(open_kubernetes(NAMESPACE), "w", tmp_path / "to")
    assert file.read_bytes() == b"a,b\n"
    assert "OTHER" not in os.environ


def test_without_keys_and_the_right_to_read_them_it_says_what_to_set(cluster, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/mdpipe-store"
    said = 'secrets "mdpipe-store" is forbidden: User "ann" cannot get resource "secrets" in'
    cluster.answers[f"GET {path}"] = (403, problem(said))
    with pytest.raises(UsageError) as error:
        open_store(SETTINGS, open_kubernetes(NAMESPACE))
    assert "ann may not get secrets" in str(error.value)
    assert "or set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL" in str(
        error.value
    )


@pytest.mark.parametrize(
    ("annotations", "match"),
    [
        ({}, "storage profile split has no store; set"),
        ({"mdpipe/settings": noted(ClusterSettings(storage="split"))}, "has no store"),
    ],
)
def test_a_workflow_without_a_place_for_data_is_told(
    annotations, match, cluster, tmp_path, monkeypatch
):
    monkeypatch.setenv("MDPIPE_SETTINGS", str(tmp_path / "none.toml"))
    cluster.answers[f"GET {WORKFLOWS}/w"] = {"metadata": {"name": "w", "annotations": annotations}}
    with pytest.raises(MdpipeError, match=match):
        fetch(open_kubernetes(NAMESPACE), "w", tmp_path)


def test_the_pod_that_reads_a_claim_is_one_that_pod_security_restricted_admits():
    spec = reader_pod("p", ClusterSettings(storage="volume"))["spec"]
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not spec["automountServiceAccountToken"]
    assert container["volumeMounts"][0]["readOnly"]


def test_programs_of_the_reading_pod_list_and_read_what_is_there(tmp_path, monkeypatch):
    import subprocess
    import sys

    run = tmp_path / "run"
    run.mkdir()
    film = os.urandom(PIECE + 5)
    (run / "film.mp4").write_bytes(film)
    source = ClaimSource(None, "pod", str(run))

    def here(program, *words):
        return subprocess.run(
            [sys.executable, "-I", "-c", program, *words],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    monkeypatch.setattr(source, "_execute", here)
    (remote,) = source.files(PRODUCTS)
    assert remote == Remote("film.mp4", len(film), remote.sha256, remote.sha256)
    fetch_from(source, "w", tmp_path / "to")
    assert (tmp_path / "to" / "film.mp4").read_bytes() == film
