"""A process that compiles the kernels and one that loads them give the same bits."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.validation

CHILD = """
import hashlib, sys
import numpy as np
from mdpipe.scenes.spec import Nonbonded, Scene
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import State

data = np.load(sys.argv[1])
for settings in (
    {"ensemble": "npt", "model": "tip4p2005"},
    {"ensemble": "nvt", "thermostat": "langevin", "nonbonded": Nonbonded(electrostatics="rf")},
    {"ensemble": "nve", "precision": "double"},
):
    state = State(data["pos"], data["vel"], data["box"])
    simulation = Simulation(Scene(name="a", steps=1, **settings), state)
    simulation.step(20)
    row = np.array(simulation.energies())
    for array in (simulation.state.positions, simulation.forces, row):
        print(hashlib.sha256(array.tobytes()).hexdigest())
"""


def test_compiling_and_loading_processes_agree_in_every_bit(tmp_path, reference):
    # Fast-math code is where they differed: the compiler saw it in another context.
    environment = os.environ | {"MDPIPE_CACHE_DIR": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-c", CHILD, str(reference / "conf_w216a.npz")]
    cold, warm = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert len(cold.splitlines()) == 9
    assert cold == warm
