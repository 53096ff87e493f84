"""The class of a frame, on frames of known phases."""

import numpy as np
import pytest

from mdpipe.building.ice import ice, ice_in_liquid
from mdpipe.building.liquid import SHAPES
from mdpipe.models import load_model
from mdpipe.preprocessing.classify import (
    box_shape,
    classify_frame,
    kinetic_temperature,
    structure_of,
)
from mdpipe.state import Frame
from mdpipe.units import BOLTZMANN

SPCE = load_model("spce")


def frame_of(reference, name):
    data = np.load(reference / f"conf_{name}.npz")
    return Frame(
        data["pos"].astype(np.float64),
        data["box"].astype(np.float64),
        velocities=data["vel"].astype(np.float64),
        source=name,
    )


@pytest.mark.parametrize(
    ("name", "shape", "kelvin"),
    [
        ("w216a", "cubic", 298.15),
        ("w512", "cubic", 298.15),
        ("w895", "cubic", 298.15),
        ("tro360", "truncated-octahedron", 298.15),
        ("ortho480", "orthorhombic", 298.15),
    ],
)
def test_liquids_at_room_temperature_are_liquid(reference, name, shape, kelvin):
    found = classify_frame(frame_of(reference, name))
    assert found.structure == "liquid"
    assert found.box_shape == shape
    assert found.density_g_cm3 == pytest.approx(0.997, abs=0.001)
    # Thermal noise of the kinetic temperature: T sqrt(2/(6 n)).
    noise = kelvin / np.sqrt(3 * found.n_molecules)
    assert found.temperature_K == pytest.approx(kelvin, abs=3.5 * noise)
    assert found.hexagonal + found.cubic + found.interfacial < 0.03


def test_simulated_ice_is_ice_Ih(reference):  # noqa: N802 - the name of the phase
    found = classify_frame(frame_of(reference, "ice432"))
    assert found.structure == "ice-Ih"
    assert found.q > 0.9
    assert found.hexagonal > 0.9
    assert found.cluster > 0.99


def test_cubic_ice_is_ice_Ic():  # noqa: N802 - the name of the phase
    state = ice((3, 3, 3), 0.92, SPCE, 1, "ice-Ic")
    noisy = state.positions + np.random.default_rng(1).normal(scale=0.015, size=(216, 1, 3))
    assert classify_frame(Frame(noisy, state.box)).structure == "ice-Ic"


def test_a_slab_of_ice_in_liquid_is_an_interface():
    state = ice_in_liquid((6, 3, 3), 324, SPCE, 1)
    found = classify_frame(Frame(state.positions, state.box))
    assert found.structure == "interface"
    assert found.cluster == 1.0


def test_scattered_crystallites_are_mixed():
    # Two slabs, two liquids: half ice, in two pieces.
    state = ice_in_liquid((4, 2, 2), 128, SPCE, 1)
    shifted = state.positions.copy()
    shifted[:, :, 2] += state.box[2, 2]
    box = state.box * np.array([[1.0], [1.0], [2.0]])
    frame = Frame(np.concatenate([state.positions, shifted]), box)
    assert classify_frame(Frame(state.positions, state.box)).structure == "interface"
    found = classify_frame(frame)
    assert found.cluster == pytest.approx(0.5)
    assert found.structure == "mixed"


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        # Means of simulations: SPC/E at 298, 280, 260 and 225 K, TIP4P/2005 at 298 and 260 K;
        # then ice Ih at 270 K, ice Ic at 240 K and a slab at 220 K.
        ({"q": 0.647, "q6": 0.260, "temperature_K": 298.0}, "liquid"),
        ({"q": 0.663, "q6": 0.256, "temperature_K": 280.0}, "liquid"),
        ({"q": 0.712, "q6": 0.258, "temperature_K": 260.0}, "supercooled"),
        ({"q": 0.748, "q6": 0.258, "temperature_K": 225.0}, "supercooled"),
        ({"q": 0.695, "q6": 0.253, "temperature_K": 298.0}, "liquid"),
        ({"q": 0.744, "q6": 0.252, "temperature_K": 260.0}, "supercooled"),
        ({"q": 0.695, "q6": 0.253}, "liquid"),
        ({"q": 0.744, "q6": 0.252}, "supercooled"),
        ({"q": 0.65, "q6": 0.31}, "supercooled"),
        ({"q": 0.942, "q6": 0.450, "hexagonal": 0.96, "cluster": 1.0}, "ice-Ih"),
        ({"q": 0.938, "q6": 0.490, "cubic": 0.95, "cluster": 1.0}, "ice-Ic"),
        (
            {"q": 0.84, "q6": 0.35, "hexagonal": 0.39, "interfacial": 0.07, "cluster": 1.0},
            "interface",
        ),
        ({"q": 0.9, "q6": 0.5, "hexagonal": 0.5, "cubic": 0.4, "cluster": 1.0}, "mixed"),
        ({"q": 0.8, "q6": 0.35, "hexagonal": 0.4, "cluster": 0.98}, "interface"),
        ({"q": 0.8, "q6": 0.35, "hexagonal": 0.4, "cluster": 0.5}, "mixed"),
    ],
)
def test_order_parameters_name_the_structure(features, expected):
    full = dict.fromkeys(("hexagonal", "cubic", "interfacial", "cluster"), 0.0) | features
    assert structure_of(**full) == expected


def test_the_temperature_is_that_of_rigid_motion(reference):
    frame = frame_of(reference, "w216a")
    positions = frame.positions
    random = np.random.default_rng(9)
    n, mass = len(positions), np.array([15.9994, 1.008, 1.008])
    centres = np.einsum("a,nax->nx", mass / mass.sum(), positions)
    drift, spin = random.normal(size=(n, 3)), random.normal(size=(n, 3)) * 5
    rigid = drift[:, None] + np.cross(spin[:, None], positions - centres[:, None])
    kinetic = 0.5 * (mass[:, None] * (rigid - drift.mean(axis=0)) ** 2).sum()
    expected = 2 * kinetic / ((6 * n - 3) * BOLTZMANN)
    moving = frame._replace(velocities=rigid)
    assert kinetic_temperature(moving) == pytest.approx(expected, rel=1e-12)
    # Stretching along both bonds evenly is no rigid motion and no drift of the centre.
    arms = positions[:, 1:] - positions[:, :1]
    stretch = np.concatenate([-(arms.sum(axis=1) * 1.008 / 15.9994)[:, None], arms], axis=1)
    shaken = frame._replace(velocities=rigid + 30 * stretch + 7.0)
    assert kinetic_temperature(shaken) == pytest.approx(expected, rel=1e-9)


def test_no_velocities_and_zero_velocities_give_no_temperature(reference):
    frame = frame_of(reference, "w216a")
    assert kinetic_temperature(frame._replace(velocities=None)) is None
    assert kinetic_temperature(frame._replace(velocities=0 * frame.positions)) is None


def test_boxes_rounded_to_three_decimals_keep_their_shape():
    octahedron = np.round(2.412 * SHAPES["truncated-octahedron"], 3)
    assert box_shape(octahedron) == "truncated-octahedron"
    assert box_shape(np.diag([1.862, 1.862, 1.863])) == "cubic"
    assert box_shape(np.diag([2.0, 2.32, 3.1])) == "orthorhombic"
    assert box_shape(np.array([[2.0, 0, 0], [0.5, 2.0, 0], [0.1, 0.2, 2.0]])) == "triclinic"
