"""Finding input files, and reading a mixed folder."""

import numpy as np
import pytest

from mdpipe.failures import InputError
from mdpipe.io.formats import SUFFIXES, write_frames
from mdpipe.io.inputs import Problem, discover, read_inputs, read_topology
from mdpipe.state import Frame, State, save_state
from mdpipe.study import Inputs


@pytest.fixture
def frame(reference):
    with np.load(reference / "conf_w216a.npz") as data:
        return Frame(data["pos"], data["box"], 1.0)


def names(paths, folder):
    return [str(path.relative_to(folder)) for path in paths]


def test_a_folder_is_searched_with_all_below_it_in_natural_order(tmp_path, frame):
    for name in ("run10.xtc", "run2.xtc", "deep/er/ice.extxyz", ".hidden.gro", "README.md"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    write_frames(tmp_path / "data" / "single.gro", [frame])
    for name in ("run10.gro", "deep/topology.gro", "base.pdb"):
        (tmp_path / "data" / name).write_text("")
    inputs = Inputs(path="data", topology="data/base.pdb")
    found = names(discover(inputs, tmp_path), tmp_path / "data")
    assert found == ["deep/er/ice.extxyz", "run2.xtc", "run10.xtc", "single.gro"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("a/*.gro", ["a/1.gro", "a/2.gro"]), ("**/2.*", ["a/2.gro", "b/2.pdb"]),
     ("b/2.pdb", ["b/2.pdb"])],
)  # fmt: skip
def test_a_glob_or_a_file_is_taken_as_it_is(tmp_path, pattern, found):
    for name in ("a/1.gro", "a/2.gro", "b/2.pdb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert names(discover(Inputs(path=pattern), tmp_path), tmp_path) == found
    assert discover(Inputs(path=str(tmp_path / pattern)), tmp_path / "elsewhere")


@pytest.mark.parametrize("pattern", ["empty", "nothing/*.xtc", "missing.gro"])
def test_nothing_found_names_the_pattern_and_the_remedy(tmp_path, pattern):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=rf"{pattern.replace('*', '.')}.*set inputs.path"):
        discover(Inputs(path=pattern), tmp_path)


def test_the_side_files_of_arrays_are_no_inputs(tmp_path, frame):
    write_frames(tmp_path / "water.npy", [frame])
    folder = tmp_path / "system" / "set.000"
    folder.mkdir(parents=True)
    for name in ("coord", "box", "energy", "force"):
        np.save(folder / f"{name}.npy", np.zeros(3))
    found = names(discover(Inputs(path="."), tmp_path), tmp_path)
    assert found == ["system/set.000/coord.npy", "water.npy"]


def test_a_folder_of_all_formats_with_different_units_gives_the_same_water(tmp_path, frame):
    for kind, suffix in SUFFIXES.items():
        folder = tmp_path / "data" / kind
        folder.mkdir(parents=True)
        write_frames(folder / f"water{suffix}", [frame, frame])
    state = State(frame.positions, np.zeros_like(frame.positions), frame.box)
    save_state(tmp_path / "data" / "start.npz", state)
    items = list(read_inputs(Inputs(path="data"), tmp_path))
    assert not [item for item in items if isinstance(item, Problem)]
    assert len(items) == 2 * len(SUFFIXES) + 1
    for item in items:
        # XTC and GRO keep 3 decimals of nm.
        np.testing.assert_allclose(item.positions, frame.positions, rtol=0, atol=5.01e-4)


def test_bad_files_are_reported_and_the_rest_is_read(tmp_path, frame):
    write_frames(tmp_path / "a.gro", [frame])
    (tmp_path / "b.gro").write_text("title\nmany\n")
    write_frames(tmp_path / "c.gro", [frame])
    items = list(read_inputs(Inputs(path="*.gro"), tmp_path))
    assert [isinstance(item, Problem) for item in items] == [False, True, False]
    assert "no number of atoms" in items[1].what


def test_a_missing_topology_is_an_input_error(tmp_path, frame):
    write_frames(tmp_path / "a.xtc", [frame])
    with pytest.raises(InputError, match=r"no such topology file; correct inputs.topology"):
        list(read_inputs(Inputs(path="a.xtc", topology="b.tpr"), tmp_path))


def test_a_topology_that_changes_on_disk_is_read_again(tmp_path, frame):
    path = tmp_path / "topology.gro"
    write_frames(path, [frame])
    assert len(read_topology(path).elements) == 648
    small = frame._replace(positions=frame.positions[:100])
    write_frames(path, [small])
    assert len(read_topology(path).elements) == 300


def test_a_topology_of_another_program_is_read_through_mdanalysis(tmp_path, frame):
    path = tmp_path / "water.data"
    lines = ["LAMMPS data", "", "6 atoms", "4 bonds", "2 atom types", "1 bond types", ""]
    lines += ["0 20 xlo xhi", "0 20 ylo yhi", "0 20 zlo zhi", "", "Masses", "", "1 15.9994"]
    lines += ["2 1.008", "", "Atoms # full", ""]
    flat = 10 * frame.positions[:2].reshape(-1, 3)
    for i, (x, y, z) in enumerate(flat):
        lines.append(f"{i + 1} {i // 3 + 1} {1 if i % 3 == 0 else 2} 0.0 {x} {y} {z}")
    lines += ["", "Bonds", "", "1 1 1 2", "2 1 1 3", "3 1 4 5", "4 1 4 6", ""]
    path.write_text("\n".join(lines))
    atoms = read_topology(path)
    np.testing.assert_array_equal(atoms.elements, [8, 1, 1, 8, 1, 1])
    np.testing.assert_array_equal(atoms.residues, [0, 0, 0, 1, 1, 1])
