"""What the folder of the scene cache keeps, lets go and counts."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.cli.cache import cache as cache_command
from mdpipe.failures import BusyError, StudyError
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.policy import Policy, load_policy
from mdpipe.scenes.settings import open_cache
from mdpipe.scenes.statistics import (
    Event,
    count,
    read_statistics,
    run_recorder,
    statistics_path,
)
from mdpipe.scenes.upkeep import Limits, collect
from mdpipe.study import study_from_table
from mdpipe.workflows.graph import Graph, Step
from mdpipe.workflows.resume import cache_fetcher, forecast

SIZE = 1000
YEAR_S = 365 * 86400


def key_of(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


KEYS = [key_of(i) for i in range(6)]


def maker(key):
    def make(into):
        into.mkdir(parents=True, exist_ok=True)
        (into / "data").write_bytes(random.Random(key).randbytes(SIZE))

    return make


class Bench:
    def __init__(self, folder, **options):
        self.folder, self.events, self.notices = folder, [], []
        self.cache = SceneCache(
            folder / "scenes", self.notices.append, record=self.events.append, **options
        )

    def get(self, key):
        into = self.folder / "out" / key[:8]
        how = self.cache.compute_once(key, maker(key), into)
        assert (into / "data").read_bytes() == random.Random(key).randbytes(SIZE)
        return how

    def age(self, key, seconds):
        then = time.time() - seconds
        os.utime(self.cache.store.path(key) / "entry.json", (then, then))

    @property
    def kept(self):
        return set(self.cache.store.all_keys())

    @property
    def counts(self):
        return count(self.events)


@pytest.fixture
def bench(tmp_path):
    return lambda *policy: Bench(tmp_path, policy=Policy(*policy))


def test_best_effort_keeps_what_was_used_last_and_computes_the_rest_again(bench):
    full = bench("best-effort", 3 * SIZE)
    for key in KEYS[:3]:
        assert full.get(key) == "computed"
    full.age(KEYS[0], 300)
    full.age(KEYS[1], 200)
    assert full.get(KEYS[0]) == "hit"  # now the second is the coldest
    full.get(KEYS[3])
    assert full.kept == {KEYS[0], KEYS[2], KEYS[3]}
    assert set(full.cache.store.all_keys(bare=True)) == {KEYS[1]}
    assert full.get(KEYS[1]) == "computed"
    assert not set(full.cache.store.all_keys(bare=True)) & full.kept
    assert full.counts.evictions == 2
    assert full.counts.recomputations == 1
    assert full.notices == []


def test_guaranteed_evicts_nothing_before_it_expires_and_says_once_what_it_refuses(bench):
    full = bench("guaranteed", 2 * SIZE, 1000.0)
    for key in KEYS[:3]:
        assert full.get(key) == "computed"
    assert full.kept == set(KEYS[:2])
    assert full.counts.refused == 1
    assert full.counts.evictions == 0
    (said,) = full.notices
    assert "is good but was not stored: the cache is full" in said
    assert "\n" not in said
    assert collect(full.cache.store, full.cache.policy, Limits(max_bytes=0, max_age_s=1)) == []
    full.age(KEYS[0], 2000)
    full.get(KEYS[2])
    assert full.kept == {KEYS[1], KEYS[2]}


def test_metadata_of_evicted_scenes_are_forgotten_after_a_year_or_when_named(bench):
    full = bench("best-effort", SIZE)
    for key in KEYS[:3]:
        full.get(key)
    old = full.cache.store.path(KEYS[0]).with_name(KEYS[0] + ".meta") / "entry.json"
    os.utime(old, (time.time() - 2 * YEAR_S,) * 2)
    collect(full.cache.store, full.cache.policy, Limits())
    assert list(full.cache.store.all_keys(bare=True)) == [KEYS[1]]
    collect(full.cache.store, full.cache.policy, Limits(keys=frozenset(KEYS[1:2])))
    assert list(full.cache.store.all_keys(bare=True)) == []


def test_a_scene_that_is_larger_than_the_whole_quota_evicts_nothing(bench):
    small = bench("best-effort", SIZE + SIZE // 2)
    small.get(KEYS[0])
    (small.folder / "big").mkdir()
    (small.folder / "big" / "data").write_bytes(bytes(2 * SIZE))
    assert not small.cache.publish(KEYS[1], small.folder / "big")
    assert small.kept == {KEYS[0]}


def test_pinned_scenes_outlast_every_limit_until_they_are_unpinned(bench):
    full = bench("best-effort", 2 * SIZE)
    full.cache.pins.add(KEYS[:2])
    for key in KEYS[:3]:
        full.get(key)
    assert full.kept == set(KEYS[:2])
    assert "pinned or in use" in full.notices[0]
    asked = Limits(max_bytes=0, keys=frozenset(KEYS[:1]))
    assert collect(full.cache.store, full.cache.policy, asked) == []
    full.cache.pins.remove(KEYS[:1])
    full.get(KEYS[2])
    assert full.kept == {KEYS[1], KEYS[2]}


READER = """
import pathlib, sys, time
from mdpipe.scenes.cache import SceneCache
with SceneCache(pathlib.Path(sys.argv[1])).store.reading(sys.argv[2]) as entry:
    print("reading", flush=True)
    time.sleep(60)
"""


def test_what_is_being_read_is_not_evicted_until_the_reader_ends_or_is_killed(bench):
    full = bench("best-effort", 1 * SIZE)
    full.get(KEYS[0])
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, str(full.cache.folder), KEYS[0]],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert reader.stdout.readline() == "reading\n"
    full.get(KEYS[1])
    assert full.kept == {KEYS[0]}
    assert collect(full.cache.store, full.cache.policy, Limits(max_bytes=0)) == []
    assert full.get(KEYS[0]) == "hit", "readers do not stand in each other's way"
    reader.send_signal(signal.SIGKILL)
    reader.communicate()
    full.get(KEYS[1])
    assert full.kept == {KEYS[1]}


def test_the_quota_holds_for_several_processes_at_once(tmp_path):
    code = """
import hashlib, pathlib, sys
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.policy import Policy
root, me = pathlib.Path(sys.argv[1]), sys.argv[2]
for number in range(12):
    into = root / me / str(number)
    into.mkdir(parents=True)
    (into / "data").write_bytes(bytes(1000))
    key = hashlib.sha256(f"{me} {number}".encode()).hexdigest()
    cache = SceneCache(root / "scenes", policy=Policy("best-effort", 5500))
    assert cache.publish(key, into)
    assert sum(1 for _ in cache.store.all_keys()) <= 5
"""
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(i)]) for i in range(3)
    ]
    assert [process.wait(60) for process in started] == [0, 0, 0]


def test_namespaces_share_nothing(tmp_path):
    one, two = (SceneCache(tmp_path, namespace=name) for name in ("one", "two"))
    one.compute_once(KEYS[0], maker(KEYS[0]), tmp_path / "x")
    assert one.present(KEYS) == {KEYS[0]}
    assert two.present(KEYS) == SceneCache(tmp_path).present(KEYS) == set()


def test_the_policy_of_a_folder_holds_for_commands_that_are_not_told_it(bench):
    full = bench("guaranteed", 2 * SIZE, 1000.0)
    full.get(KEYS[0])
    assert load_policy(full.cache.folder) == Policy("guaranteed", 2 * SIZE, 1000.0)
    words = ["gc", "--max-size", "0", "--cache", str(full.cache.folder), "--json"]
    done = CliRunner().invoke(cache_command, words)
    assert json.loads(done.stdout) == {"rows": []}
    assert full.kept == {KEYS[0]}


def test_pins_are_set_listed_and_taken_back_on_the_command_line(bench):
    here = bench()
    here.get(KEYS[0])
    where = ["--cache", str(here.cache.folder), "--json"]
    run = CliRunner()
    assert run.invoke(cache_command, ["pin", KEYS[0], *where]).exit_code == 0
    rows = json.loads(run.invoke(cache_command, ["ls", *where]).stdout)["rows"]
    assert [(row["key"], row["pinned"], row["state"]) for row in rows] == [(KEYS[0], True, "data")]
    assert run.invoke(cache_command, ["gc", "--max-size", "0", *where]).exit_code == 0
    assert here.kept == {KEYS[0]}
    assert run.invoke(cache_command, ["unpin", KEYS[0], *where]).exit_code == 0
    assert run.invoke(cache_command, ["gc", "--max-size", "0", *where]).exit_code == 0
    rows = json.loads(run.invoke(cache_command, ["ls", *where]).stdout)["rows"]
    assert [row["state"] for row in rows] == ["metadata"]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_damaged_metadata_of_evicted_scenes_are_set_aside_and_the_scene_is_computed(
    tmp_path_factory, seed
):
    rng = random.Random(seed)
    full = Bench(tmp_path_factory.mktemp("bare"), policy=Policy("best-effort", SIZE))
    full.get(KEYS[0])
    full.get(KEYS[1])
    (bare,) = full.cache.folder.glob("??/*.meta/entry.json")
    raw = bytearray(bare.read_bytes())
    raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    bare.write_bytes(raw)
    assert full.get(KEYS[0]) == "computed"
    assert full.counts.quarantined == 1


def test_counts_of_several_processes_and_a_torn_line_add_up(tmp_path):
    record, other = run_recorder(tmp_path), run_recorder(tmp_path)
    record(Event("hit", KEYS[0], 500))
    other(Event("computed", KEYS[1]))
    other(Event("waited", KEYS[1], 250))
    with statistics_path(tmp_path).open("a") as stream:
        stream.write('{"what": "hit", "key": "ab", "by')  # its writer was killed
    found = read_statistics(tmp_path)
    assert (found.hits, found.misses, found.waited, found.bytes_saved) == (2, 1, 1, 750)
    assert found.to_json()["hit_rate"] == pytest.approx(2 / 3, abs=1e-4)
    assert read_statistics(tmp_path / "nothing").hit_rate == 0.0


def test_the_cache_section_of_a_study_has_a_short_form_and_says_what_is_wrong(tmp_path):
    def study(cache):
        table = {"name": "s", "inputs": [{"path": "x"}], "cache": cache}
        return study_from_table(table, tmp_path / "s.toml")

    assert open_cache(study("kept").cache, tmp_path).folder == tmp_path / "kept"
    long = study({"folder": "kept", "namespace": "n", "policy": "guaranteed", "max_mb": 2})
    cache = open_cache(long.cache, tmp_path)
    assert cache.folder == tmp_path / "kept" / "namespaces" / "n"
    assert cache.policy == Policy("guaranteed", 2_000_000, None)
    with pytest.raises(StudyError, match=r"cache\.policy.*'forever'"):
        study({"policy": "forever"})
    with pytest.raises(StudyError, match=r"cache\.max_gb: no such key"):
        study({"max_gb": 1})


def scene_steps(keys):
    first = Step("preprocess", "preprocess", ("x",), (), ("plan.jsonl",))
    scenes = [
        Step(f"s{i}", "simulate", ("x",), ("preprocess",), (f"g/{i}/",), scene_key=k, settings=k)
        for i, k in enumerate(keys)
    ]
    return Graph((first, *scenes))


def test_a_study_of_20000_scenes_is_looked_up_in_one_pass(tmp_path):
    keys = [key_of(i) for i in range(20_000)]
    cache = SceneCache(tmp_path / "scenes")
    for key in keys[::40]:
        cache.store.path(key).mkdir(parents=True)
    graph = scene_steps(keys)
    began = time.monotonic()
    told = forecast(graph, tmp_path / "run", frozenset(cache.present(keys)))
    assert time.monotonic() - began < 2  # a look for each key would take longer
    assert sum(state == "cached" for state in told.values()) == 500


def test_what_the_engine_takes_from_the_cache_is_counted_beside_the_story(tmp_path):
    cache = SceneCache(tmp_path / "scenes")
    maker(KEYS[0])(tmp_path / "made")
    cache.publish(KEYS[0], tmp_path / "made")
    fetch = cache_fetcher(cache, tmp_path / "run")
    assert [fetch(step) for step in scene_steps(KEYS[:2]).steps] == [False, True, False]
    found = read_statistics(tmp_path / "run")
    assert (found.hits, found.misses, found.bytes_saved) == (1, 0, SIZE)


def test_a_lock_holds_between_processes_that_see_the_cache_at_different_places(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "inside").mkdir()
    code = f"""
import pathlib, sys, time
from mdpipe.scenes.cache import SceneCache
lock = SceneCache(pathlib.Path({str(tmp_path / "inside")!r})).store.lock({KEYS[0]!r})
print(lock.try_acquire(), flush=True)
time.sleep(60)
"""
    bind = f"mount --bind {tmp_path / 'scenes'} {tmp_path / 'inside'}"
    words = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*words, bind], check=False, capture_output=True).returncode
    ):
        pytest.skip("mount namespaces cannot be made here")
    other = subprocess.Popen(
        [*words, f'{bind} && exec "$0" -c "$1"', sys.executable, code],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert other.stdout.readline() == "True\n"
    cache = SceneCache(tmp_path / "scenes")
    assert not list((tmp_path / "inside").iterdir()), "the mount was meant to be the other's alone"
    with pytest.raises(BusyError):
        cache.compute_once(KEYS[0], maker(KEYS[0]), tmp_path / "x", timeout_s=0.1)
    other.kill()
    other.communicate()
    assert cache.compute_once(KEYS[0], maker(KEYS[0]), tmp_path / "x") == "computed"
