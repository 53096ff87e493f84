"""Pictures to an mp4 and back, through the ffmpeg binary of imageio-ffmpeg.

The bytes of a film depend on its pictures alone: one encoder thread, no dates, no versions.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError, MdpipeError, NoSpaceError

Picture = NDArray[np.uint8]

MATRIX = (
    "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+bicubic,"
    "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)
CODEC = ["-c:v", "libx264", "-preset", "faster", "-crf", "19", "-pix_fmt", "yuv420p"]
EXACT = ["-fflags", "+bitexact", "-flags:v", "+bitexact", "-threads", "1"]


class FilmInfo(NamedTuple):
    """Size, frames a second and number of frames of a film, and what `Encoder.finish` noted."""

    width: int
    height: int
    fps: float
    frames: int
    notes: dict[str, Any]


def ffmpeg(*, reads_pipe: bool = False) -> list[str]:
    """Return the beginning of an ffmpeg command."""
    from imageio_ffmpeg import get_ffmpeg_exe

    quiet = ["-hide_banner", "-loglevel", "error", "-y"]
    return [get_ffmpeg_exe(), *([] if reads_pipe else ["-nostdin"]), *quiet]


class Encoder:
    """Writes a film: a temporary file beside the product, renamed when it is complete.

    Used as a context manager: leaving it with an error removes what was written.

    Parameters
    ----------
    path : Path
        The film, `….mp4`.
    width, height : int
        Pixels, even.
    fps : int
        Frames a second.
    """

    def __init__(self, path: Path, width: int, height: int, fps: int) -> None:
        if width % 2 or height % 2:
            raise InputError(f"film sizes must be even, got {width} x {height}; add a pixel")
        self.path, self.size, self.fps, self.frames = path, (width, height), fps, 0
        self._part = path.with_name(f".{path.name}.part.mp4")
        self._joined = path.with_name(f".{path.name}.joined.mp4")
        self._notes = path.with_name(f".{path.name}.notes")
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        source += ["-r", str(fps), "-i", "pipe:0"]
        command = [*ffmpeg(reads_pipe=True), *source, "-vf", MATRIX, *CODEC, *EXACT]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [*command, str(self._part)],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise _failure(path, str(error)) from error

    def __enter__(self) -> Encoder:
        """Return the encoder."""
        return self

    def __exit__(self, *error: object) -> None:
        """Stop ffmpeg and remove temporary files."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        for path in (self._part, self._joined, self._notes):
            path.unlink(missing_ok=True)

    def write(self, picture: Picture) -> None:
        """Add a picture.

        Parameters
        ----------
        picture : (height, width, 3) uint8
            sRGB.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        if picture.shape != (self.size[1], self.size[0], 3):
            raise InputError(f"pictures of this film must be {self.size}, got {picture.shape}")
        try:
            self._process.stdin.write(np.ascontiguousarray(picture).data)
        except OSError as error:
            self._wait(str(error))
            raise _failure(self.path, str(error)) from error
        self.frames += 1

    def finish(self, notes: dict[str, Any]) -> None:
        """Complete the film and give it its name.

        Parameters
        ----------
        notes : dict
            JSON that is kept in the film's comment tag; `probe` returns it.
        """
        self._wait("")
        facts = {"width": self.size[0], "height": self.size[1], "fps": self.fps}
        comment = json.dumps(facts | {"frames": self.frames} | notes, sort_keys=True)
        escaped = re.sub(r"([=;#\\\n])", r"\\\1", comment)
        sources = ["-i", str(self._part), "-f", "ffmetadata", "-i", str(self._notes)]
        copy = ["-map", "0", "-map_metadata", "1", "-c", "copy", "-movflags", "+faststart"]
        try:
            self._notes.write_text(f";FFMETADATA1\ncomment={escaped}\n", "utf-8")
            done = subprocess.run(
                [*ffmpeg(), *sources, *copy, "-fflags", "+bitexact", str(self._joined)],
                capture_output=True,
                check=False,
            )
            if done.returncode != 0:
                raise _failure(self.path, done.stderr.decode(errors="replace"))
            self._joined.replace(self.path)
        except OSError as error:
            raise _failure(self.path, str(error)) from error

    def _wait(self, why: str) -> None:
        """Close the pipe, wait, and raise what ffmpeg complained of."""
        process = self._process
        assert process is not None
        _, complaint = process.communicate()
        self._process = None
        if process.returncode != 0:
            raise _failure(self.path, complaint.decode(errors="replace") or why)


def _failure(path: Path, complaint: str) -> MdpipeError:
    lines = [line.strip() for line in complaint.strip().splitlines() if line.strip()]
    last = lines[-1] if lines else "no reason given"
    if "No space left" in complaint or "Disk quota" in complaint:
        return NoSpaceError(f"{path}: no space left on the disk; free some and run again")
    return MdpipeError(f"{path}: ffmpeg could not write the film: {last}")


def probe(path: Path) -> FilmInfo:
    """Return what a film says of itself.

    Parameters
    ----------
    path : Path
        An mp4, ours or any other.

    Returns
    -------
    FilmInfo
        `notes` is empty for a film that is not ours.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    done = subprocess.run(
        [*ffmpeg(), "-i", str(path), "-f", "ffmetadata", "-"], capture_output=True, check=False
    )
    if done.returncode != 0:
        raise InputError(f"{path}: not a readable film; render it again")
    found = re.search(
        r"^comment=((?:\\[\s\S]|[^\n\\])*)$", done.stdout.decode("utf-8"), re.MULTILINE
    )
    try:
        notes = json.loads(re.sub(r"\\([\s\S])", r"\1", found[1])) if found else {}
        return FilmInfo(
            notes.pop("width"), notes.pop("height"), notes.pop("fps"), notes.pop("frames"), notes
        )
    except (KeyError, ValueError, AttributeError):
        return _measure(path)


def _measure(path: Path) -> FilmInfo:
    import imageio_ffmpeg

    reader = imageio_ffmpeg.read_frames(str(path))
    facts = next(reader)
    reader.close()
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    width, height = facts["size"]
    return FilmInfo(width, height, float(facts["fps"]), int(frames), {})


def read_film(
    path: Path,
    *,
    crop: tuple[int, int, int, int] | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[Picture]:
    """Read a film picture by picture.

    Parameters
    ----------
    path : Path
        The film.
    crop : tuple of int or None
        Left, top, width, height of the part that is wanted.
    size : tuple of int or None
        Width and height that it is brought to.

    Yields
    ------
    (height, width, 3) uint8
        sRGB.

    Raises
    ------
    InputError
        If it cannot be read to its end.
    """
    info = probe(path)
    _, _, width, height = crop or (0, 0, info.width, info.height)
    filters = []
    if crop:
        filters.append(f"crop={width}:{height}:{crop[0]}:{crop[1]}:exact=1")
    width, height = size or (width, height)
    filters.append(f"scale={width}:{height}:in_color_matrix=bt709:flags=area+accurate_rnd")
    source = [
        "-threads",
        "1",
        "-i",
        str(path),
        "-vf",
        ",".join(filters),
        "-fps_mode",
        "passthrough",
    ]
    process = subprocess.Popen(
        [*ffmpeg(), *source, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    length = width * height * 3
    try:
        while data := process.stdout.read(length):
            if len(data) < length:
                raise InputError(f"{path}: the film ends within a picture; render it again")
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
        if process.wait() != 0:
            raise InputError(f"{path}: the film cannot be read to its end; render it again")
    finally:
        process.kill()
        process.communicate()
