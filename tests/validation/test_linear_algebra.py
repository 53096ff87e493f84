"""Products are the same whatever code OpenBLAS picks for the processor.

The container engine may meet another choice than the process engine: `OPENBLAS_CORETYPE` of the
user's shell does not enter a container, and nodes of a cluster differ.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

from mdpipe.run_folder import RunFolder

pytestmark = pytest.mark.validation

CORES = ("Haswell", "SkylakeX", "Nehalem")
MORE = """
[[scenes]]
name = "tight"
ensemble = "nvt"
nonbonded = {electrostatics = "pme", r_cut_nm = 0.8}
[resources]
workers = 1
"""


def as_core(core, folder):
    """Return the environment of a process whose OpenBLAS takes the code of another processor."""
    own = {"OPENBLAS_CORETYPE": core, "OPENBLAS_VERBOSE": "2"}
    return os.environ | own | {"MDPIPE_SCENE_CACHE": str(folder)}


def distinct_cores(folder):
    found = {}
    for core in CORES:
        asked = subprocess.run([sys.executable, "-c", "import numpy"], env=as_core(core, folder),
                               capture_output=True, text=True, check=True)  # fmt: skip
        found.setdefault(asked.stderr, core)
    return list(found.values())


def turned_water(reference, path):
    """Write the triclinic water with velocities, turned so that its box is a full matrix."""
    with np.load(reference / "conf_tro360.npz") as data:
        random = np.random.default_rng(5)
        turn = np.linalg.qr(random.normal(size=(3, 3)))[0]
        turn *= np.sign(np.linalg.det(turn))
        box, positions = 10.0 * data["box"] @ turn, 10.0 * data["pos"].reshape(-1, 3) @ turn
        velocities = 10.0 * data["vel"].reshape(-1, 3) @ turn
    rows = "".join(
        f"{name} {' '.join(f'{x:.9f}' for x in (*place, *speed))}\n"
        for name, place, speed in zip("OHH" * (len(positions) // 3), positions, velocities,
                                      strict=True)
    )  # fmt: skip
    lattice = " ".join(f"{x:.9f}" for x in box.ravel())
    head = f'Lattice="{lattice}" Properties=species:S:1:pos:R:3:vel:R:3 pbc="T T T"'
    path.write_text(f"{len(positions)}\n{head}\n{rows}")


def contents(run):
    made = RunFolder(run)
    files = [*run.glob("groups/**/*"), made.film, made.table]
    return {str(path.relative_to(run)): path.read_bytes() for path in files if path.is_file()}


def test_products_do_not_depend_on_the_code_that_openblas_picks(tmp_path, reference, small_study):
    cores = distinct_cores(tmp_path)
    if len(cores) < 2:
        pytest.skip("NumPy's linear algebra knows only one way on this processor")
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    for name in ("conf_w216a.gro", "conf_ice432.gro"):
        (inputs / name).write_bytes((reference / name).read_bytes())
    turned_water(reference, inputs / "turned.extxyz")
    study = small_study(tmp_path / "study.toml", inputs, MORE)
    made = {}
    for core in cores:
        run = tmp_path / core
        subprocess.run([sys.executable, "-m", "mdpipe.cli", "run", str(study), "--run", str(run)],
                       env=as_core(core, tmp_path / f"scenes-{core}"), check=True)  # fmt: skip
        made[core] = contents(run)
    first = made.pop(cores[0])
    assert {"film.mp4", "summary.csv"} <= set(first)
    for core, others in made.items():
        assert set(others) == set(first)
        differing = sorted(name for name in first if others[name] != first[name])
        assert not differing, f"{core}, {cores[0]}: other bytes in {differing}"
