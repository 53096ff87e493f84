"""What the checks of `mdpipe doctor` look at: each object is read once, when it is first needed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Protocol

from mdpipe.cluster_settings import ClusterSettings
from mdpipe.workflows.cluster.errors import AbsentError, RefusedError

CONTROLLER_CONFIG: Final = "workflow-controller-configmap"
DEPLOY: Final = "workflows/deploy"
"""Where the remedies point to; `workflows/README.md` says how to apply it."""


class Door(Protocol):
    """What the doctor needs of `mdpipe.workflows.cluster.api`, with the same errors."""

    def get(self, path: str) -> Any:
        """Read an object or a list."""
        ...

    def post(self, path: str, body: Any, query: Mapping[str, str] | None = None) -> Any:
        """Create an object and return it."""
        ...

    def delete(self, path: str) -> None:
        """Delete an object."""
        ...


@dataclass(frozen=True, slots=True)
class Controller:
    """The workflow controller, as far as its Deployment tells.

    `deployment` is None where there is none that the user can see: then it may run elsewhere.
    """

    namespace: str
    deployment: dict[str, Any] | None
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def service_account(self) -> str:
        """Return the account that it runs as; Argo's install calls it `argo`."""
        if self.deployment is None:
            return "argo"
        return str(self.deployment["spec"]["template"]["spec"].get("serviceAccountName", "default"))

    def setting(self, flag: str, default: str) -> str:
        """Return a setting that is a flag or, where that is not given, the variable ARGO_FLAG."""
        variable = "ARGO_" + flag.upper().replace("-", "_")
        return self.arguments.get(flag, self.environment.get(variable, default))


class Facts:
    """A cluster, seen through one namespace and the settings of one study.

    Parameters
    ----------
    door : Door
        The way to the API server.
    settings : ClusterSettings
        What the study says about the cluster.
    groups : int or None
        How many groups the study will have; None if nobody knows yet.
    scenes : int
        How many scenes a group has.
    with_study : bool
        Whether the settings are those of a study; else what only a study can say is not checked.
    """

    def __init__(
        self,
        door: Door,
        settings: ClusterSettings,
        groups: int | None = None,
        *,
        scenes: int = 3,
        with_study: bool = True,
    ) -> None:
        self.door = door
        self.settings = settings
        self.groups = groups
        self.scenes = scenes
        self.with_study = with_study
        self.namespace = settings.namespace
        self._seen: dict[str, Any] = {}
        self._controller: Controller | None = None

    def look(self, path: str) -> Any:
        """Return an object by its path.

        Parameters
        ----------
        path : str
            Path of the REST interface.

        Returns
        -------
        Any
            The object, None if it is not there.

        Raises
        ------
        RefusedError
            If the user may not read it.
        """
        if path not in self._seen:
            try:
                self._seen[path] = self.door.get(path)
            except AbsentError:
                self._seen[path] = None
            except RefusedError as error:
                self._seen[path] = error
        if isinstance(self._seen[path], RefusedError):
            raise self._seen[path]
        return self._seen[path]

    def core(self, kind: str, name: str = "", namespace: str | None = None) -> Any:
        """Return an object of the core group in the namespace, or without a name their list."""
        return self.look(
            f"/api/v1/namespaces/{namespace or self.namespace}/{kind}/{name}".rstrip("/")
        )

    def items(self, path: str) -> list[dict[str, Any]]:
        """Return the objects of a list; none where their kind is not known."""
        listed = self.look(path)
        return list(listed.get("items") or []) if listed else []

    @property
    def restricted(self) -> bool:
        """Tell whether the namespace enforces Pod Security `restricted`."""
        found = self.look(f"/api/v1/namespaces/{self.namespace}")
        labels = (found or {}).get("metadata", {}).get("labels") or {}
        return bool(labels.get("pod-security.kubernetes.io/enforce") == "restricted")

    @property
    def controller(self) -> Controller:
        """Return the workflow controller: in the namespace, or in Argo's usual one."""
        if self._controller is None:
            self._controller = self._find_controller()
        return self._controller

    def _find_controller(self) -> Controller:
        for namespace in dict.fromkeys((self.namespace, "argo")):
            try:
                listed = self.items(f"/apis/apps/v1/namespaces/{namespace}/deployments")
            except RefusedError:
                continue
            for deployment in listed:
                for container in deployment["spec"]["template"]["spec"]["containers"]:
                    if "workflow-controller" in _program_of(container):
                        given = [*container.get("command", []), *container.get("args", [])]
                        environment = self._environment(container, namespace)
                        return Controller(namespace, deployment, _flags(given), environment)
        return Controller(self.namespace, None)

    def _environment(self, container: dict[str, Any], namespace: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for source in container.get("envFrom") or []:
            if "configMapRef" in source:
                there = self.core("configmaps", source["configMapRef"]["name"], namespace)
                found |= (there or {}).get("data") or {}
        for variable in container.get("env") or []:
            reference = (variable.get("valueFrom") or {}).get("configMapKeyRef")
            if reference:
                there = self.core("configmaps", reference["name"], namespace) or {}
                found[variable["name"]] = (there.get("data") or {}).get(reference["key"], "")
            elif "value" in variable:
                found[variable["name"]] = variable["value"]
        return found

    def settings_of_controller(self) -> dict[str, Any]:
        """Return the controller's ConfigMap, parsed; what is not YAML is left out.

        Returns
        -------
        dict
            Key to value.
        """
        import yaml

        found = self.core("configmaps", CONTROLLER_CONFIG, self.controller.namespace)
        parsed = {}
        for key, text in ((found or {}).get("data") or {}).items():
            with contextlib.suppress(yaml.YAMLError):
                parsed[key] = parse_setting(key, text)
        whole = parsed.get("config")
        return whole if isinstance(whole, dict) else parsed

    def may(self, account: str, verb: str, group: str, resource: str) -> bool:
        """Tell whether a service account of this namespace, or the user, has a right.

        Parameters
        ----------
        account : str
            `namespace:name` of a service account; empty for the user.
        verb, group, resource : str
            The right; a resource may be `pods/log`.

        Returns
        -------
        bool
            Whether the cluster allows it.

        Raises
        ------
        RefusedError
            If the user may not ask about others.
        """
        name, _, part = resource.partition("/")
        attributes = {
            "namespace": self.namespace, "verb": verb, "group": group, "resource": name,
            "subresource": part,
        }  # fmt: skip
        kind = "SubjectAccessReview" if account else "SelfSubjectAccessReview"
        spec: dict[str, Any] = {"resourceAttributes": attributes}
        if account:
            namespace = account.partition(":")[0]
            spec["user"] = f"system:serviceaccount:{account}"
            spec["groups"] = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        answer = self.door.post(f"/apis/authorization.k8s.io/v1/{kind.lower()}s", body)
        return bool(answer["status"].get("allowed"))


def parse_setting(key: str, text: str) -> Any:
    """Parse a key of the controller's ConfigMap by the controller's own rule.

    Parameters
    ----------
    key : str
        Its name.
    text : str
        Its value. Of one line it is put behind `key: `, so `enabled: false` without a line break
        is not a table but an error.

    Returns
    -------
    Any
        The value.

    Raises
    ------
    yaml.YAMLError
        If the controller would end with it.
    """
    import yaml

    return yaml.safe_load(text) if "\n" in text else yaml.safe_load(f"{key}: {text}")[key]


def _program_of(container: dict[str, Any]) -> str:
    image = container["image"].rsplit("/", 1)[-1]
    return " ".join([image, *container.get("command", [])[:1]])


def _flags(words: list[str]) -> dict[str, str]:
    """Return the flags of a command line: `--flag=value`, `--flag value` or `--flag`."""
    found: dict[str, str] = {}
    for word, after in pairwise([*words, "--"]):
        if word.startswith("--"):
            name, given, value = word[2:].partition("=")
            found[name] = value if given else ("true" if after.startswith("--") else after)
    return found
