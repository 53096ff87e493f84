"""Slices: what is still to be done of a plan, a small run folder for each group.

A workflow engine only counts. Every step looks its work up in its slice, so nothing in the
workflow grows with the study.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from mdpipe.products import write_atomically
from mdpipe.progress import ProgressWriter
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.shared import locate
from mdpipe.sealed import seal
from mdpipe.steps import estimates
from mdpipe.steps.first_tier import rule_of
from mdpipe.steps.plan import group_key
from mdpipe.study import Render, Study

EXECUTOR_MB: Final = 50
"""What the workflow engine's own program adds to a container beside the step: it reads the step's
output and waits for its end."""

KINDS: Final = ("simulate", "render", "combine")

MEBI: Final = 1.048576
"""MB of a MiB."""

MOST_KEYS: Final = 1500
"""Most missing scenes whose keys are told to the workflow, which keeps them in its one object."""

KEY_DIGITS: Final = 32
"""Of a key, as told to the workflow: 128 bits."""


class Pending(NamedTuple):
    """How much is to be done: groups with anything missing, their missing scenes, all groups."""

    rows: int
    scenes: int
    groups: int


@dataclass(frozen=True, slots=True)
class _Group:
    """Where a group's line begins in the plan, its own key, and those of its scenes."""

    offset: int
    key: str
    scenes: tuple[str, ...]


@dataclass(slots=True)
class _Memory:
    """The greatest first tier of each kind of step, MB."""

    study: Study
    peaks: Mapping[str, float]
    most: dict[str, int] = field(default_factory=dict)

    def add(self, need: estimates.Need) -> None:
        """Take a step into account."""
        rule = rule_of(self.study.resources)
        first = rule.first_mb(need.step, need.kind, need.memory_mb, self.peaks.get(need.size))
        self.most[need.kind] = max(first, self.most.get(need.kind, 0))

    def tiers(self) -> dict[str, list[int]]:
        """Return the tiers of a pod by kind of step, MiB."""
        rule = rule_of(self.study.resources)
        return {
            kind: [math.ceil((mb + EXECUTOR_MB) / MEBI) for mb in rule.ladder(first)]
            for kind, first in self.most.items()
        }


def write_slices(
    study: Study,
    run: Path,
    starts: Path,
    cache: SceneCache,
    progress: ProgressWriter,
    *,
    text: str,
    peaks: Mapping[str, float] | None = None,
) -> Pending:
    """Look all scenes and groups of a plan up at once, and write slices of those that are missing.

    Parameters
    ----------
    study : Study
        The study.
    run : Path
        The run folder; gets the plan, each line with its group's key.
    starts : Path
        A zip file with the start state of each group, `ID.npz`; the plan lies beside it.
    cache : SceneCache
        Where scenes and groups are looked up.
    progress : ProgressWriter
        Takes the progress, in slices.
    text : str
        The study's own, which each slice carries: its steps need no other file.
    peaks : mapping or None
        Peaks that were measured, MB, by size of step.

    Returns
    -------
    Pending
        What was found.

    Raises
    ------
    StoreDownError
        If the store does not answer.

    Notes
    -----
    The plan is read line by line, twice: with 100,000 groups it takes 2 GB as objects.
    """
    folder = RunFolder(run)
    groups = _add_keys(study.render, RunFolder(starts.parent).plan, folder.plan)
    found = locate(cache, {key for group in groups for key in (group.key, *group.scenes)})
    rows = [
        (group, tuple(n for n, key in enumerate(group.scenes) if key not in found))
        for group in groups
        if group.key not in found
    ]
    rows.sort(key=lambda row: -len(row[1]))  # stable: by index where equal
    memory = _Memory(study, peaks or {})
    with (
        write_atomically(folder.pending) as temporary,
        zipfile.ZipFile(starts) as packed,
        folder.plan.open("rb") as plan,
    ):
        temporary.mkdir()
        for number, (group, missing) in enumerate(rows):
            plan.seek(group.offset)
            plain = plan.readline()
            line = json.loads(plain)
            names = [line["scenes"][index]["name"] for index in missing]
            start = packed.read(f"{line['id']}.npz") if names else None
            slice_ = RunFolder(temporary / folder.slice(number).name)
            entry = seal(_extended(plain, missing=names, study=text))
            _write_slice(slice_, line["id"], entry, start)
            for index in missing:
                memory.add(estimates.simulate_need(line, line["scenes"][index]))
            memory.add(estimates.render_need(line, study.render))
            if number % 100 == 0:
                progress.report("slices", number, len(rows))
        films = sum(len(group.scenes) for group in groups)
        memory.add(estimates.combine_need(len(groups), films, study.render))
        counts = [len(missing) for _, missing in rows]
        keys = [[group.scenes[n][:KEY_DIGITS] for n in missing] for group, missing in rows]
        _write_parameters(
            temporary / folder.parameters.name, counts, keys, len(study.scenes), memory.tiers()
        )
    progress.report("slices", len(rows), len(rows))
    return Pending(len(rows), sum(counts), len(groups))


def _add_keys(render: Render, source: Path, target: Path) -> list[_Group]:
    """Write a plan with each group's key in its line, and say where the lines begin."""
    groups: list[_Group] = []
    with (
        write_atomically(target) as temporary,
        source.open("rb") as old,
        temporary.open("wb") as new,
    ):
        for text in old:
            line, plain = json.loads(text), text
            key = group_key(render, line)
            keys = tuple(scene["key"] for scene in line["scenes"])
            groups.append(_Group(new.tell(), key, keys))
            if line.pop("group_key", None) is not None:
                plain = json.dumps(line, sort_keys=True).encode()
            new.write(_extended(plain, group_key=key))
    return groups


def _extended(line: bytes, **more: Any) -> bytes:
    """Return the text of a line with more entries: a fifth of the time of writing it anew."""
    return line.rstrip()[:-1] + b", " + json.dumps(more).encode()[1:] + b"\n"


def _write_slice(run: RunFolder, group: str, line: bytes, start: bytes | None) -> None:
    """Write the run folder of one group, with a start state if there is anything to simulate."""
    run.path.mkdir()
    run.plan.write_bytes(line)
    if start is not None:
        run.start(group).parent.mkdir(parents=True)
        run.start(group).write_bytes(start)


def _write_parameters(
    folder: Path,
    counts: list[int],
    keys: list[list[str]],
    scenes: int,
    memory: Mapping[str, list[int]],
) -> None:
    """Write what the workflow must know, a file for each output parameter."""
    # where nothing is pending no pod of these kinds starts, but the text must still be whole
    whole = {kind: memory.get(kind, memory["combine"]) for kind in KINDS}
    values: dict[str, Any] = {
        "rows": len(counts),
        "last": len(counts) - 1,
        "bounds": [sum(count >= k for count in counts) for k in range(1, scenes + 1)],
        "keys": keys if sum(counts) <= MOST_KEYS else [],
        "memory": whole,
    }
    folder.mkdir()
    for name, value in values.items():
        (folder / name).write_text(json.dumps(value, sort_keys=True), "utf-8")
