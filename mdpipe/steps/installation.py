"""What this installation runs with: machine, instructions, threads, kernels, versions."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Any, Final

import llvmlite
import llvmlite.binding
import numba
import numpy as np

import mdpipe
from mdpipe.kernels import simd_target
from mdpipe.kernels._jit import set_threads
from mdpipe.models import load_model
from mdpipe.scenes.spec import Nonbonded
from mdpipe.simulation.forcefield import ForceField
from mdpipe.simulation.start import project_velocities
from mdpipe.steps.warm import PARTS, mark

CALLS: Final = 50
EDGE_NM: Final = 1.9
WAITING: Final = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def describe_installation(cores: int, memory_mb: int) -> dict[str, Any]:
    """Say what scenes run with here.

    Parameters
    ----------
    cores, memory_mb : int
        What steps may use.

    Returns
    -------
    dict
        Versions, processor, vectors, threads and what a parallel loop costs, kernels chosen in
        either precision, and the folder of compiled kernels. Plain data.
    """
    folder = Path(numba.config.CACHE_DIR)  # type: ignore[attr-defined]
    costs = {threads: region_us(threads) for threads in sorted({1, cores})}
    return {
        "mdpipe": mdpipe.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "llvmlite": llvmlite.__version__,
        "machine": platform.machine(),
        "processor": llvmlite.binding.get_host_cpu_name(),
        "cores": cores,
        "memory_mb": memory_mb,
        "simd": simd_target.NAME,
        "simd_float32_lanes": simd_target.LANES,
        "threading_layer": numba.threading_layer(),  # type: ignore[attr-defined]
        "most_threads": int(numba.config.NUMBA_NUM_THREADS),  # type: ignore[attr-defined]
        "parallel_loop_us": {str(threads): round(us, 2) for threads, us in costs.items()},
        "waiting_threads": {name: os.environ.get(name, "") for name in WAITING},
        "kernels": {precision: chosen(precision) for precision in ("mixed", "double")},
        "kernel_cache": str(folder),
        "kernel_cache_mb": round(sum(p.stat().st_size for p in folder.rglob("*.nb*")) / 1e6, 1),
        "compiled_parts": [name for name in PARTS if mark(name).is_file()],
    }


def chosen(precision: Any) -> dict[str, object]:
    """Return what the force field chooses for a small box of SPC/E water.

    Parameters
    ----------
    precision : {"mixed", "double"}
        Precision of the pair forces.

    Returns
    -------
    dict
        As `ForceField.describe`.
    """
    box = EDGE_NM * np.eye(3)
    return ForceField(load_model("spce"), Nonbonded(), box, 216, precision=precision).describe()


def region_us(threads: int) -> float:
    """Time a parallel kernel that has next to nothing to do.

    Parameters
    ----------
    threads : int
        How many take part.

    Returns
    -------
    float
        The shortest of several calls, µs.
    """
    model = load_model("spce")
    positions = np.zeros((1, 3, 3))
    positions[0, 1, 0] = positions[0, 2, 1] = model.r_oh_nm
    velocities = np.zeros_like(positions)
    before = numba.get_num_threads()
    set_threads(threads)
    times = []
    for _ in range(CALLS):
        began = time.perf_counter()
        project_velocities(positions, velocities, model)
        times.append(time.perf_counter() - began)
    set_threads(before)
    return min(times) * 1e6
