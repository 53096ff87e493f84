"""A cluster to hold drills on: small studies, volumes and stores of their own, what came of them.

What is not set here a test is skipped for:

- `MDPIPE_TEST_KUBECONFIG`: the cluster; `MDPIPE_TEST_NAMESPACE`: a namespace as `workflows/deploy`
  makes it, its secret `mdpipe-store` with the address of the store; `MDPIPE_CLUSTER_IMAGE`: image.
- `MDPIPE_CLUSTER_STORE`: `s3://bucket/prefix` for the drills, which write below it.
- `MDPIPE_TEST_HOST`: address at which pods reach this machine, for stores that answer badly.
- `MDPIPE_TEST_NODE_FOLDER`: `HERE` or `HERE:ON_NODE`, a folder of this machine that the node sees.
- `MDPIPE_TEST_TABLES`: folder for the tables that the drills write.
"""

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from faulty_store import Proxy
from small_study import SCENES

from mdpipe import __version__
from mdpipe.failures import BusyError
from mdpipe.scenes.cache import SceneCache
from mdpipe.scenes.durable import DurableTier
from mdpipe.simulation.products import scene_digest
from mdpipe.workflows.cluster.door import open_kubernetes
from mdpipe.workflows.cluster.errors import AbsentError
from mdpipe.workflows.cluster.fetch import fetch
from mdpipe.workflows.cluster.reap import reap
from mdpipe.workflows.cluster.status import read_status
from mdpipe.workflows.cluster.submit import prepare, submit
from mdpipe.workflows.cluster.upload import upload_inputs

STUDY = """
name = "drill"
{inputs}
[simulation]
steps = {steps}
equilibration_steps = 40
frame_every = 20
energy_every = 10
checkpoint_every = 100
nonbonded = {{electrostatics = "rf"}}
{scenes}{more}
"""
NODE_FOLDER = "a folder of this machine that the node sees"
SAME = ("film.mp4", "summary.csv")
"""Products whose bytes are the same wherever a study runs."""


def need(variable, why):
    """Return a variable of the environment, or skip."""
    if not (value := os.environ.get(variable, "")):
        pytest.skip(f"{variable} is not set: {why}")
    return value


def need_place():
    """Skip where a drill cannot be held, before anything is made for it."""
    kubeconfig = need("MDPIPE_TEST_KUBECONFIG", "it names the cluster")
    store = need("MDPIPE_CLUSTER_STORE", "s3://bucket/prefix for the drills").rstrip("/")
    need("MDPIPE_TEST_NODE_FOLDER", NODE_FOLDER)
    return kubeconfig, store


def write_study(folder, reference, *, groups, steps=200, more=""):
    """Write a study of many small groups; return its file."""
    text = []
    lines = (reference / "conf_w216a.gro").read_text().splitlines()
    # without velocities, so that the temperature is what the study says
    lines[2:-1] = [line[:56] for line in lines[2:-1]]
    (folder / "inputs").mkdir(parents=True)
    for number in range(groups):
        path = f"inputs/water-{number:02d}.gro"
        (folder / path).write_text("\n".join(lines) + "\n")
        text.append(f'[[inputs]]\npath = "{path}"\ntemperature_K = {240 + 21 * number}')
    study = folder / "study.toml"
    study.write_text(STUDY.format(scenes=SCENES, inputs="\n".join(text), steps=steps, more=more))
    return study


def run_here(study, run, cache):
    """Run a study on this machine; return what its products are."""
    command = [sys.executable, "-m", "mdpipe.cli", "run", study, "--run", run, "--quiet"]
    subprocess.run(command, check=True, env=os.environ | {"MDPIPE_SCENE_CACHE": str(cache)})
    return products_of(run, SceneCache(cache))


def products_of(run, cache):
    """Return digests of all scenes of a plan, and the bytes of film and table."""
    told = {name: (run / name).read_bytes() for name in SAME}
    for line in (run / "plan.jsonl").read_text().splitlines():
        group = json.loads(line)
        for scene in group["scenes"]:
            into = run / ".scenes" / scene["key"]
            into.parent.mkdir(exist_ok=True)
            assert cache.fetch(scene["key"], into) is not None, scene
            told[f"{group['id']} {scene['name']}"] = scene_digest(into)
    shutil.rmtree(run / ".scenes")
    return told


class Place:
    """The cluster, and what a drill makes on it; `clear` removes that."""

    def __init__(self):
        kubeconfig, self.store = need_place()
        os.environ["KUBECONFIG"] = kubeconfig
        self.namespace = os.environ.get("MDPIPE_TEST_NAMESPACE", "argo")
        self.image = os.environ.get("MDPIPE_CLUSTER_IMAGE", f"localhost/mdpipe:{__version__}")
        self.door = open_kubernetes(self.namespace)
        self._made = []
        self._ends = contextlib.ExitStack()
        data = self.ask("secrets", "mdpipe-store")["data"]
        self.keys = {name: base64.b64decode(value).decode() for name, value in data.items()}
        os.environ.update({k: v for k, v in self.keys.items() if k.startswith("AWS_")})

    def clear(self):
        """Remove all that was made, the newest first."""
        for path in reversed(self._made):
            with contextlib.suppress(AbsentError):
                self.door.kubernetes.delete(path)
        self._made.clear()
        self._ends.close()
        self.door.kubernetes.close()

    def path(self, kind, name=""):
        base = "" if kind == "persistentvolumes" else f"/namespaces/{self.namespace}"
        group = "/apis/argoproj.io/v1alpha1" if kind == "workflows" else "/api/v1"
        return f"{group}{base}/{kind}" + (f"/{name}" if name else "")

    def ask(self, kind, name="", **query):
        return self.door.kubernetes.get(self.path(kind, name), query or None)

    def make(self, kind, manifest):
        self._made.append(self.path(kind, manifest["metadata"]["name"]))
        return self.door.kubernetes.post(self.path(kind), manifest)

    def proxy(self, **faults):
        """Put a proxy before the store; return it, its address for pods in `url`."""
        host = need("MDPIPE_TEST_HOST", "the address at which pods reach this machine")
        there = urlsplit(self.keys["AWS_ENDPOINT_URL"])
        proxy = Proxy((there.hostname, there.port or 80), host="0.0.0.0", **faults)
        self._ends.callback(proxy.close)
        proxy.url = f"http://{host}:{proxy.port}"
        return proxy

    def repository(self, endpoint):
        """Make an artifact repository at an address; return the reference to it."""
        name = f"drill-{secrets.token_hex(4)}"
        bucket = self.store.removeprefix("s3://").partition("/")[0]
        keys = {"accessKeySecret": "AWS_ACCESS_KEY_ID", "secretKeySecret": "AWS_SECRET_ACCESS_KEY"}
        s3 = {key: {"name": "mdpipe-store", "key": value} for key, value in keys.items()}
        s3 |= {"bucket": bucket, "endpoint": urlsplit(endpoint).netloc}
        s3 |= {"insecure": not endpoint.startswith("https")}
        data = {"drill": json.dumps({"s3": s3})}
        self.make("configmaps", {
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data,
        })  # fmt: skip
        return {"configMap": name, "key": "drill"}

    def folder(self):
        """Return a new folder as this machine and as the node see it."""
        here, _, there = need("MDPIPE_TEST_NODE_FOLDER", NODE_FOLDER).partition(":")
        name = f"drill-{secrets.token_hex(4)}"
        (Path(here) / name).mkdir(parents=True)
        self._ends.callback(shutil.rmtree, Path(here) / name, ignore_errors=True)
        return Path(here) / name, f"{there or here}/{name}"

    def claim(self, node_path, *, writable):
        """Make a claim on a folder of the node; return its name."""
        name = f"drill-{secrets.token_hex(4)}"
        mode = ["ReadWriteMany" if writable else "ReadOnlyMany"]
        size = {"storage": "1Gi"}
        self.make("persistentvolumes", {
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {
                "accessModes": mode, "capacity": size, "storageClassName": "",
                "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": node_path},
                "claimRef": {"namespace": self.namespace, "name": name},
            },
        })  # fmt: skip
        self.make("persistentvolumeclaims", {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {
                "accessModes": mode, "storageClassName": "", "volumeName": name,
                "resources": {"requests": size},
            },
        })  # fmt: skip
        return name

    def new_store(self):
        """Return a part of the store that is empty."""
        return f"{self.store}/drill-{secrets.token_hex(4)}"

    def settings(self, **keys):
        """Return the `[cluster]` table of a study."""
        given = {"image": self.image, "namespace": self.namespace, "cpu": 0.4}
        return "[cluster]\n" + "\n".join(f"{k} = {_toml(v)}" for k, v in (given | keys).items())

    def submit(self, study, *, repository=None, change=None):
        """Submit a study; return what was submitted."""
        prepared = prepare(study)
        self._made.append(self.path("workflows", prepared.name))
        spec = prepared.documents[-1]["spec"]
        if repository:
            spec["artifactRepositoryRef"] = repository
        if change:
            change(spec)
        if prepared.settings.storage in {"artifacts", "sdk"}:
            objects = DurableTier(prepared.settings.store).objects
            upload_inputs(prepared.study, prepared.settings, objects)
        submit(self.door, prepared)
        return prepared

    def wait(self, name, during=lambda _: None, *, limit_s=900, poll_s=1.0):
        """Follow a workflow to its end as `mdpipe submit --watch` does; return its status."""
        end = time.monotonic() + limit_s
        while True:
            with contextlib.suppress(ConnectionError):
                status = self.look(name)
                if status is not None:
                    if status.over:
                        return status
                    during(status)
            assert time.monotonic() < end, f"{name} was not done after {limit_s} s"
            time.sleep(poll_s)

    def look(self, name):
        """Read a status and end pods that wait in vain; None while the cluster is silent."""
        try:
            status = read_status(self.door, name)
            reap(self.door, workflow=name)
        except BusyError:
            return None
        return status

    def pods(self, name):
        """Return the pods of a workflow."""
        label = f"workflows.argoproj.io/workflow={name}"
        return self.ask("pods", labelSelector=label)["items"]

    def clear_pods(self, name):
        """Remove the pods of a workflow and wait until they have let go of their volumes."""
        for pod in self.pods(name):
            with contextlib.suppress(AbsentError):
                self.door.kubernetes.delete(self.path("pods", pod["metadata"]["name"]))
        while self.pods(name):
            time.sleep(0.5)

    def products(self, prepared, folder, shared=None):
        """Fetch film and table, and the scenes of the plan; return digests as of a local run."""
        fetch(self.door, prepared.name, folder)
        if shared is not None:
            return products_of(folder, SceneCache(shared / "scenes"))
        cache = SceneCache(folder / ".cache", durable=DurableTier(prepared.settings.store))
        return products_of(folder, cache)


def _toml(value):
    """Return a value as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


def write_table(name, title, columns, rows):
    """Print a table and write it as Markdown where $MDPIPE_TEST_TABLES says."""
    lines = [f"# {title}", "", f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for row in rows:
        cells = (
            str(row.get(column, "")).replace("|", "/").replace("\n", " ") for column in columns
        )
        lines.append(f"| {' | '.join(cells)} |")
    sys.stdout.write("\n" + "\n".join(lines) + "\n")
    if where := os.environ.get("MDPIPE_TEST_TABLES"):
        Path(where).mkdir(parents=True, exist_ok=True)
        (Path(where) / f"{name}.md").write_text("\n".join(lines) + "\n")
