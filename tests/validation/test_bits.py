"""A scene of 2,000 steps has the same bits for 1 and 2 threads and after three kills."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from mdpipe.state import State, save_state

pytestmark = pytest.mark.validation


def command(start, out, threads):
    return [
        *(sys.executable, "-m", "mdpipe.cli", "simulate", "--ensemble", "nvt", "--steps", "2000"),
        *("--start", str(start), "--seed", "4", "--out", str(out)),
        *("--set", "checkpoint_every=200", "--set", "frame_every=50", "--threads", str(threads)),
    ]


def product_bytes(out):
    names = ("trajectory.xtc", "energies.npz", "final.npz", "topology.gro")
    return [(out / name).read_bytes() for name in names]


def test_threads_and_kills_leave_no_trace_in_the_products(tmp_path, reference):
    conf = np.load(reference / "conf_w895.npz")
    start = tmp_path / "start.npz"
    save_state(start, State(conf["pos"], conf["vel"], conf["box"]))
    for threads in (1, 2):
        subprocess.run(command(start, tmp_path / f"t{threads}", threads), check=True)
    chance = random.Random(7)
    killed = tmp_path / "killed"
    for _ in range(3):
        process = subprocess.Popen(command(start, killed, 2), env=os.environ)
        time.sleep(chance.uniform(1.5, 4.0))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it ended before it was killed; kill earlier"
    subprocess.run(command(start, killed, 1), check=True)
    undisturbed = product_bytes(tmp_path / "t1")
    assert product_bytes(tmp_path / "t2") == undisturbed
    assert product_bytes(killed) == undisturbed
