"""Text on pixels: DejaVu Sans, drawn once for each string and blended in."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mdpipe.render.colours import INK, rgb

Picture = NDArray[np.uint8]
Mask = NDArray[np.uint8]


@lru_cache(maxsize=32)
def _font(size: int, *, bold: bool) -> object:
    import matplotlib as mpl
    from PIL import ImageFont

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / name
    return ImageFont.truetype(str(path), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=1024)
def text_mask(text: str, size: int, *, bold: bool = False) -> Mask:
    """Return the coverage of a line of text.

    Parameters
    ----------
    text : str
        One line.
    size : int
        Height of the font, pixels.
    bold : bool
        Bold face.

    Returns
    -------
    (height, width) uint8
        0 … 255; the height is the same for all texts of a size, so that lines align.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = _font(size, bold=bold)
    assert isinstance(font, ImageFont.FreeTypeFont)
    ascent, descent = font.getmetrics()
    width = max(1, int(np.ceil(font.getlength(text))) + 1)
    image = Image.new("L", (width, ascent + descent))
    ImageDraw.Draw(image).text((0, 0), text, fill=255, font=font)
    return np.asarray(image)


def text_width(text: str, size: int, *, bold: bool = False) -> int:
    """Return the width of a line of text, pixels."""
    return int(text_mask(text, size, bold=bold).shape[1])


def shorten(text: str, size: int, room: int, *, bold: bool = False) -> str:
    """Return a text that fits into `room` pixels, cut with an ellipsis if it must be."""
    if text_width(text, size, bold=bold) <= room:
        return text
    kept = text
    while kept and text_width(kept.rstrip() + "…", size, bold=bold) > room:
        kept = kept[:-1]
    return kept.rstrip() + "…" if kept else ""


def blend(picture: Picture, mask: Mask, left: int, top: int, colour: str) -> None:
    """Blend a colour into a picture through a mask; what lies outside is cut.

    Parameters
    ----------
    picture : (h, w, 3) uint8
        Changed.
    mask : (…, …) uint8
        Coverage.
    left, top : int
        Where the mask goes, pixels.
    colour : str
        `#rrggbb`.
    """
    y0, x0 = max(0, top), max(0, left)
    y1, x1 = (
        min(picture.shape[0], top + mask.shape[0]),
        min(picture.shape[1], left + mask.shape[1]),
    )
    if y0 >= y1 or x0 >= x1:
        return
    part = picture[y0:y1, x0:x1].astype(np.int32)
    cover = mask[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.int32)[..., None]
    mixed = (part * (255 - cover) + np.array(rgb(colour)) * cover + 127) // 255
    picture[y0:y1, x0:x1] = mixed.astype(np.uint8)


def write(
    picture: Picture,
    text: str,
    place: tuple[int, int],
    size: int,
    *,
    colour: str = INK,
    bold: bool = False,
    align: str = "left",
) -> None:
    """Write a line of text.

    Parameters
    ----------
    picture : (h, w, 3) uint8
        Changed.
    text : str
        One line.
    place : tuple of int
        x of the left end, middle or right end as `align` says, and y of the top, pixels.
    size : int
        Height of the font, pixels.
    colour : str
        `#rrggbb`.
    bold : bool
        Bold face.
    align : str
        left, middle or right.
    """
    if not text:
        return
    mask = text_mask(text, size, bold=bold)
    shift = {"left": 0, "middle": mask.shape[1] // 2, "right": mask.shape[1]}[align]
    blend(picture, mask, place[0] - shift, place[1], colour)
