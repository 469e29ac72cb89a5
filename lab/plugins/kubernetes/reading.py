"""Read: the object as it is now, for `refresh`, `import` and `.get()`."""

from __future__ import annotations

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import checkpoint, directives, naming, tokens, values
from lab.plugins.kubernetes.awaiting.readiness import Sight, State
from lab.plugins.kubernetes.awaiting.registry import rule_for
from lab.plugins.kubernetes.awaiting.runner import NotReadyError
from lab.plugins.kubernetes.checkpoint import Checkpoint
from lab.plugins.kubernetes.client import ApiError, UnreachableError
from lab.plugins.kubernetes.cluster import Reached
from lab.plugins.kubernetes.discovery import Endpoint, UnknownKindError
from lab.plugins.kubernetes.normalize import prune
from lab.plugins.kubernetes.objects import target_of
from lab.plugins.kubernetes.secrecy import mark_secrets
from lab.plugins.kubernetes.session import Session, half_done
from lab.plugins.kubernetes.tokens import GroupVersionKind
from lab.plugins.kubernetes.values import Object, list_at, mapping_at, text_at
from lab.plugins.serving import PluginError

_SERVER_METADATA = frozenset(
    {"creationTimestamp", "deletionTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}
)
_SERVER_ANNOTATIONS = frozenset({"deployment.kubernetes.io/revision", directives.LAST_APPLIED})
GONE = provider_pb2.ReadResponse()


def read(session: Session, request: provider_pb2.ReadRequest) -> provider_pb2.ReadResponse:
    """The live state; an empty answer for an object that is gone."""
    namespace, name = naming.parse_id(request.id)
    try:
        reached = session.cluster.reach()
    except UnreachableError as error:
        return _unreachable(session, request, error)
    declared = values.read(request.inputs)
    recorded = Checkpoint.of(values.read(request.properties))
    inputs = values.plain(declared)
    target = _target(request.urn, inputs, recorded.live)
    try:
        endpoint = reached.discovery.endpoint(target)
        live = reached.client.get(endpoint.path(namespace, name))
    except UnknownKindError:
        return GONE
    except ApiError as error:
        if error.is_not_found:
            return GONE
        raise PluginError(f"the Kubernetes API server did not let {request.id} be read: {error}") from error
    found = prune(live, inputs) if inputs else imported_inputs(live)
    state = checkpoint.record(
        live=live,
        inputs=found,
        declared=declared,
        initial_api_version=recorded.initial_api_version or target.api_version,
        field_manager=naming.field_manager({checkpoint.FIELD_MANAGER: recorded.field_manager}, found),
    )
    recorded_inputs = mark_secrets(found, declared)
    if inputs:
        _tell_if_unready(reached, endpoint, live, inputs, state=state, recorded_inputs=recorded_inputs)
    return provider_pb2.ReadResponse(
        id=request.id, properties=values.write(state), inputs=values.write(recorded_inputs)
    )


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
    session: Session, request: provider_pb2.ReadRequest, error: UnreachableError
) -> provider_pb2.ReadResponse:
    engine, told = session.engine, f"configured Kubernetes cluster is unreachable: {error}"
    engine.warn(request.urn, told)
    if session.settings.delete_unreachable:
        engine.info(
            request.urn,
            "configured Kubernetes cluster is unreachable and the `deleteUnreachable` option is enabled. "
            "Deleting the unreachable resource from Pulumi state",
        )
        return GONE
    if session.settings.skip_update_unreachable:
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
    reached: Reached, endpoint: Endpoint, live: Object, inputs: Object, *, state: Object, recorded_inputs: Object
) -> None:
    """Raise the error that records an object as not ready, so that the next update waits for it again."""
    rule = rule_for(endpoint.target, inputs)
    if rule is None or rule.judge(Sight(live)).state is State.DONE:
        return
    related: dict[str, list[Object]] = {}
    namespace = text_at(live, "metadata", "namespace")
    for other in rule.related:
        try:
            where = reached.discovery.endpoint(other.target)
            listed = list_at(reached.client.get(where.collection(namespace)), "items")
        except (ApiError, UnknownKindError):
            continue  # reasons are told from what can be seen
        concerns = other.concerns(live)
        related[other.role] = [item for item in listed if concerns(item)]
    answer = rule.judge(Sight(live, related, age=lambda _key: 3600.0))
    if answer.state is not State.DONE:
        error = NotReadyError(
            live, f"Resource '{naming.qualified_name(live)}' was created but failed to initialize", answer.reasons
        )
        raise half_done(error, str(error), state, recorded_inputs)
