"""Workflows through an Argo Server, with Hera's service.

Answers are taken as plain data: Hera's models drop the fields that they do not know, and the
service reads an answer whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import requests
from hera.workflows import WorkflowsService

from mdpipe.failures import BusyError, UsageError
from mdpipe.workflows.cluster.door import Workflow, absent
from mdpipe.workflows.cluster.errors import (
    AbsentError,
    ConflictError,
    InvalidError,
    RefusedError,
)
from mdpipe.workflows.cluster.names import MANAGED
from mdpipe.workflows.cluster.nodes import (
    PIECE,
    Node,
    decode_pieces,
    form_of,
    iterate_nodes,
    nodes_of_text,
)

TOKEN: Final = "ARGO_TOKEN"
INSECURE: Final = "ARGO_INSECURE_SKIP_VERIFY"
TIMEOUT_S: Final = (5.0, 60.0)
_KINDS: Final = {
    400: InvalidError, 401: RefusedError, 403: RefusedError, 404: AbsentError, 409: ConflictError,
}  # fmt: skip


class ServerDoor:
    """Workflows as an Argo Server tells them; it reads offloaded nodes itself.

    Parameters
    ----------
    address : str
        Host and port, or an address; without a scheme it is https unless `ARGO_SECURE` is false.
    namespace : str
        Where the workflows are.
    """

    def __init__(self, address: str, namespace: str) -> None:
        if "://" not in address:
            plain = os.environ.get("ARGO_SECURE", "true").lower() == "false"
            address = f"{'http' if plain else 'https'}://{address}"
        self.namespace = namespace
        self.service = WorkflowsService(
            host=address.rstrip("/"),
            verify_ssl=os.environ.get(INSECURE, "false").lower() != "true",
            token=os.environ.get(TOKEN),
            namespace=namespace,
        )
        self.path = f"/api/v1/workflows/{namespace}"

    def workflow(self, name: str) -> Workflow:
        """Return a Workflow object, with its nodes only where they are in the object.

        Parameters
        ----------
        name : str
            Its name.

        Returns
        -------
        dict
            The object.

        Raises
        ------
        AbsentError
            If there is none; names the nearest.
        """
        path = f"{self.path}/{name}"
        try:
            # without them the server need not read the database
            found: Workflow = self._ask("GET", path, {"fields": "-status.nodes"}).json()
        except AbsentError as error:
            raise absent(name, self, error) from error
        return found

    def nodes(self, workflow: Workflow) -> Iterator[Node] | None:
        """Yield the nodes of a workflow.

        Parameters
        ----------
        workflow : dict
            The Workflow object.

        Returns
        -------
        iterator
            Never None: the server knows all nodes.
        """
        status = workflow.get("status") or {}
        if form_of(status) in {"gzip", "zstd", "brotli"}:
            return iterate_nodes(status)
        return self._streamed(workflow["metadata"]["name"])

    def _streamed(self, name: str) -> Iterator[Node]:
        with self._ask("GET", f"{self.path}/{name}", stream=True) as answer:
            yield from nodes_of_text(decode_pieces(answer.iter_content(PIECE)))

    def names(self, *, managed: bool = True) -> list[str]:
        """Return the names of the workflows.

        Parameters
        ----------
        managed : bool
            Whether only those of mdpipe count.

        Returns
        -------
        list of str
            Sorted.
        """
        query = {"fields": "items.metadata.name"}
        if managed:
            query["listOptions.labelSelector"] = MANAGED
        found = self._ask("GET", self.path, query).json()
        return sorted(item["metadata"]["name"] for item in found.get("items") or ())

    def create(self, manifest: Workflow, *, dry_run: bool = False) -> Workflow:
        """Create a workflow, or have it checked.

        Parameters
        ----------
        manifest : dict
            The object.
        dry_run : bool
            Whether the server only checks it.

        Returns
        -------
        dict
            The object as it is stored.
        """
        body = {"namespace": self.namespace, "workflow": manifest}
        path = f"{self.path}/lint" if dry_run else self.path
        made: Workflow = self._ask("POST", path, body=body).json()
        return made

    def create_template(self, manifest: Workflow) -> None:
        """Create a template of child workflows; one of the same name is the same.

        Parameters
        ----------
        manifest : dict
            The WorkflowTemplate.
        """
        body = {"namespace": self.namespace, "template": manifest}
        try:
            self._ask("POST", f"/api/v1/workflow-templates/{self.namespace}", body=body)
        except ConflictError:
            return

    def change(self, name: str, spec: dict[str, Any]) -> None:
        """Hold, go on with or end a workflow.

        Parameters
        ----------
        name : str
            Its name.
        spec : dict
            `{"suspend": …}` or `{"shutdown": …}`.

        Raises
        ------
        AbsentError
            If there is none; names the nearest.
        """
        verb = {"Stop": "stop", "Terminate": "terminate"}.get(str(spec.get("shutdown")))
        verb = verb or ("suspend" if spec.get("suspend") else "resume")
        try:
            self._ask("PUT", f"{self.path}/{name}/{verb}", body={"name": name})
        except AbsentError as error:
            raise absent(name, self, error) from error

    def log(self, name: str, pod: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines of a pod's program.

        Parameters
        ----------
        name : str
            The workflow.
        pod : str
            The pod.
        follow : bool
            Whether to wait for more.

        Yields
        ------
        str
            A line.
        """
        import json

        query = {
            "podName": pod, "logOptions.container": "main", "logOptions.follow": str(follow).lower()
        }  # fmt: skip
        with self._ask("GET", f"{self.path}/{name}/log", query, stream=True) as answer:
            for line in answer.iter_lines():
                yield str(json.loads(line).get("result", {}).get("content", ""))

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        stream: bool = False,
    ) -> requests.Response:
        service = self.service
        try:
            answer: requests.Response = service.session.request(
                method,
                service.host + path,
                params=query,
                json=body,
                headers={"Authorization": service.token} if service.token else None,
                verify=service.verify_ssl,
                cert=service.client_certs,
                timeout=TIMEOUT_S,
                stream=stream,
            )
        except requests.RequestException as error:
            raise BusyError(
                f"the Argo Server {service.host} does not answer ({type(error).__name__}); check "
                "ARGO_SERVER, ARGO_SECURE and that it is up, then try again"
            ) from error
        if answer.ok:
            return answer
        said = " ".join(answer.text.split())[:400]
        if answer.status_code in {401, 403}:
            said += f"; set {TOKEN} to a token that has the right"
        default = BusyError if answer.status_code >= 500 else UsageError
        kind = _KINDS.get(answer.status_code, default)
        raise kind(f"the Argo Server answers {answer.status_code}: {said}")
