"""Declares recorded resources again: their inputs come from the record, their providers from the present."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from components.environment import Environment
from components.inputs import after
from slipway.engine.events import STACK_TYPE
from slipway.engine.stages import IMAGE_TYPE
from slipway.rollback.plan import RollbackPlan
from slipway.state.checkpoint import ENVIRONMENT_TYPE, PROVIDER_PREFIX, ResourceState
from slipway.state.directives import DEPLOYMENT_TYPE
from slipway.values import Secret, mapped

# The engine makes these: `default_4_25_0`, or `default` if the SDK asks for no version, as for dynamic providers.
DEFAULT_PROVIDER = "default_"
UNVERSIONED_PROVIDER = "default"


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
        if recorded.type.startswith(PROVIDER_PREFIX):
            return self._provider(recorded, opts)
        if recorded.custom:
            return RecordedResource(recorded, self._inputs(recorded), opts)
        return RecordedComponent(recorded, opts)

    def _provider(self, recorded: ResourceState, opts: pulumi.ResourceOptions) -> pulumi.Resource | None:
        if recorded.name == UNVERSIONED_PROVIDER or recorded.name.startswith(DEFAULT_PROVIDER):
            return None  # the engine makes it
        present = [self._environment.kubernetes, self._environment.docker]
        if recorded.type == f"{PROVIDER_PREFIX}docker-build":  # an environment that builds nothing has none
            present.append(self._environment.docker_build)
        same = (each for each in present if _is_declared_as(each, recorded))
        return next(same, None) or RecordedProvider(recorded, opts)

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
        provider = made.get(recorded.provider)
        return pulumi.ResourceOptions(
            parent=made.get(recorded.parent),
            provider=provider if isinstance(provider, pulumi.ProviderResource) else None,
            version=_default_version(recorded),
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
            custom_timeouts=_timeouts(raw.get("customTimeouts") or {}),
        )


def _is_declared_as(provider: pulumi.ProviderResource, recorded: ResourceState) -> bool:
    declared = (f"{PROVIDER_PREFIX}{provider.package}", provider.pulumi_resource_name)
    return declared == (recorded.type, recorded.name)


def _default_version(recorded: ResourceState) -> str | None:
    """The plugin's version if a default provider was used: `default_0_0_22` is 0.0.22."""
    name = recorded.provider.rsplit("::", 1)[-1]
    return name.removeprefix(DEFAULT_PROVIDER).replace("_", ".") if name.startswith(DEFAULT_PROVIDER) else None


def _timeouts(recorded: Mapping[str, float]) -> pulumi.CustomTimeouts | None:
    """The engine records seconds."""
    named = {key: f"{value}s" for key, value in recorded.items() if value}
    return pulumi.CustomTimeouts(**named) if named else None


def values(value: Any) -> Any:
    """Decrypted properties as inputs of a program: a value that was secret is secret again."""
    return mapped(value, lambda each, _: pulumi.Output.secret(each.value) if isinstance(each, Secret) else each)
