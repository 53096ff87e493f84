"""States survive the disk bit for bit, and a broken file is one clear line."""

import numpy as np
import pytest

from mdpipe.failures import InputError
from mdpipe.state import State, load_state, save_state, state_digest


@pytest.fixture
def state():
    random = np.random.default_rng(1)
    return State(random.random((4, 3, 3)), random.random((4, 3, 3)), np.eye(3) * 2.0, 1.5, 7)


def test_a_state_survives_the_disk_bit_for_bit(tmp_path, state):
    save_state(tmp_path / "a.npz", state)
    back = load_state(tmp_path / "a.npz")
    assert state_digest(back) == state_digest(state)
    assert (back.time_ps, back.step) == (1.5, 7)
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_the_digest_sees_every_array_and_not_the_clock(state):
    first = state_digest(state)
    state.step, state.time_ps = 8, 2.0
    assert state_digest(state) == first
    for array in (state.positions, state.velocities, state.box):
        array[0] += 1e-16 + np.spacing(array[0])
        assert state_digest(state) != first
        first = state_digest(state)


@pytest.mark.parametrize("size", [0, 10, 200, 700])
def test_a_truncated_state_is_one_clear_line(tmp_path, state, size):
    path = tmp_path / "a.npz"
    save_state(path, state)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(InputError, match="not a readable mdpipe state"):
        load_state(path)


def test_density_and_volume_of_a_box(state):
    assert state.volume_nm3 == pytest.approx(8.0)
    # 4 molecules of 18.0154 amu in 8 nm³
    assert state.density_g_cm3 == pytest.approx(4 * 18.0154 / 8.0 * 1.66053906717e-3)
