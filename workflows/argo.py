"""From the graph of a study to a Workflow of Argo Workflows, written with Hera.

The workflow counts and knows nothing else: preprocess says how many groups are pending (`rows`),
how many of them miss at least k scenes (`bounds`) and how much memory their steps need; all work
is looked up in slices by index. Its size does not depend on the study's. What preprocess says is
an output of the workflow, not an input of each node: every node keeps its inputs.

    main:  preprocess → chunks → combine
    chunk: its groups                 finished chunks are not walked again
    group: scenes that are missing → render
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hera.workflows import Container, Parameter, Resource, Step, Steps, Workflow, WorkflowTemplate
from hera.workflows import models as m

from mdpipe import __version__
from mdpipe.cluster_settings import (
    INPUTS_FOLDER,
    MANAGED_BY,
    PENDING_ANNOTATION,
    RUN_FOLDER,
    STUDY_FILE,
    STUDY_LABEL,
    USER_ID,
    VERSION_LABEL,
    ClusterSettings,
)
from mdpipe.study import Study
from mdpipe.workflows import argo_memo, argo_memory, argo_shard
from mdpipe.workflows.argo_check import Target, check_study, dns_name, label_value
from mdpipe.workflows.argo_retry import retry_strategy
from mdpipe.workflows.argo_size import check_size, groups_bound
from mdpipe.workflows.argo_storage import PARAMETERS, ROW, Artifact, Storage, words_of
from mdpipe.workflows.graph import Step as GraphStep
from mdpipe.workflows.study_graph import build_graph

ENTRY: Final = ("/opt/mdpipe/env/bin/python", "-I", "-S", "/opt/mdpipe/entry.py")
"""What the image starts programs with; without a command Argo would ask a registry for it."""

KEPT_S: Final = {"secondsAfterSuccess": 7 * 86400, "secondsAfterFailure": 30 * 86400}
DELETE_DELAY: Final = "30s"
"""How long workflows stay, and how long one can still read the log of a pod that ended well."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Where templates find what preprocess said: in their own workflow or told by its parent."""

    run: str = "{{workflow.name}}"
    prefix: str = "workflow.outputs.parameters."

    def value(self, name: str) -> str:
        """Name a variable for use in an expression."""
        return self.prefix + name


CHILD: Final = Scope("{{workflow.parameters.run}}", "workflow.parameters.")


def compile_study(
    study: Study,
    text: str,
    settings: ClusterSettings,
    *,
    name: str = "",
    target: Target = "4.1",
    groups: int | None = None,
) -> list[dict[str, Any]]:
    """Write the workflow of a study.

    Parameters
    ----------
    study : Study
        The checked study.
    text : str
        Its file's text, which the pods read.
    settings : ClusterSettings
        How it runs on the cluster.
    name : str
        Name of the workflow; empty to let the cluster make one from the study's.
    target : str
        Version of Argo Workflows.
    groups : int or None
        Groups of the plan, if there is one; else `groups.max_groups` of the study bounds them, if
        it is set there.

    Returns
    -------
    list of dict
        The Workflow; with `shard`, before it the WorkflowTemplate of its children.

    Raises
    ------
    StudyError
        If study and settings do not fit together.
    UsageError
        If the target cannot do what the settings say, or the workflow would break by its size.
    """
    check_study(study, text, settings, target)
    check_size(groups_bound(study, groups), len(study.scenes), settings)
    return _Compiler(study, text, settings).documents(name, target)


class _Compiler:
    """Makes the templates of one study."""

    def __init__(self, study: Study, text: str, settings: ClusterSettings) -> None:
        self.study, self.text, self.settings = study, text, settings
        specimen = {
            "id": "group",
            "scenes": [{"name": "#{{inputs.parameters.nth}}", "key": ""}],
        }
        graph = build_graph(
            # nothing of this machine may show: inputs are where the pods find them
            study.model_copy(update={"folder": Path(INPUTS_FOLDER)}),
            Path(RUN_FOLDER),
            [specimen],
            study_file=Path(STUDY_FILE),
        )
        self.steps = {step.kind: step for step in graph.steps}

    def documents(self, name: str, target: str) -> list[dict[str, Any]]:
        """Return all objects, those that others name first."""
        own, children = Scope(), []
        if self.settings.shard:
            middle: list[Any] = [self._shard()]
            children = [self._children([self._loop_of_child(), *self._fan_out(CHILD)])]
        else:
            middle = list(self._fan_out(own))
        main = Workflow(
            name=name or None,
            generate_name=None if name else f"{dns_name(self.study.name)}-",
            entrypoint="main",
            labels=self._labels,
            namespace=self.settings.namespace,
            templates=[
                self._main(), self._pod("preprocess", own), *middle, self._pod("combine", own)
            ],
            arguments=[Parameter(name="study", value=self.text)],
            # a parent's own pods only wait for children
            parallelism=None if self.settings.shard else self.settings.parallelism,
            active_deadline_seconds=self.settings.deadline_s,
            ttl_strategy=m.TTLStrategy.model_validate(KEPT_S),
            **self._common(),
        ).to_dict()  # fmt: skip
        found = [*children, main]
        for document in found:
            _add_new_fields(document, self.settings, target)
        return found

    @property
    def _labels(self) -> dict[str, str]:
        return {**self._labels_of_pods, VERSION_LABEL: label_value(__version__)}

    @property
    def _labels_of_pods(self) -> dict[str, str]:
        # what a pod says stands in it three times; the workflow tells the version
        return {MANAGED_BY[0]: MANAGED_BY[1], STUDY_LABEL: label_value(self.study.name)}

    def _common(self) -> dict[str, Any]:
        """Return what parent and children share: identity, rights, and what becomes of pods."""
        settings = self.settings
        return {
            "service_account_name": settings.service_account,
            # only the containers that report to Argo get a token, never the program's
            "automount_service_account_token": False,
            "executor": m.ExecutorConfig(service_account_name=settings.service_account),
            "security_context": m.PodSecurityContext(
                run_as_non_root=True,
                run_as_user=USER_ID,
                run_as_group=USER_ID,
                fs_group=USER_ID,
                fs_group_change_policy="OnRootMismatch",
                seccomp_profile=m.SeccompProfile(type="RuntimeDefault"),
            ),
            "pod_metadata": m.Metadata(
                labels=self._labels_of_pods,
                annotations={PENDING_ANNOTATION: str(settings.pending_timeout_s)},
            ),
            "pod_gc": m.PodGC(strategy="OnPodSuccess", delete_delay_duration=DELETE_DELAY),
            "tolerations": [
                m.Toleration(**one.model_dump(exclude_none=True)) for one in settings.tolerations
            ]
            or None,
        }

    def _main(self) -> Steps:
        """Return the entrypoint: fan-out and fan-in."""
        rows = "asInt(steps.preprocess.outputs.parameters.rows)"
        size = self.settings.chunk * argo_shard.chunks_of_child(self.settings)
        name = "shard" if self.settings.shard else "chunk"
        middle = Step(
            name=name,
            template=name,
            arguments=[Parameter(name=name, value="{{item}}")],
            with_sequence=m.Sequence(count=f"{{{{=int(ceil({rows} / {size}))}}}}"),
            # combine makes what it can of the groups that are there, and says which are not
            continue_on=m.ContinueOn(failed=True, error=True),
        )
        return Steps(
            name="main",
            # each child's object is written again every few seconds as long as it runs
            parallelism=self.settings.shards_at_once if self.settings.shard else None,
            sub_steps=[
                Step(name="preprocess", template="preprocess"),
                middle,
                Step(name="combine", template="combine"),
            ],
        )

    def _fan_out(self, scope: Scope) -> list[Steps | Container]:
        """Return the templates from a chunk of groups down to the pods."""
        chunk = "asInt(inputs.parameters.chunk)"
        size = self.settings.chunk
        row, rows = Parameter(name="row", value=ROW), f"asInt({scope.value('rows')})"
        groups = Step(
            name="group",
            template="group",
            arguments=[Parameter(name="row", value="{{item}}")],
            with_sequence=m.Sequence(
                start=f"{{{{={chunk} * {size}}}}}",
                end=f"{{{{=min({chunk} * {size} + {size}, {rows}) - 1}}}}",
                format="%05d",
            ),
        )
        missing = f"count(fromJSON({scope.value('bounds')}), asInt(inputs.parameters.row) < #)"
        scenes = Step(
            name="simulate",
            template="simulate",
            arguments=[row, Parameter(name="nth", value="{{item}}")],
            with_sequence=m.Sequence(count=f"{{{{={missing}}}}}"),
        )
        render = Step(name="render", template="render", arguments=[row])
        return [
            Steps(name="chunk", inputs=[Parameter(name="chunk")], sub_steps=[groups]),
            Steps(name="group", inputs=[Parameter(name="row")], sub_steps=[scenes, render]),
            self._pod("simulate", scope),
            self._pod("render", scope),
        ]

    def _pod(self, kind: str, scope: Scope) -> Container:
        """Return the template of a step's pod."""
        step, storage = self.steps[kind], Storage(self.study, self.settings, scope.run)
        mounts = storage.mounts(kind)
        limit_s = step.resources.time_limit_s
        indices = {"simulate": ("row", "nth"), "render": ("row",)}.get(kind, ())
        environment = storage.environment(kind)
        return Container(
            name=kind,
            image=self.settings.image,
            image_pull_policy=self.settings.image_pull_policy,
            command=list(ENTRY),
            args=list(words_of(step, storage, max(1, int(self.settings.cpu)))),
            env=[m.EnvVar(name=key, value=value) for key, value in environment.items()],
            env_from=_secret(storage.secret),
            resources=m.ResourceRequirements(requests={"cpu": self._cpu(kind)}),
            security_context=m.SecurityContext(
                allow_privilege_escalation=False,
                capabilities=m.Capabilities(drop=["ALL"]),
                read_only_root_filesystem=True,
            ),
            volumes=[_volume(mount.name, mount.claim, mount.read_only) for mount in mounts],
            volume_mounts=[
                m.VolumeMount(name=one.name, mount_path=one.path, read_only=one.read_only or None)
                for one in mounts
            ],
            inputs=[Parameter(name=name) for name in indices]
            + [_artifact(one) for one in storage.inputs(kind)],
            outputs=self._outputs(step, storage),
            pod_spec_patch=self._patch(step, scope),
            memoize=self._memoize(kind, scope),
            retry_strategy=m.RetryStrategy.model_validate(retry_strategy()),
            active_deadline_seconds=None if limit_s is None else f"{max(1, round(limit_s))}",
        )

    def _cpu(self, kind: str) -> str:
        """Return the request of a step: reading and combining use one core each."""
        cores = self.settings.cpu if kind in {"simulate", "render"} else min(1, self.settings.cpu)
        return f"{round(1000 * cores)}m"

    def _outputs(self, step: GraphStep, storage: Storage) -> list[Any]:
        found: list[Any] = [_artifact(one) for one in storage.outputs(step)]
        if step.kind == "preprocess":
            found += [
                Parameter(
                    name=name,
                    global_name=name,
                    value_from=m.ValueFrom(path=storage.parameter_file(name)),
                )
                for name in (*PARAMETERS, *([argo_memo.KEYS] if self.settings.memoize else []))
            ]
        return found

    def _memoize(self, kind: str, scope: Scope) -> m.Memoize | None:
        if kind != "simulate" or not self.settings.memoize:
            return None
        return m.Memoize.model_validate(argo_memo.memoize(self.study, scope.value(argo_memo.KEYS)))

    def _patch(self, step: GraphStep, scope: Scope) -> str:
        """Return the patch with the memory and the kind of node of an attempt."""
        if step.kind == "preprocess":
            memory = argo_memory.chosen(argo_memory.tiers_mib(self.study, step))
        else:
            tiers = self.study.resources.memory_tiers
            memory = argo_memory.chosen_of(scope.value("memory"), step.kind, tiers)
        carriers = self.settings.storage == "artifacts" and step.kind == "preprocess"
        return argo_memory.pod_patch(memory, self.settings.node_selectors, carriers=carriers)

    def _shard(self) -> Resource:
        """Return the template that starts a child workflow and waits for its end."""
        name = self._children_name
        return Resource(
            name="shard",
            inputs=[Parameter(name="shard")],
            # `apply`, so that another attempt finds the child that the first one has made
            action="apply",
            set_owner_reference=True,
            manifest=argo_shard.child_manifest(name, self.settings, self._labels, Scope().prefix),
            success_condition="status.phase == Succeeded",
            failure_condition="status.phase in (Failed, Error)",
            retry_strategy=m.RetryStrategy.model_validate(retry_strategy()),
            # this one container speaks to the cluster
            automount_service_account_token=True,
        )

    def _loop_of_child(self) -> Steps:
        """Return the entrypoint of a child: its chunks."""
        loop = Step(
            name="chunk",
            template="chunk",
            arguments=[Parameter(name="chunk", value="{{item}}")],
            with_sequence=m.Sequence(
                start="{{workflow.parameters.first}}", end="{{workflow.parameters.last}}"
            ),
        )
        return Steps(name="chunks", sub_steps=[loop])

    def _children(self, templates: Sequence[Steps | Container]) -> dict[str, Any]:
        """Return the template that all children are made from."""
        made = WorkflowTemplate(
            name=self._children_name,
            namespace=self.settings.namespace,
            labels=self._labels,
            entrypoint="chunks",
            templates=list(templates),
            arguments=[Parameter(name=name) for name in argo_shard.TOLD],
            parallelism=argo_shard.pods_at_once(self.settings),
            ttl_strategy=m.TTLStrategy.model_validate(KEPT_S),
            **self._common(),
        )
        found: dict[str, Any] = made.to_dict()
        return found

    @property
    def _children_name(self) -> str:
        """Return a name that changes with all that the templates of children depend on."""
        parts = (self.settings.model_dump_json(), repr(self.steps), __version__)
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:10]
        return f"{dns_name(self.study.name)}-{digest}"


def _secret(name: str) -> list[m.EnvFromSource] | None:
    return [m.EnvFromSource(secret_ref=m.SecretEnvSource(name=name))] if name else None


def _volume(name: str, claim: str, read_only: bool) -> m.Volume:
    if not claim:
        return m.Volume(name=name, empty_dir=m.EmptyDirVolumeSource())
    source = m.PersistentVolumeClaimVolumeSource(claim_name=claim, read_only=read_only or None)
    return m.Volume(name=name, persistent_volume_claim=source)


def _artifact(one: Artifact) -> m.Artifact:
    """Return an artifact that is neither packed nor compressed: films and numbers hardly shrink."""
    return m.Artifact(
        name=one.name,
        path=one.path,
        optional=one.optional or None,
        archive=m.ArchiveStrategy(none=m.NoneStrategy()),
        s3=m.S3Artifact(key=one.key),
    )


def _add_new_fields(document: dict[str, Any], settings: ClusterSettings, target: str) -> None:
    """Add what the target knows and Hera does not."""
    if target != "4.1" or settings.quota_timeout_s is None:
        return
    for template in document["spec"]["templates"]:
        if "container" in template:
            # beside a retry strategy it counts only where a quota keeps the pod from being made
            template["pendingTimeout"] = f"{settings.quota_timeout_s}s"
