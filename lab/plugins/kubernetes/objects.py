"""Writing objects to the API server: create, server-side apply, replace, relinquish, delete."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lab.plugins.kubernetes import managed_fields
from lab.plugins.kubernetes.client import APPLY_PATCH, JSON_PATCH, Answer, ApiError, CancelledError
from lab.plugins.kubernetes.cluster import Reached
from lab.plugins.kubernetes.diff import changes
from lab.plugins.kubernetes.discovery import Endpoint, UnknownKindError
from lab.plugins.kubernetes.normalize import normalize, prune
from lab.plugins.kubernetes.tokens import GroupVersionKind
from lab.plugins.kubernetes.values import Object, mapping_at, text_at
from lab.plugins.serving import PluginError

# How long a create waits for its namespace, or for the definition of its kind, to come (seconds): the official plugin's
# five retries, asked more often.
_RETRY_SECONDS = 31.0
_TAKE_OVER_ATTEMPTS = 10


@dataclass(frozen=True)
class Writer:
    """How one resource writes its object."""

    reached: Reached
    manager: str
    force: bool = False
    dry_run: bool = False

    def _query(self, **more: str) -> dict[str, str]:
        query = {"fieldValidation": "Warn", **more}
        return {**query, "dryRun": "All"} if self.dry_run else query

    def create(self, endpoint: Endpoint, body: Object) -> Answer:
        """A new object; an existing one of that name is an error, so that nobody's object is taken by accident."""
        namespace, _ = _identity(body)
        path = endpoint.collection((namespace or "default") if endpoint.namespaced else "")
        sent = _in_scope(endpoint, body)
        return self.reached.client.send("POST", path, query=self._query(fieldManager=managed_fields.CREATOR), body=sent)

    def upsert(self, endpoint: Endpoint, body: Object) -> Answer:
        """A new object, or an existing one brought to these inputs; other managers' fields stay theirs."""
        try:
            return self.create(endpoint, body)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
        live = self.reached.client.get(endpoint.path(*_identity(body)))
        if managed_fields.has_legacy_manager(live):
            self._take_over(endpoint, live, None)
        return self.apply(endpoint, body)

    def apply(self, endpoint: Endpoint, body: Object) -> Answer:
        """Server-side apply: create, or set the fields of the inputs and let go of those that are no longer there."""
        query = self._query(fieldManager=self.manager, force=str(self.force).lower())
        path = endpoint.path(*_identity(body))
        try:
            return self.reached.client.send(
                "PATCH", path, query=query, body=_in_scope(endpoint, body), content_type=APPLY_PATCH
            )
        except ApiError as error:
            if error.status == 409 and error.reason == "Conflict" and error.causes:
                raise PluginError(managed_fields.conflict_message(error, self.manager)) from error
            raise

    def replace(self, endpoint: Endpoint, body: Object) -> Answer:
        """Replace an object as a whole, as CustomResourceDefinitions are updated."""
        path = endpoint.path(*_identity(body))
        live = self.reached.client.get(path)
        metadata = {**mapping_at(body, "metadata"), "resourceVersion": text_at(live, "metadata", "resourceVersion")}
        return self.reached.client.send(
            "PUT", path, query=self._query(fieldManager=self.manager), body={**body, "metadata": metadata}
        )

    def relinquish(self, endpoint: Endpoint, live: Object) -> Answer:
        """Give up all fields of the manager, without touching anyone else's."""
        namespace, name = _identity(live)
        metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
        bare = {"apiVersion": endpoint.target.api_version, "kind": endpoint.target.kind, "metadata": metadata}
        return self.reached.client.send(
            "PATCH",
            endpoint.path(namespace, name),
            query=self._query(fieldManager=self.manager),
            body=bare,
            content_type=APPLY_PATCH,
        )

    def update(self, endpoint: Endpoint, body: Object, *, recorded: Object, old_inputs: Object) -> Answer:
        """Apply to an object this stack has; fields held by its creator, or by kubectl, are taken over first.

        `recorded` is the object as the state has it. Where that shows the manager's own earlier apply, one request is
        enough; else, as at the first update, the ownership is put right before.
        """
        if self.dry_run:
            return replace(self, force=self.force or managed_fields.has_legacy_manager(recorded)).apply(endpoint, body)
        if not managed_fields.is_applied_by(recorded, self.manager):
            self._take_over(endpoint, recorded, old_inputs)
        return self.apply(endpoint, body)

    def _take_over(self, endpoint: Endpoint, recorded: Object, old_inputs: Object | None) -> None:
        """Move the legacy managers' fields; what kubectl holds too, if the object is still as `old_inputs` left it."""
        for _ in range(_TAKE_OVER_ATTEMPTS):  # a controller may write its status between our reading and writing
            live = self.reached.client.get(endpoint.path(*_identity(recorded)))
            if self._move_ownership(endpoint, live, old_inputs):
                return
        raise PluginError(f"the object changes so often that its fields could not be taken over by {self.manager!r}")

    def _move_ownership(self, endpoint: Endpoint, live: Object, old_inputs: Object | None) -> bool:
        """Whether no legacy manager is left; false when the object has changed since it was read."""
        takes = old_inputs is not None and not _has_drifted(live, old_inputs)
        moved = managed_fields.taken_over(live, self.manager, take_kubectl=takes)
        if moved is None:
            return True
        patch = _ownership_patch(live, moved)
        try:
            self.reached.client.send("PATCH", endpoint.path(*_identity(live)), body=patch, content_type=JSON_PATCH)
        except ApiError as error:
            if error.status in (409, 422):
                return False
            raise
        return True


def _ownership_patch(live: Object, moved: list[Object]) -> list[Object]:
    version = text_at(live, "metadata", "resourceVersion")
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "replace", "path": "/metadata/managedFields", "value": moved},
    ]


def _has_drifted(live: Object, old_inputs: Object) -> bool:
    """Whether somebody changed a field of ours since: then kubectl's hold on it is a conflict to be told."""
    before = normalize(old_inputs)
    return any(True for _ in changes(before, normalize(prune(live, before))))


def _in_scope(endpoint: Endpoint, body: Object) -> Object:
    """The object without the namespace that was assumed before its kind turned out to be cluster-wide."""
    metadata = mapping_at(body, "metadata")
    if endpoint.namespaced or "namespace" not in metadata:
        return body
    return {**body, "metadata": {key: value for key, value in metadata.items() if key != "namespace"}}


def _identity(body: Object) -> tuple[str, str]:
    return text_at(body, "metadata", "namespace"), text_at(body, "metadata", "name")


def target_of(body: Object) -> GroupVersionKind:
    """The kind an object says it is."""
    return GroupVersionKind.of(text_at(body, "apiVersion"), text_at(body, "kind"))


def retried(attempt: Callable[[], Answer], *, reached: Reached, report: Callable[[str], None]) -> Answer:
    """Try again while the namespace or the kind is still to come from another resource of the same update."""
    deadline, pause, number = time.monotonic() + _RETRY_SECONDS, 0.1, 0
    while True:
        try:
            return attempt()
        except (UnknownKindError, ApiError) as error:
            if isinstance(error, ApiError) and not error.is_not_found:
                raise
            if time.monotonic() >= deadline:
                raise
            report(f"Retry #{number}; creation failed: {error}")
        if reached.client.cancelled.wait(pause):
            raise CancelledError
        pause, number = min(pause * 2, 2.0), number + 1


def delete(reached: Reached, endpoint: Endpoint, live: Object, policy: str) -> Mapping[str, Any]:
    """Ask for the deletion; the answer is the object while it goes, or a Status when it is gone."""
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
    return reached.client.send("DELETE", endpoint.path(*_identity(live)), body=options).body
