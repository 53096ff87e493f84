"""Checks of data: the artifact repository, the secret of the store, the store itself, claims."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mdpipe.failures import BusyError, UsageError
from mdpipe.scenes.store_address import Fault, endpoint_of, faults
from mdpipe.workflows.cluster.doctor_facts import DEPLOY, Facts
from mdpipe.workflows.cluster.doctor_store import try_store
from mdpipe.workflows.cluster.findings import Finding
from mdpipe.workflows.cluster.store import secret_texts

REPOSITORIES: Final = "artifact-repositories"
DEFAULT_REPOSITORY: Final = "workflows.argoproj.io/default-artifact-repository"
BY_ARTIFACTS: Final = {"artifacts", "split"}
BY_INPUTS_CLAIM: Final = {"volume", "split"}
KEYS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def artifact_repository(facts: Facts) -> Iterator[Finding]:
    """Check that artifacts which name a key only find the study's bucket and its keys."""
    if facts.settings.storage not in BY_ARTIFACTS:
        return
    found = facts.core("configmaps", REPOSITORIES)
    where = f"ConfigMap {facts.namespace}/{REPOSITORIES}"
    fix = f"apply an overlay on {DEPLOY}/base (artifact-repositories.yaml)"
    rule = f"the storage `{facts.settings.storage}` needs a default artifact repository"
    if found is None:
        yield Finding("error", "artifact-repository", rule, where, "no such ConfigMap", fix)
        return
    named = (found["metadata"].get("annotations") or {}).get(DEFAULT_REPOSITORY)
    s3 = _parse((found.get("data") or {}).get(named or "", "")).get("s3")
    if not named or not s3:
        got = f"no key {named} with s3" if named else f"no annotation {DEFAULT_REPOSITORY}"
        yield Finding("error", "artifact-repository", rule, where, got, fix)
        return
    where += f", key {named}"
    bucket = facts.settings.store.removeprefix("s3://").partition("/")[0]
    if bucket and s3.get("bucket") != bucket:
        yield Finding(
            "error", "artifact-repository", f"its bucket must be the study's, {bucket}", where,
            f"bucket {s3.get('bucket')}", "correct it, or [cluster] store in the study",
        )  # fmt: skip
    for key in ("accessKeySecret", "secretKeySecret"):
        wanted = s3.get(key) or {}
        if wanted:
            secret = facts.core("secrets", wanted.get("name", ""))
            if wanted.get("key") not in ((secret or {}).get("data") or {}):
                yield Finding(
                    "error", "artifact-repository", f"{key} must name a key of a secret", where,
                    f"no {wanted.get('key')} in Secret {wanted.get('name')}",
                    _make_secret(facts, wanted.get("name", "")),
                )  # fmt: skip


def store_secret(facts: Facts) -> Iterator[Finding]:
    """Check that the secret with the pods' access to the store has its keys."""
    if facts.settings.storage == "volume" and not facts.settings.store:
        return
    name = facts.settings.store_secret
    secret = facts.core("secrets", name)
    where = f"Secret {facts.namespace}/{name}"
    if secret is None:
        yield Finding(
            "error", "store-secret", "the pods take their access to the store from it", where,
            "no such secret", _make_secret(facts, name),
        )  # fmt: skip
        return
    data = secret.get("data") or {}
    lacking = [key for key in KEYS if not data.get(key)]
    if lacking:
        yield Finding(
            "error", "store-secret", "its keys are names of variables", where,
            f"no {' and no '.join(lacking)}", _make_secret(facts, name),
        )  # fmt: skip
    texts, unreadable = _pod_variables(facts, secret)
    told = [Fault(key, "must be a text", "bytes that are none") for key in unreadable]
    for fault in (*told, *faults(texts)):
        yield Finding(
            "error", "store-secret", f"its {fault.variable} {fault.rule}", where, fault.got,
            _make_secret(facts, name),
        )  # fmt: skip


def store(facts: Facts) -> Iterator[Finding]:
    """Check that the store answers to the pods' keys, and honours conditional writes."""
    settings = facts.settings
    if not settings.store:
        if facts.with_study and settings.storage != "volume":
            yield Finding(
                "error", "store", f"the storage `{settings.storage}` needs a store",
                "study, [cluster] store", "nothing", 'set it to "s3://bucket/prefix"',
            )  # fmt: skip
        return
    secret = facts.core("secrets", settings.store_secret)
    data, unreadable = _pod_variables(facts, secret or {})
    if unreadable or any(faults(data)) or not all(data.get(key) for key in KEYS):
        return  # said by store_secret
    where = f"{settings.store} at {endpoint_of(data) or 'its default address'}"
    try:
        problem = try_store(settings.store, data)
    except UsageError as error:
        raise BusyError(str(error)) from error
    if problem:
        yield Finding("error", "store", problem.rule, where, problem.got, problem.fix)


def claims(facts: Facts) -> Iterator[Finding]:
    """Check that the claims of the storage profile are bound, in modes that many pods can share."""
    settings = facts.settings
    wanted: dict[str, tuple[str, ...]] = {}
    if settings.storage in BY_INPUTS_CLAIM:
        wanted[settings.inputs_claim] = ("ReadOnlyMany", "ReadWriteMany")
    if settings.storage == "volume":
        wanted[settings.shared_claim] = ("ReadWriteMany",)
    for name, modes in wanted.items():
        where = f"PersistentVolumeClaim {facts.namespace}/{name}"
        claim = facts.core("persistentvolumeclaims", name)
        if claim is None:
            yield Finding(
                "error", "claims", f"the storage `{settings.storage}` mounts it", where,
                "no such claim", f"add {DEPLOY}/components/claims, or name yours in the study",
            )  # fmt: skip
            continue
        phase = (claim.get("status") or {}).get("phase")
        if phase != "Bound" and not _waits_for_a_pod(facts, claim):
            yield Finding(
                "error", "claims", "it must be bound", where, str(phase),
                f"kubectl -n {facts.namespace} describe pvc {name} tells why: often no storage "
                "class gives its access mode",
            )  # fmt: skip
        given = claim["spec"].get("accessModes") or []
        if not set(given) & set(modes):
            yield Finding(
                "error", "claims", f"its access mode must be {' or '.join(modes)}", where,
                ", ".join(given), "make it again in a storage class that gives this mode",
            )  # fmt: skip


def _waits_for_a_pod(facts: Facts, claim: dict[str, Any]) -> bool:
    """Tell whether a claim is bound only when its first pod comes."""
    name = claim["spec"].get("storageClassName")
    if not name or (claim.get("status") or {}).get("phase") != "Pending":
        return False
    found = facts.look(f"/apis/storage.k8s.io/v1/storageclasses/{name}")
    return bool(found and found.get("volumeBindingMode") == "WaitForFirstConsumer")


def _pod_variables(facts: Facts, secret: dict[str, Any]) -> tuple[dict[str, str], list[str]]:
    """Return the variables with which pods reach the store, and those that are no text."""
    texts, unreadable = secret_texts(secret.get("data") or {})
    if facts.settings.store_endpoint:
        texts["AWS_ENDPOINT_URL"] = facts.settings.store_endpoint
    return texts, unreadable


def _make_secret(facts: Facts, name: str) -> str:
    return f"kubectl -n {facts.namespace} create secret generic {name} --from-env-file=store.env"


def _parse(text: str) -> dict[str, Any]:
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return value if isinstance(value, dict) else {}
