"""The plan as the cache keeps it: `plan.jsonl`, `preprocess.json` and all start states in one file.

One file, because a store is asked for each: 100,000 start states would be as many requests.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from mdpipe.products import remove
from mdpipe.progress import ProgressWriter
from mdpipe.run_folder import RunFolder
from mdpipe.scenes.cache import SceneCache
from mdpipe.steps.packing import pack
from mdpipe.steps.pending import Pending, write_slices
from mdpipe.steps.preprocess import preprocess
from mdpipe.study import Study

STARTS: Final = "starts.zip"


def make_plan(study: Study, run: Path, progress: ProgressWriter) -> dict[str, Any]:
    """Preprocess the inputs, and put the start states into one file.

    Parameters
    ----------
    study : Study
        The study.
    run : Path
        Gets `plan.jsonl`, `preprocess.json` and `starts.zip`.
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
    study: Study, run: Path, cache: SceneCache, progress: ProgressWriter
) -> tuple[dict[str, Any], Pending]:
    """Plan a study and write slices of what the cache has not got.

    Parameters
    ----------
    study : Study
        The study.
    run : Path
        The run folder; gets `plan.jsonl`, `preprocess.json` and `pending`. Start states lie in
        the slices that need them and nowhere else.
    cache : SceneCache
        Where scenes and groups are looked up.
    progress : ProgressWriter
        Takes the progress.

    Returns
    -------
    dict
        What `preprocess.json` holds.
    Pending
        What is still to be done.
    """
    seen = make_plan(study, run, progress)
    starts = run / STARTS
    pending = write_slices(study, run, starts, cache, progress)
    remove(starts)
    return seen, pending
