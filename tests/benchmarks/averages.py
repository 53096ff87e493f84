"""Energy and pressure of liquid water in mixed and in double precision, with errors.

The same equilibrated box is run in each precision; the two averages must agree within their
standard errors. 1 ns of 512 molecules takes 3 minutes in mixed precision and 40 in double on one
core. Not collected by pytest:

    python tests/benchmarks/averages.py --molecules 512 --length-ps 1000
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from mdpipe.building.liquid import liquid
from mdpipe.models import load_model
from mdpipe.observables.blocks import block_error
from mdpipe.scenes.spec import Scene
from mdpipe.simulation.simulation import Simulation
from mdpipe.state import State

DENSITY: Final = 0.997
DT_PS: Final = 0.002
SAMPLE_EVERY: Final = 50
TELL_EVERY_PS: Final = 100.0


def _scene(precision: str, options: argparse.Namespace) -> Scene:
    return Scene.model_validate(
        {
            "name": "averages",
            "model": options.model,
            "ensemble": "nvt",
            "temperature_K": 298.15,
            "dt_ps": DT_PS,
            "steps": 1,
            "seed": options.seed,
            "precision": precision,
        }
    )


def equilibrated(options: argparse.Namespace) -> State:
    """Return the state that all precisions start from."""
    start = liquid(options.molecules, DENSITY, load_model(options.model), seed=options.seed)
    simulation = Simulation(_scene("mixed", options), start, threads=options.threads)
    simulation.minimise(200)
    simulation.step(round(options.equilibrate_ps / DT_PS))
    return simulation.state


def averages(precision: str, start: State, options: argparse.Namespace) -> dict[str, Any]:
    """Run one precision; kJ/mol of molecules, bar, and standard errors by blocking."""
    simulation = Simulation(_scene(precision, options), start, threads=options.threads)
    samples = round(options.length_ps / DT_PS / SAMPLE_EVERY)
    tell_every = round(TELL_EVERY_PS / DT_PS / SAMPLE_EVERY)
    series = np.empty((2, samples))
    begin = time.monotonic()
    for sample in range(samples):
        simulation.step(SAMPLE_EVERY, evaluate_last=True)
        row = simulation.energies()
        series[:, sample] = row.potential_kj_mol / options.molecules, row.pressure_bar
        if (sample + 1) % tell_every == 0:
            found = _figures(series[:, : sample + 1])
            took = time.monotonic() - begin
            sys.stderr.write(f"{precision}, {took:.0f} s: {json.dumps(found)}\n")
    took = time.monotonic() - begin
    return {"precision": precision, **_figures(series), "took_s": round(took, 1)}


def _figures(series: Any) -> dict[str, float]:
    """Means and errors; a run too short to tell an error has an infinite one."""
    found = {"length_ps": series.shape[1] * SAMPLE_EVERY * DT_PS}
    for name, unit, one in zip(("potential", "pressure"), ("kj_mol", "bar"), series, strict=True):
        estimate = block_error(one)
        found[f"{name}_{unit}"] = round(estimate.mean, 4)
        found[f"{name}_error"] = round(estimate.error or math.inf, 4)
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Print a line of JSON for each precision, and the differences in standard errors."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="spce")
    parser.add_argument("--molecules", type=int, default=512)
    parser.add_argument("--length-ps", type=float, default=1000.0)
    parser.add_argument("--equilibrate-ps", type=float, default=30.0)
    parser.add_argument("--precisions", default="mixed,double")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(words)
    start = equilibrated(options)
    rows = [averages(one, start, options) for one in options.precisions.split(",")]
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")
    for row in rows[1:]:
        apart = {
            name: round((row[name] - rows[0][name]) / math.hypot(row[error], rows[0][error]), 2)
            for name, error in (
                ("potential_kj_mol", "potential_error"),
                ("pressure_bar", "pressure_error"),
            )
        }
        line = {"between": [rows[0]["precision"], row["precision"]], "standard_errors": apart}
        sys.stdout.write(json.dumps(line) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
