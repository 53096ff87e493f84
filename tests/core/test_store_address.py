"""Addresses of stores, the variables that lead to them, and names in them."""

import json
import os

import pytest
from faulty_store import QUICK, URL, address, free_port

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.failures import InputError, StudyError, UsageError
from mdpipe.scenes.objects import Objects
from mdpipe.scenes.tree import Tree
from mdpipe.study import load_study
from mdpipe.user_settings import cluster_settings


def refusal():
    """Say in what one line the store of the tests is refused."""
    with pytest.raises(UsageError) as caught:
        Objects(URL)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["s3://", "s3:///x", "s3://b ucket/x", "file:///x", "s3://b/../x", "s3://b/x/.", "s3://b/x//y",
     "s3://../x", "s3://b/x\n", "s3://b/x?y", "bucket"],
)  # fmt: skip
def test_an_address_that_is_none_of_a_store_is_one_line_wherever_it_is_said(url, tmp_path):
    pytest.importorskip("obstore")
    variables = {"MDPIPE_SETTINGS": str(tmp_path / "none.toml"), "MDPIPE_CLUSTER_STORE": url}
    (tmp_path / "a.toml").write_text('name = "a"\n[[inputs]]\npath = "a.gro"\n')
    (tmp_path / "b.toml").write_text(
        f'name = "a"\n[[inputs]]\npath = "a.gro"\n[cache]\nstore = {json.dumps(url)}\n'
    )
    study = load_study(tmp_path / "a.toml")
    for error, place, use in (
        (UsageError, f"got {url!r}", lambda: Objects(url)),
        (UsageError, f"got {url!r}", lambda: Tree(url)),
        (UsageError, "[cluster] store", lambda: cluster_settings(study, variables)),
        (StudyError, "cache.store", lambda: load_study(tmp_path / "b.toml")),
    ):
        with pytest.raises(error) as caught:
            use()
        assert place in str(caught.value)
        assert "must be s3://bucket or s3://bucket/prefix" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://b", "s3://b/", "s3://b//x/", "s3://a.b-c/.x/_y/z..z"])
def test_an_address_of_a_bucket_is_taken(url, monkeypatch):
    pytest.importorskip("obstore")
    address(monkeypatch, 1)
    assert Objects(url).client.config["bucket"] == url.split("/")[2]
    assert ClusterSettings(store=url).store == url


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
@pytest.mark.parametrize(
    "endpoint",
    [
        "minio:9000", "http://", "http:/minio:9000", "ftp://minio", "HTTP://minio", "http://a b",
        "http://minio:9000\n", "http://minio:99999", "http://minio:", "http://me:word@minio",
        "http://256.1.1.1", "http://[:::]:9000", "http://[::1", "http://minio/a b",
    ],
)  # fmt: skip
def test_an_endpoint_that_is_none_is_one_line_that_names_the_variable(name, endpoint, monkeypatch):
    pytest.importorskip("obstore")
    address(monkeypatch, 1)
    monkeypatch.setenv(name, endpoint)
    said = refusal()
    assert f"{name} must be http:// or https://" in said
    assert "word" not in said


@pytest.mark.parametrize(
    "endpoint",
    ["http://minio:9000", "https://s3.example.org/", "http://[::1]:9000/a-b/c", "http://10.0.0.1"],
)
def test_an_endpoint_of_a_server_is_taken(endpoint, monkeypatch):
    pytest.importorskip("obstore")
    address(monkeypatch, 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    assert Objects(URL).client.config["endpoint"] == endpoint
    assert ClusterSettings(store_endpoint=endpoint).store_endpoint == endpoint


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_REGION", "us east", "must be of letters"),
        ("AWS_DEFAULT_REGION", "a:b", "must be of letters"),
        ("AWS_ACCESS_KEY_ID", "hidden\n", r"got '\n' as character 7 of 7"),
        ("AWS_SECRET_ACCESS_KEY", "hidden key", "got ' ' as character 7 of 10"),
        ("AWS_SESSION_TOKEN", "hidden\x7f", r"got '\x7f' as character 7 of 7"),
    ],
)
def test_a_region_or_a_key_that_cannot_be_sent_is_one_line_without_the_key(
    name, value, words, monkeypatch
):
    pytest.importorskip("obstore")
    address(monkeypatch, 1)
    monkeypatch.setenv(name, value)
    said = refusal()
    assert name in said
    assert words in said
    assert "hidden" not in said


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("AWS_CA_BUNDLE", "/no/such/file.pem", "'/no/such/file.pem' (No such file"),
        ("AWS_CA_BUNDLE", __file__, "(ValueError: No certificates found"),
        ("AWS_SKIP_SIGNATURE", "perhaps", "failed to parse"),
    ],
)
def test_what_the_client_of_a_store_refuses_is_one_line(name, value, words, monkeypatch):
    pytest.importorskip("obstore")
    address(monkeypatch, 1)
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        Objects(URL)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a\nb", "a//b", "../b", "\udcff"])
def test_a_name_that_a_store_cannot_have_is_one_line(name, monkeypatch):
    pytest.importorskip("obstore")
    address(monkeypatch, free_port())
    with pytest.raises(InputError, match="cannot have this name") as caught:
        Objects(URL, QUICK).put(name, b"1")
    assert "\n" not in str(caught.value)


def test_variables_that_are_empty_count_as_not_set(server, monkeypatch):
    address(monkeypatch, server[1])
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_CA_BUNDLE"):
        monkeypatch.setenv(name, "")
    Objects(URL, QUICK).put("empty", b"1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    assert "endpoint" not in Objects(URL).client.config
    assert "AWS_ENDPOINT_URL" not in os.environ
