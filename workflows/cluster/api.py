"""The one door to Kubernetes: requests to its REST interface, and its answers as plain data.

The official client finds the credentials (KUBECONFIG with all its kinds, or those of a pod), keeps
them fresh and holds the connections. Its typed models are not used: a workflow of 40,000 pods is
read as it comes, and any version of the client does.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mdpipe.failures import BusyError, UsageError
from mdpipe.workflows.cluster.errors import (
    AbsentError,
    ConflictError,
    InvalidError,
    RefusedError,
)

if TYPE_CHECKING:
    from kubernetes.client import ApiClient
    from urllib3 import BaseHTTPResponse

WORKFLOWS: Final = "/apis/argoproj.io/v1alpha1/namespaces/{}/workflows"
IN_A_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
MERGE_PATCH: Final = "application/merge-patch+json"
ATTEMPTS: Final = 4
TIMEOUT_S: Final = (5.0, 30.0)
"""Longest wait for a connection, and for the next piece of an answer."""

_FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]+)" cannot (?P<verb>\S+) resource "(?P<resource>[^"]+)"'
)
RIGHTS_FROM: Final = "`workflows/deploy/components/users` has such rights"


class Kubernetes:
    """The API server of a cluster, as one user sees it.

    Parameters
    ----------
    client : ApiClient
        Of the official client, with credentials.
    where : str
        How messages name the cluster.
    """

    def __init__(self, client: ApiClient, where: str) -> None:
        self.client = client
        self.where = where

    @property
    def host(self) -> str:
        """The server's address, without a slash at its end."""
        return str(self.client.configuration.host).rstrip("/")

    def credentials(self) -> dict[str, str]:
        """Return the headers that say who asks, renewed if they have run out.

        Returns
        -------
        dict
            Empty where a certificate says it.
        """
        settings = self.client.configuration.auth_settings()
        return {
            str(auth["key"]): str(auth["value"])
            for auth in settings.values()
            if auth["in"] == "header" and auth["value"]
        }

    def close(self) -> None:
        """Close the connections; the next request opens another."""
        self.client.rest_client.pool_manager.clear()

    def get(self, path: str, query: Mapping[str, str] | None = None, accept: str = "") -> Any:
        """Read an object or a list.

        Parameters
        ----------
        path : str
            Path of the REST interface.
        query : mapping or None
            Parameters of the request.
        accept : str
            The form of the answer, if not plain JSON.

        Returns
        -------
        dict
            What the server says.

        Raises
        ------
        AbsentError
            If there is no such object.
        RefusedError
            If the user may not read it.
        BusyError
            If the server does not answer.
        """
        return self._ask("GET", path, query, headers={"accept": accept} if accept else None)

    def post(self, path: str, body: Any, query: Mapping[str, str] | None = None) -> Any:
        """Create an object; a request that was sent is not sent again.

        Parameters
        ----------
        path : str
            Path of the collection.
        body : dict
            The object.
        query : mapping or None
            Parameters of the request.

        Returns
        -------
        dict
            The object as it is now.

        Raises
        ------
        ConflictError
            If there is one of that name.
        InvalidError
            If the server finds it wrong.
        AbsentError, RefusedError, BusyError
            As for `get`.
        """
        return self._ask("POST", path, query, body)

    def patch(self, path: str, body: Any) -> Any:
        """Merge changes into an object.

        Parameters
        ----------
        path : str
            Path of the object.
        body : dict
            What changes.

        Returns
        -------
        dict
            The object as it is now.

        Raises
        ------
        AbsentError, RefusedError, ConflictError, InvalidError, BusyError
            As for `post`.
        """
        return self._ask("PATCH", path, None, body, {"content-type": MERGE_PATCH})

    def delete(self, path: str, body: Any = None) -> None:
        """Delete an object.

        Parameters
        ----------
        path : str
            Path of the object.
        body : dict or None
            Options, such as preconditions.

        Raises
        ------
        AbsentError, RefusedError, ConflictError, BusyError
            As for `post`.
        """
        self._ask("DELETE", path, None, body)

    @contextmanager
    def stream(
        self, path: str, query: Mapping[str, str] | None = None
    ) -> Iterator[Iterator[bytes]]:
        """Read what the server sends, piece by piece.

        Parameters
        ----------
        path : str
            Path of the REST interface.
        query : mapping or None
            Parameters of the request.

        Yields
        ------
        iterator of bytes
            The pieces, until the server ends.

        Raises
        ------
        AbsentError, RefusedError, BusyError
            As for `get`.
        """
        answer = self._send("GET", path, query, None, {}, (TIMEOUT_S[0], None))
        try:
            if answer.status >= 300:
                raise self._problem(answer.status, answer.data, path)
            yield self._pieces(answer)
        finally:
            # not given back to the pool: there may be more of it on its way
            answer.close()

    def _pieces(self, answer: BaseHTTPResponse) -> Iterator[bytes]:
        from urllib3.exceptions import HTTPError

        try:
            yield from answer.stream(None)
        except HTTPError as error:
            raise self._silent(error) from error

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Make a request; again after a while if that can neither hurt nor be in vain."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._send(method, path, query, body, dict(headers or {}), TIMEOUT_S)
            except BusyError:
                if method == "POST" or attempt == ATTEMPTS:
                    raise
                answer = None
            if answer is not None:
                if answer.status < 300:
                    return json.loads(answer.data or b"{}")
                # 429 and 503 come before anything is done; other ends of a POST are not certain
                passing = answer.status in {429, 503} or (answer.status >= 500 and method != "POST")
                if not passing or attempt == ATTEMPTS:
                    raise self._problem(answer.status, answer.data, path)
            time.sleep(0.3 * 2.0 ** (attempt - 1) * (0.5 + random.random()))
        raise AssertionError("unreachable")

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: Any,
        headers: dict[str, str],
        timeout_s: tuple[float, float | None],
    ) -> BaseHTTPResponse:
        from urllib3 import Timeout
        from urllib3.exceptions import HTTPError

        given = {"accept": "application/json", "user-agent": "mdpipe"} | headers
        given |= self.credentials()
        if body is not None:
            given.setdefault("content-type", "application/json")
        url = self.host + path + _query_text(query)
        try:
            answer: BaseHTTPResponse = self.client.rest_client.pool_manager.request(
                method,
                url,
                body=None if body is None else json.dumps(body).encode(),
                headers=given,
                timeout=Timeout(connect=timeout_s[0], read=timeout_s[1]),
                retries=False,
                preload_content=timeout_s[1] is not None,
            )
        except HTTPError as error:
            raise self._silent(error) from error
        return answer

    def _silent(self, error: Exception) -> BusyError:
        said = re.sub(r"^.*?(?=\[|timed out|certificate)", "", " ".join(str(error).split()))
        return BusyError(
            f"the Kubernetes API of {self.where} does not answer ({said[:160]}); check that the "
            "cluster is up and that KUBECONFIG names it, then try again"
        )

    def _problem(self, status: int, data: bytes, path: str) -> Exception:
        """Return the error that an answer means."""
        said = _message(data)
        if status == 404 and said == "404 page not found" and "/argoproj.io/" in path:
            return AbsentError(
                f"{self.where} has no Argo Workflows (no CRD workflows.argoproj.io); install it; "
                "`mdpipe doctor` says what else is missing"
            )
        if status == 403 and (match := _FORBIDDEN.search(said)):
            return RefusedError(
                f"{self.where}: {match['user']} may not {match['verb']} {match['resource']} "
                f"({path}); {RIGHTS_FROM}"
            )
        if status == 401:
            said = "it does not know this user; renew the credentials of KUBECONFIG"
        elif status == 429 or status >= 500:
            said += "; try again"
        kinds = {401: RefusedError, 403: RefusedError, 404: AbsentError, 409: ConflictError,
                 400: InvalidError, 422: InvalidError, 429: BusyError}  # fmt: skip
        default = BusyError if status >= 500 else UsageError
        return kinds.get(status, default)(f"{self.where} answers {status}: {said}")


def connect() -> Kubernetes:
    """Open the door with the credentials of this user or pod.

    Returns
    -------
    Kubernetes
        No request has been made yet.

    Raises
    ------
    UsageError
        If the client is not installed, or there are no credentials.
    """
    try:
        from kubernetes import config
        from kubernetes.client import ApiClient, Configuration
    except ImportError as error:
        raise UsageError(
            "talking to a cluster needs an extra: pip install 'mdpipe[cluster]'"
        ) from error
    settings = Configuration()
    named = os.environ.get("KUBECONFIG")
    try:
        if not named and (IN_A_POD / "token").is_file():
            config.load_incluster_config(client_configuration=settings)  # type: ignore[no-untyped-call]
        else:
            config.load_kube_config(named or None, client_configuration=settings)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError) as error:
        what = f"KUBECONFIG={named} cannot be used" if named else "no cluster is configured"
        raise UsageError(
            f"{what} ({' '.join(str(error).split())[:160]}); set KUBECONFIG to a file that names a "
            "cluster, or ARGO_SERVER and ARGO_TOKEN to use an Argo Server"
        ) from error
    return Kubernetes(ApiClient(settings), re.sub(r"^\w+://", "", settings.host))


def own_namespace() -> str:
    """Return the namespace of the pod that this is.

    Returns
    -------
    str
        Empty if it is not a pod.
    """
    try:
        return (IN_A_POD / "namespace").read_text("utf-8").strip()
    except OSError:
        return ""


def _query_text(query: Mapping[str, str] | None) -> str:
    from urllib.parse import urlencode

    return f"?{urlencode(query)}" if query else ""


def _message(data: bytes) -> str:
    """Return what an error says in one line; the API server sends a `Status`, proxies send text."""
    text = data.decode("utf-8", "replace")
    with suppress(ValueError, AttributeError):
        text = str(json.loads(text).get("message") or text)
    return " ".join(text.split())[:600] or "no message"
