"""Every format: what is written is read back, whatever the box; nothing is held in memory."""

import tracemalloc
import warnings

import numpy as np
import pytest

from mdpipe.failures import UsageError
from mdpipe.io.formats import SUFFIXES, write_frames
from mdpipe.io.inputs import read_frames
from mdpipe.state import Frame

# Positions by the decimals each format writes, half a unit and float32 for the binary ones (nm).
POSITION = {"xtc": 5.01e-4, "trr": 2e-7, "dcd": 2e-7, "gro": 5.01e-4, "pdb": 5.01e-5,
            "extxyz": 1e-9, "lammpsdump": 1e-7, "npy": 2e-7}  # fmt: skip
# PDB rounds angles to 0.01 degrees: 1e-4 of a box of 2 nm.
BOX = {"xtc": 2e-7, "trr": 2e-7, "dcd": 1e-12, "gro": 5.1e-6, "pdb": 4e-4, "extxyz": 1e-9,
       "lammpsdump": 1e-8, "npy": 0.0}  # fmt: skip
VELOCITY = {"trr": 1e-6, "gro": 5.1e-5, "extxyz": 1e-6, "lammpsdump": 5.1e-5}
CONFIGURATIONS = ["w216a", "ortho480", "tro360"]


def frames_of(reference, name, count=3):
    with np.load(reference / f"conf_{name}.npz") as data:
        pos, vel, box = data["pos"], data["vel"], data["box"]
    return [Frame(pos + 0.01 * k, box * (1 + 0.005 * k), 1.5 + 0.5 * k, vel) for k in range(count)]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("kind", SUFFIXES)
def test_what_is_written_is_read_back(tmp_path, reference, kind, configuration):
    frames = frames_of(reference, configuration)
    path = tmp_path / f"water{SUFFIXES[kind]}"
    assert write_frames(path, iter(frames), kind) == 3
    got = list(read_frames(path))
    assert all(isinstance(frame, Frame) for frame in got), got
    assert [frame.number for frame in got] == [0, 1, 2]
    assert {frame.source for frame in got} == {str(path)}
    for old, new in zip(frames, got, strict=True):
        np.testing.assert_allclose(new.positions, old.positions, rtol=0, atol=POSITION[kind])
        np.testing.assert_allclose(new.box, old.box, rtol=0, atol=BOX[kind])
        if kind != "pdb":
            assert new.time_ps == pytest.approx(old.time_ps, rel=1e-6)
        if kind in VELOCITY:
            atol = VELOCITY[kind]
            np.testing.assert_allclose(new.velocities, old.velocities, rtol=0, atol=atol)
        else:
            assert new.velocities is None


@pytest.mark.parametrize("kind", SUFFIXES)
def test_the_bytes_depend_on_the_frames_alone(tmp_path, reference, kind):
    frames = frames_of(reference, "w216a", 2)
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, frames)
    first = path.read_bytes()
    path.unlink()
    write_frames(path, iter(frames))
    assert path.read_bytes() == first


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_writer_that_fails_leaves_nothing_behind(tmp_path, reference, kind):
    frames = frames_of(reference, "w216a", 2)

    def failing():
        yield frames[0]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_frames(tmp_path / f"water{SUFFIXES[kind]}", failing(), kind)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", SUFFIXES)
def test_stride_gives_every_nth_frame(tmp_path, reference, kind):
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, frames_of(reference, "w216a", 5), kind)
    assert [frame.number for frame in read_frames(path, stride=2)] == [0, 2, 4]


@pytest.mark.parametrize("kind", SUFFIXES)
def test_a_read_only_folder_is_read_and_left_as_it_was(tmp_path, reference, kind):
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, frames_of(reference, "w216a", 3), kind)
    before = sorted(tmp_path.iterdir())
    tmp_path.chmod(0o555)
    try:
        assert len(list(read_frames(path, stride=2))) == 2
    finally:
        tmp_path.chmod(0o755)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["gro", "pdb", "extxyz", "lammpsdump"])
def test_a_text_file_of_many_frames_is_not_held_in_memory(tmp_path, reference, kind, monkeypatch):
    monkeypatch.setattr("mdpipe.io.text.BLOCK", 1 << 16)
    # The default of the parameter was bound when the class was made.
    monkeypatch.setattr("mdpipe.io.text.TextStream.__init__.__defaults__", (1 << 16,))
    path = tmp_path / f"water{SUFFIXES[kind]}"
    frame = frames_of(reference, "w216a", 1)[0]
    write_frames(path, (frame._replace(time_ps=float(k)) for k in range(60)), kind)
    assert len(list(read_frames(path))) == 60
    tracemalloc.start()
    try:
        for _frame in read_frames(path):
            pass
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert path.stat().st_size > 1.8e6
    assert peak < 0.6 * path.stat().st_size


def test_a_frame_that_spans_many_blocks_is_read(tmp_path, reference, monkeypatch):
    monkeypatch.setattr("mdpipe.io.text.TextStream.__init__.__defaults__", (256,))
    frames = frames_of(reference, "w216a", 3)
    for kind in ("gro", "pdb", "extxyz", "lammpsdump"):
        path = tmp_path / f"small{SUFFIXES[kind]}"
        write_frames(path, frames, kind)
        got = list(read_frames(path))
        assert len(got) == 3
        for old, new in zip(frames, got, strict=True):
            np.testing.assert_allclose(new.positions, old.positions, rtol=0, atol=5.01e-4)


@pytest.mark.parametrize("kind", ["extxyz", "lammpsdump"])
def test_ase_reads_our_files_as_we_do(tmp_path, reference, kind):
    frames = frames_of(reference, "tro360", 2)
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, frames)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ase.io

        given = {"lammpsdump": "lammps-dump-text"}.get(kind)
        atoms = ase.io.read(path, index=1, format=given)
    (_first, ours) = read_frames(path)
    np.testing.assert_allclose(atoms.positions.reshape(-1, 3, 3), 10 * ours.positions, atol=1e-9)
    np.testing.assert_allclose(atoms.cell.array, 10 * ours.box, atol=1e-9)


@pytest.mark.parametrize("kind", ["gro", "pdb", "trr", "dcd"])
def test_mdanalysis_reads_our_files_as_we_do(tmp_path, reference, kind):
    frames = frames_of(reference, "tro360", 1)
    path = tmp_path / f"water{SUFFIXES[kind]}"
    write_frames(path, frames, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import MDAnalysis

        names = [path.with_suffix(".gro"), path] if kind in {"trr", "dcd"} else [path]
        universe = MDAnalysis.Universe(*map(str, names), to_guess=())
        positions = universe.atoms.positions.reshape(-1, 3, 3)
        cell = universe.dimensions
    (ours,) = read_frames(path)
    # MDAnalysis keeps float32 of Å.
    np.testing.assert_allclose(positions, 10 * ours.positions, atol=4e-6)
    np.testing.assert_allclose(cell[:3], 10 * np.linalg.norm(ours.box, axis=1), rtol=2e-6)


def test_no_frame_and_an_unknown_format_are_usage_errors(tmp_path, reference):
    with pytest.raises(UsageError, match="no frame"):
        write_frames(tmp_path / "water.gro", [])
    with pytest.raises(UsageError, match="use xtc, trr"):
        write_frames(tmp_path / "water.foo", frames_of(reference, "w216a", 1))
