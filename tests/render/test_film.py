"""Films: right number of frames and size, the same bytes every time, nothing left behind."""

import stat
import subprocess

import imageio.v3 as iio
import numpy as np
import pytest

from mdpipe.failures import InputError, MdpipeError, NoSpaceError
from mdpipe.render import encode, film
from mdpipe.render.camera import box_corners
from mdpipe.render.encode import Encoder, probe, read_film
from mdpipe.render.film import Colouring, Follower, render_film, save_picture
from mdpipe.render.overlay import plan_layout
from mdpipe.state import Frame
from mdpipe.study import Render

SETTINGS = Render(width=240, height=135, frames=6, samples=1, ambient_occlusion=False)
SERIES = {"temperature": (np.linspace(0, 5, 20), np.full(20, 298.0), "K")}


def make_frames(count, n=24, seed=1):
    rng = np.random.default_rng(seed)
    arms = np.array([[0.0, 0.0, 0.0], [0.0816, 0.0577, 0.0], [-0.0816, 0.0577, 0.0]])
    oxygens = rng.uniform(0.0, 1.2, (n, 1, 3))
    for i in range(count):
        yield Frame(oxygens + arms + 0.02 * i, 1.2 * np.eye(3), 0.5 * i)


def left_over(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_film_has_its_frames_its_size_and_a_still_of_the_last(tmp_path):
    seen = []
    out = tmp_path / "film.mp4"
    settings = SETTINGS.model_copy(update={"width": 241})
    render_film(
        make_frames(5),
        out,
        settings,
        title="T",
        series=SERIES,
        n_frames=5,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(i, 5) for i in range(1, 6)]
    info = probe(out)
    assert info[:4] == (242, 136, 25, 5)
    assert info.notes["title"] == "T"
    assert info.notes["captions"][2] == "1.0 ps · 298.0 K"
    pictures = list(read_film(out))
    assert len(pictures) == 5
    still = iio.imread(tmp_path / "film.png")
    # what the lossy codec changes, most of it at edges: chroma has half the resolution
    assert np.abs(pictures[-1].astype(int) - still).mean() < 3.0
    assert np.abs(pictures[0].astype(int) - pictures[-1]).mean() > 1.0
    assert left_over(tmp_path) == ["film.mp4", "film.png"]


def test_the_same_frames_make_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        render_film(make_frames(4), tmp_path / f"{name}.mp4", SETTINGS, title="T", series=SERIES)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_colours_survive_the_codec(tmp_path):
    picture = np.empty((64, 96, 3), np.uint8)
    picture[:, :48], picture[:, 48:] = (227, 20, 15), (31, 111, 180)
    with Encoder(tmp_path / "c.mp4", 96, 64, 10) as encoder:
        for _ in range(3):
            encoder.write(picture)
        encoder.finish({})
    back = next(read_film(tmp_path / "c.mp4")).astype(int)
    # far from the border only rounding to 8 bit and the quantiser: a few levels
    assert np.abs(back[8:-8, 8:40] - picture[8:-8, 8:40]).max() <= 6
    assert np.abs(back[8:-8, 56:-8] - picture[8:-8, 56:-8]).max() <= 6


def test_at_most_the_wanted_number_of_frames_is_drawn_evenly(tmp_path):
    render_film(make_frames(23), tmp_path / "f.mp4", SETTINGS, title="", n_frames=23)
    captions = probe(tmp_path / "f.mp4").notes["captions"]
    assert len(captions) == 6
    assert captions[0] == "0.0 ps"
    assert captions[-1] == "11.0 ps"


def test_a_frame_with_nan_stops_with_its_time_and_leaves_nothing(tmp_path):
    def frames():
        for i, frame in enumerate(make_frames(4)):
            if i == 2:
                frame.positions[3] = np.nan
            yield frame

    with pytest.raises(InputError, match=r"frame at 1 ps: positions must be finite"):
        render_film(frames(), tmp_path / "f.mp4", SETTINGS, title="")
    assert left_over(tmp_path) == []


def test_no_frames_are_an_error_that_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="no frame to draw"):
        render_film([], tmp_path / "f.mp4", SETTINGS, title="")
    assert left_over(tmp_path) == []


def test_an_error_of_the_source_leaves_the_old_film_as_it_was(tmp_path):
    out = tmp_path / "f.mp4"
    out.write_bytes(b"old")

    def frames():
        yield next(make_frames(1))
        raise InputError("gone")

    with pytest.raises(InputError, match="gone"):
        render_film(frames(), out, SETTINGS, title="")
    assert out.read_bytes() == b"old"
    assert left_over(tmp_path) == ["f.mp4"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "full"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\necho 'av_interleaved_write_frame(): No space left on device' >&2\nexit 1\n"
    )
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(encode, "ffmpeg", lambda **_: [str(tool)])
    out = tmp_path / "run" / "f.mp4"
    with pytest.raises(NoSpaceError, match="no space left") as caught:
        render_film(make_frames(3), out, SETTINGS, title="")
    assert caught.value.exit_code == 75
    assert left_over(out.parent) == []


def test_a_full_disk_under_a_still_is_named(tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(iio, "imwrite", full)
    with pytest.raises(NoSpaceError, match="no space left"):
        save_picture(np.zeros((4, 4, 3), np.uint8), tmp_path / "s.png")
    assert left_over(tmp_path) == []


def test_an_encoder_that_fails_says_why(tmp_path, monkeypatch):
    real = encode.ffmpeg()
    monkeypatch.setattr(encode, "ffmpeg", lambda **_: [*real, "-no_such_option", "1"])
    with pytest.raises(MdpipeError, match="ffmpeg could not write the film"):
        render_film(make_frames(3), tmp_path / "f.mp4", SETTINGS, title="")
    assert left_over(tmp_path) == []


def test_a_film_that_is_not_ours_is_measured(tmp_path):
    ours = tmp_path / "a.mp4"
    render_film(make_frames(3), ours, SETTINGS, title="")
    bare = tmp_path / "bare.mp4"
    command = [*encode.ffmpeg(), "-i", str(ours), "-c", "copy", "-map_metadata", "-1", str(bare)]
    subprocess.run(command, check=True)
    assert probe(bare)[:4] == (240, 136, 25.0, 3)
    assert probe(bare).notes == {}


def test_a_film_that_cannot_be_read_is_one_clear_line(tmp_path):
    broken = tmp_path / "x.mp4"
    broken.write_bytes(b"not a film")
    with pytest.raises(InputError, match=r"x\.mp4: not a readable film"):
        probe(broken)


def test_colour_by_a_scalar_asks_for_values_of_every_frame(tmp_path):
    asked = []

    def values(positions, box):
        asked.append(float(box[0, 0]))
        return np.linspace(0, 1, len(positions))

    colouring = Colouring(values, "order q", (0.0, 1.0))
    render_film(make_frames(3), tmp_path / "f.mp4", SETTINGS, title="", colouring=colouring)
    assert asked == [1.2, 1.2, 1.2]


def test_the_camera_turns_evenly_and_keeps_a_growing_box_in_its_window():
    layout = plan_layout(480, 270, film.Labels(""))
    follower = Follower(Render(rotate_degrees=30), (480, 270), layout.window)
    azimuths = []
    for share, scale in zip(np.linspace(0, 1, 7), (1, 1.005, 0.9, 1.2, 1.1, 1.3, 1.0), strict=True):
        box = scale * np.diag([2.0, 2.5, 1.8])
        camera = follower.at(float(share), box, 0.2)
        azimuths.append(camera.azimuth)
        pixels = camera.project(camera.view(box_corners(box), box.sum(axis=0) / 2))
        window = layout.window
        assert (pixels >= [window.left, window.top]).all()
        assert (pixels <= [window.left + window.width, window.top + window.height]).all()
        assert follower.used_width <= window.width + 1e-6
    np.testing.assert_allclose(np.diff(azimuths), 5.0)
