"""Scenes from start to products: interrupted anyhow, the bits stay the same."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mdpipe.failures import InputError, InterruptedRunError, NoSpaceError
from mdpipe.kernels.simd_target import LANES
from mdpipe.models import model_keys
from mdpipe.run_folder import WORK
from mdpipe.scenes.spec import Nonbonded, Scene
from mdpipe.simulation import output
from mdpipe.simulation.checkpoint import (
    CURRENT,
    PREVIOUS,
    DamagedCheckpointError,
    read_checkpoint,
)
from mdpipe.simulation.run import run_scene, scene_digest
from mdpipe.simulation.simulation import Row
from mdpipe.state import State, load_state, save_state

PRODUCTS = ("energies.npz", "final.npz", "topology.gro", "trajectory.xtc", "scene.json")

ENSEMBLES = {
    "nve after nvt": {"ensemble": "nve"},
    "nve after langevin": {"ensemble": "nve", "thermostat": "langevin"},
    "bussi": {"ensemble": "nvt"},
    "bussi leapfrog": {"ensemble": "nvt", "integrator": "leapfrog"},
    "langevin": {"ensemble": "nvt", "thermostat": "langevin"},
    "cell rescaling": {"ensemble": "npt"},
    "cell rescaling leapfrog": {"ensemble": "npt", "integrator": "leapfrog"},
    "monte carlo": {"ensemble": "npt", "barostat": "monte-carlo"},
}

# Checkpoints fall on steps with an impulse of the reciprocal forces and on steps without.
IMPULSES = {
    "steps": 126,
    "energy_every": 9,
    "checkpoint_every": 25,
    "reciprocal_every": 3,
    "nonbonded": Nonbonded(pme_tolerance=1e-3),
}
ENSEMBLES |= {
    f"{name} with impulses": ENSEMBLES[name] | IMPULSES
    for name in ("nve after langevin", "bussi leapfrog", "cell rescaling", "monte carlo")
}


@pytest.fixture(scope="module")
def water(reference):
    data = np.load(reference / "conf_w216a.npz")
    return State(data["pos"], data["vel"], data["box"])


def scene(**settings):
    short = {
        "name": "a",
        "ensemble": "nvt",
        "steps": 130,
        "equilibration_steps": 40,
        "minimise_steps": 5,
        "checkpoint_every": 30,
        "frame_every": 20,
        "energy_every": 10,
        "nonbonded": Nonbonded(electrostatics="rf"),
    }
    return Scene(**(short | settings))


def stop_after(looks):
    """Return a callable that says True at its n-th call."""
    left = [looks]

    def stop():
        left[0] -= 1
        return left[0] <= 0

    return stop


def run_in_pieces(settings, water, out, seed, threads=2):
    """Run a scene, stopped at random moments; return how often."""
    draw = np.random.default_rng(seed)
    for pieces in range(50):
        try:
            stop = stop_after(int(draw.integers(3, 7)))
            run_scene(settings, water, out, threads=threads, stop=stop)
        except InterruptedRunError:
            continue
        return pieces
    raise AssertionError("the run never ended")


def contents(out):
    return {name: (out / name).read_bytes() for name in PRODUCTS}


@pytest.mark.parametrize("name", ENSEMBLES)
def test_stopped_and_resumed_runs_have_the_bytes_of_an_undisturbed_one(tmp_path, water, name):
    settings = scene(**ENSEMBLES[name])
    run_scene(settings, water, tmp_path / "once", threads=1)
    assert run_in_pieces(settings, water, tmp_path / "pieces", seed=len(name)) >= 2
    assert contents(tmp_path / "once") == contents(tmp_path / "pieces")
    assert sorted(p.name for p in (tmp_path / "pieces").iterdir()) == sorted(PRODUCTS)


@pytest.mark.parametrize("precision", ["mixed", "double"])
@pytest.mark.parametrize("model", model_keys())
def test_every_model_has_the_same_bytes_for_any_threads_and_after_restarts(
    tmp_path, water, model, precision
):
    pme = Nonbonded(pme_tolerance=1e-3)
    settings = scene(model=model, precision=precision, steps=40, equilibration_steps=20,
                     dt_ps=0.0005, ensemble="npt", checkpoint_every=20, nonbonded=pme)  # fmt: skip
    run_scene(settings, water, tmp_path / "once", threads=1)
    assert run_in_pieces(settings, water, tmp_path / "pieces", seed=1) >= 1
    assert contents(tmp_path / "once") == contents(tmp_path / "pieces")


def test_threads_that_come_and_go_leave_no_trace(tmp_path, water):
    settings = scene(ensemble="npt")
    run_scene(settings, water, tmp_path / "once", threads=1)
    draw = np.random.default_rng(2)
    run_scene(settings, water, tmp_path / "changing", allowed=lambda: int(draw.integers(1, 3)))
    assert contents(tmp_path / "once") == contents(tmp_path / "changing")


CHILD = """
import sys
from pathlib import Path
from mdpipe.scenes.spec import Scene
from mdpipe.simulation.run import run_scene
from mdpipe.state import load_state
out = Path(sys.argv[3])
told = lambda progress: print(progress.step, flush=True)
run_scene(
    Scene.model_validate_json(sys.argv[1]), load_state(Path(sys.argv[2])), out, progress=told
)
"""


def test_a_run_imports_no_library_that_it_does_not_need(tmp_path, water):
    save_state(tmp_path / "start.npz", water)
    settings = scene(steps=10, equilibration_steps=0, nonbonded=Nonbonded(pme_tolerance=1e-3))
    heavy = {"MDAnalysis", "ase", "matplotlib", "mdpipe.render"}
    # Where there are no vectors SciPy transforms the mesh.
    heavy |= {"scipy.fft", "scipy.linalg"} if LANES else set()
    code = f"{CHILD}\nprint(sorted({heavy} & set(sys.modules)))"
    command = [sys.executable, "-c", code, settings.model_dump_json()]
    command += [str(tmp_path / "start.npz"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_run_killed_at_any_moment_ends_with_the_same_bytes(tmp_path, water):
    settings = scene(ensemble="npt", steps=1500, checkpoint_every=200)
    save_state(tmp_path / "start.npz", water)
    run_scene(settings, water, tmp_path / "once", threads=2)
    out = tmp_path / "killed"
    command = [sys.executable, "-c", CHILD, settings.model_dump_json()]
    command += [str(tmp_path / "start.npz"), str(out)]
    draw = np.random.default_rng(8)
    killed = 0
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            # Once it has done steps, so that every kill finds it at work.
            for line in child.stdout:
                if int(line) > 0:
                    break
            time.sleep(float(draw.uniform(0.0, 0.25)))
            if child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
            killed += child.wait() == -signal.SIGKILL
    assert killed
    assert not (out / "scene.json").exists()
    run_scene(settings, water, out)
    assert contents(tmp_path / "once") == contents(out)


@pytest.fixture
def half_done(tmp_path, water):
    """Return settings and folder of a run with two checkpoints, and the bytes it shall end with."""
    settings = scene()
    run_scene(settings, water, tmp_path / "once")
    out = tmp_path / "half"
    with pytest.raises(InterruptedRunError, match="run again to go on"):
        run_scene(settings, water, out, stop=stop_after(15))
    assert (out / WORK / CURRENT).exists()
    assert (out / WORK / PREVIOUS).exists()
    return settings, out, contents(tmp_path / "once")


def spoil(path, how):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: len(content) // 2]
    elif how == "empty":
        content = bytearray()
    else:
        content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "empty", "altered"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(half_done, water, caplog, how):
    settings, out, expected = half_done
    spoil(out / WORK / CURRENT, how)
    run_scene(settings, water, out)
    assert "going on from the one before" in caplog.text
    assert contents(out) == expected


def test_a_damaged_checkpoint_is_not_kept_as_the_previous_good_one(half_done, water):
    settings, out, expected = half_done
    spoil(out / WORK / CURRENT, "truncated")
    with pytest.raises(InterruptedRunError):
        run_scene(settings, water, out, stop=stop_after(4))
    spoil(out / WORK / CURRENT, "truncated")
    run_scene(settings, water, out)
    assert contents(out) == expected


def test_an_altered_number_in_a_whole_checkpoint_is_noticed(half_done):
    _, out, _ = half_done
    path = out / WORK / CURRENT
    with np.load(path) as data:
        arrays = dict(data)
    arrays["velocities"][0, 0, 0] += 1.0
    np.savez(path, **arrays)
    with pytest.raises(DamagedCheckpointError, match="digest does not match"):
        read_checkpoint(path)


def test_altered_frames_give_way_to_the_checkpoint_before(half_done, water):
    settings, out, expected = half_done
    frames = out / WORK / output.FRAMES
    content = bytearray(frames.read_bytes())
    content[-1] ^= 1
    frames.write_bytes(content)
    newest, older = (np.load(out / WORK / name)["marks"][0] for name in (CURRENT, PREVIOUS))
    assert len(content) >= newest
    if newest < len(content):
        content = content[:newest]
        content[-1] ^= 1
        frames.write_bytes(content)
    assert older < newest
    run_scene(settings, water, out)
    assert contents(out) == expected


def test_two_damaged_checkpoints_are_one_clear_line(half_done, water):
    settings, out, _ = half_done
    spoil(out / WORK / CURRENT, "truncated")
    spoil(out / WORK / PREVIOUS, "altered")
    with pytest.raises(InputError, match="no checkpoint can be used") as caught:
        run_scene(settings, water, out)
    assert "remove this folder" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_scene_is_not_used(half_done, water, caplog, tmp_path):
    _, out, _ = half_done
    other = scene(seed=99)
    run_scene(other, water, out)
    assert "belongs to another scene" in caplog.text
    run_scene(other, water, tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh")


def test_a_finished_scene_is_left_as_it_is(tmp_path, water):
    settings = scene(steps=20)
    run_scene(settings, water, tmp_path)
    times = {name: (tmp_path / name).stat().st_mtime_ns for name in PRODUCTS}
    run_scene(settings, water, tmp_path)
    assert times == {name: (tmp_path / name).stat().st_mtime_ns for name in PRODUCTS}


def test_products_of_another_scene_and_stale_parts_make_way(tmp_path, water):
    run_scene(scene(steps=20, trajectory="xtc"), water, tmp_path)
    (tmp_path / ".energies.part-1.npz").write_bytes(b"left by a killed run")
    other = scene(steps=20, trajectory="dcd", seed=2)
    run_scene(other, water, tmp_path)
    wanted = [name.replace("xtc", "dcd") for name in PRODUCTS]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(wanted)
    assert json.loads((tmp_path / "scene.json").read_text())["seed"] == 2


def test_a_missing_product_is_made_again(tmp_path, water):
    settings = scene(steps=20)
    run_scene(settings, water, tmp_path)
    before = contents(tmp_path)
    (tmp_path / "final.npz").unlink()
    run_scene(settings, water, tmp_path)
    assert contents(tmp_path) == before


def test_products_hold_what_they_say(tmp_path, water):
    settings = scene(steps=60, ensemble="npt")
    seen = []
    run_scene(settings, water, tmp_path, progress=seen.append)
    with np.load(tmp_path / "energies.npz") as data:
        table = {name: data[name] for name in data.files}
    assert list(table) == list(Row._fields)
    assert table["step"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert table["time_ps"] == pytest.approx(table["step"] * 0.002)
    parts = ("lj", "coulomb_real", "coulomb_reciprocal", "coulomb_self", "coulomb_exclusion")
    names = [f"{part}_kj_mol" for part in (*parts, "bond", "angle", "dispersion")]
    assert sum(table[name] for name in names) == pytest.approx(table["potential_kj_mol"])
    mass = 216 * 18.0154 * 1.66053906717e-3
    assert table["density_g_cm3"] * table["volume_nm3"] == pytest.approx(mass)
    final = load_state(tmp_path / "final.npz")
    assert (final.step, final.time_ps) == (60, pytest.approx(0.12))
    facts = json.loads((tmp_path / "scene.json").read_text())
    assert facts["digest"] == scene_digest(tmp_path)
    assert facts["scene"] == settings.model_dump(mode="json")
    assert facts["n_molecules"] == 216
    assert set(facts["versions"]) == {"mdpipe", "numpy", "numba", "python", "processor"}
    assert seen[-1].step == seen[-1].total == 100
    assert {now.stage for now in seen} >= {"minimise", "produce"}


def test_frames_are_whole_unwrapped_and_as_many_as_asked(tmp_path, water):
    from mdpipe.io.trajectory import read_scene_frames

    run_scene(scene(steps=60, trajectory="dcd"), water, tmp_path)
    frames = list(read_scene_frames(tmp_path))
    assert len(frames) == 4
    final = load_state(tmp_path / "final.npz")
    # float32 of 2 nm
    assert np.abs(frames[-1].positions - final.positions).max() < 3e-7
    for frame in frames:
        bonds = np.linalg.norm(frame.positions[:, 1:] - frame.positions[:, :1], axis=2)
        assert np.abs(bonds - 0.1).max() < 1e-6


def test_digest_notices_a_single_altered_number(tmp_path, water):
    settings = scene(steps=20)
    run_scene(settings, water, tmp_path)
    before = scene_digest(tmp_path)
    final = load_state(tmp_path / "final.npz")
    final.velocities[100, 1, 2] = np.nextafter(final.velocities[100, 1, 2], 9.0)
    save_state(tmp_path / "final.npz", final)
    assert scene_digest(tmp_path) != before


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(half_done, water, monkeypatch):
    settings, out, expected = half_done

    class FullDisk(output.FileIO):
        def write(self, content):
            if self.tell() > 20_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content)

    monkeypatch.setattr(output, "FileIO", FullDisk)
    with pytest.raises(NoSpaceError, match="the disk is full") as caught:
        run_scene(settings, water, out)
    assert "\n" not in str(caught.value)
    assert not [p for p in out.rglob("*") if "part" in p.name]
    monkeypatch.undo()
    run_scene(settings, water, out)
    assert contents(out) == expected


def test_a_box_below_twice_the_cutoff_is_refused(tmp_path, water):
    settings = scene(nonbonded=Nonbonded(electrostatics="rf", r_cut_nm=1.0))
    with pytest.raises(InputError, match="box"):
        run_scene(settings, water, tmp_path)
