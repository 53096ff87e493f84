"""The plan as the cache keeps it: `plan.jsonl`, `preprocess.json` and all start states in one file.

One file, because a store is asked for each: 100,000 start states would be as many requests.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from mdpipe.products import copy_whole, file_digest, remove
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

    Notes
    -----
    What is made on the way lies in a temporary folder of this host: the run folder may be on a
    volume, for which a file for each group is much traffic.
    """

    def compute(into: Path) -> None:
        make_plan(study, into, progress)

    run.mkdir(parents=True, exist_ok=True)  # who carries it away wants it after a failure too
    cache.store.share = True
    with tempfile.TemporaryDirectory(prefix="mdpipe-plan-") as scratch:
        entry = Path(scratch) / "entry"
        cache.compute_once(plan_key(study, run), compute, entry)
        made = RunFolder(entry).preprocess
        copy_whole(made, RunFolder(run).preprocess)
        peaks, starts = read_peaks(cache), entry / STARTS
        pending = write_slices(study, run, starts, cache, progress, text=text, peaks=peaks)
        seen: dict[str, Any] = json.loads(made.read_text("utf-8"))
    return seen, pending
