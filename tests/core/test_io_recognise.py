"""Recognition: any order, any image, any box, any unit, with or without massless sites."""

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdpipe.io.elements import runs
from mdpipe.io.formats import write_frames
from mdpipe.io.inputs import Problem, read_frames
from mdpipe.io.raw import Atoms, RawFrame
from mdpipe.io.recognise import Recogniser, order_by_residue
from mdpipe.state import Frame

BOXES = ["w216a", "ortho480", "tro360"]


@pytest.fixture(scope="module")
def waters(reference):
    out = {}
    for name in BOXES:
        with np.load(reference / f"conf_{name}.npz") as data:
            out[name] = (data["pos"].astype(np.float64), data["box"].astype(np.float64))
    return out


def raw_of(positions, box, elements, **more):
    return RawFrame(positions, box, 0, atoms=Atoms(np.asarray(elements, np.int16)), **more)


def relative(molecules):
    return molecules[:, 1:] - molecules[:, :1]


def modulo_box(vectors, box):
    """Take whole boxes away, whatever the rounding."""
    fractional = np.linalg.solve(box.T, vectors.reshape(-1, 3).T).T
    return (fractional - np.rint(fractional)) @ box


@given(seed=st.integers(0, 2**32 - 1), name=st.sampled_from(BOXES), reach=st.integers(0, 3))
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_molecules_are_the_same_after_permutation_wrapping_and_images(waters, seed, name, reach):
    positions, box = waters[name]
    n = len(positions)
    rng = np.random.default_rng(seed)
    order = rng.permutation(3 * n)
    shifts = rng.integers(-reach, reach + 1, (3 * n, 3)) @ box
    atoms = (positions.reshape(-1, 3) + shifts)[order]
    elements = np.tile([8, 1, 1], n)[order]
    frame = Recogniser("x", 1.0).frame(raw_of(atoms, box, elements))
    assert isinstance(frame, Frame), frame
    # Molecules come in the order of their oxygens in the file.
    which = order[elements == 8] // 3
    old = positions[which]
    # A shift of up to 3 boxes and back costs the last digits of 10 nm.
    np.testing.assert_allclose(modulo_box(frame.positions[:, 0] - old[:, 0], box), 0, atol=1e-13)
    new, expected = relative(frame.positions), relative(old)
    straight = np.abs(new - expected).max(axis=(1, 2)) < 1e-13
    swapped = np.abs(new - expected[:, ::-1]).max(axis=(1, 2)) < 1e-13
    assert (straight | swapped).all()
    np.testing.assert_array_equal(frame.box, box)


@given(seed=st.integers(0, 2**32 - 1))
@settings(
    deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_turned_box_gives_the_same_water_in_the_standard_orientation(waters, seed):
    positions, box = waters["tro360"]
    rng = np.random.default_rng(seed)
    turn, _r = np.linalg.qr(rng.normal(size=(3, 3)))
    raw = raw_of(positions.reshape(-1, 3) @ turn, box @ turn, np.tile([8, 1, 1], len(positions)))
    frame = Recogniser("x", 1.0).frame(raw)
    assert isinstance(frame, Frame), frame
    assert np.triu(frame.box, 1).max() == 0.0
    np.testing.assert_allclose(frame.box, box, atol=1e-13)
    bonds = np.linalg.norm(relative(frame.positions), axis=2)
    np.testing.assert_allclose(bonds, np.linalg.norm(relative(positions), axis=2), atol=1e-13)
    # Distances between molecules are those of the unturned box as well.
    pairs = rng.integers(0, len(positions), (50, 2))
    got = modulo_box(frame.positions[pairs[:, 0], 0] - frame.positions[pairs[:, 1], 0], frame.box)
    expected = modulo_box(positions[pairs[:, 0], 0] - positions[pairs[:, 1], 0], box)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), np.linalg.norm(expected, axis=1),
                               atol=1e-12)  # fmt: skip


def test_velocities_turn_and_are_sorted_with_their_atoms(waters):
    positions, box = waters["w216a"]
    rng = np.random.default_rng(8)
    order = rng.permutation(648)
    velocities = rng.normal(size=(648, 3))
    turn = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    elements = np.tile([8, 1, 1], 216).astype(np.int16)[order]
    atoms = (positions.reshape(-1, 3) @ turn)[order]
    raw = RawFrame(atoms, box @ turn, 0, 0.0, (velocities @ turn)[order], Atoms(elements))
    frame = Recogniser("x", 1.0).frame(raw)
    which = order[elements == 8]
    np.testing.assert_allclose(frame.velocities[:, 0], velocities[which], atol=1e-12)
    frame_v, expected = frame.velocities[:, 1], velocities[which + 1]
    same = np.abs(frame_v - expected).max(axis=1) < 1e-12
    other = np.abs(frame_v - velocities[which + 2]).max(axis=1) < 1e-12
    assert (same | other).all()


@pytest.mark.parametrize("name", ["MW", "EPW", "LP1", "M"])
def test_massless_sites_are_left_out(tmp_path, waters, name):
    positions, box = waters["w216a"]
    path = tmp_path / "water.gro"
    write_frames(path, [Frame(positions, box)])
    lines = path.read_text().split("\n")
    out = [lines[0], str(4 * 216)]
    for m in range(216):
        rows = lines[2 + 3 * m : 5 + 3 * m]
        out += [rows[0], rows[0][:10] + f"{name:>5s}" + rows[0][15:], *rows[1:]]
    path.write_text("\n".join([*out, lines[-2]]) + "\n")
    (frame,) = read_frames(path)
    np.testing.assert_allclose(frame.positions, positions, atol=5.01e-4)


def test_runs_of_residue_numbers_are_residues():
    numbers = np.array([9, 9, 9, 0, 0, 0, 1, 1, 1, 1, 1, 1], dtype=np.uint64)
    names = np.array([5] * 9 + [6] * 3, dtype=np.uint64)
    np.testing.assert_array_equal(runs(numbers, names), np.repeat([0, 1, 2, 3], 3))


def test_molecules_are_read_off_residues_in_any_order():
    elements = np.array([1, 8, 1, 8, 1, 1, 0], dtype=np.int16)
    atoms = Atoms(elements, np.array([4, 2, 2, 4, 4, 2, 2]))
    np.testing.assert_array_equal(order_by_residue(atoms), [[1, 2, 5], [3, 0, 4]])
    for residues in ([4, 2, 2, 4, 4, 4, 2], [7] * 7):
        assert order_by_residue(Atoms(elements, np.array(residues))) is None


def test_residue_numbers_that_wrap_around_are_told_apart(tmp_path, waters):
    positions, box = waters["w216a"]
    path = tmp_path / "water.pdb"
    write_frames(path, [Frame(positions, box)])
    lines = path.read_text().split("\n")
    path.write_text("\n".join(
        line[:22] + f"{int(line[22:26]) % 5:4d}" + line[26:] if line.startswith("HETATM") else line
        for line in lines
    ))  # fmt: skip
    (frame,) = read_frames(path)
    np.testing.assert_allclose(frame.positions, positions, atol=5.01e-5)


def dump_of(positions, box, rows, header="id type x y z", bounds=None):
    lines = ["ITEM: TIMESTEP", "7", "ITEM: NUMBER OF ATOMS", str(positions.size // 3)]
    bounds = bounds or ["pp pp pp", *(f"0 {edge}" for edge in np.diag(box))]
    lines += [f"ITEM: BOX BOUNDS {bounds[0]}", *bounds[1:], f"ITEM: ATOMS {header}", *rows]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("style", ["x", "xu", "xs", "xsu"])
@pytest.mark.parametrize("name", ["w216a", "tro360"])
def test_dumps_of_every_style_give_the_same_water(tmp_path, waters, name, style):
    positions, box = waters[name]
    rng = np.random.default_rng(4)
    origin = np.array([-3.0, 2.0, 1.0])
    atoms, cell = 10 * positions.reshape(-1, 3) + origin, 10 * box
    fractional = np.linalg.solve(cell.T, (atoms - origin).T).T
    if style in {"x", "xs"}:
        fractional -= np.floor(fractional)
    values = fractional if "s" in style else fractional @ cell + origin
    xy, xz, yz = cell[1, 0], cell[2, 0], cell[2, 1]
    low = origin + np.array([min(0, xy, xz, xy + xz), min(0, yz), 0])
    high = origin + np.diag(cell) + [max(0, xy, xz, xy + xz), max(0, yz), 0]
    bounds = ["xy xz yz pp pp pp"]
    bounds += [f"{low[k]:.12g} {high[k]:.12g} {(xy, xz, yz)[k]:.12g}" for k in range(3)]
    names = "xyz" if style == "x" else [c + style[1:] for c in "xyz"]
    rows = [f"{v[2]:.10f} {2 - (i % 3 == 0)} 0 {v[0]:.10f} {i + 1} {v[1]:.10f}"
            for i, v in enumerate(values)]  # fmt: skip
    rng.shuffle(rows)
    header = f"{names[2]} type ix {names[0]} id {names[1]}"
    path = tmp_path / "water.lammpstrj"
    path.write_text(dump_of(atoms, cell, rows, header, bounds))
    (frame,) = read_frames(path)
    assert isinstance(frame, Frame), frame
    np.testing.assert_allclose(frame.box, box, atol=1e-9)
    np.testing.assert_allclose(relative(frame.positions), relative(positions), atol=1e-8)
    drift = modulo_box(frame.positions[:, 0] - positions[:, 0] - 0.1 * origin, box)
    if style in {"xs", "xsu", "x", "xu"}:
        np.testing.assert_allclose(drift, 0, atol=1e-8)


def test_a_dump_in_nm_without_units_is_told_by_its_bonds(tmp_path, waters):
    positions, box = waters["w216a"]
    rows = [f"{i + 1} {2 - (i % 3 == 0)} {x} {y} {z}"
            for i, (x, y, z) in enumerate(positions.reshape(-1, 3))]  # fmt: skip
    path = tmp_path / "water.lammpstrj"
    path.write_text(dump_of(positions, box, rows))
    note, frame = read_frames(path)
    assert isinstance(note, Problem)
    assert 'set length_unit = "nm"' in note.remedy
    np.testing.assert_allclose(frame.positions, positions, atol=1e-9)
    (frame,) = read_frames(path, length_unit="nm")
    np.testing.assert_allclose(frame.positions, positions, atol=1e-9)


def test_a_declared_unit_that_cannot_be_true_is_a_problem_with_the_remedy(tmp_path, waters):
    positions, box = waters["w216a"]
    path = tmp_path / "water.gro"
    write_frames(path, [Frame(10 * positions, 10 * box)])
    (problem,) = read_frames(path)
    assert 'set length_unit = "angstrom"' in problem.remedy
    (frame,) = read_frames(path, length_unit="angstrom")
    np.testing.assert_allclose(frame.positions, positions, atol=5.01e-5)


def test_an_array_in_angstrom_without_description_of_unit_is_told_by_its_bonds(tmp_path, waters):
    positions, box = waters["w216a"]
    np.save(tmp_path / "water.npy", (10 * positions.reshape(1, -1, 3)).astype(np.float32))
    table = {"elements": ["O", "H", "H"], "box": (10 * box).tolist()}
    (tmp_path / "water.json").write_text(json.dumps(table))
    note, frame = read_frames(tmp_path / "water.npy")
    assert isinstance(note, Problem)
    np.testing.assert_allclose(frame.positions, positions, atol=1e-6)
    np.testing.assert_allclose(frame.box, box, atol=1e-12)


def test_a_deepmd_system_in_any_order_is_read(tmp_path, waters):
    positions, box = waters["w216a"]
    folder = tmp_path / "data" / "set.000"
    folder.mkdir(parents=True)
    order = np.r_[np.arange(0, 648, 3), np.arange(1, 648, 3), np.arange(2, 648, 3)]
    atoms = positions.reshape(-1, 3)[order]
    np.save(folder / "coord.npy", np.stack([10 * atoms.ravel()] * 2))
    np.save(folder / "box.npy", np.stack([10 * box.ravel()] * 2))
    (tmp_path / "data" / "type.raw").write_text("0\n" * 216 + "1\n" * 432)
    for names in (None, "O H"):
        if names:
            (tmp_path / "data" / "type_map.raw").write_text(names)
        got = list(read_frames(folder / "coord.npy"))
        assert len(got) == 2
        np.testing.assert_allclose(got[1].positions, positions, atol=1e-12)


def test_molecules_are_searched_anew_when_the_order_changes_within_a_file(tmp_path, waters):
    positions, box = waters["w216a"]
    path = tmp_path / "water.extxyz"
    write_frames(path, [Frame(positions, box), Frame(positions, box)])
    lines = path.read_text().split("\n")
    second = lines[652:1300]
    lines[652:1300] = second[1:] + second[:1]
    path.write_text("\n".join(lines))
    first, other = read_frames(path)
    np.testing.assert_allclose(first.positions, positions, atol=1e-8)
    np.testing.assert_allclose(other.positions[-1, 0], positions[0, 0], atol=1e-8)
    np.testing.assert_allclose(np.sort(other.positions[-1, 1:], axis=0),
                               np.sort(positions[0, 1:], axis=0), atol=1e-8)  # fmt: skip


def test_an_order_that_stops_fitting_the_positions_is_searched_anew(waters):
    positions, box = waters["w216a"]
    atoms = Atoms(np.tile([8, 1, 1], 216).astype(np.int16))
    recogniser = Recogniser("x", 1.0)
    flat = positions.reshape(-1, 3)
    first = recogniser.frame(RawFrame(flat, box, 0, atoms=atoms))
    swapped = flat.copy()
    swapped[[1, 4]] = swapped[[4, 1]]
    second = recogniser.frame(RawFrame(swapped, box, 1, atoms=atoms))
    np.testing.assert_array_equal(first.positions, positions)
    bonds = np.linalg.norm(relative(second.positions), axis=2)
    assert bonds.max() < 0.11
