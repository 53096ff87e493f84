"""Scenes whose checkpoints are mirrored in a store: hosts that are lost, stores that fail."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from faulty_store import QUICK, URL, Proxy, address, free_port, objects_of

from mdpipe.failures import BusyError, InterruptedRunError, UsageError
from mdpipe.products import remove
from mdpipe.run_folder import WORK
from mdpipe.scenes import checkpoint_store
from mdpipe.scenes.checkpoint_store import CheckpointStore
from mdpipe.scenes.objects import Objects
from mdpipe.scenes.spec import Nonbonded, Scene, scene_key
from mdpipe.simulation.checkpoint import CURRENT
from mdpipe.simulation.run import run_scene
from mdpipe.state import State, load_state, save_state, state_digest
from mdpipe.steps.checkpoints import mirrored, remove_mirror

PRODUCTS = ("energies.npz", "final.npz", "topology.gro", "trajectory.xtc", "scene.json")
KEY = "0" * 64


@pytest.fixture
def server(server, monkeypatch):
    monkeypatch.setenv("MDPIPE_CHECKPOINTS", URL)
    return server


def scene(**settings):
    short = {
        "name": "a", "ensemble": "npt", "steps": 130, "equilibration_steps": 40,
        "minimise_steps": 5, "checkpoint_every": 30, "frame_every": 20, "energy_every": 10,
        "nonbonded": Nonbonded(electrostatics="rf"),
    }  # fmt: skip
    return Scene(**(short | settings))


@pytest.fixture(scope="module")
def water(reference):
    data = np.load(reference / "conf_w216a.npz")
    return State(data["pos"], data["vel"], data["box"])


@pytest.fixture(scope="module")
def undisturbed(water, tmp_path_factory):
    out = tmp_path_factory.mktemp("once")
    run_scene(scene(), water, out)
    return contents(out)


def contents(out):
    return {name: (out / name).read_bytes() for name in PRODUCTS}


def test_a_scene_whose_hosts_are_lost_again_and_again_has_the_bytes_of_an_undisturbed_one(
    server, water, undisturbed, tmp_path, monkeypatch
):
    monkeypatch.setenv("MDPIPE_CHECKPOINT_PERIOD_S", "600")
    key = scene_key(scene(), state_digest(water))
    notices = []
    for host in range(20):
        out = tmp_path / str(host)
        looks = [2 + host % 3]

        def stop(looks=looks):
            looks[0] -= 1
            return looks[0] < 0

        try:
            with mirrored(key, out / WORK, notices.append):
                run_scene(scene(), water, out, stop=stop)
            break
        except InterruptedRunError:
            remove(out)  # the host is gone, with its disk
    assert host >= 3
    assert contents(out) == undisturbed
    assert any("goes on from step" in notice for notice in notices)
    assert objects_of(server, key), "it goes when the scene is in the cache, not before"
    remove_mirror(key)
    assert objects_of(server, key) == {}


def test_a_checkpoint_here_that_is_as_far_as_the_mirror_is_kept(server, water, tmp_path):
    key = scene_key(scene(seed=5), state_digest(water))
    out = tmp_path / "a"
    with pytest.raises(InterruptedRunError), mirrored(key, out / WORK):
        run_scene(scene(seed=5), water, out, stop=lambda: True)
    mark = (out / WORK / CURRENT).stat().st_ino
    with mirrored(key, out / WORK):
        assert (out / WORK / CURRENT).stat().st_ino == mark
    assert objects_of(server, key)


@pytest.mark.usefixtures("server")
def test_a_mirror_whose_checkpoint_does_not_fit_its_frames_is_set_aside(water, tmp_path):
    notices = []
    key = scene_key(scene(seed=6), state_digest(water))
    out = tmp_path / "a"
    with pytest.raises(InterruptedRunError), mirrored(key, out / WORK):
        run_scene(scene(seed=6), water, out, stop=lambda: True)
    store = CheckpointStore(URL, key)
    step = store.look()
    content = (out / WORK / CURRENT).read_bytes()
    rows = out / WORK / "energies.bin"
    store.save(step + 1, {CURRENT: content[:-9]}, {"energies.bin": (rows, rows.stat().st_size)})
    with mirrored(key, tmp_path / "b" / WORK, notices.append):
        assert not (tmp_path / "b" / WORK).exists()
    assert "set aside" in notices[0]
    assert CheckpointStore(URL, key).look() is None


CHILD = """
import sys, time
from pathlib import Path
from mdpipe.failures import exit_on_sigterm
from mdpipe.scenes.spec import Scene, scene_key
from mdpipe.simulation.run import run_scene
from mdpipe.state import load_state, state_digest
from mdpipe.steps.checkpoints import mirrored
exit_on_sigterm()
scene, start = Scene.model_validate_json(sys.argv[1]), load_state(Path(sys.argv[2]))
out = sys.argv[3]
def told(progress):
    print(progress.step, flush=True)
    time.sleep(0.02)
try:
    with mirrored(scene_key(scene, state_digest(start)), Path(out) / "work"):
        run_scene(scene, start, Path(out), progress=told)
except Exception as error:
    print(error, file=sys.stderr)
    sys.exit(getattr(error, "exit_code", 1))
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_its_checkpoint_in_the_store(
    server, water, tmp_path, ending, monkeypatch
):
    settings = scene(steps=4000, seed=int(ending), checkpoint_every=10)
    key = scene_key(settings, state_digest(water))
    save_state(tmp_path / "start.npz", water)
    water = load_state(tmp_path / "start.npz")
    monkeypatch.setenv("MDPIPE_CHECKPOINT_PERIOD_S", "600" if ending == signal.SIGTERM else "0.2")
    command = [sys.executable, "-c", CHILD, settings.model_dump_json(),
               str(tmp_path / "start.npz"), str(tmp_path / "out")]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        for line in process.stdout:
            mirrors = CheckpointStore(URL, key).look() if ending == signal.SIGKILL else 0
            if int(line) > 100 and mirrors is not None:
                break
        assert objects_of(server, key) or ending == signal.SIGTERM
        began = time.monotonic()
        process.send_signal(ending)
        _, said = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    step = CheckpointStore(URL, key).look()
    if ending == signal.SIGTERM:
        assert process.returncode == 75
        assert f"interrupted by SIGTERM; the checkpoint of step {step} is in the store" in said
        assert step + 40 >= 100
    else:
        assert process.returncode == -9
    notices = []
    with (
        contextlib.suppress(InterruptedRunError),
        mirrored(key, tmp_path / "new" / WORK, notices.append),
    ):
        run_scene(settings, water, tmp_path / "new", stop=lambda: True)
    assert f"goes on from step {step}" in notices[0]


def test_a_store_that_is_down_at_the_start_is_told_and_tried_again_later(tmp_path, monkeypatch):
    pytest.importorskip("obstore")
    address(monkeypatch, free_port())
    monkeypatch.setenv("MDPIPE_CHECKPOINTS", URL)
    monkeypatch.setattr(checkpoint_store, "Objects", quick_objects())
    with (
        pytest.raises(BusyError, match="does not say where scene"),
        mirrored(KEY, tmp_path / WORK),
    ):
        raise AssertionError


def quick_objects():
    return lambda url, patience=None: Objects(url, patience or QUICK)


def test_a_store_that_fails_while_a_scene_runs_costs_one_notice_and_no_scene(
    server, water, undisturbed, tmp_path, monkeypatch
):
    notices = []
    monkeypatch.setenv("MDPIPE_CHECKPOINT_PERIOD_S", "0.05")
    monkeypatch.setattr(checkpoint_store, "Objects", quick_objects())
    key = scene_key(scene(), state_digest(water))
    proxy = Proxy(server[1])
    address(monkeypatch, proxy.port)
    try:
        with mirrored(key, tmp_path / WORK, notices.append):
            proxy.probabilities = {"error": 1.0}
            run_scene(scene(), water, tmp_path, progress=lambda _: time.sleep(0.02))
            time.sleep(0.2)
    finally:
        proxy.close()
    assert contents(tmp_path) == undisturbed
    assert len(notices) <= 1


def test_without_a_store_nothing_is_mirrored_and_its_library_is_not_loaded(tmp_path):
    code = (
        "import sys; from pathlib import Path; from mdpipe.steps.checkpoints import *\n"
        "with mirrored('0' * 64, Path('x')): pass\n"
        "remove_mirror('0' * 64)\n"
        "sys.exit('obstore' in sys.modules)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "MDPIPE_CHECKPOINTS"}
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, check=False, env=environment, cwd=tmp_path).returncode == 0


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("text", ["0", "-1", "often", "nan"])
def test_a_wrong_period_is_a_wrong_call(tmp_path, monkeypatch, text):
    monkeypatch.setenv("MDPIPE_CHECKPOINT_PERIOD_S", text)
    with pytest.raises(UsageError, match="MDPIPE_CHECKPOINT_PERIOD_S"), mirrored(KEY, tmp_path):
        raise AssertionError
