"""Read: the object as it is now, for `refresh`, `import` and `.get()`."""

from __future__ import annotations

from dataclasses import dataclass

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import checkpoint, directives, naming, tokens, values
from lab.plugins.kubernetes.awaiting.registry import rule_for
from lab.plugins.kubernetes.awaiting.runner import NotReadyError, Wait
from lab.plugins.kubernetes.checkpoint import Checkpoint
from lab.plugins.kubernetes.client import ApiError, UnreachableError
from lab.plugins.kubernetes.cluster import Reached
from lab.plugins.kubernetes.configured import Configured, half_done
from lab.plugins.kubernetes.discovery import Endpoint, UnknownKindError
from lab.plugins.kubernetes.normalize import prune
from lab.plugins.kubernetes.objects import target_of
from lab.plugins.kubernetes.secrecy import mark_secrets
from lab.plugins.kubernetes.tokens import GroupVersionKind
from lab.plugins.kubernetes.values import Object, mapping_at
from lab.plugins.serving import PluginError

_SERVER_METADATA = frozenset(
    {"creationTimestamp", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}
)
_SERVER_ANNOTATIONS = frozenset({"deployment.kubernetes.io/revision", directives.LAST_APPLIED})
GONE = provider_pb2.ReadResponse()
# A refresh looks at what is, but a controller that has not seen the latest change yet gets this long.
_GRACE_SECONDS = 3.0
# Everything counts as having been so for ever: a Service without any endpoint is meant so, an image that cannot be
# pulled is a reason.
_SETTLED_SECONDS = 3600.0


@dataclass(frozen=True)
class Found:
    """What was read, as it is to be recorded."""

    state: Object
    inputs: Object


def read(configured: Configured, request: provider_pb2.ReadRequest) -> provider_pb2.ReadResponse:
    """The live state; an empty answer for an object that is gone."""
    try:
        reached = configured.cluster.reach()
    except UnreachableError as error:
        return _unreachable(configured, request, error)
    recorded = Checkpoint.of(values.read(request.properties))
    inputs = values.plain(values.read(request.inputs))
    try:
        endpoint = reached.discovery.endpoint(_target(request.urn, inputs, recorded.live))
        live = reached.client.get(endpoint.path(*naming.parse_id(request.id)))
    except UnknownKindError:
        return GONE
    except ApiError as error:
        if error.is_not_found:
            return GONE
        raise PluginError(f"the Kubernetes API server did not let {request.id} be read: {error}") from error
    found = _found(request, endpoint, live, recorded)
    if inputs:
        _tell_if_unready(configured, reached, endpoint, live, found=found, inputs=inputs)
    return provider_pb2.ReadResponse(
        id=request.id, properties=values.write(found.state), inputs=values.write(found.inputs)
    )


def _found(request: provider_pb2.ReadRequest, endpoint: Endpoint, live: Object, recorded: Checkpoint) -> Found:
    declared = values.read(request.inputs)
    inputs = prune(live, values.plain(declared)) if declared else imported_inputs(live)
    state = checkpoint.record(
        live=live,
        inputs=inputs,
        declared=declared,
        initial_api_version=recorded.initial_api_version or endpoint.target.api_version,
        field_manager=naming.field_manager({checkpoint.FIELD_MANAGER: recorded.field_manager}, inputs),
    )
    return Found(state, mark_secrets(inputs, declared))


def _target(urn: str, inputs: Object, live: Object) -> GroupVersionKind:
    """What kind to read: what the inputs say, else the state, else the resource's type."""
    for told in (inputs, live):
        if told.get("apiVersion") and told.get("kind"):
            return target_of(told)
    return tokens.parse(tokens.type_of(urn)).target


def imported_inputs(live: Object) -> Object:
    """The inputs a program would have written for a live object."""
    inputs = {key: value for key, value in live.items() if key != "status"}
    metadata = {key: value for key, value in mapping_at(live, "metadata").items() if key not in _SERVER_METADATA}
    told = {k: v for k, v in mapping_at(metadata, "annotations").items() if k not in _SERVER_ANNOTATIONS}
    metadata.pop("annotations", None)
    inputs["metadata"] = {**metadata, "annotations": told} if told else metadata
    return inputs


def _unreachable(
    configured: Configured, request: provider_pb2.ReadRequest, error: UnreachableError
) -> provider_pb2.ReadResponse:
    engine, told = configured.engine, f"configured Kubernetes cluster is unreachable: {error}"
    engine.warn(request.urn, told)
    if configured.settings.delete_unreachable:
        engine.info(
            request.urn,
            "configured Kubernetes cluster is unreachable and the `deleteUnreachable` option is enabled. "
            "Deleting the unreachable resource from Pulumi state",
        )
        return GONE
    if configured.settings.skip_update_unreachable:
        engine.info(
            request.urn,
            "configured Kubernetes cluster is unreachable and the `skipUnreachable` option is enabled. "
            "Returned data could not reflect the actual cluster configuration.",
        )
        return provider_pb2.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)
    raise PluginError(
        f"failed to read resource state due to unreachable cluster. {told}. If the cluster was deleted, you can remove "
        "this resource from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE environment "
        'variable set to "true"'
    ) from error


def _tell_if_unready(
    configured: Configured, reached: Reached, endpoint: Endpoint, live: Object, *, found: Found, inputs: Object
) -> None:
    """Raise the error that records an object as not ready, so that the next update waits for it again."""
    rule = rule_for(endpoint.target, inputs)
    if rule is None:
        return
    wait = Wait(reached, endpoint, live, rule, cancelled=configured.cancelled, head_start_seconds=_SETTLED_SECONDS)
    try:
        wait.run(_GRACE_SECONDS)
    except NotReadyError as error:
        message = f"Resource '{naming.qualified_name(live)}' was created but failed to initialize"
        raise half_done(error, message, found.state, found.inputs) from error
