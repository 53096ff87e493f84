"""Narrower vectors than the machine's, and none at all: the same forces, energies and virial."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from mdpipe.kernels.simd import LANES
from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation.forcefield import ForceField

pytestmark = pytest.mark.skipif(
    numba.config.DISABLE_JIT or LANES == 0, reason="needs compiled code and a known vector unit"
)

CASES = {"spce": 4, "tip4p2005": 5}
"""Models and the orders of their splines."""

CHILD = """
import json, os, sys
import numba
sys.path.insert(0, os.path.dirname(sys.argv[1]))
from test_vector_widths import evaluate
numba.set_num_threads(1)
print(json.dumps(evaluate(sys.argv[2])))
"""


def evaluate(start):
    """Evaluate each model in the box of a file; what is told fits into JSON."""
    with np.load(start) as data:
        positions, box = data["pos"], data["box"]
    told = {}
    for key, order in CASES.items():
        nonbonded = Nonbonded(
            r_cut_nm=0.8, pme_alpha_per_nm=3.6, pme_grid=(20, 18, 28), pme_order=order
        )
        field = ForceField(load_model(key), nonbonded, box, len(positions), precision="mixed")
        forces = np.zeros_like(positions)
        energies, virial = field.evaluate(positions, box, forces)
        kernels = [field.describe()[name] for name in ("pair_kernel", "fft")]
        told[key] = {
            "kernels": kernels,
            "forces": forces.ravel().tolist(),
            "energies": list(energies),
            "virial": virial.ravel().tolist(),
        }
    return told


def deviation(value, expected):
    return math.sqrt(((value - expected) ** 2).sum() / (expected**2).sum())


@pytest.fixture(scope="module")
def widest(reference):
    return evaluate(reference / "conf_w216a.npz")


@pytest.mark.parametrize("lanes", [lanes for lanes in (8, 4, 0) if lanes < LANES])
def test_narrower_vectors_give_the_same_forces_energies_and_virial(lanes, widest, reference):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, __file__, str(reference / "conf_w216a.npz")],
        env=os.environ | {"MDPIPE_SIMD": str(lanes)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    for key, narrow in json.loads(done.stdout).items():
        if lanes:
            assert f"{lanes} lanes" in narrow["kernels"][0]
            assert narrow["kernels"][1] == "vectors"
        else:
            assert narrow["kernels"] == ["pair", "scipy.fft"]
        # Sums of 24 bits in another order; the virial is a difference of parts some 20 times as
        # large, and energies are of one sign.
        for name, rounding in (("forces", 3e-6), ("energies", 3e-7), ("virial", 3e-5)):
            error = deviation(np.array(narrow[name]), np.array(widest[key][name]))
            assert error < rounding, (key, name)
