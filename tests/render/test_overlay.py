"""Titles, times, plots and the colour bar."""

import numpy as np
import pytest

from mdpipe.render.camera import Window
from mdpipe.render.colours import PAPER, rgb
from mdpipe.render.overlay import Labels, Overlay, blank, format_time, plan_layout
from mdpipe.render.text import shorten, text_mask, text_width, write

TIMES = np.linspace(0.0, 10.0, 200)
SERIES = {
    "temperature": (TIMES, 298.0 + np.sin(TIMES), "K"),
    "potential energy": (TIMES, -46.5 + 0.1 * np.cos(TIMES), "kJ/mol per molecule"),
    "density": (TIMES, np.full(200, 0.997), "g/cm³"),
}
LABELS = Labels("A title", "a note", SERIES, ("order q", 0.2, 1.0))


def drawn(width, height, labels=LABELS, time_ps=5.0):
    layout = plan_layout(width, height, labels)
    picture = blank(width, height)
    Overlay(layout, labels).draw(picture, time_ps)
    return picture, layout


def inked(picture):
    return (picture != np.array(rgb(PAPER))).any(axis=-1)


@pytest.mark.parametrize("size", [(960, 540), (1280, 720), (1920, 1080), (640, 360), (540, 960)])
def test_labels_keep_out_of_the_window_of_the_water_and_off_the_rim(size):
    picture, layout = drawn(*size, LABELS._replace(title="A very long title " * 20))
    ink = inked(picture)
    window = Window(*[round(v) for v in layout.window])
    rows = slice(window.top, window.top + window.height)
    assert not ink[rows, window.left : window.left + window.width].any()
    assert ink.any()
    for edge in (ink[:3], ink[-3:], ink[:, :3], ink[:, -3:]):
        assert not edge.any()


def test_a_tiny_picture_is_all_water():
    picture, layout = drawn(64, 64)
    assert not inked(picture).any()
    assert layout.window.width == 60


def test_without_properties_the_window_takes_the_whole_width():
    wide = plan_layout(960, 540, Labels("t")).window.width
    assert wide > plan_layout(960, 540, LABELS).window.width + 200


def test_captions_name_time_and_first_property():
    overlay = Overlay(plan_layout(960, 540, LABELS), LABELS)
    assert overlay.caption(0.0) == "0.0 ps · 298.0 K"
    overlay = Overlay(plan_layout(960, 540, LABELS), Labels("t"))
    assert overlay.caption(2.5) == "2.5 ps"


def test_the_marker_moves_with_time():
    early, _ = drawn(960, 540, time_ps=1.0)
    late, _ = drawn(960, 540, time_ps=9.0)
    assert (early != late).any(axis=-1).sum() > 100


@pytest.mark.parametrize("values", [[np.nan, np.nan], [1.0, np.nan], [0.0, 0.0]])
def test_series_with_gaps_or_without_spread_are_drawn_or_left_out(values):
    labels = Labels("t", "", {"x": (np.array([0.0, 1.0]), np.array(values), "K")})
    picture, _ = drawn(960, 540, labels)
    assert inked(picture).any()


def test_times_have_a_unit_that_fits():
    assert format_time(0.0) == "0.0 ps"
    assert format_time(1234.5) == "1234 ps"
    assert format_time(25_000.0) == "25.00 ns"


def test_text_is_cut_with_an_ellipsis_to_the_room_it_has():
    text = "potential energy of all molecules"
    short = shorten(text, 14, 120)
    assert short.endswith("…")
    assert text_width(short, 14) <= 120
    assert shorten(text, 14, 10_000) == text
    assert shorten(text, 14, 3) == ""


def test_masks_of_a_size_share_their_height_and_keep_all_ink_inside():
    heights = {text_mask(t, 18).shape[0] for t in ("A", "gjp", "ρ³", "−46.5")}
    assert len(heights) == 1
    for text in ("A title with f", "gjpq", "W"):
        mask = text_mask(text, 18)
        assert mask.max() > 200
        assert mask[-1].max() == 0


@pytest.mark.parametrize("place", [(-30, 5), (90, 5), (5, -8), (5, 35), (500, 500)])
def test_text_beyond_the_picture_is_cut(place):
    picture = blank(100, 40)
    write(picture, "some text", place, 18)
    assert picture.shape == (40, 100, 3)
