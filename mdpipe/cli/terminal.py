"""Progress of a single step on a terminal."""

from __future__ import annotations

import sys
import time

from mdpipe.progress import ProgressWriter


class TerminalProgress(ProgressWriter):
    """One line that rewrites itself on a terminal; a line at each new stage elsewhere."""

    def __init__(self) -> None:
        super().__init__(None)
        self._live = sys.stderr.isatty()
        self._shown = ""
        self._began = self._told = time.monotonic()

    def report(self, stage: str, done: int, total: int, rate: str = "") -> None:
        """Show how far the step is.

        Parameters
        ----------
        stage : str
            What is being done, in a word.
        done, total : int
            Units done and in all.
        rate : str
            How fast, with its unit.
        """
        now = time.monotonic()
        new = stage != self._shown
        if new:
            self._began = now
        if not new and done < total and now - self._told < (0.25 if self._live else 30.0):
            return
        self._shown, self._told = stage, now
        line = f"{stage}: {done}/{total}"
        if rate:
            line += f", {rate}"
        if 0 < done < total and now > self._began:
            line += f", {(now - self._began) / done * (total - done):.0f} s left"
        end = "\r" if self._live and done < total else "\n"
        sys.stderr.write(f"\x1b[2K{line}{end}" if self._live else line + end)
        sys.stderr.flush()
