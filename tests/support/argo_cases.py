"""The workflows that are looked at: every storage profile with every option."""

import json

from mdpipe import __version__
from mdpipe.cluster_settings import ClusterSettings
from mdpipe.study import study_from_table
from mdpipe.workflows.argo import compile_study
from mdpipe.workflows.argo_retry import retry_expression

PROFILES = ("artifacts", "volume", "split", "sdk")
TARGETS = ("3.7", "4.0", "4.1")

OPTIONS = {
    "plain": {},
    "shard": {"shard": 250},
    "memoize": {"memoize": True},
    "all": {
        "cpu": 2.5,
        "chunk": 50,
        "parallelism": 400,
        "deadline_s": 86400,
        "quota_timeout_s": 600,
        "node_selectors": [{"pool": "spot"}, {"pool": "steady"}],
        "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}],
        "inputs_path": "water/2024",
        "store_endpoint": "http://store:9000",
        "store_secret": "store-keys",
        "service_account": "runner",
        "namespace": "md",
    },
}

TEXT = """\
name = "water"
[[inputs]]
path = "trajectories/*.xtc"
topology = "water.gro"
[simulation]
steps = 50_000
[resources]
time_limit_s_of = {simulate = 3600}
memory_mb_of = {preprocess = 500}
memory_tiers = 3
[cache]
policy = "guaranteed"
"""


def study_of(folder, text=TEXT):
    """Return the study of a text."""
    import tomllib

    return study_from_table(tomllib.loads(text), folder / "study.toml")


def settings_of(profile, option):
    """Return the settings of a case."""
    told = {"storage": profile, "store": "s3://bucket/md", "image": "registry/mdpipe:1"}
    return ClusterSettings.model_validate(told | OPTIONS[option])


def documents_of(folder, profile, option, target="4.1", text=TEXT, **more):
    """Return the objects of a case."""
    settings = settings_of(profile, option).model_copy(update=more)
    return compile_study(
        study_of(folder, text), text, settings, name="water-1", target=target, groups=12
    )


def golden_text(documents):
    """Return objects as a golden file has them: what changes with each release is left out."""
    text = json.dumps(documents, indent=1, sort_keys=True)
    for document in documents:
        if document["kind"] == "WorkflowTemplate":
            text = text.replace(document["metadata"]["name"], "water-DIGEST")
    text = text.replace(json.dumps(retry_expression())[1:-1], "RETRY")
    return text.replace(f'"mdpipe/version": "{__version__}"', '"mdpipe/version": "VERSION"') + "\n"
