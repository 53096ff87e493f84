"""The plan as the cache keeps it: `plan.jsonl`, `preprocess.json` and all start states in one file.

One file, because a store is asked for each: 100,000 start states would be as many requests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from mdpipe.products import file_digest, remove
from mdpipe.progress import ProgressWriter
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.peaks import read_peaks
from mdpipe.steps.fingerprint import digest_of, input_files, preprocess_digest
from mdpipe.steps.input_store import content_tags, place_of
from mdpipe.steps.packing import pack
from mdpipe.steps.pending import Pending, write_slices
from mdpipe.steps.preprocess import preprocess
from mdpipe.study import Study

STARTS: Final = "starts.zip"

BY_CONTENT_BYTES: Final = 1_000_000_000
"""Inputs of so many bytes in all are known by their content: that takes a second or two, and the
times of files that a workflow has copied say nothing. Larger ones are known by size and time."""


def plan_key(study: Study, run: Path) -> str:
    """Return the content address of a study's plan.

    Parameters
    ----------
    study : Study
        The study.
    run : Path
        The run folder; what lies in it is no input.

    Returns
    -------
    str
        64 hex digits. The plan names its files whole, so the study's folder enters too. Inputs in
        a store are known by the tags of their content.
    """
    files = input_files(study.inputs, study.folder, run.resolve())
    tags = content_tags(study)
    small = sum(size for _, size, _ in files) <= BY_CONTENT_BYTES

    def known_by(name: str, time: int) -> int | str:
        if tags is not None:
            return tags.get(name, time)
        return file_digest(study.folder / name) if small else time

    state = [(name, size, known_by(name, time)) for name, size, time in files]
    return digest_of("plan", study.name, place_of(study), preprocess_digest(study, state))


def make_plan(study: Study, run: Path, progress: ProgressWriter) -> dict[str, Any]:
    """Preprocess the inputs, and put the start states into one file.

    Parameters
    ----------
    study : Study
        The study.
    run : Path
        Gets `plan.jsonl`, `preprocess.json` and `starts.zip`, and nothing else.
    progress : ProgressWriter
        Takes the progress.

    Returns
    -------
    dict
        What `preprocess.json` holds.
    """
    folder = RunFolder(run)
    seen = preprocess(study, run, progress)
    with folder.plan.open("rb") as plan:
        ids = [json.loads(text)["id"] for text in plan]
    pack(run / STARTS, {f"{name}.npz": folder.start(name) for name in ids})
    for name in ids:
        remove(folder.group(name))
    return seen


def preprocess_pending(
    study: Study, text: str, run: Path, cache: SceneCache, progress: ProgressWriter
) -> tuple[dict[str, Any], Pending]:
    """Plan a study, unless the cache has its plan, and write slices of what it has not got.

    Parameters
    ----------
    study : Study
        The study.
    text : str
        Its file's text.
    run : Path
        The run folder; gets `plan.jsonl`, `preprocess.json` and `pending`. Start states lie in
        the slices that need them and nowhere else.
    cache : SceneCache
        Where the plan, scenes and groups are looked up; gets the plan.
    progress : ProgressWriter
        Takes the progress.

    Returns
    -------
    dict
        What `preprocess.json` holds.
    Pending
        What is still to be done.

    Raises
    ------
    InputError
        If no frame can be used.
    StoreDownError
        If the store does not answer.
    """
    folder = RunFolder(run)
    entry = run / "entry"

    def compute(into: Path) -> None:
        remove(into)
        make_plan(study, into, progress)

    cache.compute_once(plan_key(study, run), compute, entry)
    for made in (RunFolder(entry).plan, RunFolder(entry).preprocess, entry / STARTS):
        made.replace(run / made.name)
    remove(entry)
    starts = run / STARTS
    peaks = read_peaks(cache)
    pending = write_slices(study, run, starts, cache, progress, text=text, peaks=peaks)
    remove(starts)
    seen: dict[str, Any] = json.loads(folder.preprocess.read_text("utf-8"))
    return seen, pending
