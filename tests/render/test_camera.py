"""The camera keeps the box in its window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdpipe.render.camera import Window, box_corners, fit_camera, look_from, turn_camera

lengths = st.floats(0.8, 12.0)
shares = st.floats(-0.5, 0.5)


@st.composite
def boxes(draw):
    a, b, c = draw(lengths), draw(lengths), draw(lengths)
    return np.array(
        [
            [a, 0.0, 0.0],
            [draw(shares) * a, b, 0.0],
            [draw(shares) * a, draw(shares) * b, c],
        ]
    )


def corner_pixels(camera, box):
    seen = camera.view(box_corners(box), box.sum(axis=0) / 2)
    return camera.project(seen), seen[:, 2]


@settings(deadline=None, max_examples=60)
@given(
    boxes(),
    st.sampled_from([(960, 540), (540, 960), (300, 300)]),
    st.floats(-180, 180),
    st.floats(0.0, 60.0),
)
def test_the_corners_of_any_box_lie_in_the_window_at_every_turn(box, size, azimuth, turn):
    window = Window(0.1 * size[0], 0.2 * size[1], 0.7 * size[0], 0.7 * size[1])
    sweep = [azimuth + turn * s for s in (-0.5, 0.0, 0.5)]
    camera = fit_camera(box, size, window=window, azimuth=azimuth, sweep=sweep, padding=0.2)
    for a in (azimuth, *sweep):
        pixels, depth = corner_pixels(turn_camera(camera, a), box)
        reach = camera.lens.focal * 0.2 / depth
        assert (pixels[:, 0] - reach >= window.left - 1e-6).all()
        assert (pixels[:, 0] + reach <= window.left + window.width + 1e-6).all()
        assert (pixels[:, 1] - reach >= window.top - 1e-6).all()
        assert (pixels[:, 1] + reach <= window.top + window.height + 1e-6).all()


def test_the_box_fills_its_window_in_one_direction():
    box = np.diag([2.0, 3.0, 4.0])
    window = Window(50, 60, 800, 400)
    camera = fit_camera(box, (960, 540), window=window, padding=0.0)
    pixels, _ = corner_pixels(camera, box)
    spans = pixels.max(axis=0) - pixels.min(axis=0)
    filled = spans / [window.width, window.height]
    assert filled.max() == pytest.approx(1.0, abs=1e-6)
    middle = (pixels.max(axis=0) + pixels.min(axis=0)) / 2
    np.testing.assert_allclose(middle, [450, 260], atol=1e-6)


def test_the_view_is_a_rotation_with_z_upwards():
    for azimuth in (-100.0, 0.0, 28.0, 170.0):
        rotation = look_from(azimuth)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(rotation) == pytest.approx(1.0)
        assert rotation[1, 2] < 0.0
    # from -y the x axis points to the right
    np.testing.assert_allclose(look_from(0.0)[0], [1, 0, 0], atol=1e-12)
