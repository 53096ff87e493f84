"""Golden trajectories: the same scene gives the same bits, unless PHYSICS_VERSION says otherwise.

On another processor, with narrower vectors (`MDPIPE_SIMD`) or with other versions of numba, numpy
or scipy the compiler may contract, order and vectorise differently, and libm and FFT may round
differently; there the end of the trajectory is compared within what rounding grows to in 40 steps.
`MDPIPE_REGENERATE=1` writes the files anew; a missing one fails.
"""

import json
import os
from pathlib import Path

import numba
import numpy as np
import pytest
import scipy

from mdpipe.kernels import simd_target
from mdpipe.scenes.spec import PHYSICS_VERSION, Nonbonded, Scene
from mdpipe.simulation.products import versions
from mdpipe.simulation.run import run_scene, scene_digest
from mdpipe.state import State, load_state

HERE = Path(__file__).resolve().parent
RF = Nonbonded(electrostatics="rf")

SCENES = {
    "nve_double_rf": {"ensemble": "nve", "precision": "double", "nonbonded": RF},
    "nvt_leapfrog_pme": {"ensemble": "nvt", "integrator": "leapfrog"},
    "npt_cell_tip4p2005_pme": {"ensemble": "npt", "model": "tip4p2005"},
    "nvt_langevin_spcfw_rf": {
        "ensemble": "nvt",
        "model": "spcfw",
        "thermostat": "langevin",
        "dt_ps": 0.0005,
        "nonbonded": RF,
    },
}

# Rounding errors of 1e-16 (double) or 1e-7 (mixed) of the forces' sums, through 40 steps.
LIMIT_NM = {"double": 1e-11, "mixed": 1e-5}


def here():
    """Return what the bits depend on besides the scene and the code."""
    return {
        "processor": versions()["processor"],
        "vectors": simd_target.NAME,
        "numba": numba.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


@pytest.mark.parametrize("name", SCENES)
def test_trajectory_is_the_golden_one(name, tmp_path, reference):
    conf = np.load(reference / "conf_w216a.npz")
    start = State(conf["pos"], conf["vel"], conf["box"])
    scene = Scene(name="a", steps=40, frame_every=20, energy_every=20, **SCENES[name])
    run_scene(scene, start, tmp_path)
    final = load_state(tmp_path / "final.npz")
    facts = {"digest": scene_digest(tmp_path), "physics_version": PHYSICS_VERSION, **here()}
    golden = HERE / f"{name}.npz"
    if os.environ.get("MDPIPE_REGENERATE") == "1":
        np.savez_compressed(
            golden, positions=final.positions, box=final.box, facts=json.dumps(facts)
        )
    assert golden.exists(), f"{golden} is missing; write it with MDPIPE_REGENERATE=1"
    with np.load(golden) as data:
        positions, box, told = data["positions"], data["box"], json.loads(str(data["facts"]))
    limit = LIMIT_NM[scene.precision]
    assert np.abs(final.positions - positions).max() < limit
    assert np.abs(final.box - box).max() < limit
    if here() == {key: told.get(key) for key in here()}:
        assert told == facts, (
            "the bits changed: raise PHYSICS_VERSION, so that no cached scene of the old code is "
            "used, and write the golden files with MDPIPE_REGENERATE=1"
        )
