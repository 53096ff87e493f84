"""Drills of the scene cache: damage, crowds, full caches, a store that answers badly, many scenes.

Run with `-s` to read the figures.
"""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter

import pytest
from faulty_store import BUCKET, Proxy, address

from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.durable import DurableTier
from mdpipe.scenes.objects import Patience
from mdpipe.scenes.policy import Policy
from mdpipe.scenes.statistics import count, read_statistics
from mdpipe.workflows.graph import Graph, Step
from mdpipe.workflows.resume import forecast

pytestmark = pytest.mark.validation

URL = f"s3://{BUCKET}/drills"


def key_of(*words):
    return hashlib.sha256(repr(words).encode()).hexdigest()


def data_of(key, size):
    return random.Random(key).randbytes(size)


def make(into, key, size):
    into.mkdir(parents=True, exist_ok=True)
    (into / "trajectory.xtc").write_bytes(data_of(key, size))
    (into / "scene.json").write_text(key)


def harm(path, rng):
    """Flip a bit or cut the end off; say which."""
    raw = path.read_bytes()
    path.chmod(0o644)
    if rng.random() < 0.4:
        path.write_bytes(raw[: rng.randrange(len(raw))])
        return "truncated"
    at = rng.randrange(len(raw))
    path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << rng.randrange(8))]) + raw[at + 1 :])
    return "flipped"


def drill_damage(tmp_path, n, seed, where, durable=None, bucket=None):
    """Harm one file of a published scene, n times; each must be noticed and computed again."""
    rng, seen, told = random.Random(seed), Counter(), []
    policy = Policy("best-effort", 700) if where == "bare" else Policy()
    cache = SceneCache(tmp_path / where, policy=policy, durable=durable, record=told.append)
    for number in range(n):
        key = key_of(where, number)
        out = tmp_path / "out"
        assert cache.compute_once(key, lambda into, k=key: make(into, k, 400), out) == "computed"
        home = cache.store.path(key)
        if where == "bare":
            cache.compute_once(key_of(number), lambda into: make(into, "x", 400), out)
            home = home.with_name(key + ".meta")
        if bucket is not None:
            shutil.rmtree(home)
            home = bucket / "drills" / durable.prefix / key[:2] / key
        victim = rng.choice(sorted(p for p in home.rglob("*") if p.is_file()))
        seen[harm(victim, rng), victim.name] += 1
        before = count(told)
        assert cache.compute_once(key, lambda into, k=key: make(into, k, 400), out) == "computed"
        after = count(told)
        assert after.quarantined == before.quarantined + 1
        assert (out / "trajectory.xtc").read_bytes() == data_of(key, 400)
        assert (out / "scene.json").read_text() == key
    return seen


def test_800_flips_and_cuts_in_the_folder_are_all_caught_set_aside_and_computed(tmp_path):
    began = time.monotonic()
    seen = drill_damage(tmp_path, 650, 1, "data") + drill_damage(tmp_path, 150, 2, "bare")
    assert seen.total() == 800
    print(f"\n800 of 800 caught in {time.monotonic() - began:.1f} s: {dict(seen)}")


def test_200_flips_and_cuts_in_the_store_are_all_caught_set_aside_and_computed(tmp_path, server):
    began = time.monotonic()
    durable = DurableTier(URL, "damage")
    seen = drill_damage(tmp_path, 200, 3, "store", durable, server[0])
    assert seen.total() == 200
    print(f"\n200 of 200 caught in {time.monotonic() - began:.1f} s: {dict(seen)}")


CROWD = """
import json, pathlib, random, sys, threading, time
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.durable import DurableTier
from mdpipe.scenes.policy import Policy
from mdpipe.scenes.statistics import run_recorder
given = json.loads(sys.argv[1])
root, me, size = pathlib.Path(given["root"]), given["me"], given["size"]
durable = DurableTier(given["store"], given["namespace"]) if given["store"] else None
cache = SceneCache(pathlib.Path(given["cache"]), durable=durable, policy=Policy(*given["policy"]))
cache.record_with(run_recorder(root / "run"))
wrong = []
def compute(key):
    def make(into):
        into.mkdir(parents=True, exist_ok=True)
        time.sleep(given["work_s"])
        (into / "trajectory.xtc").write_bytes(random.Random(key).randbytes(size))
        (into / "scene.json").write_text(key)
    return make
def work(number, keys):
    for turn, key in enumerate(keys):
        into = root / me / f"{number}-{turn}"
        cache.compute_once(key, compute(key), into)
        if (into / "trajectory.xtc").read_bytes() != random.Random(key).randbytes(size):
            wrong.append(key)
threads = [threading.Thread(target=work, args=(i, k)) for i, k in enumerate(given["keys"])]
[t.start() for t in threads]; [t.join() for t in threads]
sys.exit(bool(wrong))
"""


def crowd(tmp_path, workers, *, cache, size=2000, work_s=0.2, store="", policy=()):
    """Start a process for each list of lists of keys (a thread for each list)."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, json.dumps({
                "root": str(tmp_path), "me": f"p{i}", "cache": str(cache(i)), "keys": keys,
                "size": size, "work_s": work_s, "store": store, "namespace": tmp_path.name,
                "policy": policy,
            })]
        )
        for i, keys in enumerate(workers)
    ]  # fmt: skip
    assert [process.wait(300) for process in started] == [0] * len(workers)
    return read_statistics(tmp_path / "run")


def crowd_keys():
    """Two hundred requests for 20 scenes: 8 processes, 25 threads each, one request a thread."""
    requests = [key_of("crowd", i % 20) for i in range(200)]
    random.Random(5).shuffle(requests)
    return [[[key] for key in requests[i::8]] for i in range(8)]


def test_200_requests_for_20_scenes_from_8_processes_are_20_computations(tmp_path):
    began = time.monotonic()
    seen = crowd(tmp_path, crowd_keys(), cache=lambda _: tmp_path / "scenes")
    assert (seen.misses, seen.hits) == (20, 180)
    assert not list((tmp_path / "scenes" / "locks").iterdir())
    print(f"\n{time.monotonic() - began:.1f} s: {seen.to_json()}")


@pytest.mark.usefixtures("server")
def test_the_same_from_8_hosts_with_a_common_store_are_20_computations(tmp_path):
    began = time.monotonic()
    seen = crowd(tmp_path, crowd_keys(), cache=lambda i: tmp_path / f"host{i}", store=URL)
    assert (seen.misses, seen.hits) == (20, 180)
    assert seen.store_failures == 0
    print(f"\n{time.monotonic() - began:.1f} s: {seen.to_json()}")


def study_keys(n_scenes, processes, requests):
    """Requests of a study's scenes in a random order, some again and again."""
    rng = random.Random(6)
    return [
        [[key_of("study", rng.randrange(n_scenes)) for _ in range(requests)]]
        for _ in range(processes)
    ]


@pytest.mark.parametrize("store", [False, True], ids=["folder", "folder and store"])
def test_best_effort_with_room_for_half_the_data_gives_every_scene(tmp_path, request, store):
    if store:
        request.getfixturevalue("server")
    size = 50_000
    seen = crowd(
        tmp_path, study_keys(40, 4, 60), cache=lambda _: tmp_path / "scenes", size=size,
        work_s=0.01, store=URL if store else "", policy=("best-effort", 20 * (size + 64)),
    )  # fmt: skip
    assert seen.hits + seen.misses == 240
    assert seen.evictions > 20
    if store:
        assert seen.misses == 40, "with a store each scene is computed once"
        assert seen.refetches > 0
    else:
        assert seen.recomputations > 0
    print(f"\nroom for 20 of 40 scenes: {seen.to_json()}")


def test_guaranteed_with_room_for_half_the_data_evicts_nothing_and_gives_every_scene(tmp_path):
    size = 50_000
    cache = SceneCache(tmp_path / "scenes")
    seen = crowd(
        tmp_path, study_keys(40, 4, 60), cache=lambda _: cache.folder, size=size, work_s=0.01,
        policy=("guaranteed", 20 * (size + 64), 1e6),
    )  # fmt: skip
    assert seen.evictions == 0
    assert seen.refused == seen.misses - 20 > 0
    assert len(list(cache.store.all_keys())) == 20
    print(f"\nroom for 20 of 40 scenes: {seen.to_json()}")


def test_200_scenes_come_through_a_store_that_answers_badly_a_quarter_of_the_time(
    tmp_path, server, monkeypatch
):
    faults = {"error": 0.1, "slow": 0.05, "short": 0.04, "cut": 0.03, "flip": 0.02, "stall": 0.01}
    proxy = Proxy(server[1], seed=7, **faults)
    proxy.stall_s = 2.0
    address(monkeypatch, proxy.port)
    patience = Patience(attempts=5, first_delay_s=0.02, silence_s=0.8, rest_s=0.1)
    told, began = [], time.monotonic()
    try:
        for host in ("one", "two"):
            durable = DurableTier(URL, "faults", patience=patience)
            cache = SceneCache(tmp_path / host, durable=durable, record=told.append)
            for number in range(200):
                key = key_of("faults", number)
                out = tmp_path / "out"
                cache.compute_once(key, lambda into, k=key: make(into, k, 5000), out)
                assert (out / "trajectory.xtc").read_bytes() == data_of(key, 5000)
                assert (out / "scene.json").read_text() == key
    finally:
        proxy.close()
    seen = count(told)
    assert seen.hits + seen.misses == 400
    assert seen.hits > 180
    assert seen.quarantined == 0
    print(f"\n{time.monotonic() - began:.1f} s: {seen.to_json()}\n{dict(proxy.counts)}")


def test_100000_scenes_are_planned_in_5_seconds_from_both_tiers(tmp_path, server):
    keys = [key_of("many", i) for i in range(100_000)]
    store = server[0] / "drills" / "scenes" / "many"
    for number, key in enumerate(keys[:99_000]):
        home = (store if number % 2 else tmp_path / "scenes") / key[:2] / key
        home.mkdir(parents=True)
        if number % 2:
            (home / "entry.json").touch()
    os.sync()
    graph = Graph(
        (
            Step("preprocess", "preprocess", ("x",), (), ("plan.jsonl",)),
            *(
                Step(f"s{i}", "simulate", ("x",), ("preprocess",), (f"g/{i}/",), scene_key=key)
                for i, key in enumerate(keys)
            ),
        )
    )
    times = []
    for _ in range(3):
        began = time.monotonic()
        cache = SceneCache(tmp_path / "scenes", durable=DurableTier(URL, "many"))
        found = cache.present(keys)
        looked = time.monotonic() - began
        told = Counter(forecast(graph, tmp_path / "run", frozenset(found)).values())
        times.append((round(looked, 2), round(time.monotonic() - began, 2)))
    assert told == {"cached": 99_000, "run": 1001}
    assert min(total for _, total in times) <= 5.0
    print(f"\nlook-up, and with the forecast, in s: {times}")
