"""Put frames into groups by state point and structure, without keeping them in memory.

Of each frame only its features stay (8 float64 and two integers, 80 bytes); the frame nearest the
mean of its group is named by file and number, to be read again by who needs it.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mdpipe.failures import InputError, UsageError
from mdpipe.preprocessing.classify import FrameClass, classify_frame, structure_of
from mdpipe.preprocessing.steady import (
    CLUSTER,
    DENSITY,
    Q6,
    TEMPERATURE,
    Q,
    bin_values,
    steady_features,
)
from mdpipe.state import Array, Frame, State, state_digest
from mdpipe.study import Groups

START_RULE = (
    "frame nearest the group's mean of density, temperature, q and averaged q6, "
    "each in standard deviations of the group; the first of equals"
)


class Start(NamedTuple):
    """The frame that a group starts from: `file` as the reader named it, `frame` from 0."""

    file: str
    frame: int


@dataclass(frozen=True, slots=True)
class Group:
    """Frames of one state point and structure.

    Attributes
    ----------
    index, id, label : int, str, str
        Place in the order of groups, its name ``g000`` and its title.
    structure : str
        Class of the frames.
    n_molecules : int
        Number of molecules (of the start frame, where sizes share a group).
    means, sds : dict of str to float
        Of ``density_g_cm3``, ``temperature_K`` (absent without one), ``q``, ``q6``, ``hexagonal``,
        ``cubic`` and ``interfacial`` over the frames; sd of a single frame is 0.
    n_frames : int
        Number of frames.
    inputs : dict of str to int
        Frames of the group by file.
    start : Start
        The frame chosen by `START_RULE`.
    """

    index: int
    id: str
    label: str
    structure: str
    n_molecules: int
    means: dict[str, float]
    sds: dict[str, float]
    n_frames: int
    inputs: dict[str, int]
    start: Start


class GroupingResult(NamedTuple):
    """Groups in their order, how many frames were read, and a note for each thing left out."""

    groups: list[Group]
    n_frames: int
    notes: list[str]


@dataclass(slots=True)
class _Table:
    """Features of the frames of one file with one number of molecules."""

    source: str
    n_molecules: int
    rows: array[float] = field(default_factory=lambda: array("d"))
    frames: array[int] = field(default_factory=lambda: array("q"))


class _Frames(NamedTuple):
    """All frames, row by row: raw features, averages that decide, and where they come from."""

    raw: Array
    steady: Array
    table: NDArray[np.int64]
    number: NDArray[np.int64]
    n_molecules: NDArray[np.int64]


def group_frames(
    frames: Iterable[Frame],
    settings: Groups,
    temperature_of: Callable[[Frame], float | None],
    *,
    threads: int = 1,
) -> GroupingResult:
    """Classify frames and put them into groups.

    Parameters
    ----------
    frames : iterable of Frame
        Read once, in order; not kept.
    settings : Groups
        Widths of the bins and limits.
    temperature_of : callable
        Temperature in K that is stated for a frame without velocities, or None.
    threads : int
        Frames classified at once; the result does not depend on it.

    Returns
    -------
    GroupingResult
        Groups ordered by temperature (unknown last), density, structure and size.

    Raises
    ------
    InputError
        If there is no frame, or no group with `min_frames` of them.
    UsageError
        If there are more than `max_groups` groups.

    Notes
    -----
    Temperature, density and structure of a frame are judged by averages over frames of its file
    (`steady.steady_features`); bins are cut at gaps (`steady.bin_values`).
    """
    tables: dict[tuple[str, int], _Table] = {}
    for frame, found in _classified(frames, threads):
        table = tables.setdefault(
            (frame.source, found.n_molecules), _Table(frame.source, found.n_molecules)
        )
        temperature = found.temperature_K
        if temperature is None:
            temperature = temperature_of(frame)
        known = np.nan if temperature is None else temperature
        table.rows.extend((found.density_g_cm3, known, *found[5:]))
        table.frames.append(frame.number)
    if not tables:
        raise InputError("no frame of water was read; check the inputs' path and their topology")
    listed = list(tables.values())
    data = _gather(listed)
    members = _members(data, settings)
    notes = [
        f"{len(rows)} frame(s) of class {structure} left out: a group needs "
        f"min_frames = {settings.min_frames}"
        for structure, rows in members
        if len(rows) < settings.min_frames
    ]
    kept = [pair for pair in members if len(pair[1]) >= settings.min_frames]
    if not kept:
        raise InputError(
            f"no group has min_frames = {settings.min_frames} frames; lower it or widen the bins"
        )
    if len(kept) > settings.max_groups:
        raise UsageError(
            f"{len(kept)} groups are more than max_groups = {settings.max_groups}; widen "
            "density_bin_g_cm3 or temperature_bin_K, raise min_frames, or raise max_groups"
        )
    kept.sort(key=lambda pair: _order(data, *pair))
    groups = [_describe(i, data, listed, *pair) for i, pair in enumerate(kept)]
    return GroupingResult(groups, len(data.raw), notes)


def plan_line(group: Group, start: State) -> dict[str, Any]:
    """Return the line of `plan.jsonl` that describes a group, without its scenes.

    Parameters
    ----------
    group : Group
        The group.
    start : State
        Its start state, read from `group.start`.

    Returns
    -------
    dict
        Plain numbers and strings.
    """
    temperature = group.means.get("temperature_K")
    return {
        "index": group.index,
        "id": group.id,
        "label": group.label,
        "class": group.structure,
        "n_molecules": start.n_molecules,
        "density_g_cm3": round(group.means["density_g_cm3"], 6),
        "temperature_K": None if temperature is None else round(temperature, 3),
        "box": start.box.tolist(),
        "frames": group.n_frames,
        "inputs": dict(group.inputs),
        "order": {
            name: {"mean": round(group.means[name], 6), "sd": round(group.sds[name], 6)}
            for name in ("q", "q6", "hexagonal", "cubic", "interfacial")
        },
        "start": {
            "file": group.start.file,
            "frame": group.start.frame,
            "rule": START_RULE,
            "digest": state_digest(start),
        },
    }


def _classified(frames: Iterable[Frame], threads: int) -> Iterator[tuple[Frame, FrameClass]]:
    """Classify frames in order, a few of them at once."""
    if threads <= 1:
        for frame in frames:
            yield frame, classify_frame(frame)
        return
    waiting: deque[tuple[Frame, Future[FrameClass]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for frame in frames:
            waiting.append((frame, pool.submit(classify_frame, frame)))
            if len(waiting) > 2 * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


def _gather(tables: list[_Table]) -> _Frames:
    raw = [np.array(table.rows).reshape(-1, CLUSTER + 1) for table in tables]
    lengths = [len(rows) for rows in raw]
    return _Frames(
        np.concatenate(raw),
        np.concatenate(
            [
                steady_features(rows, table.n_molecules)
                for rows, table in zip(raw, tables, strict=True)
            ]
        ),
        np.repeat(np.arange(len(tables)), lengths),
        np.concatenate([np.array(table.frames, np.int64) for table in tables]),
        np.repeat([table.n_molecules for table in tables], lengths),
    )


def _members(data: _Frames, settings: Groups) -> list[tuple[str, NDArray[np.int64]]]:
    """Return class and rows of every group."""
    kinds: dict[tuple[int, str], list[int]] = {}
    for row, features in enumerate(data.steady):
        size = int(data.n_molecules[row]) if settings.by_size else 0
        structure: str = _structure(features) if settings.by_structure else ""
        kinds.setdefault((size, structure), []).append(row)
    found: list[tuple[str, NDArray[np.int64]]] = []
    for (_, structure), listed in kinds.items():
        rows = np.array(listed)
        steady = data.steady[rows]
        # Frames without a temperature make bins of their own, below all temperatures.
        known = np.isfinite(steady[:, TEMPERATURE])
        warm = np.full(len(rows), -1, np.int64)
        if known.any():
            warm[known] = bin_values(steady[known, TEMPERATURE], settings.temperature_bin_K)
        for bin_ in np.unique(warm):
            cut = rows[warm == bin_]
            dense = bin_values(data.steady[cut, DENSITY], settings.density_bin_g_cm3)
            for one in np.unique(dense):
                chosen = cut[dense == one]
                mean = data.raw[chosen].mean(axis=0)
                found.append((structure or _structure(mean), chosen))
    return found


def _structure(features: Array) -> str:
    temperature = float(features[TEMPERATURE])
    known = temperature if np.isfinite(temperature) else None
    return structure_of(*map(float, features[Q:]), temperature_K=known)


def _order(data: _Frames, structure: str, rows: NDArray[np.int64]) -> tuple[Any, ...]:
    density, temperature = data.raw[rows].mean(axis=0)[:2]
    known = bool(np.isfinite(temperature))
    return (
        not known,
        float(temperature) if known else 0.0,
        float(density),
        structure,
        int(data.n_molecules[rows].min()),
    )


def _describe(
    index: int, data: _Frames, tables: list[_Table], structure: str, rows: NDArray[np.int64]
) -> Group:
    raw = data.raw[rows]
    names = ("density_g_cm3", "temperature_K", "q", "q6", "hexagonal", "cubic", "interfacial")
    mean, sd = raw.mean(axis=0), raw.std(axis=0)
    known = [i for i in range(len(names)) if np.isfinite(mean[i])]
    used = [i for i in (DENSITY, TEMPERATURE, Q, Q6) if i in known and sd[i] > 1e-9 * abs(mean[i])]
    distance = (((raw[:, used] - mean[used]) / sd[used]) ** 2).sum(axis=1)
    nearest = rows[int(np.argmin(distance))]
    inputs: dict[str, int] = {}
    for table, count in zip(*np.unique(data.table[rows], return_counts=True), strict=True):
        source = tables[int(table)].source
        inputs[source] = inputs.get(source, 0) + int(count)
    n_molecules = int(data.n_molecules[nearest])
    warmth = f" {mean[TEMPERATURE]:.0f} K" if TEMPERATURE in known else ""
    return Group(
        index,
        f"g{index:03d}",
        f"{structure}{warmth} {mean[DENSITY]:.3f} g/cm³ ({n_molecules})",
        structure,
        n_molecules,
        {names[i]: float(mean[i]) for i in known},
        {names[i]: float(sd[i]) for i in known},
        len(rows),
        inputs,
        Start(tables[int(data.table[nearest])].source, int(data.number[nearest])),
    )
