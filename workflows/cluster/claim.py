"""Products on a shared claim, read by a small pod that mounts it.

Rights: pods create, get, delete; pods/exec create. The pod ends by itself after `LIFE_S`.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from mdpipe.cluster_settings import MANAGED_BY, SHARED_FOLDER, USER_ID, ClusterSettings
from mdpipe.failures import BusyError, MdpipeError
from mdpipe.products import file_digest
from mdpipe.workflows.cluster.door import KubernetesDoor
from mdpipe.workflows.cluster.fetch import Remote

LIFE_S: Final = 3600
START_S: Final = 120
SILENCE_S: Final = 120
PYTHON: Final = "/opt/mdpipe/env/bin/python"

_LIST: Final = """
import hashlib, json, os, sys
found = []
for name in sys.argv[2:]:
    path = os.path.join(sys.argv[1], name)
    if os.path.isfile(path):
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found.append([name, os.stat(path).st_size, digest])
print(json.dumps(found))
"""
_READ: Final = """
import base64, sys
path, begin, end = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with open(path, "rb") as stream:
    stream.seek(begin)
    sys.stdout.write(base64.b64encode(stream.read(end - begin)).decode())
"""


class ClaimSource:
    """Files that a pod can read.

    Parameters
    ----------
    door : KubernetesDoor
        The way to the cluster.
    pod : str
        The pod; it runs.
    run : str
        The run's folder in the pod.
    """

    piece = 1 << 20
    """The client's channel takes a time that grows with the square of what comes through it."""

    def __init__(self, door: KubernetesDoor, pod: str, run: str) -> None:
        self.door, self.pod, self.run = door, pod, run

    def files(self, names: tuple[str, ...]) -> list[Remote]:
        """Return those of the files that are there.

        Parameters
        ----------
        names : tuple of str
            Names below the run's folder.

        Returns
        -------
        list of Remote
            With digests.
        """
        rows = json.loads(self._execute(_LIST, self.run, *names))
        return [Remote(name, size, digest, digest) for name, size, digest in rows]

    def read(self, remote: Remote, target: int, begin: int, end: int) -> None:
        """Write a piece of a file to the same place of an open one.

        Parameters
        ----------
        remote : Remote
            The file.
        target : int
            Descriptor of the open one.
        begin, end : int
            From which byte to before which one.

        Raises
        ------
        BusyError
            If less came.
        """
        text = self._execute(_READ, f"{self.run}/{remote.name}", str(begin), str(end))
        data = base64.b64decode(text)
        if len(data) != end - begin:
            raise BusyError(f"{remote.name}: the connection to the pod {self.pod} ended; try again")
        os.pwrite(target, data, begin)

    def is_same(self, remote: Remote, path: Path) -> bool | None:
        """Say whether a local file has its content.

        Parameters
        ----------
        remote : Remote
            The file.
        path : Path
            The local one.

        Returns
        -------
        bool
            By size and digest.
        """
        return path.stat().st_size == remote.size and file_digest(path) == remote.sha256

    def _execute(self, program: str, *words: str) -> str:
        """Run a few lines of Python in the pod and return what they print."""
        from kubernetes.client.exceptions import ApiException
        from kubernetes.stream.ws_client import websocket_call

        kubernetes, namespace = self.door.kubernetes, self.door.namespace
        query = [("container", "main"), ("stdout", "true"), ("stderr", "true")]
        query += [("command", word) for word in (PYTHON, "-I", "-c", program, *words)]
        try:
            channel: Any = websocket_call(  # type: ignore[no-untyped-call]
                kubernetes.client.configuration,
                "GET",
                f"{kubernetes.host}/api/v1/namespaces/{namespace}/pods/{self.pod}/exec",
                headers=kubernetes.credentials(),
                query_params=query,
                capture_all=False,
                _preload_content=False,
            )
            # the channel forgets its socket without closing it when the server ends first
            with closing(channel.sock.sock), closing(channel):
                channel.run_forever(timeout=SILENCE_S)
                out, error = channel.read_stdout() or "", channel.read_stderr() or ""
                code = None if channel.is_open() else channel.returncode
        except ApiException as failed:
            raise BusyError(
                f"the pod {self.pod} cannot be spoken to ({failed.reason}); the right `create` on "
                "`pods/exec` is needed"
            ) from failed
        if code != 0:
            raise BusyError(f"reading in the pod {self.pod} failed: {error.strip()[-200:]}")
        return str(out)


@contextmanager
def claim_source(
    door: KubernetesDoor, settings: ClusterSettings, run: str
) -> Iterator[ClaimSource]:
    """Start a pod that reads a shared claim, and remove it in the end.

    Parameters
    ----------
    door : KubernetesDoor
        The way to the cluster.
    settings : ClusterSettings
        The claim, and the image of the pod.
    run : str
        The run's folder on the claim.

    Yields
    ------
    ClaimSource
        The files of the run.

    Raises
    ------
    BusyError
        If the pod does not start in time.
    """
    name = f"mdpipe-fetch-{secrets.token_hex(3)}"
    path = f"/api/v1/namespaces/{door.namespace}/pods"
    door.kubernetes.post(path, reader_pod(name, settings))
    try:
        _wait(door, f"{path}/{name}", name)
        yield ClaimSource(door, name, f"{SHARED_FOLDER}/{run}")
    finally:
        with suppress(MdpipeError):
            door.kubernetes.delete(f"{path}/{name}", {"gracePeriodSeconds": 0})


def reader_pod(name: str, settings: ClusterSettings) -> dict[str, Any]:
    """Return a pod that does nothing but have the shared claim mounted, for reading.

    Parameters
    ----------
    name : str
        Its name.
    settings : ClusterSettings
        The claim and the image.

    Returns
    -------
    dict
        A Pod that Pod Security `restricted` admits.
    """
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {MANAGED_BY[0]: MANAGED_BY[1]}},
        "spec": {
            "restartPolicy": "Never",
            "activeDeadlineSeconds": LIFE_S,
            "automountServiceAccountToken": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "runAsGroup": USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "main",
                    "image": settings.image,
                    "imagePullPolicy": settings.image_pull_policy,
                    "command": [PYTHON, "-I", "-c", f"import time; time.sleep({LIFE_S})"],
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "32Mi"},
                        "limits": {"memory": "128Mi"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [
                        {"name": "shared", "mountPath": SHARED_FOLDER, "readOnly": True}
                    ],
                }
            ],
            "volumes": [
                {
                    "name": "shared",
                    "persistentVolumeClaim": {"claimName": settings.shared_claim},
                }
            ],
        },
    }


def _wait(door: KubernetesDoor, path: str, name: str) -> None:
    """Wait until the pod runs."""
    deadline = time.monotonic() + START_S
    while True:
        status = door.kubernetes.get(path)["status"]
        if status.get("phase") == "Running":
            return
        if status.get("phase") != "Pending" or time.monotonic() > deadline:
            waiting = [
                (c.get("state") or {}).get("waiting") or {}
                for c in status.get("containerStatuses") or ()
            ]
            said = [str(w.get("message") or w.get("reason")) for w in waiting if w]
            said += [str(c["message"]) for c in status.get("conditions") or () if c.get("message")]
            raise BusyError(
                f"the pod {name}, which should read the claim, does not start: "
                f"{' '.join(' '.join(said).split())[:300] or status.get('phase')}"
            )
        time.sleep(0.5)
