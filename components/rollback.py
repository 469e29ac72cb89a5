"""The three steps of a rollback: find the recorded state, declare it again, verify it by its own checks.

The inputs of its resources come from the record, their providers from the present.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi
from pulumi.runtime.sync_await import _sync_await

from components.environment import Environment
from components.network import assigned_ports, declared_ports, passed_on
from components.preflight import cluster_id
from components.program import RecordedOnly, after, export_recorded
from components.rollouts import recent_logs, verified
from services.spec import Check
from slipway.backend import History
from slipway.backend.history import decrypted
from slipway.cluster.checks import CHECKS_ANNOTATION, ready_pods, recorded_checks
from slipway.engine.events import STACK_TYPE
from slipway.engine.messages import ROLLBACK_ERROR
from slipway.engine.pulumi_cli import Pulumi
from slipway.engine.stages import IMAGE_TYPE
from slipway.errors import SlipwayError
from slipway.project import Project
from slipway.rollback.plan import (
    ROLLBACK_VARIABLE,
    RollbackPlan,
    RollbackRequest,
    declared_resources,
    plan_rollback,
    services_migrated_since,
    unchanged_digest,
    unchanged_resources,
)
from slipway.state.checkpoint import ENVIRONMENT_TYPE, PROVIDER_PREFIX, ResourceState, Snapshot, resources
from slipway.state.kubernetes_objects import DEPLOYMENT_TYPE, images_of
from slipway.values import Secret, mapped, opened

# Messages of the docker provider ("got bad response from registry: 404 Not Found"), of registries, and of the lab's.
NOT_THERE = re.compile(r"\b404\b|\b(?:manifest|name)[ _]unknown\b|\bdoes not have\b", re.IGNORECASE)
"""Matches errors for an image that is missing."""
# The engine makes these: `default_4_25_0`, or `default` if the SDK asks for no version, as for dynamic providers.
DEFAULT_PROVIDER = "default_"
UNVERSIONED_PROVIDER = "default"


def restore(environment: Environment, request: RollbackRequest) -> Mapping[str, Any]:
    """Declare the recorded state that `request` names, and return the stack's outputs as they were.

    Raises RunError, before anything is registered, if that state cannot be read or is of another cluster, or if the
    registry lacks one of its images. The output `checks` waits until that state's own checks pass.
    Other declarations and exports of the program are dropped: only the record is declared.
    """
    recorded_only = environment.recorded_only or RecordedOnly()
    with recorded_only.declaring():
        try:
            target, present = _states(request)
            recorded_only.remember_read(present)
            plan = plan_rollback(target, present, request)
        except SlipwayError as error:
            raise pulumi.RunError(f"{ROLLBACK_ERROR} {error}") from error
        _require_same_cluster(environment, target)
        if problems := passed_on(declared_ports(plan.resources), assigned_ports(present)):
            what = "a node port belongs to another Service now; roll back first to a recorded state in which it is free"
            raise pulumi.RunError("\n  ".join([f"{ROLLBACK_ERROR} {what}.", *problems]))
        _require_images(environment, plan, present)
        for each in plan.kept:
            kind, why = each.type.rsplit(":", 1)[-1], "is protected" if each.raw.get("protect") else "may hold data"
            pulumi.log.warn(f"{kind} {each.name} stays, though update #{request.target} did not have it: it {why}.")
        migrated = services_migrated_since(plan, [present])
        if migrated and ROLLBACK_VARIABLE not in os.environ:  # the command says so before it begins
            pulumi.log.warn(f"The migrations of {', '.join(migrated)} are not undone: a rollback runs no migrations.")
        if any(each.type == IMAGE_TYPE for each in resources(present)):
            _ = environment.docker_build  # for the images that stay in the state, whether or not the target built any
        recorded = RecordedState(environment, _to_declare(plan, present, request))
        outputs = {**values(plan.outputs), "checks": _verified(environment, plan, request, recorded)}
    export_recorded(outputs)
    return outputs


def _to_declare(plan: RollbackPlan, present: Snapshot, request: RollbackRequest) -> RollbackPlan:
    """The plan, without the resources that the engine leaves as they are; raises RunError if these have changed."""
    if not request.unchanged:
        return plan
    unchanged = unchanged_resources(plan, present)
    if unchanged_digest(unchanged) != request.unchanged:
        raise pulumi.RunError(f"{ROLLBACK_ERROR} the state has changed since the rollback started. Start it again.")
    return replace(plan, resources=declared_resources(plan, unchanged))


def _states(request: RollbackRequest) -> tuple[Snapshot, Snapshot]:
    """The recorded state and the present one, decrypted."""
    folder, stack = Path.cwd(), pulumi.get_stack()
    engine, project = Pulumi(folder, os.environ), Project(folder)
    history = History.open(engine, project, stack)
    entry = history.entry(request.target)
    if entry.problem or not entry.succeeded:
        raise SlipwayError(
            f"Update #{request.target} {entry.problem or 'failed'}, so it cannot be rolled back to.",
            next_step=f"`slipway history -s {stack}` lists those that succeeded.",
        )
    states = history.checkpoint(request.target), history.present() or {}
    with ThreadPoolExecutor() as pool:
        target, present = pool.map(lambda state: decrypted(engine, project.name, stack, state), states)
    return target, present


def _require_same_cluster(environment: Environment, target: Snapshot) -> None:
    """Fails on another cluster: the names and numbers of its objects mean nothing here."""
    of_environment = (each.outputs for each in resources(target) if each.type == ENVIRONMENT_TYPE)
    recorded = next(of_environment, {}).get("cluster")
    if recorded and (here := cluster_id(environment.settings.context)) and here != recorded:
        raise pulumi.RunError(
            f"{ROLLBACK_ERROR} the state is of another cluster: the uid of its namespace kube-system is {recorded}, "
            f"here it is {here}.\nSet KUBECONFIG or slipway:context to the cluster it was recorded on."
        )


def _require_images(environment: Environment, plan: RollbackPlan, present: Snapshot) -> None:
    """Ask the registry for all images that do not run already: otherwise a missing one would fail pod by pod.

    If a registry does not answer us, or needs a login that only the nodes have, there is only a warning.
    """
    running = {image for each in resources(present) for image in images_of(each)}
    images = sorted({image for each in plan.resources for image in images_of(each)} - running)

    async def answers() -> list[str | BaseException]:
        return await asyncio.gather(*map(environment.registry_digest, images), return_exceptions=True)

    missing = []
    for image, answer in zip(images, _sync_await(answers()), strict=True):
        if not isinstance(answer, BaseException):
            continue
        if NOT_THERE.search(str(answer).replace(image, "")):
            missing.append(f"{image}: {answer}")
        else:
            pulumi.log.warn(f"The registry could not be checked for {image}: {answer}")
    if missing:
        listed = "\n  ".join(missing)
        raise pulumi.RunError(f"{ROLLBACK_ERROR} the registry lacks these images of the recorded state:\n  {listed}")


def _verified(
    environment: Environment, plan: RollbackPlan, request: RollbackRequest, recorded: RecordedState
) -> pulumi.Output[int]:
    """Runs the checks that were recorded with the Deployments, once these are rolled out again.

    If only some services are rolled back, only their checks run: this rollback did not break the others.
    """
    deployments = [each for each in plan.resources if each.type == DEPLOYMENT_TYPE]
    rolled_out = [each for each in deployments if not request.services or each.service in request.services]
    undeclared = [each for each in rolled_out if each.urn not in recorded.rolled_out]
    checked = [each for each in rolled_out if CHECKS_ANNOTATION in (_metadata(each).get("annotations") or {})]
    settings = environment.settings
    namespaces = [str(_metadata(each)["namespace"]) for each in checked]
    namespace = (*namespaces, settings.namespace.name)[0]
    return verified(
        [
            *(recorded.rolled_out[each.urn] for each in rolled_out if each.urn in recorded.rolled_out),
            environment.rollouts.complete_recorded(undeclared),
        ],
        {_metadata(each)["name"]: _checks(each) for each in checked},
        ready_pods(settings.context, namespace),
        settings.checks_timeout_seconds,
        next_step=f"Look with `kubectl -n {namespace} logs deployment/NAME`.",
        recent_logs=recent_logs(settings.context, namespace),
    )


def _metadata(resource: ResourceState) -> dict[str, Any]:
    return dict(opened(resource.inputs)["metadata"])


def _checks(deployment: ResourceState) -> list[Check]:
    recorded = (_metadata(deployment).get("annotations") or {}).get(CHECKS_ANNOTATION, "[]")
    try:
        return recorded_checks(recorded)
    except ValueError as error:
        raise pulumi.RunError(
            f"{ROLLBACK_ERROR} the checks recorded on Deployment {deployment.name}: {error}"
        ) from error


class RecordedState:
    """Every resource of `plan`, declared under its recorded URN; `resources` has them by that URN, and `rolled_out` has
    an output for each Deployment.
    """

    def __init__(self, environment: Environment, plan: RollbackPlan) -> None:
        self.resources: dict[str, pulumi.Resource] = {}
        self._environment, self._plan = environment, plan
        self.rolled_out: dict[str, pulumi.Output[bool]] = {}
        for each in plan.resources:
            if made := self._declared(each):
                self.resources[each.urn] = made
                if each.type == DEPLOYMENT_TYPE:
                    self.rolled_out[each.urn] = environment.rollouts.complete(made)

    def _declared(self, recorded: ResourceState) -> pulumi.Resource | None:
        if recorded.type in (STACK_TYPE, IMAGE_TYPE):
            return None  # an image is never built again: it is in the registry
        if recorded.type == ENVIRONMENT_TYPE:
            return self._environment
        opts = self._options(recorded)
        if not recorded.custom:
            return RecordedComponent(recorded, opts)
        if not recorded.type.startswith(PROVIDER_PREFIX):
            return RecordedResource(recorded, self._inputs(recorded), opts)
        if recorded.name == UNVERSIONED_PROVIDER or recorded.name.startswith(DEFAULT_PROVIDER):
            return None  # the engine makes it
        present: list[pulumi.ProviderResource] = [self._environment.kubernetes, self._environment.docker]
        if recorded.type == f"{PROVIDER_PREFIX}docker-build":  # an environment that builds nothing has none
            present.append(self._environment.docker_build)
        declared = {(f"{PROVIDER_PREFIX}{each.package}", each.pulumi_resource_name): each for each in present}
        return declared.get((recorded.type, recorded.name)) or RecordedProvider(recorded, opts)

    def _inputs(self, recorded: ResourceState) -> dict[str, Any]:
        """The inputs, each with its recorded dependencies: the values alone do not tell the order."""
        dependencies = recorded.raw.get("propertyDependencies") or {}
        inputs = values(recorded.inputs)
        found = {key: self._after(dependencies.get(key) or (), each) for key, each in inputs.items()}
        callees = [self.rolled_out[urn] for urn in recorded.dependencies if urn in self.rolled_out]
        if callees and recorded.type == DEPLOYMENT_TYPE:  # its pods start when those of its callees are ready
            found["spec"] = after(pulumi.Output.from_input(found["spec"]), callees)
        return found

    def _after(self, urns: Any, value: Any) -> Any:
        made = [self.resources[urn].urn for urn in urns if urn in self.resources]
        return pulumi.Output.all(*made).apply(lambda _: value) if made else value

    def _options(self, recorded: ResourceState) -> pulumi.ResourceOptions:
        raw, made = recorded.raw, self.resources
        alias = self._plan.aliases.get(recorded.urn)
        provider, used = made.get(recorded.provider), recorded.provider.rsplit("::", 1)[-1]
        # The plugin's version if a default provider was used: `default_0_0_22` is 0.0.22.
        version = used.removeprefix(DEFAULT_PROVIDER).replace("_", ".") if used.startswith(DEFAULT_PROVIDER) else None
        # The engine records seconds.
        timeouts = {key: f"{seconds}s" for key, seconds in (raw.get("customTimeouts") or {}).items() if seconds}
        return pulumi.ResourceOptions(
            parent=made.get(recorded.parent),
            provider=provider if isinstance(provider, pulumi.ProviderResource) else None,
            version=version,
            depends_on=[made[urn] for urn in recorded.dependencies if urn in made],
            deleted_with=made.get(str(raw.get("deletedWith"))),
            aliases=[alias] if alias else None,
            id=recorded.id if raw.get("external") else None,
            protect=raw.get("protect"),
            retain_on_delete=raw.get("retainOnDelete"),
            ignore_changes=raw.get("ignoreChanges"),
            hide_diffs=raw.get("hideDiff"),
            replace_on_changes=raw.get("replaceOnChanges"),
            replace_with=[made[urn] for urn in raw.get("replaceWith") or () if urn in made],
            replacement_trigger=values(raw.get("replacementTrigger")),
            additional_secret_outputs=raw.get("additionalSecretOutputs"),
            custom_timeouts=pulumi.CustomTimeouts(**timeouts) if timeouts else None,
        )


def values(value: Any) -> Any:
    """Decrypted properties as inputs of a program: a value that was secret is secret again."""
    return mapped(value, lambda each, _: pulumi.Output.secret(each.value) if isinstance(each, Secret) else each)


class RecordedComponent(pulumi.ComponentResource):
    """A recorded component, with the outputs it had."""

    def __init__(self, recorded: ResourceState, opts: pulumi.ResourceOptions) -> None:
        super().__init__(recorded.type, recorded.name, values(recorded.inputs), opts)
        self.register_outputs(values(recorded.outputs))


class RecordedResource(pulumi.CustomResource):
    """A recorded resource: its type and inputs as the engine wrote them, whatever the present SDK calls them."""

    def __init__(self, recorded: ResourceState, inputs: Mapping[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(recorded.type, recorded.name, dict(inputs), opts)


class RecordedProvider(pulumi.ProviderResource):
    """A recorded provider that the present program does not declare."""

    def __init__(self, recorded: ResourceState, opts: pulumi.ResourceOptions) -> None:
        inputs = {key: each for key, each in values(recorded.inputs).items() if key not in ("version", "__internal")}
        super().__init__(recorded.type.removeprefix(PROVIDER_PREFIX), recorded.name, inputs, opts)
