"""Check: from the program's inputs to the inputs that are recorded and sent."""

from __future__ import annotations

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import directives, naming, tokens, values
from lab.plugins.kubernetes.awaiting.registry import rule_for
from lab.plugins.kubernetes.checkpoint import is_definition
from lab.plugins.kubernetes.client import UnreachableError
from lab.plugins.kubernetes.configured import Configured
from lab.plugins.kubernetes.normalize import normalize, to_dashes
from lab.plugins.kubernetes.secrecy import mark_secrets
from lab.plugins.kubernetes.tokens import TypeToken
from lab.plugins.kubernetes.values import UNKNOWN, Object, mapping_at
from lab.plugins.serving import PluginError

_AUTONAMING_OFF = provider_pb2.CheckRequest.AutonamingOptions.DISABLE


def check(configured: Configured, request: provider_pb2.CheckRequest) -> provider_pb2.CheckResponse:
    """The inputs to record; what was checked before is good as it is."""
    token = tokens.parse(tokens.type_of(request.urn))
    if len(request.olds.fields) and request.news == request.olds and not is_definition_kind(token):
        return provider_pb2.CheckResponse(inputs=request.news)
    if configured.settings.skip_update_unreachable and not _is_reachable(configured):
        configured.engine.warn(
            request.urn, "Cluster is unreachable but skipUpdateUnreachable flag is set to true, skipping..."
        )
        return provider_pb2.CheckResponse(inputs=request.olds)
    declared = values.read(request.news)
    inputs = checked(configured, request, declared)
    return provider_pb2.CheckResponse(inputs=values.write(mark_secrets(inputs, declared)))


def checked(configured: Configured, request: provider_pb2.CheckRequest, declared: Object) -> Object:
    """The plain inputs with a name, a namespace, and in the API server's own form."""
    inputs = values.plain(declared)
    if is_definition(inputs):
        inputs = to_dashes(inputs)
    inputs = normalize(inputs)
    inputs.setdefault("metadata", {})
    token = tokens.resolve(tokens.type_of(request.urn), str(inputs.get("kind") or ""))
    inputs.setdefault("apiVersion", token.target.api_version)
    inputs.setdefault("kind", token.target.kind)
    if token.is_patch and not naming.has_name(inputs):
        raise PluginError("patch resources require the `.metadata.name` field to be set")
    naming.refuse_generate_name(inputs)
    naming.assign(
        inputs,
        resource_name=tokens.name_of(request.urn),
        old_inputs=values.plain(values.read(request.olds)),
        seed=request.randomSeed,
        autonaming=naming.Autonaming(
            request.autonaming.proposed_name,
            disabled=request.HasField("autonaming") and request.autonaming.mode == _AUTONAMING_OFF,
        ),
    )
    _place(configured, token, inputs)
    _warn(configured, request.urn, inputs)
    rule_for(token.target, inputs)  # raises for a `pulumi.com/waitFor` that cannot be read, before anything is made
    return inputs


def is_definition_kind(token: TypeToken) -> bool:
    """Whether the resource defines a kind, which every run must take note of."""
    return token.target.kind == "CustomResourceDefinition"


def _place(configured: Configured, token: TypeToken, inputs: Object) -> None:
    """Put a namespaced object without a namespace into the default one."""
    metadata = inputs.get("metadata")
    if isinstance(metadata, dict) and not metadata.get("namespace") and _is_namespaced(configured, token):
        metadata["namespace"] = configured.cluster.default_namespace
    if is_definition(inputs):
        try:
            configured.cluster.reach().discovery.declare(inputs)
        except UnreachableError:
            return  # nothing can be looked up later either


def _is_namespaced(configured: Configured, token: TypeToken) -> bool:
    """An unknown kind is taken for a namespaced one, and put right when it is created."""
    if (known := token.target.known_scope) is not None:
        return known
    try:
        return configured.cluster.reach().discovery.is_namespaced(token.target) is not False
    except UnreachableError:
        return True


def _is_reachable(configured: Configured) -> bool:
    try:
        configured.cluster.reach()
    except UnreachableError:
        return False
    return True


def _warn(configured: Configured, urn: str, inputs: Object) -> None:
    told = mapping_at(inputs, "metadata", "annotations")
    hooks = [value for key, value in told.items() if key.startswith(directives.HELM_HOOK) and value is not UNKNOWN]
    if any("test" in str(value) for value in hooks) and not configured.settings.suppress_helm_hook_warnings:
        configured.engine.warn(
            urn,
            "This resource contains Helm hooks that are not currently supported by Pulumi. The resource will be "
            "created, but any hooks will not be executed. Hooks support is tracked at "
            "https://github.com/pulumi/pulumi-kubernetes/issues/555 -- This warning can be disabled by setting the "
            "PULUMI_K8S_SUPPRESS_HELM_HOOK_WARNINGS environment variable",
        )
