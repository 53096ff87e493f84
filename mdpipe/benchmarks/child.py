"""Run a command as a child process and measure its peak memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from mdpipe.failures import MdpipeError

PERIOD_S: Final = 0.05


def run_child(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[str, float]:
    """Run a command to its end.

    Parameters
    ----------
    command : list of str
        Program and arguments.
    folder : Path
        Where it runs.
    environment : dict
        Added to this process's environment.

    Returns
    -------
    tuple
        Its standard output, and its peak resident memory in MB.

    Raises
    ------
    MdpipeError
        If it ends with another code than 0; the message has the end of its output.
    """
    log = folder / "child.log"
    with log.open("w") as stream:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )
        peak_mb = 0.0
        while process.poll() is None:
            peak_mb = max(peak_mb, _resident_peak_mb(process.pid))
            time.sleep(PERIOD_S)
    output = log.read_text(errors="replace")
    if process.returncode != 0:
        tail = " | ".join(output.strip().splitlines()[-6:])
        raise MdpipeError(f"{Path(command[0]).name} ended with code {process.returncode}: {tail}")
    return output, peak_mb


def _resident_peak_mb(pid: int) -> float:
    """Read the peak of a running process; ``ru_maxrss`` would count the parent before exec."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found.group(1)) / 1024.0 if found else 0.0


def run_worker(
    worker: str,
    arguments: dict[str, Any],
    folder: Path,
    environment: dict[str, str] | None = None,
) -> tuple[dict[str, Any], float]:
    """Run a function of `mdpipe.benchmarks.worker` in a process of its own.

    Parameters
    ----------
    worker : str
        Name of the function.
    arguments : dict
        Plain data, handed over as JSON.
    folder : Path
        Where it runs and may write.
    environment : dict, optional
        Added to this process's environment.

    Returns
    -------
    tuple
        What it returned, and its peak resident memory in MB.
    """
    threads = str(arguments["threads"])
    command = [sys.executable, "-m", "mdpipe.benchmarks.worker", worker, json.dumps(arguments)]
    added = {"OPENMM_CPU_THREADS": threads, "OMP_NUM_THREADS": threads} | (environment or {})
    output, peak = run_child(command, folder, added)
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result, peak
