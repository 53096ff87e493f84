"""A warm read-only cache of a study's inputs by Fluid: objects that a cluster with Fluid takes.

Fluid makes a claim of the name of the data set, so the pods mount it like any other: it is named
like `inputs_claim`, which only preprocess mounts. This pays for large inputs that several studies
or many runs read.
"""

from __future__ import annotations

from typing import Any, Final

from mdpipe.cluster_settings import MANAGED_BY, ClusterSettings
from mdpipe.failures import UsageError

API: Final = "data.fluid.io/v1alpha1"

QUOTA: Final = "4Gi"
"""Memory of a worker of the cache."""


def fluid_objects(settings: ClusterSettings) -> list[dict[str, Any]]:
    """Return the data set of a study's inputs, the cache that holds it, and its warming up.

    Parameters
    ----------
    settings : ClusterSettings
        Store, secret and claim.

    Returns
    -------
    list of dict
        Dataset, AlluxioRuntime and DataLoad.

    Raises
    ------
    UsageError
        If no store is named, or the profile mounts no inputs.
    """
    if not settings.store or settings.storage not in {"volume", "split"}:
        raise UsageError(
            f"--fluid: storage = {settings.storage!r} with store = {settings.store!r} mounts no "
            "inputs from a store; set cluster.store and storage = 'split' or 'volume'"
        )
    metadata = {
        "name": settings.inputs_claim,
        "namespace": settings.namespace,
        "labels": dict([MANAGED_BY]),
    }
    mount: dict[str, Any] = {
        "mountPoint": f"{settings.store.rstrip('/')}/{settings.inputs_key}",
        "name": "inputs",
        "path": "/",
        "readOnly": True,
        "encryptOptions": [
            _secret(settings, "aws.accessKeyId", "AWS_ACCESS_KEY_ID"),
            _secret(settings, "aws.secretKey", "AWS_SECRET_ACCESS_KEY"),
        ],
    }
    if settings.store_endpoint:
        mount["options"] = {
            "alluxio.underfs.s3.endpoint": settings.store_endpoint,
            # stores beside the large clouds have no host name for each bucket
            "alluxio.underfs.s3.disable.dns.buckets": "true",
        }
    level = {
        "mediumtype": "MEM", "path": "/dev/shm", "quota": QUOTA, "high": "0.95", "low": "0.7",
    }  # fmt: skip
    specs: dict[str, dict[str, Any]] = {
        "Dataset": {"accessModes": ["ReadOnlyMany"], "mounts": [mount]},
        "AlluxioRuntime": {"replicas": 1, "tieredstore": {"levels": [level]}},
        "DataLoad": {
            "dataset": {"name": settings.inputs_claim, "namespace": settings.namespace},
            "loadMetadata": True,
            "target": [{"path": "/", "replicas": 1}],
        },
    }
    return [
        {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}
        for kind, spec in specs.items()
    ]


def _secret(settings: ClusterSettings, option: str, key: str) -> dict[str, Any]:
    reference = {"name": settings.store_secret, "key": key}
    return {"name": option, "valueFrom": {"secretKeyRef": reference}}
