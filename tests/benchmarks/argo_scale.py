"""Pods per minute of a large study on simulated nodes, beside a bare list of as many pods.

Submits, in turn, bare `withSequence` lists (`flat`: of the smallest pods that a namespace with Pod
Security `restricted` lets in; `list`: of the very pods of a simulation) and what
`mdpipe.workflows.argo` compiles (`chunk`: one workflow; `shard:GROUPS`: child workflows), and
prints for each the rate, the time to the end, what controller and API server needed, and how long
`mdpipe status` took meanwhile. `fan_out` goes from the first to the last of the groups' pods,
without the planning and the combining that a bare list has not; it asks the controller's
--metrics, which know of each pod at once. All else is from the submission on. Not collected by
pytest:

    python tests/benchmarks/argo_scale.py --groups 1000 --shapes flat,shard:250 --repeat 2 \
        --plan-image localhost/mdpipe:dev --pid controller=123 --pid apiserver=45

Simulated nodes carry the label and the taint of --fake and end each pod after some seconds; nothing
reports outputs from them. So the scenes' and renderings' declared outputs are left out, and the
planning and the combining pod run --plan-image, a program that takes what would be planned from its
arguments, on a real node. All else is as compiled. The namespace needs what workflows/deploy
brings; the settings of the controller are those that it has.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from argo_shapes import Document, compiled_workflow, count_scenes, flat_workflow, list_workflow

from mdpipe.cluster_settings import ClusterSettings

ROW: Final = "{.metadata.name} {.status.progress} {.status.phase}"
CREATED: Final = re.compile(
    r'argo_workflows_k8s_request_total\{kind="pods",status_code="201",verb="Create"\}'
)
ENDS: Final = ("Succeeded", "Failed", "Error")


@dataclass
class Watched:
    """What was seen of one run.

    Attributes
    ----------
    seen : list of (float, int, int)
        Seconds since the submission, pods that ended well, pods made.
    created : list of (float, int)
        Seconds since the submission, pods that the controller has ever created.
    status_s : list of (float, float)
        What calls of `mdpipe status` took, and their CPU time; those that failed count in
        `status_failed`.
    """

    seen: list[tuple[float, int, int]] = field(default_factory=list)
    created: list[tuple[float, int]] = field(default_factory=list)
    status_s: list[tuple[float, float]] = field(default_factory=list)
    status_failed: int = 0


def run_one(shape: str, options: argparse.Namespace, number: int) -> Document:
    """Submit one workflow, follow it to its end, and return what it took."""
    name = f"scale-{shape.replace(':', '-')}-{number}-{int(time.time()) % 100000}"
    pods = options.groups * (count_scenes() + 1)
    kind, _, shard = shape.partition(":")
    if kind in ("flat", "list"):
        documents = {"flat": flat_workflow, "list": list_workflow}[kind](name, pods, options)
    else:
        documents = compiled_workflow(name, options.groups, int(shard or 0), options)
    for pid in options.pid.values():
        _reset_peak(pid)
    before = {one: _cpu_s(pid) for one, pid in options.pid.items()}
    created = _created(options) if options.metrics else 0
    for document in documents:
        _kubectl(options, "create", "-f", "-", stdin=json.dumps(document))
    begin = time.monotonic()
    watched = Watched()
    ended = threading.Event()
    threads = [
        threading.Thread(target=_ask_status, args=(name, watched, ended, options), daemon=True),
        threading.Thread(target=_count_created, args=(begin, watched, ended, options), daemon=True),
    ]
    for thread in threads:
        thread.start()
    phase = _follow(name, begin, watched, options)
    wall = time.monotonic() - begin
    ended.set()
    for thread in threads:
        thread.join(60)
    cpu = {one: _cpu_s(pid) - before[one] for one, pid in options.pid.items()}
    peak = {one: _peak_mb(pid) for one, pid in options.pid.items()}
    _clear(name, documents, options)
    planned = {"flat": 0, "shard": 1 - (-options.groups // int(shard or 1))}.get(kind, 1)
    found = _figures(shape, phase, wall, pods, watched, cpu, peak)
    return found | _fan_out(watched.created, created + planned, pods)


def _figures(
    shape: str,
    phase: str,
    wall: float,
    pods: int,
    watched: Watched,
    cpu: Mapping[str, float],
    peak: Mapping[str, int],
) -> Document:
    last, well, made = watched.seen[-1] if watched.seen else (wall, 0, 0)
    # the first look that saw all pods there are; the rate is that of starting, not of ending
    started = next((at for at, _, there in watched.seen if there >= made), last)
    return {
        "shape": shape,
        "phase": phase,
        "pods": pods,
        "made": made,
        "well": well,
        "wall_s": round(wall, 1),
        "all_started_s": round(started, 1),
        "started_per_min": round(60 * made / max(started, 1e-9)),
        "ended_per_min": round(60 * well / wall),
        "cpu_s_per_1000": {one: round(1000 * took / max(well, 1), 1) for one, took in cpu.items()},
        "peak_mb": dict(peak),
        "status_calls": len(watched.status_s),
        "status_failed": watched.status_failed,
        "status_s": _spread(wall for wall, _ in watched.status_s),
        "status_cpu_s": _spread(used for _, used in watched.status_s),
        "halves_s": [
            next((round(at, 1) for at, _, there in watched.seen if there >= made * part / 4), None)
            for part in (1, 2, 3)
        ],
    }


def _spread(values: Iterable[float]) -> dict[str, float]:
    """Return median and maximum, if there is anything."""
    known = list(values)
    return {f.__name__: round(f(known), 2) for f in (statistics.median, max) if known}


def _fan_out(created: Sequence[tuple[float, int]], planned: int, pods: int) -> Document:
    """Return how fast the groups' pods were created; `planned` others came before them."""
    first = max((at for at, made in created if made <= planned), default=0.0)
    last = next((at for at, made in created if made >= planned + pods), None)
    if last is None:
        return {}
    return {
        "fan_out_s": round(last - first, 1),
        "fan_out_per_min": round(60 * pods / (last - first)),
    }


def _follow(name: str, begin: float, watched: Watched, options: argparse.Namespace) -> str:
    """Look at the workflow and its children until the end or the limit."""
    known: dict[str, tuple[int, int]] = {}
    # objects of children that are done are not read again
    running = ("-l", "workflows.argoproj.io/completed!=true")
    while True:
        rows = _progress(name, running, options)
        if all(one[0] != name for one in rows):
            last = _kubectl(options, "get", "workflow", name, "-o", f"jsonpath={ROW}", check=False)
            rows.append(last.split())
        there = {one[0]: one for one in rows if len(one) == 3}
        for other in set(known) - set(there):
            # it ended since the last look; what it did not end well shows in the phase
            known[other] = known[other][1], known[other][1]
        phase = ""
        if name in there and there[name][2] in ENDS:
            phase = there[name][2]
            # what children did between the last look and their end
            there = {one[0]: one for one in _progress(name, (), options) if len(one) == 3}
        for one, progress, _ in there.values():
            ended, _, all_made = progress.partition("/")
            known[one] = int(ended), int(all_made)
        at = time.monotonic() - begin
        well, made = (sum(each[part] for each in known.values()) for part in (0, 1))
        watched.seen.append((at, well, made))
        if phase:
            return phase
        if at > options.limit_s:
            return "cut off"
        time.sleep(options.every_s)


def _progress(name: str, chosen: Sequence[str], options: argparse.Namespace) -> list[list[str]]:
    """Name, progress and phase of the workflow and of its children."""
    listed = f"jsonpath={{range .items[*]}}{ROW}{{'\\n'}}{{end}}"
    found = _kubectl(options, "get", "workflows", *chosen, "-o", listed, check=False)
    return [one.split() for one in found.splitlines() if one.startswith(name)]


def _ask_status(
    name: str, watched: Watched, ended: threading.Event, options: argparse.Namespace
) -> None:
    """Call `mdpipe status` again and again."""
    command = [sys.executable, "-m", "mdpipe.cli", "status", name, "-n", options.namespace]
    while options.status_every_s and not ended.wait(options.status_every_s):
        begin = time.monotonic()
        called = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment(options)
        )
        _, code, used = os.wait4(called.pid, 0)
        called.returncode = os.waitstatus_to_exitcode(code)
        watched.status_s.append((time.monotonic() - begin, used.ru_utime + used.ru_stime))
        # the exit code of a status is that of the workflow once it has ended
        watched.status_failed += called.returncode != 0 and not ended.is_set()


def _count_created(
    begin: float, watched: Watched, ended: threading.Event, options: argparse.Namespace
) -> None:
    """Ask the controller every second how many pods it has created."""
    while options.metrics and not ended.wait(1.0):
        watched.created.append((time.monotonic() - begin, _created(options)))


def _created(options: argparse.Namespace) -> int:
    """Return how many pods the controller has created since it was started."""
    # it signs its certificate itself
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(options.metrics, timeout=30, context=trusting) as answer:
        rows = answer.read().decode().splitlines()
    return sum(int(row.rpartition(" ")[2]) for row in rows if CREATED.match(row))


def _clear(name: str, documents: Sequence[Document], options: argparse.Namespace) -> None:
    """Delete what was made, and wait until the pods are gone."""
    found = _kubectl(options, "get", "workflows", "-o", "name").splitlines()
    for one in found:
        if one.split("/")[-1].startswith(name):
            _kubectl(options, "delete", one, "--wait=false", check=False)
    for document in documents:
        if document["kind"] == "WorkflowTemplate":
            template = document["metadata"]["name"]
            _kubectl(options, "delete", "workflowtemplate", template, check=False)
    for _ in range(120):
        left = _kubectl(options, "get", "pods", "-o", "name", "--chunk-size=500", check=False)
        if not any(name in row for row in left.splitlines()):
            return
        time.sleep(5)


def _environment(options: argparse.Namespace) -> dict[str, str]:
    own = {"KUBECONFIG": options.kubeconfig} if options.kubeconfig else {}
    return {**os.environ, **own}


def _kubectl(
    options: argparse.Namespace, *words: str, stdin: str | None = None, check: bool = True
) -> str:
    return subprocess.run(
        ["kubectl", "-n", options.namespace, *words],
        input=stdin,
        capture_output=True,
        text=True,
        check=check,
        env=_environment(options),
    ).stdout


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _reset_peak(pid: int) -> None:
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        sys.stderr.write(f"no right to reset the peak of {pid}: it is the highest so far\n")


def _peak_mb(pid: int) -> int:
    rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(row.split()[1]) // 1024 for row in rows if row.startswith("VmHWM"))


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kubeconfig", default="")
    parser.add_argument("--namespace", default="argo")
    parser.add_argument("--service-account", default="mdpipe")
    parser.add_argument("--groups", type=int, default=250, help="of 3 scenes and a rendering")
    parser.add_argument(
        "--shapes", default="flat,shard:250", help="flat, list, chunk, shard:GROUPS"
    )
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--plan-image", default=ClusterSettings().image)
    parser.add_argument("--fake", default="type=kwok", help="label of the simulated nodes")
    parser.add_argument(
        "--real", default="kubernetes.io/hostname=node0", help="label of a real node"
    )
    parser.add_argument("--taint", default="kwok", help="key of their taint")
    parser.add_argument("--set", default="{}", help="further [cluster] settings, as JSON")
    parser.add_argument(
        "--pid", action="append", default=[], metavar="NAME=PID", help="process to measure"
    )
    parser.add_argument("--limit-s", type=float, default=7200.0)
    parser.add_argument("--every-s", type=float, default=5.0)
    parser.add_argument("--status-every-s", type=float, default=30.0, help="0 never")
    parser.add_argument("--metrics", default="", help="https://…:9090/metrics of the controller")
    parser.add_argument("--out", default="", help="file that gets a line of JSON for each run")
    options = parser.parse_args(words)
    options.fake, options.real = options.fake.split("=", 1), options.real.split("=", 1)
    options.set = json.loads(options.set)
    options.pid = {name: int(pid) for name, _, pid in (one.partition("=") for one in options.pid)}
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Run the shapes in turn and print a line for each."""
    options = _options(words)
    good = True
    for number in range(options.repeat):
        for shape in options.shapes.split(","):
            found = run_one(shape, options, number)
            good &= found["phase"] == "Succeeded"
            line = json.dumps(found) + "\n"
            sys.stdout.write(line)
            sys.stdout.flush()
            if options.out:
                with Path(options.out).open("a") as file:
                    file.write(line)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
