"""An environment: its cluster connection, its namespace and the limits there, its registry, its secrets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import pulumi
import pulumi_docker as docker
import pulumi_kubernetes as kubernetes
from pulumi.runtime import invoke_async
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.settings import get_monitor
from pulumi_docker_build import Provider as BuildProvider
from pulumi_kubernetes import core, meta

from components.kubernetes_defaults import object_labels, register_kubernetes_defaults
from components.migration import RecordedMigrations
from components.network import assigned_ports, passed_on, wanted_ports
from components.preflight import (
    checks_problem,
    cluster_id,
    journal_problem,
    kubeconfig_problem,
    present_state,
    promotion_problems,
)
from components.program import RecordedOnly, held_back, in_thread, register_transformation, silent_when_cancelled
from components.rollouts import AwaitedRollouts
from components.service_resources import ServiceResources, mentions_stateful_kinds
from components.settings import StackSettings, configuration_error, read_secrets
from services.catalog import CatalogError, Overrides, Service, load
from services.yaml_source import YamlSource
from slipway.cluster.client import Cluster
from slipway.registry import speaks_plain_http
from slipway.rollback.plan import RollbackRequest
from slipway.state.checkpoint import ENVIRONMENT_TYPE, Snapshot, outputs, resources
from slipway.state.kubernetes_objects import DEPLOYMENT_TYPE, RERUN_VARIABLE, has_namespace
from slipway.state.targets import TargetsError, targets_of

# At the default of 50, client-side throttling dominates large stacks, not the API server.
QUERIES_PER_SECOND = 500
# Of the ResourceQuota and of the LimitRange in the cluster.
LIMITS_NAME = "environment"


@dataclass(frozen=True)
class EnvironmentArgs:
    """All settings of one stack's environment; with `rollback`, the services are those of a recorded state."""

    settings: StackSettings
    services: tuple[Service, ...]
    rollback: RollbackRequest | None = None
    targets: tuple[str, ...] = ()
    """Only these services and the services they call are declared; empty means all services."""
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict, repr=False)
    """Values in plain text, by service name and secret name."""

    @classmethod
    def from_config(cls) -> EnvironmentArgs:
        """Read the stack's configuration and the catalogue; raises RunError, which lists every problem."""
        settings, source = StackSettings.from_config(pulumi.get_stack())
        if problem := journal_problem(pulumi.get_stack()) or kubeconfig_problem(settings.context):
            raise configuration_error([problem])
        rollback = settings.rollback()
        args = cls(settings, (), rollback) if rollback else cls._of_services(settings, source)
        if args.asks_checks() and (problem := checks_problem(settings.context, settings.namespace.name)):
            raise configuration_error([problem])
        return args

    @classmethod
    def _of_services(cls, settings: StackSettings, source: YamlSource | None) -> EnvironmentArgs:
        overrides = Overrides(settings.services, settings.defaults, source)
        try:
            services = load(overrides=overrides)
        except CatalogError as error:
            raise configuration_error(error.problems) from error
        promoted = [service.name for service in services if not service.spec.image]
        if problems := promotion_problems(settings, promoted):
            raise configuration_error(problems)
        ports = wanted_ports((service.spec for service in services), settings.namespace.name)
        if ports and (problems := passed_on(ports, assigned_ports(present_state()))):
            raise configuration_error(problems)
        try:
            targets = targets_of(os.environ)
        except TargetsError as error:
            raise configuration_error([str(error)]) from error
        return cls(settings, services, targets=targets, secrets=read_secrets(services, builds=settings.build))

    @property
    def declared(self) -> Sequence[Service]:
        """The services that this run declares, each service after the services that it calls."""
        if not self.targets:
            return self.services
        names = set(self.targets)
        for service in reversed(self.services):
            if service.name in names:
                names.update(service.spec.calls)
        return [service for service in self.services if service.name in names]

    def asks_checks(self) -> bool:
        """Whether this run ends with checks; true for a rollback, whose recorded checks are not known yet."""
        if pulumi.runtime.is_dry_run() or isinstance(get_monitor(), MockMonitor):
            return False
        return self.rollback is not None or any(service.spec.active_checks for service in self.services)


class Environment(pulumi.ComponentResource):
    """The Kubernetes namespace of a stack, the providers that reach cluster and registry, and the rollouts in it."""

    def __init__(self, name: str, args: EnvironmentArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        self.images: Sequence[pulumi.Output[str]] = ()
        """All images of the services by digest, as `release` declares them."""
        self.resources = ServiceResources(self.after_builds)
        self.recorded_only = RecordedOnly() if args.rollback else None
        with self.recorded_only.declaring() if self.recorded_only else nullcontext():
            register_transformation(self.resources.fill_in)
            register_kubernetes_defaults(args.settings.context, args.settings.adopt)
            super().__init__(ENVIRONMENT_TYPE, name, None, opts)
            self._name = name
            self.settings = args.settings
            self.rollouts = AwaitedRollouts(args.settings.context)
            self.services = args.services
            self.targets, self.declared = args.targets, args.declared
            self.rollback = args.rollback
            self.secrets = args.secrets
            self.kubernetes = kubernetes.Provider(
                name,
                context=args.settings.context,
                # Otherwise the SDK sends KUBECONFIG: the state has a path of this machine, a list of several files is
                # not read, and the provider leaves a copy with its credentials in the folder for temporary files.
                kubeconfig="",
                kube_client_settings={"qps": QUERIES_PER_SECOND, "burst": 2 * QUERIES_PER_SECOND},
                opts=pulumi.ResourceOptions(parent=self),
            )
            self.docker = self._image_registries(name)

            async def ask_cluster(_: object) -> str | None:
                return None if pulumi.runtime.is_dry_run() else await in_thread(cluster_id, self.settings.context)

            # Recorded so that a rollback knows if it is on another cluster; `None` in a preview.
            self.register_outputs({"cluster": pulumi.Output.from_input(None).apply(ask_cluster)})

    def _image_registries(self, name: str) -> docker.Provider:
        """Asks registries, no Docker engine; a registry on loopback uses plain HTTP, as it does for Docker itself."""
        hosts = (address.partition("/")[0] for address in (self.settings.base_image, self.settings.registry))
        plain = [host for host in dict.fromkeys(hosts) if speaks_plain_http(host)]
        return docker.Provider(
            name,
            disable_docker_daemon_check=True,
            registry_auth=[
                docker.ProviderRegistryAuthArgs(address=f"http://{host}", auth_disabled=True) for host in plain
            ]
            or None,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def after_builds(self, value: Any) -> pulumi.Output[Any]:
        """`value`, held back until all images that the program declares until its end are built and tested."""
        return held_back(pulumi.Output.from_input(value), lambda: self._built)

    @cached_property
    def _built(self) -> asyncio.Future[Any]:
        async def all_images() -> None:
            await asyncio.gather(*(image.future() for image in self.images))

        return asyncio.ensure_future(all_images())

    def own_rollouts(self) -> pulumi.Output[bool]:
        """Resolves once all Deployments that no component of ours waits for are rolled out."""

        async def rolled_out() -> None:
            waiting = [self.rollouts.complete(each) for each in self.resources.deployments]
            await asyncio.gather(*(each.future() for each in waiting))

        return held_back(pulumi.Output.from_input(True), rolled_out)

    @cached_property
    def migrations(self) -> RecordedMigrations:
        """The migrations in the state before this update, which is read on first use."""
        connect = partial(Cluster.connect, self.settings.context)
        return RecordedMigrations.of(connect, present_state(), again=os.environ.get(RERUN_VARIABLE) == "1")

    @cached_property
    def _undeclared(self) -> Snapshot:
        """The state before this update if this run does not declare all services; empty if it does."""
        return present_state() if self.targets else {}

    def undeclared_outputs(self) -> Mapping[str, Any]:
        """The entries of the stack's output `services` that this run does not declare, by name: they stay."""
        declared = {service.name for service in self.declared}
        recorded = outputs(self._undeclared).get("services") or {}
        return {name: each for name, each in recorded.items() if name not in declared}

    def undeclared_rollouts(self) -> pulumi.Output[bool]:
        """Resolves once all Deployments that this run does not declare are rolled out."""
        declared = {service.name for service in self.declared}
        deployments = [each for each in resources(self._undeclared) if each.type == DEPLOYMENT_TYPE]
        return self.rollouts.complete_recorded([each for each in deployments if each.service not in declared])

    @cached_property
    def docker_build(self) -> BuildProvider:
        """Declared on first use: an environment that builds nothing has none.

        Explicit, so that a rollback, which declares no image, can declare the provider of the images in the state.
        """
        return BuildProvider(self._name, opts=pulumi.ResourceOptions(parent=self))

    @cached_property
    def namespace(self) -> pulumi.Output[str]:
        """The name of the Namespace, which is declared on first use unless its setting `managed` is false."""
        name = self.settings.namespace.name
        if not self.settings.namespace.managed:
            if has_namespace(present_state(), name):
                # The engine would delete it, undeclared, with everything in it.
                raise configuration_error(
                    [
                        f"`slipway:namespace` has `managed: false` for {name}, but the stack's state has it: the "
                        f"update would delete it. Run `slipway up -s {pulumi.get_stack()}`, which removes it from the "
                        "state"
                    ]
                )
            return pulumi.Output.from_input(name)
        claims = [volume.persistent_volume_claim for service in self.services for volume in service.spec.volumes]
        has_claims = any(claim and not claim.claim_name for claim in claims)
        namespace = kubernetes.core.v1.Namespace(
            self._name,
            metadata={
                "name": name,
                # A build that fails changes nothing in the cluster.
                "labels": self.after_builds(
                    {
                        "app.kubernetes.io/managed-by": "pulumi",
                        # https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
                        "pod-security.kubernetes.io/enforce": "restricted",
                    }
                ),
            },
            # Deleting a namespace deletes every claim in it, even if the claims are protected.
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=self.kubernetes,
                protect=has_claims or any(map(mentions_stateful_kinds, self.services)) or None,
            ),
        )
        return namespace.metadata.apply(lambda metadata: str(metadata.name))

    def base_image(self) -> pulumi.Output[str]:
        """The base image of every build, pinned by digest; fails if the registry does not have its tag."""
        name = self.settings.base_image
        if "@" in name:
            return pulumi.Output.from_input(name)

        async def pinned() -> str:
            return f"{name}@{await silent_when_cancelled(self.registry_digest(name))}"

        return pulumi.Output.from_input(pinned())

    async def registry_digest(self, image: str) -> str:
        """The digest that the registry has for `image`, `registry/name:tag` or `name@digest`; else raises an Exception
        of the SDK, which has no narrower one.
        """
        # The form that returns an Output fails it before anything can wait for the engine's interrupt.
        options = pulumi.InvokeOptions(provider=self.docker)
        found = await invoke_async("docker:index/getRegistryImage:getRegistryImage", {"name": image}, options)
        return str(found["sha256Digest"])


def declare_limits(environment: Environment) -> list[pulumi.Output[Any]]:
    """Outputs that resolve once both exist: a pod created earlier would have no defaults, and would not be counted."""
    settings, stack = environment.settings, pulumi.get_stack()
    options = pulumi.ResourceOptions(parent=environment, provider=environment.kubernetes)
    metadata: meta.v1.ObjectMetaArgsDict = {
        "name": LIMITS_NAME,
        "namespace": environment.after_builds(environment.namespace),
        "labels": object_labels(LIMITS_NAME),
    }
    declared: list[pulumi.CustomResource] = []
    if settings.resource_quota:
        hard = settings.resource_quota.hard
        declared.append(core.v1.ResourceQuota(stack, metadata=metadata, spec={"hard": hard}, opts=options))
    if settings.limit_range:
        limits: list[core.v1.LimitRangeItemArgsDict] = []
        for item in settings.limit_range.limits:
            amounts = {
                "default": item.default,
                "default_request": item.default_request,
                "max": item.max,
                "min": item.min,
                "max_limit_request_ratio": item.max_limit_request_ratio,
            }
            # An empty mapping would be drift, because the API server drops it.
            limits.append({"type": item.type, **{name: amount for name, amount in amounts.items() if amount}})
        declared.append(core.v1.LimitRange(stack, metadata=metadata, spec={"limits": limits}, opts=options))
    return [each.id for each in declared]
