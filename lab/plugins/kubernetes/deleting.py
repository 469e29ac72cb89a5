"""Delete: the object and what it owns, and the wait until it is gone."""

from __future__ import annotations

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import directives, naming, objects, tokens, values
from lab.plugins.kubernetes.awaiting.deletion import NotGoneError, wait_until_gone
from lab.plugins.kubernetes.awaiting.registry import DEFAULT_TIMEOUT_SECONDS
from lab.plugins.kubernetes.checkpoint import Checkpoint
from lab.plugins.kubernetes.client import ApiError, CancelledError, UnreachableError
from lab.plugins.kubernetes.cluster import Reached
from lab.plugins.kubernetes.configured import Configured
from lab.plugins.kubernetes.discovery import Endpoint, UnknownKindError
from lab.plugins.kubernetes.objects import Writer
from lab.plugins.kubernetes.tokens import GroupVersionKind, words
from lab.plugins.kubernetes.values import Object, text_at
from lab.plugins.serving import PluginError

# Nothing is ever owned by these, so the garbage collector need not be waited for as it is elsewhere.
_LEAVES = words(
    "ClusterRole ClusterRoleBinding ConfigMap HorizontalPodAutoscaler Ingress LimitRange NetworkPolicy "
    "PodDisruptionBudget PriorityClass ResourceQuota Role RoleBinding Secret ServiceAccount StorageClass"
)
# Kinds whose end `pulumi.com/skipAwait` does not wait for.
_SKIPPABLE = words("Namespace Pod ReplicationController DaemonSet Deployment StatefulSet Job")


def delete(configured: Configured, request: provider_pb2.DeleteRequest) -> None:
    """Delete the object; one that is gone already, or whose kind is, counts as deleted."""
    recorded = Checkpoint.of(values.read(request.properties))
    namespace, name = naming.parse_id(request.id)
    try:
        reached = configured.cluster.reach()
    except UnreachableError as error:
        return _unreachable(configured, request.urn, error)
    inputs = recorded.inputs or recorded.live
    target = objects.target_of(recorded.live if recorded.live.get("kind") else inputs)
    try:
        endpoint = reached.discovery.endpoint(target)
        if tokens.resolve(tokens.type_of(request.urn), target.kind).is_patch:
            return _relinquish(reached, endpoint, recorded)
        metadata = {"name": name, "namespace": namespace, "uid": text_at(recorded.live, "metadata", "uid")}
        named = {"apiVersion": target.api_version, "kind": target.kind, "metadata": metadata}
        _delete(configured, reached, endpoint, named, inputs=inputs, request=request)
    except UnknownKindError:
        return None
    except (ApiError, UnreachableError, NotGoneError, CancelledError) as error:
        raise PluginError(f'deletion of resource "{request.urn}" failed: {error or "it was cancelled"}') from error
    return None


def _delete(
    configured: Configured,
    reached: Reached,
    endpoint: Endpoint,
    named: Object,
    *,
    inputs: Object,
    request: provider_pb2.DeleteRequest,
) -> None:
    policy = directives.propagation_policy(inputs) or _default_policy(endpoint.target)
    try:
        answer = objects.delete(reached, endpoint, named, policy)
    except ApiError as error:
        if error.is_not_found:
            return
        raise
    skips = directives.is_true(inputs, directives.SKIP_AWAIT) and endpoint.target.kind in _SKIPPABLE
    if skips or answer.get("kind") == "Status":  # a Status means that the object is gone at once
        return
    report = configured.reporter(request.urn)
    try:
        wait_until_gone(
            reached,
            endpoint,
            dict(answer),
            timeout_seconds=directives.timeout_seconds(inputs, request.timeout) or DEFAULT_TIMEOUT_SECONDS,
            cancelled=configured.cancelled,
            report=report,
        )
    finally:
        report.clear()


def _default_policy(target: GroupVersionKind) -> str:
    """Foreground, as the official plugin deletes; in the background where nothing can hang on the object."""
    return "Background" if target.is_built_in and target.kind in _LEAVES else "Foreground"


def _relinquish(reached: Reached, endpoint: Endpoint, recorded: Checkpoint) -> None:
    """End a patch: its fields go back to whoever else holds them, or to their defaults."""
    try:
        Writer(reached, recorded.field_manager).relinquish(endpoint, recorded.live)
    except ApiError as error:
        if error.is_not_found:
            return
        if error.status == 422 and "Required value" in str(error):
            raise PluginError(
                "this Patch resource is currently managing a required field, so it can't be deleted directly. Either "
                "set the `retainOnDelete` resource option, or transfer ownership of the field before deleting: "
                f"{', '.join(text_at(cause, 'field') for cause in error.causes)}"
            ) from error
        raise


def _unreachable(configured: Configured, urn: str, error: UnreachableError) -> None:
    told = f"configured Kubernetes cluster is unreachable: {error}"
    configured.engine.warn(urn, told)
    if not configured.settings.delete_unreachable:
        raise PluginError(
            f"{told}. If the cluster was deleted, you can remove this resource from Pulumi state by rerunning the "
            'operation with the PULUMI_K8S_DELETE_UNREACHABLE environment variable set to "true"'
        ) from error
    configured.engine.info(
        urn,
        "configured Kubernetes cluster is unreachable and the `deleteUnreachable` option is enabled. "
        "Deleting the unreachable resource from Pulumi state",
    )
