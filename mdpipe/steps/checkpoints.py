"""Checkpoints that outlive a pod: mirrored to a store while a scene runs."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from mdpipe.failures import BusyError, InterruptedRunError, UsageError
from mdpipe.failures.signals import TERMINATED
from mdpipe.products import remove
from mdpipe.scenes.checkpoint_store import CheckpointStore
from mdpipe.scenes.lock import Notice, silent
from mdpipe.scenes.objects import StoreDownError
from mdpipe.simulation.checkpoint import (
    CURRENT,
    DamagedCheckpointError,
    read_checkpoint,
    read_marks,
)
from mdpipe.simulation.output import FRAMES, ROWS

VARIABLE: Final = "MDPIPE_CHECKPOINTS"
"""Environment variable with the store, `s3://bucket/prefix`; without it nothing is mirrored."""

PERIOD_VARIABLE: Final = "MDPIPE_CHECKPOINT_PERIOD_S"
PERIOD_S: Final = 60.0

LAST_WAIT_S: Final = 10.0
"""How long an upload under way is waited for at the end: a pod is killed 30 s after SIGTERM."""


@contextmanager
def mirrored(key: str, work: Path, notice: Notice = silent) -> Iterator[None]:
    """Begin with the checkpoint in the store, and keep it up to date while the block runs.

    Parameters
    ----------
    key : str
        The scene's key.
    work : Path
        The scene's work folder.
    notice : callable
        Told, in one line, what the user should know but need not act on.

    Yields
    ------
    None
        Nothing.

    Raises
    ------
    InterruptedRunError
        Instead of SystemExit at SIGTERM, once the last checkpoint is in the store.
    BusyError
        If the store does not say whether it has a checkpoint: hours of work may hang on it.
    """
    url = os.environ.get(VARIABLE, "")
    if not url:
        yield
        return
    mirror = _Mirror(CheckpointStore(url, key, notice), work, notice)
    mirror.begin()
    try:
        yield
    except BaseException as error:
        where = mirror.end(save=True)
        if isinstance(error, SystemExit) and error.code == TERMINATED:
            raise InterruptedRunError(f"interrupted by SIGTERM; {where}") from error
        raise
    mirror.end(save=False)


def remove_mirror(key: str, notice: Notice = silent) -> None:
    """Remove a finished scene's checkpoint from the store, if one is used.

    Parameters
    ----------
    key : str
        The scene's key.
    notice : callable
        Told if it stays there.
    """
    if url := os.environ.get(VARIABLE, ""):
        try:
            CheckpointStore(url, key).remove()
        except StoreDownError as error:
            notice(f"checkpoint store: keeps the checkpoint of scene {key[:12]}: {error}")


def period_s() -> float:
    """Return how often checkpoints are mirrored.

    Returns
    -------
    float
        Seconds.

    Raises
    ------
    UsageError
        If the variable is no positive number.
    """
    text = os.environ.get(PERIOD_VARIABLE, "")
    try:
        value = float(text) if text else PERIOD_S
    except ValueError:
        value = 0.0
    if not value > 0.0:
        raise UsageError(f"{PERIOD_VARIABLE} must be a number of seconds above 0, got {text!r}")
    return value


class _Mirror:
    """Looks at a work folder every now and then and copies its last checkpoint to a store.

    The simulation is not touched: a checkpoint is one file that is replaced whole, and what it
    counts of the files that grow was on the disk before.
    """

    def __init__(self, store: CheckpointStore, work: Path, notice: Notice) -> None:
        self.store, self.work, self.notice = store, work, notice
        self.period_s = period_s()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="checkpoints", daemon=True)
        self._seen = ""
        self._failing = False

    def begin(self) -> None:
        """Restore the state in the store, unless what lies here is as far, and start to watch."""
        try:
            there = self.store.look()
            here = self._step_here()
            if there is not None and (here is None or here < there):
                self._restore(there)
        except StoreDownError as error:
            raise BusyError(
                f"the checkpoint store does not say where scene {self.store.key[:12]} stands "
                f"({error}); see to the store, then run again"
            ) from error
        self._thread.start()

    def _restore(self, step: int) -> None:
        if not self.store.restore(self.work):
            return
        try:
            read_checkpoint(self.work / CURRENT)
        except DamagedCheckpointError as error:
            remove(self.work)
            self.store.set_aside(str(error))
            return
        self.notice(f"scene {self.store.key[:12]} goes on from step {step}, as in the store")

    def _step_here(self) -> int | None:
        try:
            checkpoint = read_checkpoint(self.work / CURRENT)
        except DamagedCheckpointError:
            return None
        return checkpoint.state.step if checkpoint.key == self.store.key else None

    def end(self, *, save: bool) -> str:
        """Stop to watch; on request save what is there, and say what became of it."""
        self._stop.set()
        self._thread.join(LAST_WAIT_S)
        if save and not self._thread.is_alive():
            self._save()
        if self._thread.is_alive() or self._failing:
            what = "the last checkpoint did not reach the store"
        elif self.store.step is None:
            what = "there was no checkpoint yet"
        else:
            what = f"the checkpoint of step {self.store.step} is in the store"
        return f"{what}; run again to resume"

    def _watch(self) -> None:
        while not self._stop.wait(self.period_s):
            self._save()

    def _save(self) -> None:
        """Copy the last checkpoint, if it is not there yet."""
        try:
            content = (self.work / CURRENT).read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            if digest == self._seen:
                return
            key, step, marks = read_marks(content)
            if key != self.store.key:
                return
            self.store.save(
                step,
                {CURRENT: content},
                {
                    FRAMES: (self.work / FRAMES, marks.frames_bytes),
                    ROWS: (self.work / ROWS, marks.rows_bytes),
                },
            )
        except StoreDownError as error:
            if not self._failing:
                self.notice(f"checkpoint store: did not take a checkpoint: {error}; trying on")
            self._failing = True
            return
        except (OSError, DamagedCheckpointError):
            return  # none yet, or the scene has just ended
        self._seen, self._failing = digest, False
