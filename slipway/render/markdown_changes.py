"""The sections of a preview's Markdown that list resources: replaced, deleted, updated, created, and long values."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence

from slipway.render.groups import FEW_VALUES, ChangeGroup, by_service, grouped, is_hashed
from slipway.render.images import is_image
from slipway.render.markdown_fit import Item, Section
from slipway.render.markdown_text import (
    FOLD_END,
    clean,
    code,
    fence,
    fold,
    folded,
    prose,
    row,
    shortened,
    some_of,
    table_head,
)
from slipway.render.words import CHANGES, counted, how_replaced, kinds_text, short_path, value_texts
from slipway.state.changes import ResourceChange
from slipway.state.fields import FieldChange

NAMED_RESOURCES = 3
NAMED_SERVICES = 8
VALUE_LENGTH = 100
DIFF_LINES = 200
FOLDED_ROWS = 20
NOTHING = "—"
DATA_LOSS = "⚠️ what is stored in it goes with it"


def replaced(changes: Sequence[ResourceChange], importance: int) -> Section:
    """Each with the fields that make it necessary, which are marked, and what else changes."""
    groups = grouped(sorted(changes, key=lambda change: not (change.loses_data or change.deleted_first)))
    entries = [_table_entry(group, f"<br>{how_replaced(group.first)}") for group in groups]
    head = f"### Replace ({len(changes)})\n\n{table_head('resource', 'field', 'now', 'after')}"
    return Section("replacements", importance, head, entries, "\n🔁 is why it is replaced.\n")


def deleted(changes: Sequence[ResourceChange], importance: int, title: str = "Delete") -> Section:
    entries = _per_service(changes, _goes)
    head = f"### {title} ({_gone(changes)})\n\n{table_head('service', 'what goes')}"
    return Section("deletions", importance, head, entries)


def updated(
    title: str, changes: Sequence[ResourceChange], importance: int, titles: tuple[str, str] = ("now", "after")
) -> Section:
    entries = [_table_entry(group) for group in grouped(changes)]
    head, tail = table_head("resource", "field", *titles), ""
    if sum(len(group.fields) for group in grouped(changes)) > FOLDED_ROWS:
        head, tail = f"{fold(kinds_text(changes))}{head}", FOLD_END
    return Section("updates", importance, f"### {title} ({len(changes)})\n\n{head}", entries, tail)


def created(changes: Sequence[ResourceChange], importance: int) -> Section:
    """Counted and folded: services of which the same kinds are made share a line."""
    entries = _per_service(
        changes, lambda service, of_service: prose(kinds_text(of_service)) if service else _labels(of_service)
    )
    head = f"### Create ({len(changes)})\n\n{fold(kinds_text(changes))}"
    return Section("creations", importance, head + table_head("service", "what is made"), entries, FOLD_END)


def per_resource(changes: Iterable[ResourceChange], importance: int) -> Section:
    """The values that a table of many resources cannot show, because each has its own."""
    entries = [
        Item("".join(_field_row(_label(change), field) for field in own))
        for group in grouped(change for change in changes if not change.is_build)
        for change in group.changes
        if (own := group.own_values(change))
    ]
    head = fold("Values that only some of them have")
    table = table_head("resource", "field", "now", "after")
    return Section("resources' own values", importance, head + table, entries, FOLD_END)


def long_values(changes: Iterable[ResourceChange], importance: int) -> Section:
    """Values of several lines, as the difference between old and new."""
    entries = [
        Item(folded(f"{field.path} of {change.resource}", _diff(field)))
        for change in changes
        if not change.is_build
        for field in change.fields
        if _is_long(field)
    ]
    return Section("long values", importance, "### Long values\n\n", entries)


def _gone(changes: Sequence[ResourceChange]) -> int:
    return sum(not change.kept for change in changes)


def _per_service(changes: Sequence[ResourceChange], tell: Callable[[str, Sequence[ResourceChange]], str]) -> list[Item]:
    """A row for each service, or for all the services of which the same is told."""
    alike: dict[str, list[str]] = {}
    for service, of_service in by_service(changes):
        alike.setdefault(tell(service, of_service), []).append(code(service) if service else NOTHING)
    return [Item(*[row(some_of(services, NAMED_SERVICES), what)] * 2) for what, services in alike.items()]


def _goes(service: str, changes: Sequence[ResourceChange]) -> str:
    lines = []
    if plain := [change for change in changes if not (change.loses_data or change.kept)]:
        lines.append(prose(kinds_text(plain)) if service else _labels(plain))
    lines += [f"{_label(change)}: {DATA_LOSS}" for change in changes if change.loses_data]
    if kept := [change for change in changes if change.kept]:
        lines.append(f"{prose(kinds_text(kept))}: kept, only no longer in the state")
    return "<br>".join(lines)


def _labels(changes: Iterable[ResourceChange]) -> str:
    return ", ".join(map(_label, changes))


def _table_entry(group: ChangeGroup, note: str = "") -> Item:
    """One row a field; the resource stands in the first of them."""
    name = _names(group) + note + (f"<br>{DATA_LOSS}" if group.first.loses_data else "")
    rows = [_group_row(name if index == 0 else "", group, field) for index, field in enumerate(group.fields)]
    paths = [code(short_path(field.path)) for field in group.fields]
    brief = row(name, some_of(paths, NAMED_RESOURCES) or NOTHING, "", "")
    return Item("".join(rows) or brief, brief)


def _names(group: ChangeGroup) -> str:
    if len(group.changes) == 1:
        return _label(group.first)
    names = some_of([code(name) for name in group.names()], NAMED_RESOURCES)
    return f"{len(group.changes)} **{code(group.first.resource.kind)}**<br>{names}"


def _label(change: ResourceChange) -> str:
    return f"**{code(change.resource.kind)}** {code(change.resource.name)}"


def _group_row(name: str, group: ChangeGroup, field: FieldChange) -> str:
    """A field of all the resources of a group; few values are told with how many have them."""
    if field.path not in group.varying or is_image(field):
        return _field_row(name, field)
    if is_hashed(field):
        return row(name, _path(field), "*differs*", "*a hash of the content*")
    values = group.values(field.path)
    if len(values) > FEW_VALUES:
        return row(name, _path(field), "*differs*", "*below*")
    old = [_value(shortened(value or "")) for value in dict.fromkeys(old for old, _ in values)]
    new = [f"{_value(shortened(value or ''))} in {number}" for (_, value), number in values.items()]
    return row(name, _path(field), ", ".join(old), ", ".join(new))


def _field_row(name: str, field: FieldChange) -> str:
    if is_image(field):
        return row(name, _path(field), "*see Images*", "")
    if _is_long(field):
        return row(name, _path(field), _size(field.old), f"{_size(field.new)} *below*")
    old, new = value_texts(field)
    return row(name, _path(field), _value(old), _value(new))


def _path(field: FieldChange) -> str:
    return f"{'🔁 ' if field.replaces else ''}{code(short_path(field.path))}"


def _value(text: str) -> str:
    if text == CHANGES:
        return f"*{text}*"
    return code(text, VALUE_LENGTH) if text else NOTHING


def _is_long(field: FieldChange) -> bool:
    return any(value and ("\n" in value.strip() or len(value) > 2 * VALUE_LENGTH) for value in (field.old, field.new))


def _size(value: str | None) -> str:
    return NOTHING if value is None else counted(len(value.splitlines()), "line")


def _diff(field: FieldChange) -> str:
    lines = list(_diff_lines(field))
    shown = lines[:DIFF_LINES]
    if len(lines) > DIFF_LINES:
        shown.append(f"… {len(lines) - DIFF_LINES} more lines")
    return fence("\n".join(shown), "diff")


def _diff_lines(field: FieldChange) -> Iterator[str]:
    old, new = (clean(value or "").splitlines() for value in (field.old, field.new))
    compared = difflib.unified_diff(old, new, lineterm="", n=2)
    yield from (line[:1000] for line in list(compared)[2:])
