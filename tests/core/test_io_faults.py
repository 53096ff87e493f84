"""Bad inputs: each fault names file and frame, and the frames around it are used."""

import re

import numpy as np
import pytest

from mdpipe.failures import InputError
from mdpipe.io.formats import SUFFIXES, write_frames
from mdpipe.io.inputs import Problem, read_frames
from mdpipe.io.trajectory import read_trajectory
from mdpipe.state import Frame

TEXT = ["gro", "pdb", "extxyz", "lammpsdump"]


@pytest.fixture
def frames(reference):
    with np.load(reference / "conf_w216a.npz") as data:
        pos, vel, box = data["pos"], data["vel"], data["box"]
    return [Frame(pos + 0.01 * k, box, 0.5 * k, vel) for k in range(3)]


def split(items):
    items = list(items)
    return (
        [item for item in items if isinstance(item, Frame)],
        [item for item in items if isinstance(item, Problem)],
    )


@pytest.mark.parametrize("cut", [0.2, 0.35, 0.5, 0.7, 0.9, 0.999])
@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_truncated_file_gives_its_whole_frames_and_one_problem(tmp_path, frames, kind, cut):
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, frames, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    good, bad = split(read_frames(path))
    whole = [f for f in good if np.abs(f.positions - frames[f.number].positions).max() < 6e-4]
    assert len(whole) == len(good) == int(3 * cut)
    (problem,) = bad
    assert problem.file == str(path)
    assert problem.frame == len(good)
    assert re.search("ends|truncated", problem.what)
    assert "copy the file again" in problem.remedy


@pytest.mark.parametrize("kind", ["xtc", "trr", "dcd"])
def test_a_truncated_trajectory_of_a_scene_is_an_input_error(tmp_path, frames, kind):
    path = tmp_path / f"trajectory.{kind}"
    write_frames(path, frames, kind)
    content = path.read_bytes()
    path.write_bytes(content[: int(0.8 * len(content))])
    with pytest.raises(InputError, match=r"frame 2 .*truncated or damaged.*copy"):
        list(read_trajectory(path))


@pytest.mark.parametrize("kind", ["xtc", "trr", "dcd", "npy", *TEXT])
def test_an_empty_file_is_one_problem(tmp_path, frames, kind):
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, frames, kind)
    path.write_bytes(b"")
    good, bad = split(read_frames(path))
    assert good == []
    assert len(bad) == 1


@pytest.mark.parametrize("kind", TEXT)
def test_a_malformed_line_is_named_and_the_other_frames_are_used(tmp_path, frames, kind):
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, frames, kind)
    lines = path.read_text().split("\n")
    n = len(lines) // 3
    at = n + n // 2
    assert re.search(r"\d\.\d", lines[at])
    lines[at] = re.sub(r"\d\.\d", "x.x", lines[at], count=1)
    path.write_text("\n".join(lines))
    good, bad = split(read_frames(path))
    assert [frame.number for frame in good] == [0, 2]
    (problem,) = bad
    assert problem.frame == 1
    assert f"line {at + 1} is malformed" in problem.what


@pytest.mark.parametrize("kind", TEXT)
def test_a_missing_line_ends_the_file_with_a_problem(tmp_path, frames, kind):
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, frames, kind)
    lines = path.read_text().split("\n")
    del lines[len(lines) // 2]
    path.write_text("\n".join(lines))
    good, bad = split(read_frames(path))
    assert 0 in [frame.number for frame in good]
    assert 1 not in [frame.number for frame in good]
    assert bad
    assert bad[0].frame == 1


@pytest.mark.parametrize("kind", ["dcd", "trr", "gro", "extxyz", "lammpsdump", "npy"])
def test_positions_that_are_not_finite_are_reported_with_their_frame(tmp_path, frames, kind):
    broken = frames[1].positions.copy()
    broken[7, 1, 2] = np.nan
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, [frames[0], frames[1]._replace(positions=broken), frames[2]], kind)
    good, bad = split(read_frames(path))
    assert [frame.number for frame in good] == [0, 2]
    (problem,) = bad
    assert problem.frame == 1
    assert "not finite (first: atom 22)" in problem.what


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00\n",
        "CRYST1    0.000    0.000    0.000   0.00   0.00   0.00\n",
        "CRYST1 is not known here\n",
    ],
)
def test_a_pdb_without_a_box_says_so(tmp_path, frames, cell):
    path = tmp_path / "water.pdb"
    write_frames(path, frames[:1])
    path.write_text(re.sub("CRYST1.*\n", cell, path.read_text()))
    good, bad = split(read_frames(path))
    assert good == []
    (problem,) = bad
    assert problem.frame == 0
    assert problem.what == "no periodic box"
    assert "CRYST1" in problem.remedy


def test_an_xyz_without_lattice_says_so(tmp_path, frames):
    path = tmp_path / "water.xyz"
    write_frames(path, frames[:1], "extxyz")
    path.write_text(re.sub("Lattice=.*\n", "a plain comment\n", path.read_text()))
    # The velocity columns are no longer announced.
    lines = path.read_text().split("\n")
    rows = [" ".join(line.split()[:4]) for line in lines[2:]]
    path.write_text("\n".join(lines[:2] + rows))
    good, bad = split(read_frames(path))
    assert good == []
    assert "no periodic box" in bad[0].what


@pytest.mark.parametrize("kind", ["xtc", "dcd"])
def test_a_topology_of_other_atoms_is_reported_with_both_counts(tmp_path, frames, kind):
    path = tmp_path / f"water.{kind}"
    write_frames(path, frames)
    small = tmp_path / "small.gro"
    write_frames(small, [frames[0]._replace(positions=frames[0].positions[:100], velocities=None)])
    good, bad = split(read_frames(path, small))
    assert good == []
    (problem,) = bad
    assert "648 atoms" in problem.what
    assert "300" in problem.what


@pytest.mark.parametrize("kind", ["xtc", "trr", "dcd"])
def test_a_trajectory_without_topology_asks_for_one(tmp_path, frames, kind):
    path = tmp_path / f"water.{kind}"
    write_frames(path, frames)
    path.with_suffix(".gro").unlink()
    good, bad = split(read_frames(path))
    assert good == []
    assert "inputs.topology" in bad[0].remedy


def test_a_topology_of_the_same_size_with_other_names_is_reported(tmp_path, frames):
    path = tmp_path / "water.xtc"
    write_frames(path, frames[:1])
    topology = path.with_suffix(".gro")
    lines = topology.read_text().split("\n")
    atoms = lines[2:650]
    # Hydrogens come first: the residues no longer fit the positions.
    topology.write_text("\n".join(lines[:2] + atoms[1:] + atoms[:1] + lines[650:]))
    good, bad = split(read_frames(path))
    assert good == []
    assert "have no O within" in bad[0].what


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("SOL     OW", "NA      NA", "1 Na beside 215 O and 432 H"),
     ("SOL     OW", "SOL    HW3", "215 O and 433 H"),
     ("SOL     OW", "SOL     ??", "elements of 1 atoms are unknown")],
)  # fmt: skip
def test_what_is_not_pure_water_is_named_once(tmp_path, frames, old, new, said):
    path = tmp_path / "water.gro"
    write_frames(path, frames)
    path.write_text("\n".join(
        line.replace(f"    1{old}", f"    1{new}") for line in path.read_text().split("\n")
    ))  # fmt: skip
    good, bad = split(read_frames(path))
    assert good == []
    (problem,) = bad
    assert said in problem.what


def test_a_broken_molecule_is_found_and_the_next_frame_is_used(tmp_path, frames):
    broken = frames[1].positions.copy()
    broken[3, 2] += [0.5, 0.5, 0.5]
    path = tmp_path / "water.gro"
    write_frames(path, [frames[0], frames[1]._replace(positions=broken), frames[2]])
    good, bad = split(read_frames(path))
    assert [frame.number for frame in good] == [0, 2]
    assert bad[0].frame == 1
    assert "atom 11" in bad[0].what or "atom 9" in bad[0].what


def test_garbage_of_any_suffix_is_a_problem_not_a_crash(tmp_path):
    garbage = np.random.default_rng(3).bytes(5000)
    for suffix in (*SUFFIXES.values(), ".npz", ".cif", ".nc", ".foo"):
        path = tmp_path / f"garbage{suffix}"
        path.write_bytes(garbage)
        (tmp_path / "topology.gro").write_text("t\n1\n" + "    1SOL     OW    1" + "   0.000" * 3)
        good, bad = split(read_frames(path))
        assert good == []
        assert bad, suffix
        assert "\n" not in str(bad[0])


def test_lines_of_a_report_name_file_frame_and_remedy():
    assert str(Problem("a.xtc", 3, "x is wrong", "mend x")) == "a.xtc: frame 3: x is wrong; mend x"
    assert str(Problem("a.xtc", None, "x is wrong", "mend x")) == "a.xtc: x is wrong; mend x"
