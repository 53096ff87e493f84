"""Checkpoints in a store: a real S3 server, alone and behind a proxy that answers badly."""

import hashlib
import os
import random

import pytest
from faulty_store import QUICK, URL, Proxy, address, objects_of

from mdpipe.scenes import checkpoint_store
from mdpipe.scenes.checkpoint_store import CheckpointStore
from mdpipe.scenes.objects import StoreDownError


@pytest.fixture
def key(request):
    return hashlib.sha256(request.node.nodeid.encode()).hexdigest()


class Work:
    """A work folder whose frames grow; checkpoint n counts the first n pieces of them."""

    def __init__(self, folder, key, seed=0):
        folder.mkdir()
        self.folder, self.random = folder, random.Random(f"{key}{seed}")
        self.frames = folder / "frames.bin"
        self.frames.touch()
        self.step = 0

    def grow(self, size=3000):
        with self.frames.open("ab") as stream:
            stream.write(self.random.randbytes(size))
        self.step += 1

    @property
    def state(self):
        # what is appended after the checkpoint does not count
        length = self.frames.stat().st_size
        return self.step, {"c.npz": b"state %d" % self.step}, {"frames.bin": (self.frames, length)}

    def contents(self):
        return {"c.npz": b"state %d" % self.step, "frames.bin": self.frames.read_bytes()}


def restored(store, into):
    assert store.restore(into)
    return {path.name: path.read_bytes() for path in into.iterdir()}


def test_only_what_is_new_is_written_and_the_whole_comes_back(server, key, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_store, "PART", 1000)
    store, work = CheckpointStore(URL, key, patience=QUICK), Work(tmp_path / "w", key)
    assert store.look() is None
    for _ in range(4):
        work.grow()
        written = store.save(*work.state)
        assert 3000 <= written < 3000 + 5000, "what was there must not be written again"
        assert store.save(*work.state) == 0
    work.grow(0)
    assert store.save(*work.state) < 5000
    names = objects_of(server, key)
    assert sum(size for name, size in names.items() if name.startswith("frames")) == 12_000
    assert len([name for name in names if name.startswith("c.npz")]) == 1, "old states must go"
    other = CheckpointStore(URL, key, patience=QUICK)
    assert other.look() == 5
    assert restored(other, tmp_path / "x") == work.contents()
    work.grow()
    assert other.save(*work.state) < 3000 + 5000, "another host goes on where the first one was"
    other.remove()
    assert objects_of(server, key) == {}
    assert CheckpointStore(URL, key).look() is None


def test_files_that_were_cut_since_are_written_anew(server, key, tmp_path):
    store, work = CheckpointStore(URL, key, patience=QUICK), Work(tmp_path / "w", key)
    work.grow()
    store.save(*work.state)
    os.truncate(work.frames, 100)
    work.grow(50)
    store.save(*work.state)
    other = CheckpointStore(URL, key, patience=QUICK)
    other.look()
    assert restored(other, tmp_path / "x") == work.contents()
    assert len(objects_of(server, key)) == 3


@pytest.mark.parametrize("victim", ["frames", "c.npz", "manifest"])
@pytest.mark.parametrize("harm", ["flip", "cut", "lose"])
def test_a_damaged_mirror_is_set_aside_and_never_used(server, key, tmp_path, victim, harm):
    notices = []
    store = CheckpointStore(URL, key, patience=QUICK)
    work = Work(tmp_path / "w", key)
    work.grow()
    store.save(*work.state)
    home = server[0] / "here" / "checkpoints" / key
    (path,) = home.glob(f"{victim}*")
    raw = path.read_bytes()
    if harm == "lose":
        path.unlink()
    else:
        path.write_bytes(raw[:-1] + (bytes([raw[-1] ^ 1]) if harm == "flip" else b""))
    other = CheckpointStore(URL, key, notices.append, QUICK)
    assert other.look() in {None, 1}
    assert not other.restore(tmp_path / "x")
    assert not (tmp_path / "x").exists()
    if (victim, harm) != ("manifest", "lose"):  # then it is only half written
        assert "set aside" in notices[0]
        assert list((server[0] / "here" / "quarantine" / "checkpoints").glob(f"{key}.*"))
    assert CheckpointStore(URL, key, patience=QUICK).look() is None
    other.save(*work.state)
    assert CheckpointStore(URL, key, patience=QUICK).look() == 1


@pytest.mark.parametrize("fault", ["error", "short", "cut", "flip", "stall"])
def test_bad_answers_on_the_way_are_asked_again(server, key, tmp_path, fault, monkeypatch):
    monkeypatch.setattr(checkpoint_store, "PART", 500)
    store, work = CheckpointStore(URL, key, patience=QUICK), Work(tmp_path / "w", key)
    work.grow()
    store.save(*work.state)
    proxy = Proxy(server[1], seed=3, **{fault: 0.25 if fault != "stall" else 0.1})
    address(monkeypatch, proxy.port)
    try:
        other = CheckpointStore(URL, key, patience=QUICK)
        assert other.look() == 1
        assert restored(other, tmp_path / "x") == work.contents()
    finally:
        proxy.close()
    assert any(name.endswith(fault) for name in proxy.counts)


def test_a_save_that_breaks_off_leaves_the_state_before(server, key, tmp_path, monkeypatch):
    store, work = CheckpointStore(URL, key, patience=QUICK), Work(tmp_path / "w", key)
    work.grow()
    store.save(*work.state)
    before = work.contents()
    put = store.objects.put

    def break_off(path, data, **more):
        if path.endswith("manifest.json"):
            raise StoreDownError("now")
        put(path, data, **more)

    monkeypatch.setattr(store.objects, "put", break_off)
    work.grow()
    with pytest.raises(StoreDownError):
        store.save(*work.state)
    other = CheckpointStore(URL, key, patience=QUICK)
    assert other.look() == 1
    assert restored(other, tmp_path / "x") == before
    monkeypatch.undo()
    address(monkeypatch, server[1])
    assert store.save(*work.state) > 0, "it must be tried again"
    assert other.look() == 2
    assert restored(other, tmp_path / "x") == work.contents()
