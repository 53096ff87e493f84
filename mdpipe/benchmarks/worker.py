"""What a benchmark runs in a process of its own: `python -m mdpipe.benchmarks.worker NAME JSON`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mdpipe.benchmarks.case import Case


def _case(arguments: dict[str, Any]) -> Case:
    plain = {k: v for k, v in arguments.items() if k not in {"target", "precision"}}
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


def mdpipe_time(arguments: dict[str, Any]) -> dict[str, Any]:
    """Time mdpipe."""
    from mdpipe.benchmarks.own import time_mdpipe

    return {"ms_per_step": time_mdpipe(_case(arguments), arguments["precision"])}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(globals()[sys.argv[1]](json.loads(sys.argv[2]))) + "\n")
