"""Object names: auto-naming as the official plugin does it, and the ids `namespace/name` in the state."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from lab.plugins.kubernetes import directives
from lab.plugins.kubernetes.values import UNKNOWN, Object, mapping_at, text_at
from lab.plugins.serving import PluginError

FIELD_MANAGER_PREFIX = "pulumi-kubernetes-"


@dataclass(frozen=True)
class Autonaming:
    """What the engine's autonaming configuration asks for."""

    proposed_name: str = ""
    disabled: bool = False


def unique_suffix(seed: bytes, prefix: str) -> str:
    """Eight hexadecimal digits, the same for the same seed; random without one."""
    if not seed:
        return secrets.token_hex(4)
    return hashlib.sha512(seed + prefix.encode()).hexdigest()[:8]


def has_name(inputs: Object) -> bool:
    """Whether the program names the object, be it by a value a preview cannot know."""
    metadata = inputs.get("metadata")
    if metadata is UNKNOWN:
        return True
    name = mapping_at(inputs, "metadata").get("name")
    return name is UNKNOWN or bool(name)


def refuse_generate_name(inputs: Object) -> None:
    generated = mapping_at(inputs, "metadata").get("generateName")
    if generated and not has_name(inputs):
        raise PluginError(
            "the `.metadata.generateName` field is not supported in Server-Side Apply mode; "
            "leave the name out to have one generated, or set `.metadata.name`"
        )


def assign(inputs: Object, *, resource_name: str, old_inputs: Object, seed: bytes, autonaming: Autonaming) -> None:
    """Give an unnamed object its old generated name, or a new one, and mark it as generated."""
    if has_name(inputs):
        return
    if directives.is_true(old_inputs, directives.AUTONAMED):
        _set_generated(inputs, text_at(old_inputs, "metadata", "name"))
        return
    # A name that the program chose before is not ours to keep: the object gets a new one, and is replaced.
    if autonaming.disabled:
        raise PluginError("autonaming is disabled, resource requires the .metadata.name field to be set")
    prefix = f"{resource_name}-"
    _set_generated(inputs, autonaming.proposed_name or prefix + unique_suffix(seed, prefix))


def _set_generated(inputs: Object, name: str) -> None:
    inputs.setdefault("metadata", {})["name"] = name
    directives.mark(inputs, directives.AUTONAMED)


def field_manager(state: Object, inputs: Object) -> str:
    """The field manager of a resource: its annotation, else the one in its state, else a new one of its own."""
    recorded = state.get("__fieldManager")
    return (
        directives.value(inputs, directives.PATCH_FIELD_MANAGER)
        or (recorded if isinstance(recorded, str) else "")
        or FIELD_MANAGER_PREFIX + unique_suffix(b"", FIELD_MANAGER_PREFIX)
    )


def object_id(live: Object) -> str:
    """The Pulumi id of a live object."""
    namespace, name = text_at(live, "metadata", "namespace"), text_at(live, "metadata", "name")
    return f"{namespace}/{name}" if namespace else name


def parse_id(identifier: str) -> tuple[str, str]:
    """Namespace (empty for cluster-wide objects) and name in a Pulumi id; raises `PluginError` for anything else."""
    namespace, _, name = identifier.rpartition("/")
    if not name or "/" in namespace:
        raise PluginError(f"{identifier!r} is no id of a Kubernetes object: it reads `name` or `namespace/name`")
    return namespace, name


def qualified_name(live: Object) -> str:
    """How messages name an object: the `default` namespace is left out, as the official plugin does."""
    namespace, name = text_at(live, "metadata", "namespace"), text_at(live, "metadata", "name")
    return f"{namespace}/{name}" if namespace not in ("", "default") else name
