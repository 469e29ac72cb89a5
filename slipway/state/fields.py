"""The fields of a resource that change, with old and new values, secrets masked. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from slipway.masking import SECRET, SECRET_VALUE, as_text, masked
from slipway.values import MISSING, Path, ValueDifference, by_name, differences, same

PLAIN_KEY = re.compile(r"[A-Za-z_$][\w$]*")
Kind = Literal["add", "delete", "update"]
Key = str | int


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
    visible = list(map(_change, differences(old, new, lists=by_name, notes=False)))
    found = [*visible, *_provider_differences(step, visible)]
    found += _hidden_in_secrets(step, found)
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


def _change(difference: ValueDifference) -> FieldChange:
    old, new = difference.old, difference.new
    kind: Kind = "add" if old is MISSING else "delete" if new is MISSING else "update"
    return FieldChange(path_text(difference.path), kind, _text_or_none(old), _text_or_none(new))


def _provider_differences(step: StepDetails, visible: Sequence[FieldChange]) -> Iterator[FieldChange]:
    """Differences that the inputs do not show: secret values, a changed build context, changes in the cluster."""
    old, new = masked(step.old_inputs, step.type), masked(step.new_inputs, step.type)
    live = masked(step.old_outputs, step.type)
    shown = {change.path for change in visible}
    for path, diff in step.detailed_diff.items():
        in_inputs = bool(diff.get("inputDiff"))
        before, after = _at(old if in_inputs else live, path), _at(new, path)
        hidden = same(before, after) if in_inputs else not _touches(path, shown)
        if hidden and not path.startswith("__") and (before, after) != (MISSING, MISSING):
            yield FieldChange(path, _kind(diff), _text_or_none(before), _text_or_none(after))


def _kind(diff: Mapping[str, Any]) -> Kind:
    """`add-replace` is an `add`; the reason for the replacement is kept separately."""
    kinds: tuple[Kind, ...] = ("add", "delete", "update")
    return next((kind for kind in kinds if str(diff.get("diffKind")).startswith(kind)), "update")


def _text_or_none(value: Any) -> str | None:
    return None if value is MISSING else as_text(value)


def _hidden_in_secrets(step: StepDetails, found: Sequence[FieldChange]) -> Iterator[FieldChange]:
    """Top-level fields for which the engine only reports that they change: the changed values are secret."""
    if not step.detailed_diff:
        changed = {change.path for change in found}
        for name in step.diffs:
            if not _touches(name, changed):
                yield FieldChange(name, "update", SECRET, SECRET)


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
        inside = key in value if isinstance(value, dict) else isinstance(value, list) and _is_index(key, value)
        if not inside:
            return MISSING
        value = value[key]
    return value


def _is_index(key: Key, items: list[Any]) -> bool:
    return isinstance(key, int) and key < len(items)


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
