"""The Kubernetes objects of every kind of service in an environment, under fixed names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import pulumi
from pulumi import Input, Output, ResourceOptions
from pulumi_kubernetes import apps, autoscaling, core, meta, networking, policy

from components import network
from components.kubernetes_defaults import COMPONENT_LABEL, NAME_LABEL, object_labels
from components.migration import RecordedMigrations, migration_job
from components.pod import PodFiles, file_data, pod_template, shape
from components.program import after
from components.rollouts import AwaitedRollouts, checks_annotation
from services.files import MountedFile
from services.spec import Autoscaling, ServiceSpec, config_data
from services.workloads import MIGRATION_SUFFIX, Migration
from slipway.cluster.checks import CHECKS_ANNOTATION
from slipway.cluster.client import Cluster

# For a pod without a probe: one that crashes right after its start must not count as ready.
UNASKED_SECONDS = 10


@dataclass(frozen=True)
class WorkloadArgs:
    """`callees` are rolled out before this one; `callers` are the services that may open connections to it.

    `secrets` are the values in plain text. `rollouts` waits for the Deployment. Pods of namespace `metrics_from` may
    connect to it too. `image_pull_secrets` are the names of the environment's. `files` are the files that its
    containers mount. `migrations` knows which migrations have run.
    """

    spec: ServiceSpec
    image: Input[str]
    namespace: Input[str]
    rollouts: AwaitedRollouts
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    callees: Sequence[Workload] = ()
    callers: Sequence[str] = ()
    metrics_from: str | None = None
    image_pull_secrets: Sequence[str] = ()
    files: Sequence[MountedFile] = ()
    migrations: RecordedMigrations | None = None


class Workload(pulumi.ComponentResource):
    """The objects that every kind of service has, with methods for those that some kinds have.

    `rolled_out` resolves once its pods are ready, or once it is applied if it keeps none. `url` is its address, `None`
    if it has no port. Services that call it depend on `depended_on`.
    """

    url: Output[str] | None = None
    rolled_out: Output[bool]
    depended_on: Sequence[pulumi.Resource] = ()

    def __init__(self, type_: str, name: str, args: WorkloadArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__(type_, name, None, opts)
        self._name, self._args, self._spec = name, args, args.spec
        self._selector = {NAME_LABEL: self._spec.name}
        annotations = self._spec.service_account.annotations
        self._service_account = core.v1.ServiceAccount(
            self._name,
            metadata=self._metadata(annotations=annotations),
            automount_service_account_token=False,
            opts=self._child(),
        )

    def _metadata(
        self, name: str | None = None, annotations: Mapping[str, str] | None = None
    ) -> meta.v1.ObjectMetaArgsDict:
        metadata: dict[str, Any] = {
            "name": name or self._spec.name,
            "namespace": self._args.namespace,
            "labels": {
                **self._spec.labels,
                **object_labels(self._spec.name),
            },
        }
        if annotations:
            metadata["annotations"] = annotations
        return metadata

    def _child(self) -> ResourceOptions:
        return ResourceOptions(parent=self)

    def _network_policy(self) -> networking.v1.NetworkPolicy:
        """Named by its rules. NetworkPolicies add up, so during a rollout the old pods keep what the old policy allows:
        a call that is removed ends with the pods that make it.
        """
        rules = network.policy_spec(self._spec, self._args.callers, self._args.metrics_from)
        name = self._hashed(json.dumps(rules, sort_keys=True).encode())
        return networking.v1.NetworkPolicy(name, metadata=self._metadata(name), spec=rules, opts=self._by_content())

    def _hashed(self, content: bytes, suffix: str = "") -> str:
        """A name of the service's, with `suffix` and a hash: other content has another name."""
        return f"{self._spec.name}{suffix}-{hashlib.sha256(content).hexdigest()[:8]}"

    def _by_content(self) -> ResourceOptions:
        """Options of an object named by its content, in Pulumi too, so that other content is another resource.

        The previous one stays a resource of its own until the update has succeeded. If it were replaced, a failed
        update would leave it to be deleted, and an update that goes back to it would fail because it exists already.
        The alias is for stacks in which Pulumi knows it by the service's name alone.
        """
        return ResourceOptions(parent=self, aliases=[pulumi.Alias(name=self._name)])

    def _config_map(self) -> core.v1.ConfigMap:
        """Immutable and named by its content: a pod only ever sees the values of its own rollout."""
        data = config_data(self._spec)
        name = self._hashed(_as_bytes(data))
        return core.v1.ConfigMap(
            name, metadata=self._metadata(name), data=data, immutable=True, opts=self._by_content()
        )

    @cached_property
    def _files(self) -> PodFiles:
        """The files of its containers, in a ConfigMap and a Secret named by their content, like those of variables.

        A service's name has no dot, so none of them has the name of another service's object.
        """
        files = self._args.files
        config_map, secret = None, None
        data, binary_data = file_data(files)
        if data or binary_data:
            modes = {file.key: file.mode for file in files}
            content = repr([sorted(data.items()), sorted(binary_data.items()), modes]).encode()
            name = self._hashed(content, ".files")
            config_map = core.v1.ConfigMap(
                name,
                metadata=self._metadata(name),
                data=data or None,
                binary_data=binary_data or None,
                immutable=True,
                opts=self._child(),
            )
        if values := {file.key: self._args.secrets[file.secret] for file in files if file.secret}:
            secret = self._secret_of(f"{self._spec.name}.files", values, self._child())
        return PodFiles(
            files, config_map.metadata.name if config_map else None, secret.metadata.name if secret else None
        )

    @cached_property
    def _claims(self) -> Mapping[str, Input[str]]:
        """The names of its PersistentVolumeClaims by volume name; its own are declared, and protected."""
        names: dict[str, Input[str]] = {}
        for volume in self._spec.volumes:
            claim, name = volume.persistent_volume_claim, self._spec.claim_name(volume)
            if not claim:
                continue
            names[volume.name] = name
            if not claim.claim_name:
                made = core.v1.PersistentVolumeClaim(
                    name,
                    metadata=self._metadata(name),
                    spec={"accessModes": claim.access_modes, **shape(claim)},
                    opts=ResourceOptions(parent=self, protect=True),
                )
                names[volume.name] = made.metadata.name
        return names

    def _secret(self) -> core.v1.Secret | None:
        values = {name: self._args.secrets[name] for name in self._spec.secrets}
        return self._secret_of(self._spec.name, values, self._by_content()) if values else None

    def _secret_of(self, stem: str, values: Mapping[str, str], opts: ResourceOptions) -> core.v1.Secret:
        """Like the ConfigMap, but with a slow hash: the name is readable, the values stay secret."""
        salt = f"{pulumi.get_project()}/{pulumi.get_stack()}/{stem}".encode()
        digest = hashlib.scrypt(_as_bytes(values), salt=salt, n=2**12, r=8, p=1, dklen=4)
        name = f"{stem}-{digest.hex()}"
        return core.v1.Secret(
            name, metadata=self._metadata(name), string_data=Output.secret(values), immutable=True, opts=opts
        )

    def _deployment(
        self, network_policy: networking.v1.NetworkPolicy, config_map: core.v1.ConfigMap, secret: core.v1.Secret | None
    ) -> apps.v1.Deployment:
        spec, rollout = self._spec, self._spec.rollout
        template = self._pod_template(self._image(config_map, secret), config_map, secret)
        deployment_spec: dict[str, Any] = {
            "selector": {"match_labels": self._selector},
            # If a volume can be mounted only once, the next pod would wait for the previous one for ever.
            "strategy": {"type": "Recreate"}
            if spec.is_exclusive
            else {"type": "RollingUpdate", "rolling_update": {"max_unavailable": 0, "max_surge": 1}},
            "progress_deadline_seconds": rollout.progress_deadline_seconds,
            "revision_history_limit": 3,
            "template": template,
        }
        # Empty fields are left out: a refresh would not find their null.
        if not spec.autoscaling:
            deployment_spec["replicas"] = spec.replicas
        min_ready_seconds = rollout.min_ready_seconds
        is_asked = {"ready", "startup"} & set(spec.health.probes(spec.kind))
        if not is_asked and "min_ready_seconds" not in rollout.model_fields_set:
            min_ready_seconds = UNASKED_SECONDS
        if min_ready_seconds:
            deployment_spec["min_ready_seconds"] = min_ready_seconds
        return apps.v1.Deployment(
            self._name,
            metadata=self._metadata(annotations={CHECKS_ANNOTATION: checks_annotation(spec.active_checks)}),
            spec=deployment_spec,
            opts=self._after_callees(network_policy),
        )

    def _after_callees(self, network_policy: networking.v1.NetworkPolicy) -> ResourceOptions:
        """For a resource that makes pods: their NetworkPolicy and callees come first."""
        callees = (each for callee in self._args.callees for each in callee.depended_on)
        return ResourceOptions(parent=self, depends_on=[network_policy, *callees])

    def _image(self, config_map: core.v1.ConfigMap, secret: core.v1.Secret | None) -> Output[str]:
        """The image, held back until the callees are rolled out and the migration has completed: until then the pods of
        the previous release run.
        """
        before = [callee.rolled_out for callee in self._args.callees]
        if self._spec.migration:
            before.append(self._migrated(self._spec.migration, config_map, secret))
        return after(Output.from_input(self._args.image), before)

    def _migrated(
        self, migration: Migration, config_map: core.v1.ConfigMap, secret: core.v1.Secret | None
    ) -> Output[Any]:
        """Resolves when the migration's Job, which this declares with its NetworkPolicy, has completed."""
        labels = {NAME_LABEL: f"{self._spec.name}{MIGRATION_SUFFIX}", COMPONENT_LABEL: "migration"}
        rules = network.migration_policy(self._spec, labels)
        policy_name = self._hashed(json.dumps(rules, sort_keys=True).encode(), MIGRATION_SUFFIX)
        network_policy = networking.v1.NetworkPolicy(
            policy_name, metadata=self._metadata(policy_name), spec=rules, opts=self._child()
        )
        job = migration_job(
            self._spec.name,
            migration,
            self._pod_template(Output.from_input(self._args.image), config_map, secret),
            self._metadata(),
            self._args.migrations or RecordedMigrations(partial(Cluster.connect, None)),
            pod_labels=labels,
            parent=self,
            depends_on=[network_policy, self._service_account],
        )
        return self._args.rollouts.ended(job)

    def _pod_template(
        self, image: Output[str], config_map: core.v1.ConfigMap, secret: core.v1.Secret | None
    ) -> core.v1.PodTemplateSpecArgsDict:
        return pod_template(
            self._spec,
            self._selector,
            image,
            config_map.metadata.name,
            secret.metadata.name if secret else None,
            image_pull_secrets=self._args.image_pull_secrets,
            files=self._files,
            claims=self._claims,
        )

    def _disruption_budget(self) -> None:
        policy.v1.PodDisruptionBudget(
            self._name,
            metadata=self._metadata(),
            # Satisfiable with any number of replicas; `minAvailable: 1` would block the drain of a single pod.
            spec={"max_unavailable": 1, "selector": {"match_labels": self._selector}},
            opts=self._child(),
        )

    def _autoscaler(self, limits: Autoscaling) -> None:
        target: autoscaling.v2.MetricTargetArgsDict = {
            "type": "Utilization",
            "average_utilization": limits.cpu_percent,
        }
        autoscaling.v2.HorizontalPodAutoscaler(
            self._name,
            metadata=self._metadata(),
            spec={
                "scale_target_ref": {"api_version": "apps/v1", "kind": "Deployment", "name": self._spec.name},
                "min_replicas": limits.min_replicas,
                "max_replicas": limits.max_replicas,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
            },
            opts=self._child(),
        )


def _as_bytes(data: Mapping[str, str]) -> bytes:
    return repr(sorted(data.items())).encode()
