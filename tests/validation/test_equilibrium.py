"""SPC/E at 298.15 K, 512 molecules: averages agree with GROMACS's within their joint errors.

Length: 300 ps of npt and 200 ps of nvt after 20 ps of equilibration each, 2 fs, mixed precision,
PME, 0.9 nm, dispersion correction; about 10 minutes on two cores. `-s` prints the figures.
"""

import json
import math

import numpy as np
import pytest

from mdpipe.io.trajectory import read_scene_frames
from mdpipe.observables import measure_scene
from mdpipe.scenes.spec import Scene
from mdpipe.simulation.run import run_scene
from mdpipe.state import State

pytestmark = pytest.mark.validation


def measured(tmp_path, reference, ensemble, length_ps):
    conf = np.load(reference / "conf_w512.npz")
    scene = Scene(
        name=ensemble,
        ensemble=ensemble,
        steps=round(length_ps / 0.002),
        equilibration_steps=10_000,
        energy_every=50,
        frame_every=250,
        seed=11,
    )
    run_scene(scene, State(conf["pos"], conf["vel"], conf["box"]), tmp_path, threads=2)
    with np.load(tmp_path / "energies.npz") as data:
        energies = {name: data[name] for name in data.files}
    return measure_scene(read_scene_frames(tmp_path), energies, scene).scalars


def assert_agrees(name, scalar, value, error):
    joint = math.hypot(scalar.error, error)
    sigma = (scalar.value - value) / joint
    print(
        f"{name}: {scalar.value:.5f} ± {scalar.error:.5f}, GROMACS {value:.5f} ± {error:.5f}, "
        f"{sigma:+.2f} joint standard errors"
    )
    assert abs(sigma) < 2.0, f"{name} differs by {sigma:.1f} joint standard errors"


def test_density_and_energy_in_npt_agree_with_gromacs(tmp_path, reference):
    other = json.loads((reference / "equilibrium.json").read_text())["gromacs_npt512"]
    ours = measured(tmp_path, reference, "npt", 300)
    assert_agrees("density", ours["density"], other["density_g_cm3"], other["density_err"])
    energy = ours["potential_energy"]
    # GROMACS's correction leaves out the C12 term: (E_standard - E_C6 only)/N of case_w216a_spce.
    case = json.loads((reference / "case_w216a_spce.json").read_text())
    shift = (case["E_disp_standard_C6_C12"] - case["E_disp_C6_only"]) / case["n_mol"]
    shifted = energy._replace(value=energy.value - shift)
    assert_agrees("energy", shifted, other["U_per_mol_kJ"], other["U_err"])


def test_energy_and_first_peak_in_nvt_agree_with_gromacs(tmp_path, reference):
    other = json.loads((reference / "equilibrium.json").read_text())["gromacs_nvt512"]
    ours = measured(tmp_path, reference, "nvt", 200)
    assert_agrees("peak", ours["goo_peak_position"], other["rdf_peak_nm"], other["rdf_peak_nm_err"])
    assert_agrees(
        "height", ours["goo_peak_height"], other["rdf_peak_height"], other["rdf_peak_height_err"]
    )
