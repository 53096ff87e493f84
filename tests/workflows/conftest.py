"""A run folder with tiny steps, for the tests of the engine."""

import contextlib
import json
import sys

import pytest

from mdpipe.workflows.engine import Pace
from mdpipe.workflows.graph import Graph, Step
from mdpipe.workflows.local import Settings, run_local
from mdpipe.workflows.outcome import QuietReporter

# waits before retries are made a hundred times shorter
QUICK = Settings(workers=2, memory_mb=4000, pace=Pace(grace_s=0.5, poll_s=0.005, delay_scale=0.01))

PRELUDE = "import os, signal, sys, time, pathlib; run = pathlib.Path({run!r})\n"


class Notes(QuietReporter):
    def __init__(self):
        self.lines = []

    def note(self, line):
        self.lines.append(line)


class Bench:
    """A run folder and a way to write steps as short Python programs."""

    quick = QUICK

    def __init__(self, run):
        self.run = run
        self.notes = Notes()

    def step(self, name, code="", needs=(), *, makes=True, **other):
        product = f"{name}.out"
        body = PRELUDE.format(run=str(self.run)) + code
        body += f"\nopen(run / 'order', 'a').write('{name}\\n')"
        if makes:
            body += f"\n(run / '{product}').write_text('{name}')"
        command = (sys.executable, "-S", "-c", body)
        return Step(name, other.pop("kind", "simulate"), command, tuple(needs),
                    (product,), settings=code, **other)  # fmt: skip

    def go(self, *steps, settings=QUICK, **other):
        return run_local(Graph(steps), self.run, settings=settings, reporter=self.notes, **other)

    def order(self):
        with contextlib.suppress(FileNotFoundError):
            return (self.run / "order").read_text().split()
        return []

    def story(self):
        rows = json.loads((self.run / "story.json").read_text())["steps"]
        return {row["id"]: row for row in rows}


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path / "run")
