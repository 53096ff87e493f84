"""NumPy arrays of positions: our own layout and DeePMD's.

Our own: ``name.npy`` (frames, atoms, 3) float32 or float64; ``name.json`` with ``length_unit``
("nm" or "angstrom"), ``elements`` (a list of symbols, repeated until all atoms have one, so that
``["O", "H", "H"]`` will do), ``time_ps`` (first time and interval) and, for a box that stays,
``box``; for one that changes ``name.box.npy`` (frames, 3, 3). DeePMD: ``set.NNN/coord.npy``
(frames, 3 atoms) and ``box.npy`` (frames, 9) in Å; ``type.raw``, ``type_map.raw`` beside the sets.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mdpipe.failures import InputError
from mdpipe.io.elements import elements_from_types, elements_of
from mdpipe.io.problems import TRUNCATED, Problem
from mdpipe.io.raw import Atoms, RawFrame

_SCALE = {"nm": 1.0, "angstrom": 0.1}


class _Layout(NamedTuple):
    atoms: Atoms | None
    boxes: Any
    scale: float
    declared: bool
    start_ps: float
    interval_ps: float


def is_deepmd(path: Path) -> bool:
    """Say whether a file is the coordinates of a DeePMD set.

    Parameters
    ----------
    path : Path
        Any path.

    Returns
    -------
    bool
        True for ``set.NNN/coord.npy``.
    """
    return path.name == "coord.npy" and path.parent.name.startswith("set.")


def npy_frames(path: Path, stride: int = 1) -> Generator[RawFrame | Problem, None, None]:
    """Yield the frames of an array of positions; the file is mapped, not read whole.

    Parameters
    ----------
    path : Path
        The array.
    stride : int
        Every how many frames one is read.

    Yields
    ------
    RawFrame or Problem
        A truncated array is a Problem after its whole frames.

    Raises
    ------
    InputError
        If the array or what describes it cannot be read.
    """
    positions, promised = _mapped(path)
    deepmd = is_deepmd(path)
    if deepmd and positions.ndim == 2:
        positions = positions.reshape(len(positions), -1, 3)
    if positions.ndim != 3 or positions.shape[2] != 3:
        raise InputError(
            f"{path}: positions must be (frames, atoms, 3), got {positions.shape}; "
            "reshape the array"
        )
    n_atoms = int(positions.shape[1])
    layout = _deepmd(path) if deepmd else _ours(path, n_atoms)
    if layout.atoms is not None and len(layout.atoms.elements) != n_atoms:
        raise InputError(
            f"{path}: {n_atoms} atoms, but its description names {len(layout.atoms.elements)}; "
            "they must be of one system"
        )
    for number in range(0, len(positions), stride):
        yield RawFrame(
            np.array(positions[number], dtype=np.float64) * layout.scale,
            _box_at(layout, number),
            number,
            layout.start_ps + number * layout.interval_ps,
            None,
            layout.atoms,
            layout.declared,
        )
    if len(positions) < promised:
        yield Problem(
            str(path), len(positions), f"the file ends before frame {promised - 1}", TRUNCATED
        )


def _box_at(layout: _Layout, number: int) -> Any:
    boxes = layout.boxes
    if boxes is None or (boxes.ndim == 3 and number >= len(boxes)):
        return None
    box = np.array(boxes if boxes.ndim == 2 else boxes[number], dtype=np.float64) * layout.scale
    return box if box.any() else None


def _mapped(path: Path) -> tuple[Any, int]:
    """Map an array; a file shorter than its header says gives the whole frames it holds."""
    try:
        with path.open("rb") as stream:
            version = np.lib.format.read_magic(stream)
            reader = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }[version]
            shape, fortran, kind = reader(stream)
            offset = stream.tell()
        if fortran or kind.kind != "f" or not shape:
            raise InputError(f"{path}: a C-ordered array of floats is needed; save it so")
        frame = int(np.prod(shape[1:])) * kind.itemsize
        whole = min(shape[0], (path.stat().st_size - offset) // max(frame, 1))
        if whole == 0:
            return np.zeros((0, *shape[1:]), dtype=kind), int(shape[0])
        return np.memmap(path, kind, "r", offset, (whole, *shape[1:])), int(shape[0])
    except (OSError, ValueError, KeyError, EOFError) as error:
        raise InputError(f"{path}: not a readable NumPy array ({error}); save it again") from None


def _ours(path: Path, n_atoms: int) -> _Layout:
    sidecar = path.with_suffix(".json")
    boxes_path = path.with_suffix(".box.npy")
    try:
        table = json.loads(sidecar.read_text("utf-8")) if sidecar.exists() else {}
        boxes = np.array(table["box"], dtype=np.float64) if "box" in table else None
        unit = table.get("length_unit")
        start, interval = (float(x) for x in table.get("time_ps", (0.0, 0.0)))
        atoms = None
        if "elements" in table:
            symbols = list(table["elements"])
            symbols = symbols * (n_atoms // max(len(symbols), 1))
            atoms = Atoms(elements_of(symbols))
        scale = _SCALE[unit] if unit else 1.0
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{sidecar}: not a readable description ({type(error).__name__}: {error}); "
            "it holds length_unit, elements, time_ps and box"
        ) from None
    if boxes is None and boxes_path.exists():
        boxes = _mapped(boxes_path)[0]
    if boxes is not None and boxes.shape[-2:] != (3, 3):
        raise InputError(f"{path}: boxes must be (3, 3) or (frames, 3, 3), got {boxes.shape}")
    return _Layout(atoms, boxes, scale, unit is not None, start, interval)


def _deepmd(path: Path) -> _Layout:
    system = path.parent.parent
    try:
        types = np.loadtxt(system / "type.raw", dtype=np.int64, ndmin=1).ravel()
        names = system / "type_map.raw"
        if names.exists():
            symbols = names.read_text("utf-8").split()
            atoms = Atoms(elements_of([symbols[t] for t in types]))
        else:
            atoms = Atoms(elements_from_types(types), None, types)
    except (OSError, ValueError, IndexError) as error:
        raise InputError(
            f"{system}: type.raw or type_map.raw cannot be read ({error}); a DeePMD system has both"
        ) from None
    boxes_path = path.parent / "box.npy"
    boxes = _mapped(boxes_path)[0].reshape(-1, 3, 3) if boxes_path.exists() else None
    return _Layout(atoms, boxes, 0.1, True, 0.0, 0.0)
