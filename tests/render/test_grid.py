"""The grid of films."""

import imageio.v3 as iio
import numpy as np
import pytest

from mdpipe.failures import InputError, UsageError
from mdpipe.render import grid
from mdpipe.render.encode import Encoder, probe, read_film
from mdpipe.render.grid import HIGHEST, combine_films, place, plan_grid

RED, BLUE = (227, 20, 15), (31, 111, 180)


def make_film(path, colour, frames=4, size=(96, 64), notes=None):
    """A film of one colour that gets darker to the end."""
    with Encoder(path, *size, 10) as encoder:
        for i in range(frames):
            shade = np.array(colour) * (1.0 - 0.5 * i / max(1, frames - 1))
            encoder.write(np.broadcast_to(shade.astype(np.uint8), (size[1], size[0], 3)))
        encoder.finish(notes or {})
    return path


def middle(picture, plan, columns, row, column):
    left, top = place(plan, columns, row, column)
    y, x = top + plan.cell_height // 2, left + plan.cell_width // 2
    return picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(axis=0)


def test_each_film_is_in_its_cell_and_a_missing_one_is_grey(tmp_path):
    red, blue = make_film(tmp_path / "r.mp4", RED), make_film(tmp_path / "b.mp4", BLUE)
    out = tmp_path / "grid.mp4"
    seen = []
    combine_films(
        [[red, blue], [None, red]],
        out,
        row_labels=["liquid", "ice"],
        column_labels=["nvt", "npt"],
        title="Study",
        width=480,
        progress=lambda done, total: seen.append((done, total)),
    )
    info = probe(out)
    assert info.frames == 4
    assert info.width <= 480
    assert seen == [(i, 4) for i in range(1, 5)]
    plan = plan_grid(2, 2, 1.5, 480)
    first = next(read_film(out))
    for (row, column), colour in {(0, 0): RED, (0, 1): BLUE, (1, 1): RED}.items():
        # twice through a lossy codec
        assert np.abs(middle(first, plan, 2, row, column) - colour).max() < 12
    missing = middle(first, plan, 2, 1, 0)
    assert missing.max() - missing.min() < 40
    assert missing.min() > 90
    still = iio.imread(tmp_path / "grid.png")
    assert np.abs(middle(still, plan, 2, 0, 0) - 0.5 * np.array(RED)).max() < 12
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.mp4", "grid.mp4", "grid.png", "r.mp4"]


def test_films_of_different_length_begin_and_end_together(tmp_path):
    long, short = (
        make_film(tmp_path / "l.mp4", RED, 9),
        make_film(tmp_path / "s.mp4", RED, 3),
    )
    combine_films(
        [[long, short]], tmp_path / "g.mp4", row_labels=["a"], column_labels=["x", "y"], width=480
    )
    pictures = list(read_film(tmp_path / "g.mp4"))
    assert len(pictures) == 9
    plan = plan_grid(1, 2, 1.5, 480)
    for number in (0, 8):
        left, right = (middle(pictures[number], plan, 2, 0, c) for c in (0, 1))
        assert np.abs(left - right).max() < 10
    # the fifth of nine is where the second of three begins: 3/4 of its light, not yet 1/2
    halfway = middle(pictures[4], plan, 2, 0, 1)
    assert np.abs(halfway - 0.75 * np.array(RED)).max() < 12


def test_the_same_films_make_the_same_bytes(tmp_path):
    red = make_film(tmp_path / "r.mp4", RED)
    for name in ("a", "b"):
        combine_films(
            [[red, None]],
            tmp_path / f"{name}.mp4",
            row_labels=["x"],
            column_labels=["p", "q"],
            width=320,
        )
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_only_the_window_of_our_own_films_is_shown(tmp_path):
    size = (120, 80)
    picture = np.full((80, 120, 3), 255, np.uint8)
    picture[20:60, 40:80] = RED
    path = tmp_path / "w.mp4"
    with Encoder(path, *size, 10) as encoder:
        encoder.write(picture)
        encoder.finish({"window": [20, 20, 80, 40], "used_width": 40, "captions": ["1.0 ps"]})
    combine_films([[path]], tmp_path / "g.mp4", row_labels=["a"], column_labels=["x"], width=300)
    plan = plan_grid(1, 1, 1.0, 300)
    left, top = place(plan, 1, 0, 0)
    shown = iio.imread(tmp_path / "g.png")[top : top + plan.cell_height, left:][
        :, : plan.cell_width
    ]
    inner = shown[12:-40, 12:-12].astype(int)
    assert np.abs(inner - RED).max() < 30


def test_more_groups_than_a_page_holds_follow_on_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "MOST_CELLS", 2)
    red, blue = make_film(tmp_path / "r.mp4", RED, 3), make_film(tmp_path / "b.mp4", BLUE, 2)
    combine_films(
        [[red], [red], [blue], [None]],
        tmp_path / "g.mp4",
        row_labels=list("abcd"),
        column_labels=["x"],
        width=320,
    )
    info = probe(tmp_path / "g.mp4")
    assert info.frames == 3 + 2
    assert info.notes["pages"] == 2


@pytest.mark.parametrize("columns", [1, 3, 5])
@pytest.mark.parametrize("rows", [1, 2, 7, 12])
def test_cells_of_any_plan_are_apart_and_inside_the_picture(rows, columns):
    plan = plan_grid(rows, columns, 1.2)
    assert plan.width <= 1920
    assert plan.height <= HIGHEST
    assert plan.width % 2 == plan.height % 2 == 0
    assert plan.cell_width >= 100
    taken = np.zeros((plan.height, plan.width), int)
    for row in range(rows):
        for column in range(columns):
            left, top = place(plan, columns, row, column)
            taken[top : top + plan.cell_height, left : left + plan.cell_width] += 1
    assert taken.max() == 1
    assert taken.sum() == rows * columns * plan.cell_width * plan.cell_height


def test_labels_that_do_not_match_and_grids_without_films_are_refused(tmp_path):
    out = tmp_path / "g.mp4"
    with pytest.raises(UsageError, match="must have 1 rows of 2 films"):
        combine_films([[None]], out, row_labels=["a"], column_labels=["x", "y"])
    with pytest.raises(InputError, match="no film to combine"):
        combine_films([[None]], out, row_labels=["a"], column_labels=["x"])
    with pytest.raises(InputError, match=r"gone\.mp4: no such film"):
        combine_films([[tmp_path / "gone.mp4"]], out, row_labels=["a"], column_labels=["x"])
    assert list(tmp_path.iterdir()) == []


def test_a_film_cut_short_is_named_and_leaves_no_grid(tmp_path):
    red = make_film(tmp_path / "r.mp4", RED, 3, notes={"frames": 9})
    with pytest.raises(InputError, match=r"r\.mp4: the film is cut short"):
        combine_films([[red]], tmp_path / "g.mp4", row_labels=["a"], column_labels=["x"], width=200)
    assert [p.name for p in tmp_path.iterdir()] == ["r.mp4"]
