"""Read, check, classify and group the inputs of a study; write the plan and the start states."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mdpipe import memory
from mdpipe.failures import InputError
from mdpipe.io.inputs import Problem, discover, read_frames
from mdpipe.preprocessing.checks import check_frame
from mdpipe.preprocessing.groups import Group, GroupingResult, group_frames, plan_line
from mdpipe.products import write_atomically, write_json
from mdpipe.progress import ProgressWriter
from mdpipe.run_folder import RunFolder
from mdpipe.state import Frame, State, save_state
from mdpipe.steps.input_store import as_stored, fetch_inputs
from mdpipe.steps.plan import add_scenes, write_plan
from mdpipe.study import Inputs, Study


@dataclass(slots=True)
class _Reader:
    """Streams the sound frames of all inputs, and remembers what was wrong with the others."""

    study: Study
    progress: ProgressWriter
    problems: list[Problem] = field(default_factory=list)
    entries: dict[str, Inputs] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        for entry in self.study.inputs:
            if entry.topology and not (self.study.folder / entry.topology).is_file():
                raise InputError(
                    f"{self.study.folder / entry.topology}: no such topology file; "
                    "correct inputs.topology"
                )
            for path in discover(entry, self.study.folder):
                self.entries.setdefault(os.path.normpath(path), entry)
        self.files = [Path(name) for name in self.entries]
        fetch_inputs(self.study, self.files)

    def frames_of(self, path: Path) -> Iterator[Frame | Problem]:
        """Read one file as its entry in the study says."""
        entry = self.entries[str(path)]
        topology = None if entry.topology is None else self.study.folder / entry.topology
        return read_frames(path, topology, stride=entry.stride, length_unit=entry.length_unit)

    def sound_frames(self) -> Iterator[Frame]:
        """Read all files; frames with a fault are told and left out."""
        sizes = [path.stat().st_size for path in self.files]
        total = max(1, sum(sizes) >> 20)
        for number, path in enumerate(self.files):
            self.progress.report("read", sum(sizes[:number]) >> 20, total, path.name)
            for item in self.frames_of(path):
                if isinstance(item, Problem):
                    self.problems.append(item)
                    continue
                faults = check_frame(item, self.study.groups)
                self.problems += faults
                if not faults:
                    yield item
        self.progress.report("read", total, total)

    def temperature_of(self, frame: Frame) -> float | None:
        """Return the temperature that the study states for a frame."""
        return self.entries[frame.source].temperature_K

    def starts_of(self, groups: list[Group]) -> Iterator[tuple[str, State]]:
        """Read the start frames of all groups again: each file once, up to the last one needed.

        Yields id and state, one at a time: the states of many groups do not fit into memory.
        """
        wanted: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for group in groups:
            wanted[group.start.file][group.start.frame].append(group.id)
        for file, numbers in wanted.items():
            last = max(numbers)
            for item in self.frames_of(Path(file)):
                if isinstance(item, Problem):
                    continue
                for name in numbers.get(item.number, ()):
                    yield name, _state(item)
                if item.number >= last:
                    break


def _state(frame: Frame) -> State:
    velocities = frame.velocities
    if velocities is None:
        velocities = np.zeros_like(frame.positions)
    return State(frame.positions.copy(), velocities.copy(), frame.box.copy())


FLOOR_MB = 60.0
"""Memory with which reading certainly fails, the pages of libraries not counted (83 is the least
that a control group had to give)."""

BASE_MB = 200.0
"""Memory with the kernels loaded and a reader at work, of 216 molecules."""

FRAMES_IN_FLIGHT = 12.0
"""Positions of so many frames are the most that a classifying thread and its queue take: measured
with 32 768 molecules, where a second thread adds 31 MB, 13 times the 2.4 MB of a frame."""


def _group(reader: _Reader, study: Study) -> GroupingResult:
    """Group the frames with as many threads as their size and the memory limit allow."""
    frames = reader.sound_frames()
    first = next(frames, None)
    if first is None:
        return group_frames((), study.groups, reader.temperature_of)
    frame_mb = first.positions.nbytes / 1e6
    threads = memory.fitting(
        f"reading frames of {len(first.positions)} molecules",
        2,
        floor_mb=FLOOR_MB + 4 * frame_mb,
        base_mb=BASE_MB,
        each_mb=1.0 + FRAMES_IN_FLIGHT * frame_mb,
    )
    return group_frames(
        chain((first,), frames), study.groups, reader.temperature_of, threads=threads
    )


def preprocess(study: Study, run: Path, progress: ProgressWriter) -> dict[str, Any]:
    """Preprocess the inputs of a study.

    Parameters
    ----------
    study : Study
        The study.
    run : Path
        The run folder; gets `plan.jsonl`, `preprocess.json` and a start state for each group.
    progress : ProgressWriter
        Takes the progress, in MB of input.

    Returns
    -------
    dict
        What `preprocess.json` holds: numbers of files, frames and groups, and all problems.

    Raises
    ------
    InputError
        If no frame can be used.
    MemoryLimitError
        If a memory limit was told that cannot be kept.
    """
    folder = RunFolder(run)
    run.mkdir(parents=True, exist_ok=True)
    reader = _Reader(study, progress)
    try:
        result = _group(reader, study)
    except InputError as error:
        if not reader.problems:
            raise
        more = f" (the first of {len(reader.problems)} problems: {reader.problems[0]})"
        raise InputError(f"{error}{more}") from error
    by_id = {group.id: group for group in result.groups}
    planned: dict[str, dict[str, Any]] = {}
    for name, start in reader.starts_of(result.groups):
        with write_atomically(folder.start(name)) as temporary:
            save_state(temporary, start)
        planned[name] = plan_line(by_id[name], start)
    lines = [add_scenes(study, planned[name], planned[name]["start"]["digest"]) for name in by_id]
    seen = {
        "study": study.name,
        "files": len(reader.files),
        "bytes": sum(path.stat().st_size for path in reader.files),
        "frames": result.n_frames,
        "groups": len(lines),
        "notes": result.notes,
        "problems": [problem._asdict() for problem in reader.problems],
    }
    told: dict[str, Any] = as_stored(study, seen)
    write_json(folder.preprocess, told)
    write_plan(run, as_stored(study, lines))
    return told
