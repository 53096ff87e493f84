"""Several scenes on the cores of one machine: one by one with all threads, or side by side.

For each size of box, in turn: as many one-thread scenes at once as there are cores, and one scene
with all cores as threads. Prints what a step of one scene costs the machine (the step's time over
the number of scenes at once), the median of the repeats. `mdpipe.workflows.schedule` rests on it.
Not collected by pytest:

    python tests/benchmarks/core_split.py --molecules 298,1000,8000 --cores 2 --repeats 5
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from mdpipe.benchmarks.boxes import prepare
from mdpipe.benchmarks.case import Case
from mdpipe.benchmarks.machine import usable_cores
from mdpipe.benchmarks.own import Own
from mdpipe.benchmarks.tables import interleave, ratio


def machine_ms(case: Case, scenes: int, folder: Path) -> float:
    """Return what a step of one scene costs the machine when so many run at once, ms."""
    folders = [folder / str(number) for number in range(scenes)]
    for one in folders:
        one.mkdir(exist_ok=True)
    with ThreadPoolExecutor(scenes) as pool:
        timings = list(pool.map(lambda one: Own().time(case, one), folders))
    # scenes that run side by side give 1/t1 + 1/t2 + … steps in a unit of time
    return 1 / sum(1 / timing.ms_per_step for timing in timings)


def compare(case: Case, cores: int, repeats: int, folder: Path) -> dict[str, Any]:
    """Return the medians of both ways, and the ratio with its range."""

    def tell(way: str, repeat: int, took: float) -> None:
        sys.stderr.write(f"{case.n_molecules} molecules, {repeat}, {way}: {took:.3f} ms\n")

    tasks = {
        "side by side": partial(machine_ms, replace(case, threads=1), cores, folder),
        "one by one": partial(machine_ms, replace(case, threads=cores), 1, folder),
    }
    found = interleave(tasks, repeats, tell)
    apart = ratio(found["one by one"], found["side by side"])
    return {
        "molecules": case.n_molecules,
        "cores": cores,
        "ms": {way: round(median(times), 4) for way, times in found.items()},
        "one by one over side by side": [round(one, 3) for one in apart],
    }


def main(words: Sequence[str] | None = None) -> int:
    """Print a line of JSON for each size of box."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--molecules", default="298,1000,8000")
    parser.add_argument("--model", default="spce")
    parser.add_argument("--cores", type=int, default=usable_cores())
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="mdpipe-bench-") as name:
        for molecules in map(int, options.molecules.split(",")):
            case = prepare(molecules, options.model, Path(name), print)
            row = compare(case, options.cores, options.repeats, Path(name))
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
            case.start.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
