"""Pictures of water: what they show, and that they are the same every time."""

import os
from pathlib import Path

import numba
import numpy as np
import pytest

from mdpipe.failures import InputError
from mdpipe.render.bonds import find_hydrogen_bonds
from mdpipe.render.camera import AZIMUTH_DEGREES, fit_camera, look_from
from mdpipe.render.colours import PAPER, linear, rgb, scalar_colours, to_linear, tone_table, viridis
from mdpipe.render.image import SUN, render_image
from mdpipe.render.scene import Style, build_solids, wrap_molecules

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "render_w216a.npz"
SMALL = (192, 128)


@pytest.fixture(scope="module")
def water():
    folder = Path(__file__).resolve().parents[2] / "data" / "reference"
    with np.load(folder / "conf_w216a.npz") as data:
        return data["pos"].astype(float), data["box"].astype(float)


@pytest.fixture(scope="module")
def octahedron():
    folder = Path(__file__).resolve().parents[2] / "data" / "reference"
    with np.load(folder / "conf_tro360.npz") as data:
        return data["pos"].astype(float), data["box"].astype(float)


def one_molecule(oxygen=(1.0, 1.0, 1.0)):
    oxygen = np.array(oxygen)
    arms = np.array([[0.0, 0.0, 0.0], [0.0816, 0.0577, 0.0], [-0.0816, 0.0577, 0.0]])
    return (oxygen + arms)[None], 2.0 * np.eye(3)


def redness(picture):
    part = picture.astype(int)
    return part[..., 0] - part[..., 1:].max(axis=-1)


def test_the_same_picture_for_any_number_of_threads(water):
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = render_image(*water, size=SMALL)
        numba.set_num_threads(min(2, numba.config.NUMBA_NUM_THREADS))
        two = render_image(*water, size=SMALL)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("kind", ["vdw", "ball-and-stick"])
def test_a_shift_by_box_vectors_does_not_change_the_picture(octahedron, kind):
    positions, box = octahedron
    rng = np.random.default_rng(3)
    shifted = positions + (rng.integers(-2, 3, (len(positions), 3)) @ box)[:, None]
    style = Style(kind)
    plain = render_image(positions, box, size=SMALL, style=style).astype(int)
    other = render_image(shifted, box, size=SMALL, style=style).astype(int)
    # positions differ by rounding (1e-15 nm): a sample on an edge may go over, no more
    assert (np.abs(plain - other) > 2).mean() < 1e-3


def test_molecules_stay_whole_with_their_oxygen_in_the_cell(octahedron):
    positions, box = octahedron
    wrapped = wrap_molecules(positions + 7.3 * box[2] - 2.2 * box[0], box)
    share = wrapped[:, 0] @ np.linalg.inv(box)
    assert (share > -1e-6).all()
    assert (share < 1.0).all()
    arms = wrapped - wrapped[:, :1]
    np.testing.assert_allclose(arms, positions - positions[:, :1], atol=1e-12)


def test_oxygen_is_red_hydrogen_white_and_the_corners_are_paper():
    picture = render_image(*one_molecule(), size=(240, 180), style=Style("vdw"))
    assert redness(picture).max() > 120
    assert (picture.min(axis=-1) > 180).mean() > 0.9
    for corner in (picture[0, 0], picture[-1, -1], picture[0, -1]):
        np.testing.assert_array_equal(corner, rgb(PAPER))


def test_the_style_changes_at_three_hundred_molecules(water):
    positions, box = water
    assert Style().balls(300)
    assert not Style().balls(301)
    assert len(build_solids(positions, box, Style()).cylinders) == 4 * len(positions)
    assert len(build_solids(positions, box, Style("vdw")).cylinders) == 0


def test_hydrogen_bonds_are_blue_and_only_there_when_given(water):
    bonds = find_hydrogen_bonds(*water)

    def blue(picture):
        part = picture.astype(int)
        return ((part[..., 2] - part[..., 0]) > 60).sum()

    size = (480, 320)
    assert blue(render_image(*water, size=size)) == 0
    assert blue(render_image(*water, size=size, h_bonds=bonds)) > 100


def test_colour_by_a_scalar_takes_the_colours_of_viridis():
    table = viridis()
    colours = scalar_colours(np.array([0.0, 0.5, 1.0, 7.0, np.nan]), 0.0, 1.0)
    np.testing.assert_allclose(colours[0], to_linear(table[0]))
    np.testing.assert_allclose(colours[2], to_linear(table[-1]))
    np.testing.assert_allclose(colours[3], colours[2])
    np.testing.assert_allclose(colours[4], 0.35)
    low = render_image(*one_molecule(), size=SMALL, values=np.zeros(1), style=Style("vdw"))
    high = render_image(*one_molecule(), size=SMALL, values=np.ones(1), style=Style("vdw"))
    # violet to yellow: green rises where there is a molecule, and nowhere falls much
    rise = high[..., 1].astype(int) - low[..., 1]
    assert rise.max() > 80
    assert rise.min() > -10
    with pytest.raises(InputError, match="one for each molecule"):
        render_image(*one_molecule(), values=np.zeros(2))


def test_ambient_occlusion_darkens_crevices_and_leaves_the_outside_bright(water):
    positions, box = water
    plain = Style("vdw", haze=0.0, outline=0.0)
    lone = render_image(*one_molecule(), size=SMALL, style=plain).astype(float)
    full = render_image(positions, box, size=SMALL, style=plain).astype(float)

    def greys(picture):
        """Brightness of hydrogens: no colour, and darker than the paper."""
        flat = picture.max(axis=-1) - picture.min(axis=-1) < 10
        return picture.max(axis=-1)[flat & (picture.max(axis=-1) < 245)]

    dark = [(greys(picture) < 110).mean() for picture in (lone, full)]
    assert dark[0] < 0.15
    assert dark[1] > dark[0] + 0.05


def test_a_molecule_towards_the_light_throws_its_shadow_on_the_one_behind():
    size, style = (240, 180), Style("vdw", ambient_occlusion=False, outline=0.0)
    positions, box = one_molecule()
    towards = look_from(AZIMUTH_DEGREES).T @ (SUN / np.linalg.norm(SUN))
    camera = fit_camera(box, size)
    x, y = camera.project(camera.view(positions[0], box.sum(axis=0) / 2)).mean(axis=0).astype(int)

    def brightness(others):
        both = np.concatenate([positions, *others])
        picture = render_image(both, box, view=camera, style=style)
        return picture[y - 6 : y + 7, x - 6 : x + 7, 0].mean()

    alone = brightness([])
    assert brightness([positions + 0.6 * towards]) < alone - 20
    assert brightness([positions - 0.6 * towards]) == pytest.approx(alone, abs=1.0)


def test_sticks_cast_shadows_along_all_they_show():
    solids = build_solids(*one_molecule(), Style("ball-and-stick"))
    shares = np.linspace(0.0, 1.0, 41)[:, None, None]
    sticks = solids.cylinders[:4]
    axis = ((1 - shares) * sticks[:, :3] + shares * sticks[:, 3:6]).reshape(-1, 3)

    def inside(spheres):
        apart = np.linalg.norm(axis[:, None] - spheres[None, :, :3], axis=2)
        return (apart < spheres[:, 3]).any(axis=1)

    assert 0.05 < (~inside(solids.spheres)).mean() < 0.5
    assert inside(solids.occluders).all()


def test_more_samples_come_closer_to_the_smooth_picture():
    def draw(samples):
        style = Style("vdw", samples=samples, outline=0.0)
        return render_image(*one_molecule(), size=SMALL, style=style).astype(float)

    smooth = draw(8)
    errors = [np.abs(draw(samples) - smooth).mean() for samples in (1, 2, 4)]
    assert errors[0] > 1.5 * errors[1]
    assert errors[1] > 1.2 * errors[2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p, b: (np.where(np.arange(216)[:, None, None] == 5, np.nan, p), b), "first: 5"),
        (lambda p, _: (p, np.full((3, 3), np.nan)), "box must be"),
        (lambda p, _: (p, np.zeros((3, 3))), "box must be"),
        (lambda p, b: (p[:, :2], b), "shape"),
        (lambda p, b: (p[:0], b), "n >= 1"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_line(water, change, words):
    with pytest.raises(InputError, match=words) as caught:
        render_image(*change(*water), size=SMALL)
    assert "\n" not in str(caught.value)


def test_linear_light_and_bytes_are_inverse():
    tones = tone_table()
    for byte in (0, 3, 40, 128, 200, 255):
        value = float(to_linear(np.array(byte / 255)))
        # 4096 steps of linear light are some bytes apart in the darkest shades only
        assert abs(int(tones[round(value * 4095)]) - byte) <= (2 if byte < 20 else 1)
    np.testing.assert_allclose(linear("#ffffff"), 1.0)


def test_the_picture_of_216_molecules_is_the_golden_one(water):
    picture = render_image(*water, size=SMALL, h_bonds=find_hydrogen_bonds(*water))
    if os.environ.get("MDPIPE_REGENERATE") == "1":
        np.savez_compressed(GOLDEN, picture=picture)
    with np.load(GOLDEN) as data:
        golden = data["picture"]
    difference = np.abs(picture.astype(int) - golden.astype(int)).max(axis=-1)
    # fused multiply-adds of another processor move single samples over an edge: some pixels by
    # a quarter of their contrast, the rest not at all
    assert difference.mean() < 0.3
    assert (difference > 16).mean() < 0.005
