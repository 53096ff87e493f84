"""Files below a prefix of a store: a real S3 server, alone and behind a proxy."""

import random
import threading

import obstore
import pytest
from faulty_store import BUCKET, Proxy, address, free_port

from mdpipe.failures import BusyError, InputError
from mdpipe.scenes import tree as tree_module
from mdpipe.scenes.objects import Patience
from mdpipe.scenes.tree import Tree

URL = f"s3://{BUCKET}/runs"
QUICK = Patience(attempts=8, first_delay_s=0.01, silence_s=0.6, rest_s=0.2)


@pytest.fixture
def tree(request):
    request.getfixturevalue("server")
    return Tree(f"{URL}/{request.node.name[:40].replace('[', '-').strip('-')}", QUICK)


def fill(folder, sizes):
    for name, size in sizes.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(random.Random(name).randbytes(size))
    return {name: (folder / name).read_bytes() for name in sizes}


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


SIZES = {"plan.jsonl": 200, "groups/a/start.npz": 70_000, "empty": 0, "groups/ab/x": 5000}


def test_what_was_pushed_comes_back_with_its_times(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(tree_module, "PIECE", 4096)
    made = fill(tmp_path / "a", SIZES)
    assert tree.push(tmp_path / "a", SIZES) == 75_200
    listed = tree.list()
    assert {name: row.size for name, row in listed.items()} == SIZES
    assert set(tree.list("groups/a")) == {"groups/a/start.npz"}, "no prefix of another name"
    assert tree.pull(listed, tmp_path / "b") == 75_200
    assert contents(tmp_path / "b") == made
    for name, row in listed.items():
        assert (tmp_path / "b" / name).stat().st_mtime_ns == row.time_ns
        assert tree.find(name) == row
    assert tree.find("absent") is None


def test_a_large_file_comes_in_pieces_that_are_asked_for_at_once(
    tree, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(tree_module, "PIECE", 100_000)
    made = fill(tmp_path / "a", {"large": 1_234_567})
    tree.push(tmp_path / "a", made)
    proxy = Proxy(server[1])
    address(monkeypatch, proxy.port)
    try:
        other = Tree(tree.url, QUICK)
        other.pull(other.list(), tmp_path / "b")
    finally:
        proxy.close()
    assert contents(tmp_path / "b") == made
    assert proxy.counts["GET good"] == 1 + 13, "a listing and each piece once"


@pytest.mark.parametrize("fault", ["error", "short", "cut", "flip", "stall"])
def test_bad_answers_are_asked_again_and_never_used(tree, server, tmp_path, fault, monkeypatch):
    monkeypatch.setattr(tree_module, "PIECE", 20_000)
    made = fill(tmp_path / "a", SIZES)
    tree.push(tmp_path / "a", made)
    listed = tree.list()
    share = {"stall": 0.05, "flip": 0.1, "cut": 0.1}.get(fault, 0.2)
    proxy = Proxy(server[1], seed=2, **{fault: share})
    address(monkeypatch, proxy.port)
    try:
        bad = Tree(tree.url, QUICK)
        for number in range(4):
            bad.pull(listed, tmp_path / str(number))
            assert contents(tmp_path / str(number)) == made
    finally:
        proxy.close()
    assert any(name.endswith(fault) for name in proxy.counts)


@pytest.mark.parametrize("piece", [1000, 1 << 24])
def test_a_file_that_is_damaged_in_the_store_is_told_and_not_used(
    tree, server, tmp_path, monkeypatch, piece
):
    monkeypatch.setattr(tree_module, "PIECE", piece)
    fill(tmp_path / "a", {"x": 5000})
    tree.push(tmp_path / "a", ["x"])
    listed = tree.list()
    (path,) = (server[0] / "runs").glob(f"{tree.url.rpartition('/')[2]}/x")
    with path.open("r+b") as stream:
        stream.seek(4000)
        stream.write(b"not what was there")
    with pytest.raises(InputError, match="damaged in the store"):
        tree.pull(listed, tmp_path / "b")
    assert contents(tmp_path / "b") == {}


def test_a_file_that_changes_while_it_is_read_is_no_mixture(tree, tmp_path):
    fill(tmp_path / "a", {"x": 5000})
    tree.push(tmp_path / "a", ["x"])
    listed = tree.list()
    (tmp_path / "a" / "x").write_bytes(b"y" * 5000)
    tree.push(tmp_path / "a", ["x"])
    with pytest.raises(BusyError, match="changed while it was read"):
        tree.pull(listed, tmp_path / "b")
    assert contents(tmp_path / "b") == {}


def test_files_that_others_wrote_without_a_digest_are_taken_by_size_and_tag(tree, tmp_path):
    obstore.put(tree.objects.client, "theirs", b"theirs")
    tree.pull(tree.list(), tmp_path)
    assert contents(tmp_path) == {"theirs": b"theirs"}


def test_a_file_that_is_gone_is_told(tree, tmp_path):
    fill(tmp_path / "a", {"x": 10})
    tree.push(tmp_path / "a", ["x"])
    listed = tree.list()
    tree.objects.delete(["x"])
    with pytest.raises(InputError, match="x: missing"):
        tree.pull(listed, tmp_path / "b")


def test_a_store_that_is_down_is_an_error_to_try_again_without_addresses(monkeypatch, tmp_path):
    address(monkeypatch, free_port())
    lost = Tree(URL, Patience(2, 0.01, 1.0, rest_s=60.0))
    fill(tmp_path, {"x": 10})
    for work in (lost.list, lambda: lost.find("x"), lambda: lost.push(tmp_path, ["x"])):
        with pytest.raises(BusyError, match="does not answer") as caught:
            work()
        assert "127.0.0.1" not in str(caught.value)


def test_names_that_lead_out_of_the_folder_are_left_out():
    names = ("a/b", "/a", "../a", "a/../../b", "a/")
    assert [name for name in names if tree_module._is_file(name)] == ["a/b"]


def test_two_pulls_at_once_do_not_disturb_each_other(tree, tmp_path):
    made = fill(tmp_path / "a", {f"{i}": 3000 for i in range(20)})
    tree.push(tmp_path / "a", made)
    listed = tree.list()
    threads = [
        threading.Thread(target=tree.pull, args=(listed, tmp_path / f"b{i}")) for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(contents(tmp_path / f"b{i}") == made for i in range(3))
