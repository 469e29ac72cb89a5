"""Create: a new object, or the fields of a patch, and the wait until it is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import checkpoint, naming, tokens, values
from lab.plugins.kubernetes.awaiting.runner import NotReadyError
from lab.plugins.kubernetes.client import Answer, ApiError, CancelledError, UnreachableError
from lab.plugins.kubernetes.cluster import Reached
from lab.plugins.kubernetes.configured import Configured, half_done
from lab.plugins.kubernetes.discovery import Endpoint, UnknownKindError
from lab.plugins.kubernetes.objects import Writer, retried, target_of
from lab.plugins.kubernetes.values import UNKNOWN, Object, mapping_at, text_at
from lab.plugins.serving import PluginError

_EXISTS_ADVICE = """

The resource already exists in the cluster. This can happen when:

  - Renaming a Pulumi resource: use an alias to preserve the identity,
    or use deleteBeforeReplace if the resource needs replacement.
  - Managing an existing resource: use a Patch resource (e.g. NamespacePatch)
    to manage specific fields without owning the resource lifecycle.
  - Adopting a resource into Pulumi: use `pulumi import`. Note that
    protected resources (e.g. kube-system) cannot be deleted on destroy.
  - Intentional upsert: set upsertExistingObjects on the provider to allow
    server-side apply to update existing objects on create."""

# What the server chooses, and chooses differently in a dry run than for real.
_ALLOCATED = ("clusterIP", "clusterIPs")


@dataclass(frozen=True)
class Creation:
    """One create request, read."""

    urn: str
    declared: Object
    inputs: Object
    manager: str
    timeout_seconds: float
    is_patch: bool
    upserts: bool

    @classmethod
    def of(cls, configured: Configured, request: provider_pb2.CreateRequest) -> Creation:
        declared = values.read(request.properties)
        inputs = values.plain(declared)
        token = tokens.resolve(tokens.type_of(request.urn), str(inputs.get("kind") or ""))
        return cls(
            urn=request.urn,
            declared=declared,
            inputs=inputs,
            manager=naming.field_manager({}, inputs),
            timeout_seconds=request.timeout,
            is_patch=token.is_patch,
            upserts=configured.settings.upsert_existing_objects,
        )

    def state(self, live: Object) -> Object:
        return checkpoint.record(
            live=live,
            inputs=self.inputs,
            declared=self.declared,
            initial_api_version=text_at(self.inputs, "apiVersion"),
            field_manager=self.manager,
        )


def create(configured: Configured, request: provider_pb2.CreateRequest) -> provider_pb2.CreateResponse:
    """Create for real, or say what would come out of it."""
    creation = Creation.of(configured, request)
    if request.preview:
        return provider_pb2.CreateResponse(properties=values.write(_preview(configured, creation)))
    reached = configured.cluster.demand()
    endpoint, live = _create(configured, reached, creation)
    try:
        live = configured.wait_until_ready(
            reached, endpoint, live, creation.inputs, urn=creation.urn, timeout_seconds=creation.timeout_seconds
        )
    except NotReadyError as error:
        message = (
            f'resource "{creation.urn}" was successfully created, but the Kubernetes API server reported that it '
            f"failed to fully initialize or become live: {error}"
        )
        raise half_done(error, message, creation.state(error.live)) from error
    return provider_pb2.CreateResponse(id=naming.object_id(live), properties=values.write(creation.state(live)))


def _create(configured: Configured, reached: Reached, creation: Creation) -> tuple[Endpoint, Object]:
    writer = Writer(reached, creation.manager, force=configured.forces(creation.inputs))
    report = configured.reporter(creation.urn)
    endpoint = Endpoint(target_of(creation.inputs), "", namespaced=False)

    def attempt() -> Answer:
        nonlocal endpoint
        endpoint = reached.discovery.endpoint(target_of(creation.inputs))
        return _write(writer, endpoint, creation)

    try:
        answer = retried(attempt, reached=reached, report=report)
    except (ApiError, UnknownKindError, UnreachableError, CancelledError) as error:
        raise _failure(creation, error) from error
    finally:
        report.clear()
    configured.show_warnings(creation.urn, answer)
    return endpoint, answer.body


def _write(writer: Writer, endpoint: Endpoint, creation: Creation) -> Answer:
    if creation.is_patch:
        return writer.apply(endpoint, creation.inputs)
    if creation.upserts:
        return writer.upsert(endpoint, creation.inputs)
    return writer.create(endpoint, creation.inputs)


def _failure(creation: Creation, error: Exception) -> PluginError:
    if isinstance(error, UnknownKindError):
        return PluginError(
            f'creation of resource "{creation.urn}" with kind {error.target.api_version}/{error.target.kind} failed '
            "because the Kubernetes API server reported that the apiVersion for this resource does not exist. "
            f"Verify that any required CRDs have been created: {error}"
        )
    if isinstance(error, CancelledError):
        return PluginError(f'creation of resource "{creation.urn}" was cancelled before the object was created')
    advice = _EXISTS_ADVICE if isinstance(error, ApiError) and error.reason == "AlreadyExists" else ""
    return PluginError(
        f'resource "{creation.urn}" was not successfully created by the Kubernetes API server: {error}{advice}'
    )


def _preview(configured: Configured, creation: Creation) -> Object:
    """The outputs as far as they are known: from a dry run where one is possible, else the inputs themselves."""
    namespace = text_at(creation.inputs, "metadata", "namespace")
    if values.has_unknown(creation.inputs) or creation.is_patch or namespace in configured.missing_namespaces:
        return with_unknowns(creation.declared, creation.inputs)
    reached = configured.cluster.demand()
    try:
        endpoint = reached.discovery.endpoint(target_of(creation.inputs))
        writer = Writer(reached, creation.manager, force=True, dry_run=True)
        write = writer.apply if creation.upserts else writer.create
        answer = write(endpoint, creation.inputs)
    except UnknownKindError:
        return with_unknowns(creation.declared, creation.inputs)
    except ApiError as error:
        if error.names_missing_namespace:
            configured.missing_namespaces.add(namespace)
        if error.status in (403, 404, 409) or "dry run" in str(error):
            return with_unknowns(creation.declared, creation.inputs)
        raise _failure(creation, error) from error
    configured.show_warnings(creation.urn, answer)
    live = {key: value for key, value in answer.body.items() if key != "status"}
    return with_unknowns(creation.state(live), creation.inputs)


def with_unknowns(outputs: Object, inputs: Object) -> Object:
    """Previewed outputs of a new object, a Service's addresses marked as unknown: the server will choose others.

    The metadata stay as a dry run gives them: programs read names out of them with `apply`, which a preview does not
    run over anything unknown.
    """
    spec: Any = outputs.get("spec")
    told = mapping_at(inputs, "spec")
    if inputs.get("kind") != "Service" or not isinstance(spec, dict) or told.get("type") == "ExternalName":
        return outputs
    chosen = [key for key in _ALLOCATED if key not in told]
    return {**outputs, "spec": {**spec, **dict.fromkeys(chosen, UNKNOWN)}}
