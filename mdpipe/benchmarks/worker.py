"""What a benchmark runs in a process of its own: `python -m mdpipe.benchmarks.worker NAME JSON`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mdpipe.benchmarks.case import Case


def _case(arguments: dict[str, Any]) -> Case:
    fields = Case.__dataclass_fields__
    plain = {name: value for name, value in arguments.items() if name in fields}
    return Case(**plain | {"start": Path(arguments["start"])})


def openmm_time(arguments: dict[str, Any]) -> dict[str, Any]:
    """Time OpenMM."""
    from mdpipe.benchmarks.openmm_peer import time_openmm

    return {"ms_per_step": time_openmm(_case(arguments))}


def openmm_forces(arguments: dict[str, Any]) -> dict[str, Any]:
    """Write OpenMM's forces to `target`."""
    from mdpipe.benchmarks import openmm_peer

    np.save(arguments["target"], openmm_peer.openmm_forces(_case(arguments)))
    return {}


def openmm_parts(arguments: dict[str, Any]) -> dict[str, Any]:
    """Time the halves of OpenMM's force evaluation."""
    from mdpipe.benchmarks.openmm_peer import parts_of_openmm

    return {"parts": parts_of_openmm(_case(arguments))}


def mdpipe_time(arguments: dict[str, Any]) -> dict[str, Any]:
    """Time mdpipe."""
    from mdpipe.benchmarks.own import time_mdpipe

    first, last = time_mdpipe(_case(arguments), arguments["precision"], Path(arguments["folder"]))
    return {"ms_per_step": (last.seconds - first.seconds) / (last.step - first.step) * 1e3}


def mdpipe_parts(arguments: dict[str, Any]) -> dict[str, Any]:
    """Say where the time of mdpipe's steps goes."""
    from mdpipe.benchmarks.own import parts_of_mdpipe

    folder = Path(arguments["folder"])
    return {"parts": parts_of_mdpipe(_case(arguments), arguments["precision"], folder)}


def mdpipe_forces(arguments: dict[str, Any]) -> dict[str, Any]:
    """Say where the time of mdpipe's force evaluations goes."""
    from mdpipe.benchmarks.own import evaluate_parts

    return evaluate_parts(_case(arguments), arguments["precision"], arguments["calls"])


if __name__ == "__main__":
    sys.stdout.write(json.dumps(globals()[sys.argv[1]](json.loads(sys.argv[2]))) + "\n")
