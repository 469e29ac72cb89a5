"""Update: the changed inputs applied to the object, and the wait until it is ready again."""

from __future__ import annotations

from dataclasses import dataclass

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import checkpoint, managed_fields, naming, tokens, values
from lab.plugins.kubernetes.awaiting.runner import NotReadyError
from lab.plugins.kubernetes.checkpoint import Checkpoint, is_definition
from lab.plugins.kubernetes.client import Answer, ApiError, CancelledError, UnreachableError
from lab.plugins.kubernetes.cluster import Reached
from lab.plugins.kubernetes.configured import Configured, half_done
from lab.plugins.kubernetes.discovery import Endpoint, UnknownKindError
from lab.plugins.kubernetes.normalize import normalize
from lab.plugins.kubernetes.objects import Writer, target_of
from lab.plugins.kubernetes.paths import MISSING, Path
from lab.plugins.kubernetes.values import Object, text_at
from lab.plugins.serving import PluginError


@dataclass(frozen=True)
class Change:
    """One update request, read."""

    urn: str
    declared: Object
    inputs: Object
    old_inputs: Object
    recorded: Checkpoint
    manager: str
    is_patch: bool
    ignored: tuple[str, ...]
    timeout_seconds: float

    @classmethod
    def of(cls, request: provider_pb2.UpdateRequest) -> Change:
        declared = values.read(request.news)
        inputs = normalize(values.plain(declared))
        recorded = Checkpoint.of(values.read(request.olds))
        return cls(
            urn=request.urn,
            declared=declared,
            inputs=inputs,
            old_inputs=values.plain(values.read(request.old_inputs)) or recorded.inputs,
            recorded=recorded,
            manager=naming.field_manager({checkpoint.FIELD_MANAGER: recorded.field_manager}, inputs),
            is_patch=tokens.resolve(tokens.type_of(request.urn), str(inputs.get("kind") or "")).is_patch,
            ignored=tuple(request.ignoreChanges),
            timeout_seconds=request.timeout,
        )

    @property
    def name(self) -> str:
        return naming.object_id(self.inputs)

    def state(self, live: Object) -> Object:
        return checkpoint.record(
            live=live,
            inputs=self.inputs,
            declared=self.declared,
            initial_api_version=self.recorded.initial_api_version or text_at(self.inputs, "apiVersion"),
            field_manager=self.manager,
        )


def update(configured: Configured, request: provider_pb2.UpdateRequest) -> provider_pb2.UpdateResponse:
    """Update for real, or say what would come out of it."""
    change = Change.of(request)
    if request.preview:
        return provider_pb2.UpdateResponse(properties=values.write(_preview(configured, change)))
    reached = configured.cluster.demand()
    endpoint, live = _update(configured, reached, change)
    try:
        live = configured.wait_until_ready(
            reached, endpoint, live, change.inputs, urn=change.urn, timeout_seconds=change.timeout_seconds
        )
    except NotReadyError as error:
        message = (
            f'the Kubernetes API server reported that "{change.name}" failed to fully initialize or become live: '
            f"{error}"
        )
        raise half_done(error, message, change.state(error.live)) from error
    return provider_pb2.UpdateResponse(properties=values.write(change.state(live)))


def _update(configured: Configured, reached: Reached, change: Change) -> tuple[Endpoint, Object]:
    try:
        endpoint = reached.discovery.endpoint(target_of(change.inputs))
        answer = _write(configured, reached, endpoint, change, dry_run=False)
        old_manager = change.recorded.field_manager
        if old_manager and old_manager != change.manager:
            Writer(reached, old_manager).relinquish(endpoint, answer.body)
    except (ApiError, UnknownKindError, UnreachableError, CancelledError) as error:
        raise _failure(change, error) from error
    configured.show_warnings(change.urn, answer)
    return endpoint, answer.body


def _write(configured: Configured, reached: Reached, endpoint: Endpoint, change: Change, *, dry_run: bool) -> Answer:
    writer = Writer(reached, change.manager, force=configured.forces(change.inputs), dry_run=dry_run)
    if is_definition(change.inputs):
        return writer.replace(endpoint, change.inputs)
    body = _with_ignored(reached, endpoint, change) if change.ignored else change.inputs
    if change.is_patch:
        return writer.apply(endpoint, body)
    return writer.update(endpoint, body, recorded=change.recorded.live, old_inputs=change.old_inputs)


def _with_ignored(reached: Reached, endpoint: Endpoint, change: Change) -> Object:
    """The inputs with ignored fields as they are in the cluster, or left to the manager who has them."""
    namespace, name = text_at(change.inputs, "metadata", "namespace"), text_at(change.inputs, "metadata", "name")
    live = reached.client.get(endpoint.path(namespace, name))
    body = change.inputs
    for text in change.ignored:
        path = Path.parse(text)
        keys = [str(part) for part in path.parts]
        others = managed_fields.others_own(live, change.manager, keys)
        if others and not managed_fields.owns(live, change.manager, keys) and not _is_ours(live, keys):
            body = path.placed(body, MISSING)
        elif (found := path.find(live)) is not MISSING:
            body = path.placed(body, found)
    return body


def _is_ours(live: Object, keys: list[str]) -> bool:
    """Whether the field is still held by the name this provider creates objects under."""
    return managed_fields.owns(live, managed_fields.CREATOR, keys)


def _failure(change: Change, error: Exception) -> PluginError:
    if isinstance(error, UnknownKindError):
        return PluginError(
            f'update of resource "{change.urn}" failed because the Kubernetes API server reported that the apiVersion '
            f"for this resource does not exist. Verify that any required CRDs have been created: {error}"
        )
    if isinstance(error, CancelledError):
        return PluginError(f'update of resource "{change.urn}" was cancelled before anything was changed')
    gone = isinstance(error, ApiError) and error.is_not_found
    advice = "\nIt was deleted outside of Pulumi: run `pulumi refresh`, then update again." if gone else ""
    return PluginError(f'update of resource "{change.urn}" failed: {error}{advice}')


def _preview(configured: Configured, change: Change) -> Object:
    """The outputs as far as they are known: from a dry run where one is possible, else the inputs themselves."""
    if values.has_unknown(change.inputs):
        return change.declared
    reached = configured.cluster.demand()
    try:
        endpoint = reached.discovery.endpoint(target_of(change.inputs))
        answer = _write(configured, reached, endpoint, change, dry_run=True)
    except UnknownKindError:
        return change.declared
    except ApiError as error:
        if error.status == 403 or "dry run" in str(error) or _is_half_taken_over(error, change):
            return change.declared
        raise _failure(change, error) from error
    configured.show_warnings(change.urn, answer)
    return change.state(replace_status(answer.body, change.recorded.live))


def _is_half_taken_over(error: ApiError, change: Change) -> bool:
    """Whether the object may be refused for what its creator holds still, which the update itself takes over first.

    A dry run cannot: to it, a list's entry that is gone from the inputs stays beside the new one, say a port's.
    """
    return error.status == 422 and managed_fields.has_legacy_manager(change.recorded.live)


def replace_status(previewed: Object, recorded: Object) -> Object:
    """A previewed object with the status it had: a dry run's own is that of an object nobody works on."""
    return {**previewed, "status": recorded["status"]} if "status" in recorded else previewed
