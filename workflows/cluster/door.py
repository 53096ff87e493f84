"""Workflows of a namespace: reading, creating, holding and ending them, by whichever way."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

from mdpipe.failures import BusyError
from mdpipe.workflows.cluster.api import METADATA_ONLY, WORKFLOWS, Kubernetes, connect
from mdpipe.workflows.cluster.errors import AbsentError, ConflictError
from mdpipe.workflows.cluster.names import MANAGED, SUBMISSION
from mdpipe.workflows.cluster.nodes import Node, form_of, iterate_nodes
from mdpipe.workflows.cluster.offload import DATABASE, database, offloaded_nodes

Workflow = dict[str, Any]

SERVER = "ARGO_SERVER"
"""Variable: host and port, or address, of an Argo Server that is asked instead."""

PAGE = 500


class Door(Protocol):
    """A way to the workflows of a namespace."""

    namespace: str

    def workflow(self, name: str) -> Workflow:
        """Return a Workflow object, perhaps without its nodes; AbsentError if there is none."""
        ...

    def nodes(self, workflow: Workflow) -> Iterator[Node] | None:
        """Yield its nodes; None if they are where this way does not lead."""
        ...

    def names(self, *, managed: bool = True) -> list[str]:
        """Return the names of the workflows, of mdpipe's or of all."""
        ...

    def create(self, manifest: Workflow, *, dry_run: bool = False) -> Workflow:
        """Create a workflow and return it; ConflictError if there is one of that name."""
        ...

    def create_template(self, manifest: Workflow) -> None:
        """Create a template of child workflows; its name is a digest, so one that is there does."""
        ...

    def change(self, name: str, spec: dict[str, Any]) -> None:
        """Merge changes into the `spec` of a workflow."""
        ...


class KubernetesDoor:
    """Workflows as objects of the Kubernetes API.

    Parameters
    ----------
    kubernetes : Kubernetes
        The API server.
    namespace : str
        Where the workflows are.
    """

    def __init__(self, kubernetes: Kubernetes, namespace: str) -> None:
        self.kubernetes = kubernetes
        self.namespace = namespace
        self.path = WORKFLOWS.format(namespace)

    def workflow(self, name: str) -> Workflow:
        """Return a Workflow object as it is stored, in one request.

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
        try:
            found: Workflow = self.kubernetes.get(f"{self.path}/{name}")
        except AbsentError as error:
            raise absent(name, self, error) from error
        return found

    def nodes(self, workflow: Workflow) -> Iterator[Node] | None:
        """Yield the nodes of a workflow, from the object or from the controller's database.

        Parameters
        ----------
        workflow : dict
            The Workflow object.

        Returns
        -------
        iterator or None
            None if they were offloaded and no database is configured.
        """
        status = workflow.get("status") or {}
        if form_of(status) != "offloaded":
            return iterate_nodes(status)
        if not (address := database()):
            return None
        uid = workflow["metadata"]["uid"]
        return offloaded_nodes(address, uid, status["offloadNodeStatusVersion"])

    def names(self, *, managed: bool = True) -> list[str]:
        """Return the names of the workflows, without reading the objects.

        Parameters
        ----------
        managed : bool
            Whether only those of mdpipe count.

        Returns
        -------
        list of str
            Sorted.
        """
        query = {"limit": str(PAGE)} | ({"labelSelector": MANAGED} if managed else {})
        found: list[str] = []
        while True:
            page = self.kubernetes.get(self.path, query, METADATA_ONLY)
            found += [item["metadata"]["name"] for item in page["items"] or ()]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return sorted(found)

    def create(self, manifest: Workflow, *, dry_run: bool = False) -> Workflow:
        """Create a workflow.

        Parameters
        ----------
        manifest : dict
            The object; its name is in it, so that an answer that is lost does no harm.
        dry_run : bool
            Whether the server only checks it.

        Returns
        -------
        dict
            The object as it is stored.

        Raises
        ------
        ConflictError
            If there is one of that name.
        InvalidError
            If the server finds it wrong.
        """
        query = {"dryRun": "All"} if dry_run else None
        try:
            created: Workflow = self.kubernetes.post(self.path, manifest, query)
        except (BusyError, ConflictError) as error:
            if dry_run or (found := self._mine(manifest)) is None:
                raise error from None
            return found
        return created

    def _mine(self, manifest: Workflow) -> Workflow | None:
        """Return the workflow that a request has made whose answer was lost."""
        try:
            found: Workflow = self.kubernetes.get(f"{self.path}/{manifest['metadata']['name']}")
        except AbsentError:
            return None
        mark = manifest["metadata"].get("annotations", {}).get(SUBMISSION)
        known = (found["metadata"].get("annotations") or {}).get(SUBMISSION)
        return found if mark and mark == known else None

    def create_template(self, manifest: Workflow) -> None:
        """Create a template of child workflows, unless it is there.

        Parameters
        ----------
        manifest : dict
            The WorkflowTemplate; its name changes with its content.
        """
        path = self.path.removesuffix("workflows") + "workflowtemplates"
        with suppress(ConflictError):
            self.kubernetes.post(path, manifest)

    def change(self, name: str, spec: dict[str, Any]) -> None:
        """Merge changes into the specification of a workflow.

        Parameters
        ----------
        name : str
            Its name.
        spec : dict
            What changes.

        Raises
        ------
        AbsentError
            If there is none; names the nearest.
        """
        try:
            self.kubernetes.patch(f"{self.path}/{name}", {"spec": spec})
        except AbsentError as error:
            raise absent(name, self, error) from error


def absent(name: str, door: Door, error: AbsentError) -> AbsentError:
    """Say that there is no such workflow, and which one may be meant.

    Parameters
    ----------
    name : str
        What was asked for.
    door : Door
        Where it was looked for.
    error : AbsentError
        What the server said; returned as it is if the server knows no workflows at all.

    Returns
    -------
    AbsentError
        One line.
    """
    if "not found" not in str(error):
        return error
    known = door.names(managed=False)
    near = difflib.get_close_matches(name, known, 3, 0.4) or known[-3:]
    there = f"the nearest are {', '.join(near)}" if near else "mdpipe has none there"
    return AbsentError(f"no workflow {name} in namespace {door.namespace}; {there}")


def no_nodes_remedy() -> str:
    """Say what gives access to nodes that were offloaded.

    Returns
    -------
    str
        Part of a line.
    """
    return f"set {DATABASE} or {SERVER} to see them"


def open_door(namespace: str) -> Door:
    """Open the way that is configured.

    Parameters
    ----------
    namespace : str
        Where the workflows are.

    Returns
    -------
    Door
        To the Argo Server of `ARGO_SERVER`, else to the Kubernetes API.

    Raises
    ------
    UsageError
        If nothing is configured.
    """
    if address := os.environ.get(SERVER):
        from mdpipe.workflows.argo_server import ServerDoor

        return ServerDoor(address, namespace)
    return KubernetesDoor(connect(), namespace)


def open_kubernetes(namespace: str) -> KubernetesDoor:
    """Open the way to the Kubernetes API, whatever else is configured.

    Parameters
    ----------
    namespace : str
        Where pods and workflows are.

    Returns
    -------
    KubernetesDoor
        The door.
    """
    return KubernetesDoor(connect(), namespace)
