"""Invoke: decoding YAML for the SDK's config groups and files; the rest needs the official plugin."""

from __future__ import annotations

from typing import Any

import yaml
from pulumi.runtime.proto import provider_pb2

from lab.plugins.kubernetes import OFFICIAL_PLUGIN, values
from lab.plugins.kubernetes.client import UnreachableError
from lab.plugins.kubernetes.configured import Configured
from lab.plugins.kubernetes.tokens import GroupVersionKind
from lab.plugins.kubernetes.values import Object
from lab.plugins.serving import PluginError

_DECODE = "kubernetes:yaml:decode"


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML as Kubernetes reads it: timestamps are text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Loader.yaml_implicit_resolvers.items()
}


def invoke(configured: Configured, request: provider_pb2.InvokeRequest) -> provider_pb2.InvokeResponse:
    if request.tok != _DECODE:
        raise PluginError(
            f"the function {request.tok} is not supported by the fallback for {OFFICIAL_PLUGIN}; "
            "it needs the official plugin"
        )
    arguments = values.plain(values.read(request.args))
    text = arguments.get("text")
    if not isinstance(text, str):
        raise PluginError("missing required field 'text' of type string")
    decoded = decode(configured, text, str(arguments.get("defaultNamespace") or ""))
    result = provider_pb2.InvokeResponse()
    getattr(result, "return").CopyFrom(values.write({"result": decoded}))
    return result


def decode(configured: Configured, text: str, default_namespace: str) -> list[Object]:
    """The objects in a YAML stream, empty documents left out."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.YAMLError as error:
        raise PluginError(f"the manifest is no valid YAML: {error}") from error
    found = [item for item in documents if isinstance(item, dict) and item.get("kind") and item.get("apiVersion")]
    for item in found:
        metadata: Any = item.get("metadata") or {}
        if default_namespace and not metadata.get("namespace") and _is_namespaced(configured, item):
            item["metadata"] = {**metadata, "namespace": default_namespace}
    return found


def _is_namespaced(configured: Configured, item: Object) -> bool:
    target = GroupVersionKind.of(str(item["apiVersion"]), str(item["kind"]))
    if (known := target.known_scope) is not None:
        return known
    try:
        return configured.cluster.reach().discovery.is_namespaced(target) is not False
    except UnreachableError:
        return True
