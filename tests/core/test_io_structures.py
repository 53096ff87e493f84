"""States in and out: files, ASE, MDAnalysis."""

import warnings

import numpy as np
import pytest

from mdpipe.failures import InputError, UsageError
from mdpipe.io.formats import write_frames
from mdpipe.io.structures import from_ase, read_state, to_ase, universe
from mdpipe.io.trajectory import write_topology, write_trajectory
from mdpipe.state import Frame, State, save_state


@pytest.fixture
def state(reference):
    with np.load(reference / "conf_tro360.npz") as data:
        arrays = (data[key].astype(np.float64) for key in ("pos", "vel", "box"))
        return State(*arrays, time_ps=2.0)


def frame_of(state, **changes):
    frame = Frame(state.positions, state.box, state.time_ps, state.velocities)
    return frame._replace(**changes)


def test_a_state_of_our_own_keeps_its_bits(tmp_path, state):
    save_state(tmp_path / "start.npz", state)
    got = read_state(tmp_path / "start.npz")
    np.testing.assert_array_equal(got.positions, state.positions)
    np.testing.assert_array_equal(got.velocities, state.velocities)


def test_the_chosen_frame_is_read_with_its_velocities(tmp_path, state):
    path = tmp_path / "water.trr"
    write_frames(path, [frame_of(state, positions=state.positions + 0.1 * k) for k in range(3)])
    for number, expected in ((0, 0), (1, 1), (-1, 2)):
        got = read_state(path, frame=number)
        np.testing.assert_allclose(got.positions, state.positions + 0.1 * expected, atol=2e-7)
        np.testing.assert_allclose(got.velocities, state.velocities, atol=1e-6)
    with pytest.raises(InputError, match="no frame 7"):
        read_state(path, frame=7)


def test_velocities_are_zero_where_the_file_has_none(tmp_path, state):
    write_frames(tmp_path / "water.pdb", [frame_of(state)])
    assert not read_state(tmp_path / "water.pdb").velocities.any()


def test_a_file_without_a_good_frame_says_why(tmp_path, state):
    with pytest.raises(InputError, match="no such file"):
        read_state(tmp_path / "water.gro")
    write_frames(tmp_path / "water.gro", [frame_of(state, positions=state.positions * np.nan)])
    with pytest.raises(InputError, match=r"frame 0: .*not finite"):
        read_state(tmp_path / "water.gro")


def test_files_that_only_ase_reads_are_structures_too(tmp_path, state):
    # CIF takes ASE a second for each hundred atoms.
    state = State(state.positions[:20], state.velocities[:20], state.box)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ase.io

        for name in ("water.traj", "water.vasp", "water.cif"):
            ase.io.write(tmp_path / name, to_ase(state))
    for name, atol in (("water.traj", 1e-12), ("water.vasp", 1e-12), ("water.cif", 1e-4)):
        got = read_state(tmp_path / name)
        bonds = np.linalg.norm(got.positions[:, 1:] - got.positions[:, :1], axis=2)
        expected = np.linalg.norm(state.positions[:, 1:] - state.positions[:, :1], axis=2)
        # VASP files sort by element but keep the order within one.
        np.testing.assert_allclose(np.sort(bonds, axis=0), np.sort(expected, axis=0), atol=atol)


def test_ase_and_back_is_the_same_state(state):
    atoms = to_ase(state)
    assert atoms.get_chemical_formula() == "H720O360"
    got = from_ase(atoms)
    # Two changes of unit cost the last digit.
    np.testing.assert_allclose(got.positions, state.positions, rtol=0, atol=1e-14)
    np.testing.assert_allclose(got.velocities, state.velocities, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(got.box, state.box, rtol=1e-14, atol=0)


def test_ase_sees_the_kinetic_energy_of_the_state(state):
    masses = np.array([15.999, 1.008, 1.008])
    kinetic = 0.5 * (masses[None, :, None] * state.velocities**2).sum()
    # kJ/mol to eV; ASE's masses and constants differ in the fifth digit.
    assert to_ase(state).get_kinetic_energy() == pytest.approx(kinetic / 96.48533212, rel=1e-4)


def test_ase_atoms_that_are_no_periodic_water_are_an_input_error(state):
    atoms = to_ase(state)
    atoms.pbc = False
    with pytest.raises(InputError, match="no periodic box"):
        from_ase(atoms)
    atoms.pbc = True
    atoms.symbols[0] = "S"
    with pytest.raises(InputError, match="1 S beside 359 O"):
        from_ase(atoms)


def test_mdanalysis_has_the_state_in_angstrom(tmp_path, state):
    made = universe(state)
    np.testing.assert_allclose(
        made.atoms.positions.reshape(-1, 3, 3), 10 * state.positions, atol=4e-6
    )
    np.testing.assert_allclose(made.atoms.velocities.reshape(-1, 3, 3), 10 * state.velocities,
                               atol=1e-5)  # fmt: skip
    assert len(made.bonds) == 720
    assert made.select_atoms("name OW").n_atoms == 360
    write_trajectory(tmp_path / "t.xtc", [frame_of(state)] * 3, 360)
    made = universe(state, tmp_path / "t.xtc")
    assert made.trajectory.n_frames == 3
    write_trajectory(tmp_path / "u.xtc", [frame_of(state, positions=state.positions[:9])], 9)
    with pytest.raises(UsageError, match="1080 atoms"):
        universe(state, tmp_path / "u.xtc")


def test_the_topology_of_a_scene_names_its_atoms(tmp_path, state):
    write_topology(tmp_path / "topology.gro", state)
    lines = (tmp_path / "topology.gro").read_text().split("\n")
    assert lines[1].strip() == "1080"
    assert [line[5:15].split() for line in lines[2:5]] == [["SOL", n] for n in ("OW", "HW1", "HW2")]
    got = read_state(tmp_path / "topology.gro")
    np.testing.assert_allclose(got.box, state.box, atol=5.1e-6)
