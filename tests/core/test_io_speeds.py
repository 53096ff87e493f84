"""Velocities come out in nm/ps, whatever the file says or leaves unsaid."""

import re

import numpy as np
import pytest

from mdpipe.io.formats import write_frames
from mdpipe.io.inputs import read_frames
from mdpipe.io.structures import to_ase
from mdpipe.state import Frame, State


@pytest.fixture
def frame(reference):
    with np.load(reference / "conf_w216a.npz") as data:
        return Frame(data["pos"], data["box"], 3.0, data["vel"].astype(np.float64))


@pytest.mark.parametrize(
    ("units", "speed", "time"),
    [("real", 0.01, 3000.0), ("metal", 10.0, 3.0), (None, 0.01, None), (None, 10.0, None)],
)
def test_dumps_in_real_and_metal_units_or_none_give_the_same_speeds(
    tmp_path, frame, units, speed, time
):
    path = tmp_path / "water.lammpstrj"
    write_frames(path, [frame._replace(velocities=100 * speed * frame.velocities)])
    text = path.read_text()
    head = "" if units is None else f"ITEM: UNITS\n{units}\n"
    head += "" if time is None else f"ITEM: TIME\n{time}\n"
    path.write_text(re.sub(r"^ITEM: UNITS\nreal\nITEM: TIME\n.*\n", head, text))
    (got,) = read_frames(path)
    # 6 decimals of Å/fs are 5e-5 nm/ps.
    np.testing.assert_allclose(got.velocities, frame.velocities, atol=5.1e-5)
    # Without TIME the step number counts femtoseconds.
    assert got.time_ps == pytest.approx(3.0)


def test_momenta_that_ase_writes_are_read_as_velocities(tmp_path, frame):
    import ase.io

    path = tmp_path / "water.extxyz"
    atoms = to_ase(State(frame.positions, frame.velocities, frame.box))
    # ASE has its own masses for O and H.
    atoms.set_masses([15.9994, 1.008, 1.008] * 216)
    atoms.set_velocities(frame.velocities.reshape(-1, 3) / 9.822694788464063)
    ase.io.write(path, atoms)
    assert "momenta" in path.read_text()[:2000]
    (got,) = read_frames(path)
    np.testing.assert_allclose(got.velocities, frame.velocities, atol=1e-5)


@pytest.mark.parametrize("unit", [100.0, 9.822694788464063, 0.1])
def test_velocities_of_an_unsaid_unit_are_taken_for_those_of_water_room_temperature(
    tmp_path, frame, unit
):
    path = tmp_path / "water.extxyz"
    write_frames(path, [frame._replace(velocities=frame.velocities * 100.0 / unit)])
    path.write_text(path.read_text().replace(":velo:R:3", ":vel:R:3"))
    (got,) = read_frames(path)
    np.testing.assert_allclose(got.velocities, frame.velocities, atol=1e-6)


def test_units_that_are_no_lengths_are_named(tmp_path, frame):
    path = tmp_path / "water.lammpstrj"
    write_frames(path, [frame, frame])
    path.write_text(path.read_text().replace("UNITS\nreal", "UNITS\nlj"))
    problems = list(read_frames(path))
    assert [problem.frame for problem in problems] == [0, 1]
    assert "units 'lj'" in problems[0].what
