"""The scene cache: whole or not at all, verified, once for all processes."""

import errno
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.failures import BusyError, NoSpaceError
from mdpipe.scenes import entry as entry_module
from mdpipe.scenes import store as store_module
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.lock import FileLock
from mdpipe.scenes.policy import coldest_first
from mdpipe.scenes.store import default_folder
from mdpipe.scenes.upkeep import Limits, collect, verify

KEY = hashlib.sha256(b"a scene").hexdigest()
OTHER = hashlib.sha256(b"another scene").hexdigest()


def make_products(folder, seed=1, size=4000):
    rng = random.Random(seed)
    (folder / "work").mkdir(parents=True)
    (folder / "work" / "checkpoint.npz").write_bytes(b"not a product")
    (folder / "plots").mkdir()
    (folder / "trajectory.xtc").write_bytes(rng.randbytes(size))
    (folder / "energies.npz").write_bytes(rng.randbytes(300))
    (folder / "plots" / "curve.txt").write_text("1 2 3\n")
    return folder


def listed(cache):
    return coldest_first(cache.store)[::-1]


def gc(cache, *, dry_run=False, **limits):
    return collect(cache.store, cache.policy, Limits(**limits), dry_run=dry_run)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.fixture
def notices():
    return []


@pytest.fixture
def cache(tmp_path, notices):
    return SceneCache(tmp_path / "scenes", notices.append)


def test_what_is_fetched_is_what_was_published_without_checkpoints(cache, tmp_path):
    source = make_products(tmp_path / "run" / "nvt")
    assert cache.lookup(KEY) is None
    assert cache.fetch(KEY, tmp_path / "x") is None
    assert not (tmp_path / "x").exists()
    assert cache.publish(KEY, source)
    entry = cache.lookup(KEY)
    assert entry.bytes == 4000 + 300 + 6
    assert entry.versions["python"]
    assert entry.folder == cache.folder / KEY[:2] / KEY
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "half-done").write_text("old")
    assert cache.fetch(KEY, tmp_path / "x") is not None
    want = contents(source)
    want.pop("work/checkpoint.npz")
    assert contents(tmp_path / "x") == want
    assert cache.present([KEY, OTHER]) == {KEY}


def test_a_fetched_scene_outlives_its_entry_and_can_be_written_to(cache, tmp_path):
    cache.publish(KEY, make_products(tmp_path / "a"))
    cache.fetch(KEY, tmp_path / "b")
    (tmp_path / "b" / "energies.npz").write_bytes(b"changed by the user")
    assert verify(cache.store).damaged == ()
    assert [e.reason for e in gc(cache, keys=frozenset([KEY]))] == ["asked"]
    assert (tmp_path / "b" / "trajectory.xtc").read_bytes()


def damage(path, rng):
    raw = path.read_bytes()
    path.chmod(0o644)
    if rng.random() < 0.3:
        path.write_bytes(raw[: rng.randrange(len(raw))])
        return
    at = rng.randrange(len(raw))
    path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :])


@pytest.mark.parametrize("name", ["trajectory.xtc", "plots/curve.txt", "entry.json"])
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_any_flipped_bit_or_cut_in_data_or_metadata_is_caught_and_never_used(
    tmp_path_factory, name, seed
):
    tmp_path, rng, notices = tmp_path_factory.mktemp("flip"), random.Random(seed), []
    cache = SceneCache(tmp_path / "scenes", notices.append)
    source = make_products(tmp_path / "a", size=500)
    cache.publish(KEY, source)
    damage(cache.folder / KEY[:2] / KEY / name, rng)
    assert cache.fetch(KEY, tmp_path / "b") is None
    assert not (tmp_path / "b").exists()
    assert not list(tmp_path.glob(".b*"))
    assert len(notices) == 1
    assert "damaged" in notices[0]
    assert len(list((cache.folder / "quarantine").iterdir())) == 1
    assert cache.lookup(KEY) is None
    how = cache.compute_once(KEY, lambda into: make_products(into, size=500), tmp_path / "c")
    assert how == "computed"
    assert cache.fetch(KEY, tmp_path / "d") is not None
    assert (tmp_path / "d" / "energies.npz").read_bytes() == (source / "energies.npz").read_bytes()


def test_verify_names_the_damaged_entry_and_sets_it_aside(cache, tmp_path):
    source = make_products(tmp_path / "a")
    cache.publish(KEY, source)
    cache.publish(OTHER, source)
    damage(cache.lookup(KEY).folder / "trajectory.xtc", random.Random(0))
    found = verify(cache.store)
    assert [d.key for d in found.damaged] == [KEY]
    assert found.entries == 1
    assert [e.key for e in listed(cache)] == [OTHER]
    assert verify(cache.store).damaged == ()


def test_an_entry_under_a_wrong_name_is_not_used(cache, tmp_path):
    cache.publish(KEY, make_products(tmp_path / "a"))
    (cache.folder / OTHER[:2]).mkdir(exist_ok=True)
    (cache.folder / KEY[:2] / KEY).rename(cache.folder / OTHER[:2] / OTHER)
    assert cache.fetch(OTHER, tmp_path / "b") is None


def test_a_later_good_publication_is_not_set_aside_for_the_damage_of_an_earlier_one(
    cache, tmp_path
):
    source = make_products(tmp_path / "a")
    cache.publish(KEY, source)
    old = cache.lookup(KEY)
    entry_file = old.folder / "entry.json"
    entry_file.rename(tmp_path / "keeps-the-inode-taken")
    entry_file.write_bytes((tmp_path / "keeps-the-inode-taken").read_bytes())
    cache.store.quarantine(KEY, "seen earlier", old.inode)
    assert cache.lookup(KEY) is not None


WORKER = """
import sys, time, pathlib
from mdpipe.scenes.cache import SceneCache
root = pathlib.Path(sys.argv[1]); keys = sys.argv[3:]
def compute(into):
    into.mkdir(parents=True, exist_ok=True)
    with open(root / "computed", "a") as f: f.write(into.name + chr(10))
    time.sleep(0.2)
    (into / "data.bin").write_bytes(into.name.encode() * 1000)
for key in keys:
    into = root / sys.argv[2] / key
    into.parent.mkdir(exist_ok=True)
    how = SceneCache(root / "scenes").compute_once(key, compute, into)
    assert (into / "data.bin").read_bytes() == key.encode() * 1000
    print(how)
"""


def start(*arguments, code=WORKER):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


def test_of_several_processes_that_want_the_same_scenes_one_computes_each(tmp_path):
    keys = [hashlib.sha256(bytes([i])).hexdigest() for i in range(3)]
    processes = [start(tmp_path, f"p{i}", *keys[i % 3 :], *keys[: i % 3]) for i in range(4)]
    said = [p.communicate(timeout=60)[0].split() for p in processes]
    assert all(p.returncode == 0 for p in processes)
    assert sorted((tmp_path / "computed").read_text().split()) == sorted(keys)
    assert sum(how == "computed" for words in said for how in words) == 3
    assert not list((tmp_path / "scenes" / "locks").iterdir())


def test_a_process_that_is_killed_while_it_computes_leaves_no_lock_and_no_entry(tmp_path):
    code = WORKER.replace("time.sleep(0.2)", "print('go', flush=True); time.sleep(60)")
    process = start(tmp_path, "p", KEY, code=code)
    assert process.stdout.readline() == "go\n"
    cache = SceneCache(tmp_path / "scenes")
    with pytest.raises(BusyError, match=str(process.pid)):
        cache.compute_once(KEY, lambda _: None, tmp_path / "x", timeout_s=0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert cache.lookup(KEY) is None
    before = time.monotonic()
    assert cache.compute_once(KEY, make_products, tmp_path / "y") == "computed"
    assert time.monotonic() - before < 5  # a stale lock would have cost the whole waiting time
    assert not list((tmp_path / "scenes" / "locks").iterdir())


def test_a_process_killed_in_the_middle_of_publishing_leaves_nothing_that_is_read(tmp_path):
    make_products(tmp_path / "a")
    code = """
import os, pathlib, signal, sys
from mdpipe.scenes import entry
from mdpipe.scenes.cache import SceneCache
root = pathlib.Path(sys.argv[1])
entry.seal = lambda content: os.kill(os.getpid(), signal.SIGKILL)
SceneCache(root / "scenes").publish(sys.argv[2], root / "a")
"""
    process = start(tmp_path, KEY, code=code)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    cache = SceneCache(tmp_path / "scenes")
    assert list((cache.folder / "tmp").iterdir()), "the kill was meant to come in the middle"
    assert cache.lookup(KEY) is None
    assert listed(cache) == []
    gc(cache)
    assert list((cache.folder / "tmp").iterdir()) == []
    assert cache.publish(KEY, tmp_path / "a")
    assert verify(cache.store).damaged == ()


def test_a_full_disk_while_publishing_is_a_notice_and_the_scene_is_good(
    cache, tmp_path, notices, monkeypatch
):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "write_entry", full)
    assert cache.compute_once(KEY, make_products, tmp_path / "a") == "computed"
    assert (tmp_path / "a" / "trajectory.xtc").exists()
    assert "full" in notices[0]
    assert cache.lookup(KEY) is None
    assert list((cache.folder / "tmp").iterdir()) == []


def test_a_full_disk_while_fetching_is_a_clear_error_and_leaves_nothing(
    cache, tmp_path, monkeypatch
):
    cache.publish(KEY, make_products(tmp_path / "a"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(entry_module, "hash_copy", full)
    with pytest.raises(NoSpaceError, match="full"):
        cache.fetch(KEY, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert cache.lookup(KEY) is not None


def test_a_cache_that_cannot_be_written_does_not_stop_the_scene(tmp_path, notices):
    (tmp_path / "file").write_text("not a folder")
    cache = SceneCache(tmp_path / "file" / "scenes", notices.append)
    assert cache.compute_once(KEY, make_products, tmp_path / "a") == "computed"
    assert notices


def test_a_failed_computation_is_not_published_and_frees_the_lock(cache, tmp_path):
    with pytest.raises(ZeroDivisionError):
        cache.compute_once(KEY, lambda _: 1 / 0, tmp_path / "a")
    assert cache.compute_once(KEY, make_products, tmp_path / "a") == "computed"


def fill(cache, tmp_path, n=5):
    keys = [hashlib.sha256(bytes([i])).hexdigest() for i in range(n)]
    for age, key in enumerate(keys):
        cache.publish(key, make_products(tmp_path / f"s{age}", seed=age, size=1000))
        used = time.time() - 100 * age
        os.utime(cache.lookup(key).folder / "entry.json", (used, used))
    return keys


def test_gc_by_size_takes_the_least_recently_used_and_a_dry_run_takes_none(cache, tmp_path):
    keys = fill(cache, tmp_path)
    each = cache.lookup(keys[0]).bytes
    planned = gc(cache, max_bytes=2 * each, dry_run=True)
    assert len(listed(cache)) == 5
    assert gc(cache, max_bytes=2 * each) == planned
    assert [e.key for e in listed(cache)] == keys[:2]


def test_gc_by_age_looks_at_the_last_hit_not_at_the_birth(cache, tmp_path):
    keys = fill(cache, tmp_path)
    cache.fetch(keys[4], tmp_path / "x")
    gone = gc(cache, max_age_s=150)
    assert sorted(e.key for e in gone) == sorted(keys[2:4])
    assert {e.reason for e in gone} == {"age"}


def test_gc_leaves_a_scene_that_somebody_is_at_work_on(cache, tmp_path):
    cache.publish(KEY, make_products(tmp_path / "a"))
    with FileLock(cache.folder / "locks" / f"{KEY}.lock"):
        assert gc(cache, max_bytes=0) == []
    assert [e.key for e in gc(cache, max_bytes=0)] == [KEY]


def test_an_empty_cache_lists_verifies_and_collects_nothing(cache):
    assert listed(cache) == []
    assert verify(cache.store).entries == 0
    assert gc(cache, max_bytes=0) == []


def test_looking_up_many_scenes_opens_no_file(cache, tmp_path):
    cache.publish(KEY, make_products(tmp_path / "a"))
    keys = [hashlib.sha256(str(i).encode()).hexdigest() for i in range(20_000)]
    before = time.monotonic()
    assert cache.present([*keys, KEY]) == {KEY}
    assert time.monotonic() - before < 2  # 256 listings; a look-up for each key would take longer


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("MDPIPE_SCENE_CACHE", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"
    monkeypatch.delenv("MDPIPE_SCENE_CACHE")
    monkeypatch.setenv("MDPIPE_CACHE_DIR", str(tmp_path))
    assert default_folder() == tmp_path / "scenes"
    monkeypatch.delenv("MDPIPE_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "mdpipe" / "scenes"


def test_a_key_that_is_no_digest_is_refused(cache):
    with pytest.raises(ValueError, match="64 hex digits"):
        cache.lookup("../../etc")


def test_an_entry_that_describes_itself_is_plain_json(cache, tmp_path):
    cache.publish(KEY, make_products(tmp_path / "a"))
    content = json.loads((cache.lookup(KEY).folder / "entry.json").read_text())
    assert content["key"] == KEY
    assert set(content["files"]) == {"trajectory.xtc", "energies.npz", "plots/curve.txt"}
