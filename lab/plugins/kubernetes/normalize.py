"""Inputs in the form the API server gives back, so that the same object written in two ways is no difference."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from lab.plugins.kubernetes import quantities
from lab.plugins.kubernetes.tokens import GroupVersionKind, words
from lab.plugins.kubernetes.values import UNKNOWN, Object, has_unknown

_READ_ONLY_METADATA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)
# Maps of quantities, and single quantities, by the name of their key; the parents keep user data out of it.
_QUANTITY_MAPS = frozenset({"limits", "requests", "hard", "overhead", "capacity", "allocatable"})
_LIMIT_RANGE_MAPS = frozenset({"max", "min", "default", "defaultRequest", "maxLimitRequestRatio"})
_QUANTITIES = {"emptyDir": "sizeLimit", "resourceFieldRef": "divisor"}
_METRIC_QUANTITIES = ("value", "averageValue")
_STRING_MAPS = frozenset({"labels", "annotations", "data", "binaryData", "nodeSelector", "matchLabels"})
# Below these keys the program's own data starts, whose keys mean nothing to Kubernetes.
_OPAQUE = frozenset({"data", "stringData", "binaryData", "labels", "annotations", "matchLabels", "parameters"})
# Fields whose zero value Kubernetes' types do not write down. Those with a pointer in Go (`replicas: 0`,
# `automountServiceAccountToken: false`) are stored as they are told and must not be here.
_FALSE_BY_DEFAULT = words(
    "globalDefault hostNetwork hostPID hostIPC paused publishNotReadyAddresses readOnly stdin stdinOnce tty "
    "unschedulable"
)
_ZERO_BY_DEFAULT = words("hostPort initialDelaySeconds minReadySeconds nodePort")
# Texts with a pointer in Go: an empty one means something other than none.
_TEXTS_THAT_MAY_BE_EMPTY = words("appProtocol ingressClassName loadBalancerClass storageClassName volumeMode")
_DASHED = (
    "embedded-resource",
    "int-or-string",
    "list-map-keys",
    "list-type",
    "map-type",
    "preserve-unknown-fields",
    "validations",
)
_TO_DASHES = {f"x_kubernetes_{name.replace('-', '_')}": f"x-kubernetes-{name}" for name in _DASHED}
_TO_UNDERSCORES = {dashed: underscored for underscored, dashed in _TO_DASHES.items()}


def normalize(inputs: Object) -> Object:
    """A normalized copy; an object with unknowns in it loses its read-only metadata alone."""
    result = dict(inputs)
    if not has_unknown(inputs):
        result = _by_kind(result)
    metadata = result.get("metadata")
    if isinstance(metadata, dict):
        result["metadata"] = {key: value for key, value in metadata.items() if key not in _READ_ONLY_METADATA}
    return result


def _by_kind(inputs: Object) -> Object:
    kind = str(inputs.get("kind"))
    target = GroupVersionKind.of(str(inputs.get("apiVersion")), kind)
    if target.group == "apiextensions.k8s.io" and kind == "CustomResourceDefinition":
        return _custom_resource_definition(inputs)
    if target.group == "" and kind == "Secret":
        return _secret(inputs)
    if not target.is_built_in:
        return inputs
    return {key: _walk(value, key, kind) for key, value in inputs.items() if not _is_empty(key, value)}


def _is_empty(key: str, value: Any) -> bool:
    """Whether the server drops the field, since it says the same as no field."""
    if value is False:
        return key in _FALSE_BY_DEFAULT
    if value == 0:
        return key in _ZERO_BY_DEFAULT
    if value == "":
        return key not in _TEXTS_THAT_MAY_BE_EMPTY
    return value is None or value == [] or (value == {} and key in _STRING_MAPS)


def _walk(value: Any, key: str, kind: str) -> Any:
    if isinstance(value, list):
        return [_walk(item, "", kind) for item in value]
    if not isinstance(value, dict):
        return value
    if key in _QUANTITY_MAPS or (kind == "LimitRange" and key in _LIMIT_RANGE_MAPS):
        return {name: _quantity(item) for name, item in value.items()}
    if key in _OPAQUE:
        return value
    kept = {name: _walk(item, name, kind) for name, item in value.items() if not _is_empty(name, item)}
    return _with_quantities(kept, key, kind)


def _with_quantities(value: Object, key: str, kind: str) -> Object:
    names: tuple[str, ...] = (_QUANTITIES[key],) if key in _QUANTITIES else ()
    if kind == "HorizontalPodAutoscaler" and key == "target":
        names = _METRIC_QUANTITIES
    return {name: _quantity(item) if name in names else item for name, item in value.items()}


def _quantity(value: Any) -> Any:
    return quantities.canonical(value) if isinstance(value, str | int | float) else value


def _custom_resource_definition(inputs: Object) -> Object:
    """`preserveUnknownFields: false` is removed by the server, and the status is not an input."""
    result = {key: value for key, value in inputs.items() if key != "status"}
    spec = result.get("spec")
    if isinstance(spec, dict) and spec.get("preserveUnknownFields") is False:
        result["spec"] = {key: value for key, value in spec.items() if key != "preserveUnknownFields"}
    return result


def _secret(inputs: Object) -> Object:
    """The server merges `stringData` into `data`, and stores base64 in its canonical form."""
    result = {key: value for key, value in inputs.items() if key != "stringData"}
    text, data = inputs.get("stringData"), inputs.get("data")
    encoded = {key: _canonical_base64(value) for key, value in data.items()} if isinstance(data, dict) else {}
    if isinstance(text, dict):
        encoded |= {key: base64.b64encode(str(value).encode()).decode() for key, value in text.items()}
    if encoded:
        result["data"] = encoded
    return {key: value for key, value in result.items() if not _is_empty(key, value)}


def _canonical_base64(value: Any) -> Any:
    try:
        return base64.b64encode(base64.b64decode(value, validate=False)).decode()
    except (binascii.Error, ValueError, TypeError):
        return value  # the server names the key when it refuses the object


def prune(live: Any, shape: Any) -> Any:
    """The parts of a live object that the inputs speak of; lists by position, at most as many as the inputs have."""
    if isinstance(live, dict) and isinstance(shape, dict):
        return {key: prune(value, shape[key]) for key, value in live.items() if key in shape}
    if isinstance(live, list) and isinstance(shape, list):
        return [prune(item, told) for item, told in zip(live, shape, strict=False)]
    return live


def to_dashes(value: Any) -> Any:
    """A CustomResourceDefinition's schema keys as Kubernetes spells them: `x-kubernetes-…`."""
    return _rename(value, _TO_DASHES)


def to_underscores(value: Any) -> Any:
    """The same keys as the SDK spells them: `x_kubernetes_…`."""
    return _rename(value, _TO_UNDERSCORES)


def _rename(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _rename(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_rename(item, names) for item in value]
    return value if value is not UNKNOWN else UNKNOWN
