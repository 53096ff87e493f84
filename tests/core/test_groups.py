"""Frames are put into groups by state and structure, in one pass, the same way every time."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.building.ice import ice
from mdpipe.building.liquid import liquid
from mdpipe.failures import InputError, UsageError
from mdpipe.models import load_model
from mdpipe.preprocessing import groups as module
from mdpipe.preprocessing.classify import FrameClass
from mdpipe.preprocessing.groups import START_RULE, group_frames, plan_line
from mdpipe.preprocessing.steady import bin_values, steady_features
from mdpipe.state import Frame, state_digest
from mdpipe.study import Groups

SPCE = load_model("spce")
LIQUID = (0.64, 0.26, 0.0, 0.0, 0.0, 0.0)
ICE = (0.94, 0.45, 0.93, 0.0, 0.04, 1.0)


def stated(_frame):
    return None


@pytest.fixture
def fake(monkeypatch):
    """Let frames carry their class, so that thousands of them cost nothing."""
    monkeypatch.setattr(module, "classify_frame", lambda frame: frame.positions)

    def make(source, number, *, n=216, density=1.0, kelvin=300.0, order=LIQUID):
        found = FrameClass("liquid", n, density, kelvin, "cubic", *order)
        return Frame(found, np.eye(3), source=source, number=number)

    return make


def noisy(fake, source, count, seed, kelvin=300.0, density=1.0, order=LIQUID):
    random = np.random.default_rng(seed)
    return [
        fake(
            source,
            k,
            kelvin=kelvin * (1 + random.normal() / np.sqrt(3 * 216)),
            density=density * (1 + 0.015 * random.normal()),
            order=(order[0] + 0.015 * random.normal(), *order[1:]),
        )
        for k in range(count)
    ]


def test_thermal_noise_does_not_split_a_simulation(fake):
    for kelvin in (250.0, 290.0, 298.0, 310.0):
        found = group_frames(noisy(fake, "a.trr", 400, 1, kelvin=kelvin), Groups(), stated)
        assert [group.n_frames for group in found.groups] == [400]
        group = found.groups[0]
        assert group.means["temperature_K"] == pytest.approx(kelvin, abs=3)
        assert group.sds["temperature_K"] == pytest.approx(kelvin / np.sqrt(648), rel=0.2)


def test_noise_about_the_edge_of_a_class_does_not_split_a_simulation(fake):
    frames = noisy(fake, "edge", 200, 1, kelvin=250.0, order=(0.687, *LIQUID[1:]))
    found = group_frames(frames, Groups(), stated)
    assert [group.n_frames for group in found.groups] == [200]


def test_two_files_of_one_state_share_a_group_and_other_states_do_not(fake):
    frames = (
        noisy(fake, "a", 60, 1, kelvin=249.5)
        + noisy(fake, "b", 40, 2, kelvin=250.5)
        + noisy(fake, "c", 50, 3, kelvin=340.0)
        + noisy(fake, "d", 50, 4, kelvin=340.0, density=0.9)
        + noisy(fake, "e", 50, 5, kelvin=250.0, density=0.92, order=ICE)
    )
    found = group_frames(frames, Groups(), stated)
    inputs = [group.inputs for group in found.groups]
    # The means at one temperature differ by noise, so their order in each pair is open.
    assert all(pair in inputs[:2] for pair in ({"a": 60, "b": 40}, {"e": 50}))
    assert all(pair in inputs[2:] for pair in ({"c": 50}, {"d": 50}))
    assert [group.id for group in found.groups] == ["g000", "g001", "g002", "g003"]
    assert found.n_frames == 250


def test_a_file_that_melts_has_a_group_before_and_one_after(fake):
    frames = noisy(fake, "melt", 60, 1, order=ICE) + [
        frame._replace(number=60 + frame.number) for frame in noisy(fake, "melt", 40, 2)
    ]
    found = group_frames(frames, Groups(), stated)
    assert {group.structure: group.n_frames for group in found.groups} == {
        "ice-Ih": 60,
        "liquid": 40,
    }


def test_a_ramp_of_temperature_is_cut_into_bins(fake):
    frames = [fake("ramp", k, kelvin=240.0 + 0.1 * k) for k in range(1001)]
    found = group_frames(frames, Groups(temperature_bin_K=20.0), stated)
    assert len(found.groups) == 5
    assert sum(group.n_frames for group in found.groups) == 1001
    temperatures = [group.means["temperature_K"] for group in found.groups]
    assert temperatures == sorted(temperatures)
    # A tenth more than the bin: running means reach a few frames over the cut.
    assert max(group.sds["temperature_K"] for group in found.groups) < 22.0 / np.sqrt(12)


def test_a_ramp_hidden_in_noise_is_found(fake):
    steady = noisy(fake, "ramp", 400, 1, kelvin=280.0)
    ramp = [
        frame._replace(positions=frame.positions._replace(
            temperature_K=frame.positions.temperature_K - 25 + k / 8
        ))
        for k, frame in enumerate(steady)
    ]  # fmt: skip
    found = group_frames(ramp, Groups(temperature_bin_K=20.0), stated)
    assert len(found.groups) >= 3
    assert min(group.n_frames for group in found.groups) > 40


def test_settings_decide_what_shares_a_group(fake):
    frames = [
        *noisy(fake, "a", 20, 1),
        *[fake("b", k, n=432) for k in range(20)],
        *noisy(fake, "c", 20, 2, order=ICE),
    ]
    count = lambda **settings: len(group_frames(frames, Groups(**settings), stated).groups)  # noqa: E731
    assert count() == 3
    assert count(by_size=False) == 2
    assert count(by_structure=False) == 2
    assert count(by_size=False, by_structure=False) == 1


def test_a_stated_temperature_serves_frames_without_velocities_only(fake):
    frames = [fake("cold", 0, kelvin=250.0), fake("silent", 0, kelvin=None)]
    found = group_frames(frames, Groups(), lambda _frame: 340.0)
    assert [group.means["temperature_K"] for group in found.groups] == [250.0, 340.0]
    unknown = group_frames(frames, Groups(), stated).groups[1]
    assert "temperature_K" not in unknown.means
    assert unknown.label == "liquid 1.000 g/cm³ (216)"


def test_the_start_is_the_frame_nearest_the_mean(fake):
    kelvin = [300.0, 306.0, 294.0, 302.0, 300.0]
    q = [0.60, 0.64, 0.66, 0.63, 0.67]
    frames = [fake("a", 7 * k, kelvin=t, order=(q[k], *LIQUID[1:])) for k, t in enumerate(kelvin)]
    group = group_frames(frames, Groups(), stated).groups[0]
    t_score = (np.array(kelvin) - np.mean(kelvin)) / np.std(kelvin)
    q_score = (np.array(q) - np.mean(q)) / np.std(q)
    assert group.start == ("a", 7 * int(np.argmin(t_score**2 + q_score**2)))


def test_small_groups_are_left_out_with_a_note(fake):
    frames = [*noisy(fake, "a", 20, 1), fake("b", 0, kelvin=400.0)]
    found = group_frames(frames, Groups(min_frames=2), stated)
    assert [group.n_frames for group in found.groups] == [20]
    assert found.notes == ["1 frame(s) of class liquid left out: a group needs min_frames = 2"]
    with pytest.raises(InputError, match="no group has min_frames = 50"):
        group_frames(frames, Groups(min_frames=50), stated)


def test_too_many_groups_and_no_frames_are_errors_with_a_remedy(fake):
    frames = [fake("a", k, kelvin=200.0 + 100 * k) for k in range(4)]
    with pytest.raises(UsageError, match=r"4 groups are more than max_groups = 3; widen"):
        group_frames(frames, Groups(max_groups=3), stated)
    with pytest.raises(InputError, match="no frame of water was read"):
        group_frames([], Groups(), stated)


def shaken(seed, n=60):
    """A box that is neither lattice nor crystal: q near 0.4."""
    state = liquid(n, 1.0, SPCE, seed)
    state.positions += np.random.default_rng(seed).uniform(-0.08, 0.08, (n, 1, 3))
    return state


def real_frames():
    for k in range(6):
        state = shaken(k)
        yield Frame(state.positions, state.box, source="liquid", number=k)
    state = ice((2, 2, 2), 0.92, SPCE, 1)
    yield Frame(state.positions, state.box, source="ice", number=0)


def test_threads_do_not_change_the_groups_and_frames_are_not_kept():
    alive = 0
    most = 0

    class Counted:
        def __init__(self):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    class Watched(np.ndarray):
        pass

    def frames():
        state = liquid(30, 1.0, SPCE, 1)
        for k in range(60):
            positions = state.positions.copy().view(Watched)
            positions.token = Counted()
            yield Frame(positions, state.box, source="many", number=k)

    one = group_frames(frames(), Groups(), stated)
    assert most <= 3
    assert one == group_frames(frames(), Groups(), stated, threads=2)
    assert most <= 12
    real = group_frames(real_frames(), Groups(), stated)
    assert real == group_frames(real_frames(), Groups(), stated, threads=2)
    assert [group.structure for group in real.groups] == ["ice-Ih", "liquid"]


def test_a_plan_line_is_plain_json_with_the_digest_of_the_start():
    found = group_frames(real_frames(), Groups(), lambda _frame: 298.15)
    group = found.groups[1]
    state = shaken(group.start.frame)
    line = json.loads(json.dumps(plan_line(group, state)))
    assert line["id"] == "g001"
    assert line["class"] == "liquid"
    assert line["n_molecules"] == 60
    assert line["temperature_K"] == 298.15
    assert line["density_g_cm3"] == pytest.approx(1.0)
    assert line["inputs"] == {"liquid": 6}
    assert line["frames"] == 6
    assert line["start"]["rule"] == START_RULE
    assert line["start"]["file"] == "liquid"
    assert line["start"]["digest"] == state_digest(state)
    assert np.array(line["box"]).shape == (3, 3)


@settings(deadline=None)
@given(
    values=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60),
    width=st.floats(0.01, 100.0),
)
def test_bins_are_no_wider_than_asked_and_respect_order(values, width):
    table = np.array(values)
    bins = bin_values(table, width)
    for one in np.unique(bins):
        assert np.ptp(table[bins == one]) <= width * (1 + 1e-6)
    order = np.argsort(table)
    assert (np.diff(bins[order]) >= 0).all()
    # Two values share a bin, or no value nearer than a quarter of the width is cut off needlessly.
    assert len(np.unique(bins)) <= 1 + 5 * np.ptp(table) / width


def test_averages_never_mix_known_and_unknown_temperatures():
    table = np.zeros((30, 8))
    table[:, 0], table[:, 2], table[:, 3] = 1.0, 0.64, 0.26
    table[:, 1] = np.where(np.arange(30) % 3 == 0, np.nan, 300.0)
    steady = steady_features(table, 216)
    assert np.array_equal(np.isnan(steady[:, 1]), np.isnan(table[:, 1]))
    assert np.allclose(steady[np.isfinite(steady)], table[np.isfinite(table)])
