"""Compares two recorded states: resource by resource, field by field, or each input with its counterpart. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from slipway.engine.events import Urn
from slipway.engine.stages import IMAGE_TYPE
from slipway.masking import SECRET, SECRET_VALUE, as_text, masked
from slipway.state.checkpoint import ResourceState, Snapshot, objects, renames, stem, successors
from slipway.values import (
    MISSING,
    Path,
    by_index_if_as_long,
    by_name,
    differences,
    has_encrypted,
    opened,
    same,
    walk,
)

# Deleting or replacing one of these deletes the data stored in it, or the objects of its kind.
STATEFUL_KINDS = {"Namespace", "PersistentVolume", "PersistentVolumeClaim", "StatefulSet", "CustomResourceDefinition"}
MAY_HAVE_CHANGED = "(secret, may have changed)"
PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$]*")
Kind = Literal["add", "delete", "update"]
Key = str | int


class Operation(StrEnum):
    """What happens to a resource, in the order in which users should look at it."""

    REPLACE = "replace"
    DELETE = "delete"
    UPDATE = "update"
    CREATE = "create"


@dataclass(frozen=True)
class ResourceChange:
    """One resource that would change. `service` is the service that it belongs to, empty for none."""

    resource: Urn
    operation: Operation
    service: str = ""
    fields: tuple[FieldChange, ...] = ()
    deleted_first: bool = False
    """Whether a replacement deletes the old resource before the new one exists."""
    kept: bool = False
    """Whether a deletion only removes it from the state: the object itself stays (`retain_on_delete`)."""
    before: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The present inputs, secrets masked by `slipway.masking.masked`; empty for a created resource."""
    after: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The new inputs, masked likewise; empty for a deleted resource."""

    @property
    def is_build(self) -> bool:
        """Whether an image is built or rebuilt: nothing that runs is affected."""
        return self.resource.type == IMAGE_TYPE and self.operation is not Operation.DELETE

    @property
    def loses_data(self) -> bool:
        gone = self.operation is Operation.DELETE or (self.operation is Operation.REPLACE and self.deleted_first)
        return gone and not self.kept and self.resource.kind in STATEFUL_KINDS


@dataclass(frozen=True)
class Difference:
    """`changes` sorted by service, those without one first. Without `secrets_compared` a secret may have changed."""

    changes: tuple[ResourceChange, ...]
    secrets_compared: bool

    def __bool__(self) -> bool:
        return bool(self.changes)


def difference(old: Snapshot, new: Snapshot) -> Difference:
    """The changes from `old` to `new`, best decrypted: every update encrypts a secret again, and it then differs."""
    before, after = objects(old), objects(new)
    secrets_compared = not any(has_encrypted(each.inputs) for each in (*before.values(), *after.values()))
    renamed = {**{old: new for new, old in renames(after, before).items()}, **renames(before, after)}
    came = {**successors(before, after), **renamed}
    pairs = {urn: came.get(urn, urn) for urn in before if came.get(urn, urn) in after}
    there = set(pairs.values())
    changes = [
        *_whole(Operation.DELETE, (each for urn, each in before.items() if urn not in pairs)),
        *_whole(Operation.CREATE, (each for urn, each in after.items() if urn not in there)),
    ]
    for then, now in pairs.items():
        change = _updated(before[then], after[now], secrets_compared)
        if change.fields:
            changes.append(change)
    changes.sort(key=lambda change: (change.service, change.resource.kind, change.resource.name))
    return Difference(tuple(changes), secrets_compared)


def _whole(operation: Operation, states: Iterable[ResourceState]) -> Iterator[ResourceChange]:
    """A change for each resource that is all on one side: deleted or created."""
    side = "before" if operation is Operation.DELETE else "after"
    for each in states:
        change = ResourceChange(Urn(each.urn), operation, each.service)
        yield replace(change, **{side: masked(each.inputs, each.type)})


def _updated(old: ResourceState, new: ResourceState, secrets_compared: bool) -> ResourceChange:
    fields = []
    if stem(old.urn) != stem(new.urn):
        key = "name" if old.name != new.name else "parent"
        was, now = (each.name if key == "name" else each.parent.rsplit("::", 1)[-1] for each in (old, new))
        fields.append(FieldChange(f"({key} in Pulumi)", "update", was, now))
    if old.inputs != new.inputs:
        differing = differences(_opened(old), _opened(new), lists=by_index_if_as_long)
        detailed = {path_text(each.path): {"diffKind": "update", "inputDiff": True} for each in differing}
        for change in field_changes(StepDetails(old.type, old.inputs, new.inputs, {}, detailed)):
            # If the masked values are equal, a secret differs: the change is shown, not its values.
            is_unsure = not secrets_compared and change.old == change.new == SECRET
            fields.append(replace(change, new=MAY_HAVE_CHANGED) if is_unsure else change)
    updated = ResourceChange(Urn(new.urn), Operation.UPDATE, new.service, tuple(fields))
    if not fields:
        return updated
    return replace(updated, before=masked(old.inputs, old.type), after=masked(new.inputs, new.type))


def _opened(resource: ResourceState) -> Any:
    """Its inputs as plain values, or unchanged if they are encrypted."""
    return resource.inputs if has_encrypted(resource.inputs) else opened(resource.inputs)


@dataclass(frozen=True)
class FieldChange:
    """One field: `old` and `new` are texts that may be shown, `None` if there is none (added, deleted, not known)."""

    path: str
    kind: Kind
    old: str | None
    new: str | None
    replaces: bool = False
    """Whether this field's change is why the resource is replaced."""


@dataclass(frozen=True)
class StepDetails:
    """The engine's data on a step that changes a resource: `detailed_diff` maps paths to kinds of difference."""

    type: str
    old_inputs: Mapping[str, Any]
    new_inputs: Mapping[str, Any]
    old_outputs: Mapping[str, Any]
    detailed_diff: Mapping[str, Mapping[str, Any]]
    diffs: Sequence[str] = ()
    replace_keys: Sequence[str] = ()


def field_changes(step: StepDetails) -> tuple[FieldChange, ...]:
    """The fields whose inputs differ, in the order of the inputs, then those that only the provider reports."""
    old, new = masked(step.old_inputs, step.type), masked(step.new_inputs, step.type)
    live = masked(step.old_outputs, step.type)
    found = []
    for each in differences(old, new, lists=by_name, notes=False):
        kind: Kind = "add" if each.old is MISSING else "delete" if each.new is MISSING else "update"
        found.append(FieldChange(path_text(each.path), kind, _text_or_none(each.old), _text_or_none(each.new)))
    shown = {change.path for change in found}
    # Differences that the inputs do not show: secret values, a changed build context, changes in the cluster.
    for path, diff in step.detailed_diff.items():
        in_inputs = bool(diff.get("inputDiff"))
        before, after = _at(old if in_inputs else live, path), _at(new, path)
        hidden = same(before, after) if in_inputs else not _touches(path, shown)
        if hidden and not path.startswith("__") and (before, after) != (MISSING, MISSING):
            found.append(FieldChange(path, _kind(diff), _text_or_none(before), _text_or_none(after)))
    if not step.detailed_diff:
        # The engine only names the top-level fields that change: where the inputs show nothing, the values are secret.
        hidden_names = [name for name in step.diffs if not _touches(name, shown)]
        found += [FieldChange(name, "update", SECRET, SECRET) for name in hidden_names]
    replacing = {
        path for path, diff in step.detailed_diff.items() if str(diff.get("diffKind", "")).endswith("-replace")
    }
    replacing |= set(step.replace_keys)
    return tuple(replace(change, replaces=_touches(change.path, replacing)) for change in found)


def path_text(path: Path) -> str:
    """The path as the engine writes it: `spec.containers[0].image`, `data["app.conf"]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        elif PLAIN_KEY.fullmatch(key):
            text += f".{key}" if text else key
        else:
            text += f"[{json.dumps(key, ensure_ascii=False)}]"
    return text


def _kind(diff: Mapping[str, Any]) -> Kind:
    """`add-replace` is an `add`; the reason for the replacement is kept separately."""
    kinds: tuple[Kind, ...] = ("add", "delete", "update")
    return next((kind for kind in kinds if str(diff.get("diffKind")).startswith(kind)), "update")


def _text_or_none(value: Any) -> str | None:
    return None if value is MISSING else as_text(value)


def _touches(path: str, others: set[str]) -> bool:
    """Whether `path` is one of `others`, within one of them or around one."""
    return any(_within(path, other) or _within(other, path) for other in others)


def _within(path: str, other: str) -> bool:
    return path == other or (path.startswith(other) and path[len(other)] in ".[")


def _at(value: Any, path: str) -> Any:
    """The value at `path`, MISSING if there is none; a secret hides everything in it."""
    for key in _keys(path):
        if value is SECRET_VALUE:
            return value
        is_index = isinstance(value, list) and isinstance(key, int) and key < len(value)
        if not is_index and not (isinstance(value, dict) and key in value):
            return MISSING
        value = value[key]
    return value


_NEXT_KEY: Sequence[tuple[re.Pattern[str], Callable[[str], Key]]] = (
    (re.compile(r'\[("(?:[^"\\]|\\.)*")\]'), json.loads),
    (re.compile(r"\[(\d+)\]"), int),
    (re.compile(r"\.?([^.\[]+)"), str),
)


def _keys(path: str) -> Iterator[Key]:
    position = 0
    while position < len(path):
        for pattern, convert in _NEXT_KEY:
            if found := pattern.match(path, position):
                yield convert(found[1])
                position = found.end()
                break
        else:
            return


@dataclass(frozen=True)
class Comparison:
    """`equal` of `total` recorded inputs are the same; `differences` names every one that is not, without its value."""

    equal: int
    total: int
    differences: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.equal}/{self.total}"


def compared(recorded: Mapping[str, ResourceState], actual: Mapping[str, ResourceState]) -> Comparison:
    """Compare each input of each recorded object with the actual one, both decrypted; additional ones count as well."""
    equal, total, unlike = 0, 0, []
    for urn, each in recorded.items():
        then = _leaves(each)
        now = _leaves(actual[urn]) if urn in actual else {}
        unequal = [path for path, value in then.items() if path not in now or not same(value, now[path])]
        beyond = (path for path in now if path not in then)
        total += len(then)
        equal += len(then) - len(unequal)
        for path in (*unequal, *beyond):
            text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
            unlike.append(f"{Urn(urn)}: {text.removeprefix('.')}")
    unlike += [f"{Urn(urn)}: exists and should not" for urn in actual if urn not in recorded]
    return Comparison(equal, total, tuple(unlike))


def _leaves(resource: ResourceState) -> dict[Path, Any]:
    """Each input by its path."""
    return dict(walk(opened(resource.inputs)))
