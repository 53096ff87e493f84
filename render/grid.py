"""Many films to one: groups down, scenes across, each labelled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError, UsageError
from mdpipe.render.colours import FAINT, INK, MUTED, rgb
from mdpipe.render.encode import Encoder, FilmInfo, probe, read_film
from mdpipe.render.film import save_picture
from mdpipe.render.overlay import blank
from mdpipe.render.text import shorten, write

Picture = NDArray[np.uint8]

WIDEST, HIGHEST = 1920, 1200
MOST_CELLS = 36
"""Cells of a page: each needs a decoder of some 40 MB."""
EMPTY = "#eef0f2"
GAP, RIM, LABEL, HEAD = 12, 28, 26, 26


class Cell(NamedTuple):
    """One film of the grid: its file, what it says of itself, and the part that is shown."""

    path: Path
    info: FilmInfo
    crop: tuple[int, int, int, int]


class Plan(NamedTuple):
    """Where cells go: size of the picture and of a cell, rows of a page and blocks side by side."""

    width: int
    height: int
    cell_width: int
    cell_height: int
    rows: int
    blocks: int
    top: int


def combine_films(
    cells: Sequence[Sequence[Path | None]],
    out: Path,
    *,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str = "",
    width: int = WIDEST,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write one film of many, and a still of its last picture beside it.

    Parameters
    ----------
    cells : sequence of sequences of Path or None
        Films of each group (row) and scene (column); None where there is none.
    out : Path
        The film, `….mp4`; the still has the same name with `.png`.
    row_labels, column_labels : sequence of str
        Names of groups and scenes.
    title : str
        First line.
    width : int
        Of the film at most, pixels.
    progress : callable or None
        Called with pictures written and to write.

    Raises
    ------
    UsageError, InputError
        If labels and cells do not match, or there is no film at all.
    NoSpaceError
        If the disk is full; nothing half-written stays.

    Notes
    -----
    Groups that do not fit into one picture follow on further pages, one after another. Films of a
    page that differ in length are brought to the longest: all of them begin and end together, and
    each says its own time.
    """
    if len(cells) != len(row_labels) or any(len(row) != len(column_labels) for row in cells):
        raise UsageError(
            f"the grid must have {len(row_labels)} rows of {len(column_labels)} films, "
            f"got rows of {[len(row) for row in cells]}"
        )
    films = [[None if path is None else _open(path) for path in row] for row in cells]
    known = [cell for row in films for cell in row if cell is not None]
    if not known:
        raise InputError(f"{out}: there is no film to combine; render a scene first")
    aspect = max(_used_aspect(cell) for cell in known)
    films = [[None if cell is None else _narrow(cell, aspect) for cell in row] for row in films]
    per_page = max(1, MOST_CELLS // len(column_labels))
    pages = math.ceil(len(films) / per_page)
    per_page = math.ceil(len(films) / pages)
    plan = plan_grid(per_page, len(column_labels), aspect, width)
    parts = [slice(p * per_page, (p + 1) * per_page) for p in range(pages)]
    lengths = [
        max((cell.info.frames for row in films[part] for cell in row if cell), default=0)
        for part in parts
    ]
    with Encoder(out, plan.width, plan.height, round(known[0].info.fps)) as encoder:
        picture = blank(plan.width, plan.height)
        for number, (part, length) in enumerate(zip(parts, lengths, strict=True), start=1):
            heading = title + (f" ({number} of {pages})" if pages > 1 else "")
            page = _draw_page(plan, heading, row_labels[part], column_labels, films[part])
            for picture in _play(plan, page, films[part], length):
                encoder.write(picture)
                if progress is not None:
                    progress(encoder.frames, sum(lengths))
        save_picture(picture, out.with_suffix(".png"))
        encoder.finish({"title": title, "pages": pages})


def plan_grid(rows: int, columns: int, aspect: float, width: int = WIDEST) -> Plan:
    """Find the arrangement with the largest cells: blocks of groups may stand side by side.

    Parameters
    ----------
    rows, columns : int
        Groups and scenes of a page.
    aspect : float
        Width over height of a cell.
    width : int
        Of the picture at most, pixels.

    Returns
    -------
    Plan
        No wider than `width` (rounded down to even) and no higher than 1200 pixels or what one
        row needs.
    """
    best: Plan | None = None
    top = RIM + LABEL + 14
    for blocks in range(1, rows + 1):
        deep = math.ceil(rows / blocks)
        room = width - 2 * RIM - (blocks - 1) * 2 * GAP - blocks * (columns - 1) * GAP
        wide = min(room / (blocks * columns), 720.0)
        high = (HIGHEST - top - HEAD - RIM - deep * (LABEL + GAP)) / deep
        wide = max(16.0, min(wide, high * aspect))
        cell_width, cell_height = int(wide), max(8, int(wide / aspect))
        if best is not None and cell_width <= best.cell_width:
            continue
        full = 2 * RIM + blocks * (columns * (cell_width + GAP) - GAP) + (blocks - 1) * 2 * GAP
        tall = top + HEAD + deep * (LABEL + cell_height + GAP) + RIM - GAP
        full, tall = full - full % 2, tall + tall % 2
        best = Plan(full, tall, cell_width, cell_height, deep, blocks, top)
    assert best is not None
    return best


def place(plan: Plan, columns: int, row: int, column: int) -> tuple[int, int]:
    """Return the left and top pixel of a cell."""
    block, line = divmod(row, plan.rows)
    left = RIM + block * (columns * (plan.cell_width + GAP) + GAP)
    top = plan.top + HEAD + LABEL + line * (LABEL + plan.cell_height + GAP)
    return left + column * (plan.cell_width + GAP), top


def _open(path: Path) -> Cell:
    """Probe a film; of our own only the window with the water is shown."""
    if not path.exists():
        raise InputError(f"{path}: no such film; render the scene or leave its cell empty")
    info = probe(path)
    crop = tuple(int(v) for v in info.notes.get("window", (0, 0, info.width, info.height)))
    left, top, width, height = crop
    return Cell(path, info, (left, top, width, height))


def _used_aspect(cell: Cell) -> float:
    """Return width over height of what has to be seen of a film."""
    width = min(cell.crop[2], float(cell.info.notes.get("used_width", cell.crop[2])))
    return max(1.0, width / cell.crop[3])


def _narrow(cell: Cell, aspect: float) -> Cell:
    """Cut a film left and right, to the common shape as far as it goes."""
    left, top, width, height = cell.crop
    used = min(width, round(aspect * height))
    return cell._replace(crop=(left + (width - used) // 2, top, used, height))


def _draw_page(
    plan: Plan,
    title: str,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    films: Sequence[Sequence[Cell | None]],
) -> Picture:
    """Draw what stands still on a page."""
    page = blank(plan.width, plan.height)
    columns = len(column_labels)
    write(page, shorten(title, 22, plan.width - 2 * RIM, bold=True), (RIM, RIM - 8), 22, bold=True)
    for row, label in enumerate(row_labels):
        left, top = place(plan, columns, row, 0)
        across = columns * (plan.cell_width + GAP) - GAP
        write(page, shorten(label, 15, across), (left, top - LABEL + 2), 15, colour=INK)
        for column, name in enumerate(column_labels):
            left, top = place(plan, columns, row, column)
            if row % plan.rows == 0:
                text = shorten(name, 14, plan.cell_width, bold=True)
                write(page, text, (left, plan.top), 14, colour=MUTED, bold=True)
            if films[row][column] is None:
                _draw_missing(page[top : top + plan.cell_height, left : left + plan.cell_width])
    return page


def _draw_missing(cell: Picture) -> None:
    """Draw the place of a film that is not there."""
    cell[:] = rgb(EMPTY)
    height, width = cell.shape[:2]
    middle = (width // 2, height // 2 - 18)
    write(cell, "no film", middle, 14, colour=MUTED, align="middle")
    text = shorten("scene missing or failed", 11, width - 8)
    write(cell, text, (middle[0], middle[1] + 20), 11, colour=MUTED, align="middle")


def _play(
    plan: Plan, page: Picture, films: Sequence[Sequence[Cell | None]], length: int
) -> Iterator[Picture]:
    """Yield the pictures of a page: each film is decoded once, picture by picture."""
    columns = len(films[0])
    size = (plan.cell_width, plan.cell_height)
    with ExitStack() as stack:
        running: list[tuple[Cell, Iterator[Picture], tuple[int, int]]] = []
        for row, line in enumerate(films):
            for column, cell in enumerate(line):
                if cell is not None and cell.info.frames > 0:
                    reader = read_film(cell.path, crop=cell.crop, size=size)
                    stack.enter_context(closing(reader))  # type: ignore[type-var]
                    running.append((cell, reader, place(plan, columns, row, column)))
        picture = page.copy()
        shown = [-1] * len(running)
        for k in range(length):
            for i, (cell, reader, (left, top)) in enumerate(running):
                wanted = k * cell.info.frames // length
                if wanted == shown[i]:
                    continue
                tile: Picture | None = None
                while shown[i] < wanted:
                    tile = next(reader, None)
                    if tile is None:
                        raise InputError(f"{cell.path}: the film is cut short; render it again")
                    shown[i] += 1
                part = picture[top : top + size[1], left : left + size[0]]
                if tile is not None:
                    part[:] = tile
                _draw_frame(part, cell, wanted)
            yield picture


def _draw_frame(part: Picture, cell: Cell, number: int) -> None:
    """Draw a thin frame around a cell and its caption below the water."""
    part[[0, -1]] = rgb(FAINT)
    part[:, [0, -1]] = rgb(FAINT)
    captions = cell.info.notes.get("captions", [])
    height, width = part.shape[:2]
    size = 13 if width >= 240 else 10
    if number < len(captions) and height > 60:
        text = shorten(str(captions[number]), size, width - 12)
        write(part, text, (7, height - size - 8), size, colour=INK)
