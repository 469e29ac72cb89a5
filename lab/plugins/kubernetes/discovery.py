"""Where the API server keeps the objects of a kind: path and scope, asked once per API version."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from urllib.parse import quote

from lab.plugins.kubernetes.client import ApiError, Client
from lab.plugins.kubernetes.tokens import GroupVersionKind
from lab.plugins.kubernetes.values import Object, list_at, mapping_at, text_at


class UnknownKindError(Exception):
    """The API server does not serve this kind (yet)."""

    def __init__(self, target: GroupVersionKind) -> None:
        super().__init__(f"no matches for kind {target.kind!r} in version {target.api_version!r}")
        self.target = target


@dataclass(frozen=True)
class Endpoint:
    """Where objects of one kind live."""

    target: GroupVersionKind
    plural: str
    namespaced: bool

    def collection(self, namespace: str = "") -> str:
        """The path of all objects, in one namespace where the kind has them and one is given."""
        base = f"/apis/{self.target.api_version}" if self.target.group else f"/api/{self.target.version}"
        scope = f"/namespaces/{quote(namespace)}" if self.namespaced and namespace else ""
        return f"{base}{scope}/{self.plural}"

    def path(self, namespace: str, name: str) -> str:
        """The path of one object."""
        return f"{self.collection((namespace or 'default') if self.namespaced else '')}/{quote(name)}"


class Discovery:
    """Knows the server's kinds; safe for many threads."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._versions: dict[str, dict[str, Endpoint]] = {}
        self._declared_scopes: dict[tuple[str, str], bool] = {}

    def endpoint(self, target: GroupVersionKind) -> Endpoint:
        """Where the kind is served; asks again for a kind not seen before, since a definition may have come since."""
        with self._lock:
            kinds = self._versions.get(target.api_version)
            if kinds is None or target.kind not in kinds:
                kinds = self._versions[target.api_version] = self._ask(target)
        if target.kind not in kinds:
            raise UnknownKindError(target)
        return kinds[target.kind]

    def is_namespaced(self, target: GroupVersionKind) -> bool | None:
        """The kind's scope: built in, declared by this program's own definitions, or asked; `None` if unknown."""
        if (known := target.known_scope) is not None:
            return known
        if (declared := self._declared_scopes.get((target.group, target.kind))) is not None:
            return declared
        try:
            return self.endpoint(target).namespaced
        except (UnknownKindError, ApiError):
            return None

    def declare(self, definition: Object) -> None:
        """Remember the scope in a CustomResourceDefinition that may not be in the cluster yet."""
        spec = mapping_at(definition, "spec")
        scope, kind = text_at(spec, "scope"), text_at(spec, "names", "kind")
        if scope and kind:
            self._declared_scopes[text_at(spec, "group"), kind] = scope == "Namespaced"

    def _ask(self, target: GroupVersionKind) -> dict[str, Endpoint]:
        path = f"/apis/{target.api_version}" if target.group else f"/api/{target.version}"
        try:
            listed = self._client.get(path)
        except ApiError as error:
            if error.is_not_found:
                raise UnknownKindError(target) from error
            raise
        return {
            resource["kind"]: Endpoint(
                GroupVersionKind(target.group, target.version, resource["kind"]),
                resource["name"],
                resource["namespaced"],
            )
            for resource in list_at(listed, "resources")
            if "/" not in resource["name"]
        }
