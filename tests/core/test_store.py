"""The durable tier: a real S3 server, alone and behind a proxy that answers badly."""

import hashlib
import json
import random
import re
import subprocess
import sys
import threading
import time

import pytest
from click.testing import CliRunner
from faulty_store import ACCESS, QUICK, SECRET, URL, Proxy, address, free_port, need_server

from mdpipe.cli.cache import cache as cache_command
from mdpipe.failures import BusyError, UsageError
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.durable import DurableTier
from mdpipe.scenes.objects import Objects, Patience
from mdpipe.scenes.policy import Policy
from mdpipe.scenes.settings import CacheSettings, open_cache
from mdpipe.scenes.statistics import count
from mdpipe.scenes.store_lock import StoreLock

KEY = hashlib.sha256(b"a scene").hexdigest()


def key_of(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


def maker(key, size=3000):
    def make(into):
        into.mkdir(parents=True, exist_ok=True)
        (into / "trajectory.xtc").write_bytes(random.Random(key).randbytes(size))
        (into / "scene.json").write_text(key)

    return make


def whole(folder, key, size=3000):
    return (folder / "trajectory.xtc").read_bytes() == random.Random(key).randbytes(size) and (
        folder / "scene.json"
    ).read_text() == key


class Host:
    """A local tier of its own before the common store."""

    def __init__(self, folder, namespace, *, patience=QUICK, **options):
        self.events, self.notices = [], []
        self.durable = DurableTier(URL, namespace, self.notices.append, patience=patience)
        self.cache = SceneCache(
            folder / "scenes", self.notices.append, durable=self.durable,
            record=self.events.append, **options,
        )  # fmt: skip
        self.cache.lock_lifetime_s = 1.0

    @property
    def counts(self):
        return count(self.events)


@pytest.fixture
def host(tmp_path, request):
    request.getfixturevalue("server")
    namespace = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]
    return lambda name, **options: Host(tmp_path / name, namespace, **options)


def test_a_scene_of_one_host_is_a_hit_on_another_and_stays_there(host, server, tmp_path):
    one, two = host("one"), host("two")
    assert one.cache.compute_once(KEY, maker(KEY), tmp_path / "a") == "computed"
    entry = server[0] / "here" / one.durable.prefix / KEY[:2] / KEY / "entry.json"
    assert entry.read_bytes() == (one.cache.store.path(KEY) / "entry.json").read_bytes()
    assert two.cache.present([KEY, key_of(1)]) == {KEY}
    assert two.cache.compute_once(KEY, maker("wrong"), tmp_path / "b") == "hit"
    assert whole(tmp_path / "b", KEY)
    assert two.counts.refetches == 1
    assert one.counts.pushed == 1
    assert two.cache.compute_once(KEY, maker("wrong"), tmp_path / "c") == "hit"
    assert two.counts.refetches == 1, "the second hit must come from the folder"
    assert two.counts.bytes_saved == 2 * (3000 + 64)


def test_evicted_data_leave_metadata_and_come_back_from_the_store(host, tmp_path):
    one = host("one", policy=Policy(max_bytes=7000))
    keys = [key_of(i) for i in range(4)]
    for key in keys:
        one.cache.compute_once(key, maker(key), tmp_path / key)
    assert len(list(one.cache.store.all_keys())) == 2
    assert len(list(one.cache.store.all_keys(bare=True))) == 2
    assert one.cache.present(keys) == set(keys)
    for key in keys:
        assert one.cache.compute_once(key, maker("wrong"), tmp_path / "again") == "hit"
        assert whole(tmp_path / "again", key)
    assert one.counts.refetches >= 2
    assert one.counts.misses == 4
    assert one.counts.recomputations == 0


def test_damage_in_the_store_is_set_aside_and_the_scene_computed_again(host, server, tmp_path):
    one = host("one")
    one.cache.publish(KEY, (maker(KEY)(tmp_path / "p"), tmp_path / "p")[1])
    home = server[0] / "here" / one.durable.prefix / KEY[:2] / KEY
    for name in ("trajectory.xtc", "entry.json"):
        raw = (home / name).read_bytes()
        (home / name).write_bytes(raw[:40] + bytes([raw[40] ^ 1]) + raw[41:])
        fresh = host(f"fresh-{name}")
        assert fresh.cache.fetch(KEY, tmp_path / "x") is None
        assert not (tmp_path / "x").exists()
        assert fresh.counts.quarantined == 1
        assert re.search(r"damaged.*computed again", fresh.notices[0])
        assert not (home / "entry.json").exists()
        assert fresh.cache.compute_once(KEY, maker(KEY), tmp_path / name) == "computed"
        assert host(f"other-{name}").cache.fetch(KEY, tmp_path / "y") is not None


@pytest.mark.parametrize("fault", ["error", "short", "cut", "flip", "slow", "stall"])
def test_bad_answers_are_asked_again_and_never_used(fault, host, server, tmp_path, monkeypatch):
    good = host("good")
    keys = [key_of((fault, i)) for i in range(6)]
    for key in keys:
        good.cache.compute_once(key, maker(key), tmp_path / "a")
    proxy = Proxy(server[1], seed=1, **{fault: 0.3 if fault != "stall" else 0.15})
    address(monkeypatch, proxy.port)
    try:
        bad = host("bad")
        for key in keys:
            assert bad.cache.compute_once(key, maker(key), tmp_path / "b") in {"hit", "computed"}
            assert whole(tmp_path / "b", key)
    finally:
        proxy.close()
    assert sum(n for name, n in proxy.counts.items() if name.endswith(fault)) > 0
    assert bad.counts.hits >= 5, "bad answers must be asked again, not given up at once"
    assert bad.counts.quarantined == 0, "what the way damaged must not be set aside in the store"
    assert good.cache.durable.present(keys) == set(keys)


def test_a_store_that_is_down_costs_one_notice_and_no_scene(monkeypatch, tmp_path):
    pytest.importorskip("obstore")
    address(monkeypatch, free_port())
    lost = Host(tmp_path, "n", patience=Patience(2, 0.01, 1.0, rest_s=60.0))
    began = time.monotonic()
    for number in range(20):
        key = key_of(number)
        assert lost.cache.compute_once(key, maker(key), tmp_path / key) == "computed"
    assert time.monotonic() - began < 10, "a store that is down must not be waited for each time"
    assert lost.cache.present([KEY]) == set()
    said = " ".join(lost.notices)
    assert "going on without it" in said
    for secret in (ACCESS, SECRET, "127.0.0.1"):
        assert secret not in said


@pytest.mark.usefixtures("server")
def test_wrong_credentials_are_told_without_them_and_the_scene_is_computed(tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    lost = Host(tmp_path, "n")
    assert lost.cache.compute_once(KEY, maker(KEY), tmp_path / "a") == "computed"
    assert "going on without it" in lost.notices[0]
    assert "a-wrong-secret" not in " ".join(lost.notices)
    assert ACCESS not in " ".join(lost.notices)


def test_of_two_hosts_that_want_the_same_scenes_one_computes_each(host, tmp_path):
    made, keys = [], [key_of(("hosts", i)) for i in range(4)]

    def work(name):
        one = host(name)
        for key in keys:

            def compute(into, key=key):
                made.append(key)
                time.sleep(0.3)
                maker(key)(into)

            one.cache.compute_once(key, compute, tmp_path / name / key)
            assert whole(tmp_path / name / key, key)

    threads = [threading.Thread(target=work, args=(f"h{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(made) == sorted(keys)


def test_the_lock_of_a_dead_host_runs_out_and_a_living_one_keeps_its_own(host, tmp_path):
    one, two = host("one"), host("two")
    living = StoreLock(one.durable, KEY, "place one", 0.6)
    assert living.try_acquire()
    with pytest.raises(BusyError, match="still being computed"):
        two.cache.compute_once(KEY, maker(KEY), tmp_path / "a", timeout_s=1.5)
    living._stop.set()  # it dies: no renewal and no release
    two.cache.lock_lifetime_s = 0.6
    began = time.monotonic()
    assert two.cache.compute_once(KEY, maker(KEY), tmp_path / "a") == "computed"
    assert 0.5 < time.monotonic() - began < 5


def test_a_lock_left_by_a_killed_process_of_the_same_folder_is_taken_over_at_once(host, tmp_path):
    one = host("one")
    dead = StoreLock(one.durable, KEY, one.cache.store.place(), 600.0)
    assert dead.try_acquire()
    dead._stop.set()
    one.cache.lock_lifetime_s = 600.0
    began = time.monotonic()
    assert one.cache.compute_once(KEY, maker(KEY), tmp_path / "a", timeout_s=20) == "computed"
    assert time.monotonic() - began < 5


def test_a_study_is_looked_up_with_listings_alone(host, server, monkeypatch):
    proxy = Proxy(server[1])
    address(monkeypatch, proxy.port)
    try:
        host("one").cache.present([key_of(i) for i in range(5000)])
    finally:
        proxy.close()
    assert proxy.counts["requests"] <= 256


@pytest.mark.usefixtures("server")
def test_a_store_written_on_demand_only_is_filled_by_push_and_read_by_pull(tmp_path, monkeypatch):
    settings = CacheSettings(store=URL, push="on-demand", namespace="demand")
    cache = open_cache(settings, tmp_path, folder=tmp_path / "one")
    cache.compute_once(KEY, maker(KEY), tmp_path / "a")
    assert cache.durable.present([KEY]) == set()
    monkeypatch.setenv("MDPIPE_STORE", URL)
    words = ["--namespace", "demand", "--json"]

    def told(command, folder):
        done = CliRunner().invoke(cache_command, [command, "--cache", str(folder), *words])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    assert told("push", tmp_path / "one")["pushed"] == [KEY]
    assert told("pull", tmp_path / "two")["pulled"] == [KEY]
    assert [row["key"] for row in told("ls", tmp_path / "two")["rows"]] == [KEY]
    words.append("--durable")
    assert told("verify", tmp_path / "two") == {
        "entries": 1, "bytes": 3064, "damaged": [], "durable": [],
    }  # fmt: skip


def test_a_command_that_needs_a_store_that_is_down_says_so_in_one_line(monkeypatch, tmp_path):
    pytest.importorskip("obstore")
    address(monkeypatch, free_port())
    words = ["pull", "--store", URL, "--cache", str(tmp_path)]
    done = CliRunner().invoke(cache_command, words)
    assert isinstance(done.exception, BusyError)
    assert "check AWS_ENDPOINT_URL" in str(done.exception)
    assert "127.0.0.1" not in str(done.exception)


def test_a_store_is_named_by_address_or_by_a_variable_and_never_with_a_password(monkeypatch):
    pytest.importorskip("obstore")
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL"):
        Objects("https://user:password@host/bucket")
    with pytest.raises(ValueError, match="store"):
        CacheSettings(store="s3://user:password@host/bucket")
    monkeypatch.delenv("SOME_STORE", raising=False)
    with pytest.raises(UsageError, match="SOME_STORE is not set"):
        open_cache(CacheSettings(store="env:SOME_STORE"), None)


def test_a_client_that_breaks_off_is_a_store_that_is_down(monkeypatch, tmp_path):
    pytest.importorskip("obstore")
    address(monkeypatch, free_port())
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://xn--a:9000")  # no name, though it looks like one
    lost = Host(tmp_path, "n")
    assert lost.cache.compute_once(KEY, maker(KEY), tmp_path / "a") == "computed"
    assert "PanicException" in lost.notices[0]
    assert "going on without it" in lost.notices[0]


def test_a_store_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(UsageError, match=r"pip install 'mdpipe\[s3\]'"):
        Objects(URL)


def test_the_library_for_stores_is_not_loaded_where_there_is_no_store():
    code = "import sys, mdpipe.scenes.settings; sys.exit('obstore' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_server_of_these_tests_is_a_real_one(server):
    assert need_server()
    assert server[0].is_dir()
