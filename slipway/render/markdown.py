"""A preview's summary as Markdown, for a comment on a pull request: whole at any size, safe with any text."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from slipway.deploy.summary import PreviewProblem, PreviewResult, PreviewSummary, Violation, ViolationState
from slipway.engine.stages import IMAGE_TYPE
from slipway.masking import SECRET
from slipway.progress import elapsed_text
from slipway.render.markdown_text import (
    FOLD_END,
    GITHUB_LIMIT_BYTES,
    Item,
    Section,
    clean,
    code,
    fence,
    fit,
    fold,
    folded,
    prose,
    row,
    shortened,
    some_of,
    table_head,
)
from slipway.render.service_changes import (
    FEW_VALUES,
    OUTSIDE,
    SMALLEST_GROUP,
    ChangeGroup,
    Fate,
    ServiceChanges,
    alike,
    by_service,
    counts,
    grouped,
    pods_text,
    restarts_text,
    service_changes,
    symbol,
    verdict,
)
from slipway.render.settings import CALLED_BY, WORDS_OF_OBJECTS, Setting, is_name_of_content, resource_settings, within
from slipway.render.words import (
    CHANGES,
    DRIFT_NOTES,
    as_yaml,
    commits_text,
    counted,
    grouped_violations,
    how_replaced,
    is_incomplete,
    kinds_text,
    rules_text,
    short_path,
    value_texts,
)
from slipway.state.checkpoint import HASH, is_named_by_content
from slipway.state.difference import FieldChange, Operation, ResourceChange

MARKER = re.compile(r"<!-- slipway:preview:(?P<project>[^\s:]+):(?P<stack>[^\s:]+) -->")
OUTPUT_LINES = 120
OUTPUT_BYTES = 12_000
MESSAGE_LINES = 6
MESSAGE_LINE_LENGTH = 1_000
STEP_LENGTH = 120
NAMED_VIOLATORS = 5

NAMED_RESOURCES = 3
NAMED_SERVICES = 8
VALUE_LENGTH = 100
DIFF_LINES = 200
NOTHING = "—"
DATA_LOSS = "⚠️ what is stored in it goes with it"
BASE_IMAGE = "base image"


@dataclass(frozen=True)
class Links:
    """Pages for the reader: the run's log, and the difference between the deployed commit and this one."""

    run: str = ""
    compare: str = ""


def marker(project: str, stack: str) -> str:
    """The hidden line that identifies the comment of an environment."""
    return f"<!-- slipway:preview:{project}:{stack} -->"


def render(summary: PreviewSummary, links: Links | None = None, limit_bytes: int = GITHUB_LIMIT_BYTES) -> str:
    """The comment's text, at most `limit_bytes` long."""
    changes = service_changes(summary)
    in_cluster = [change for change in summary.changes if change.resource.type != IMAGE_TYPE]
    tested = some_of([code(name) for name in summary.tested], 20)
    tests = f"Unit tests passed: {tested}.\n" if tested else ""
    # In reading order; those with the lowest numbers are cut last.
    sections = [
        Section("failures", 1, "### Failed\n\n", [_problem(problem) for problem in summary.problems]),
        _violations("### Refused by policy\n\n", "violations", 2, summary.refusals()),
        not_reversible(changes),
        services(changes),
        *drift(summary),
        single_values(changes),
        objects(in_cluster),
        long_values(in_cluster),
        *_policies(summary),
        Section("unit tests", 6, "", [Item(tests, tests)] if tests else []),
        _warnings(summary.warnings),
    ]
    links = links or Links()
    about = [code(f"slipway preview -s {summary.stack}"), elapsed_text(summary.duration_seconds)]
    if commits := commits_text(summary.commits):
        about.append(f"[{commits}]({links.compare})" if links.compare else code(commits))
    if links.run:
        about.append(f"[log]({links.run})")
    return fit(_title(summary), sections, f"<sub>{' · '.join(about)}</sub>\n", limit_bytes)


def _title(summary: PreviewSummary) -> str:
    lines = [marker(summary.project, summary.stack), f"## {symbol(summary)} {code(summary.stack)}: {verdict(summary)}"]
    changes = service_changes(summary)
    if summary.result is not PreviewResult.SUCCEEDED:
        so_far = "As far as it came: " if is_incomplete(summary) else "If it went through: "
        lines.append(f"{so_far}{counts(summary)}.")
    elif not summary.changes:
        lines.append(f"All {counted(summary.unchanged, 'resource')} stay as they are.")
    if changes:
        lines.append(prose(restarts_text(changes, summary.services)))
    if not summary.rules:
        lines.append(f"**{rules_text(summary)}**")
    return "\n\n".join(lines) + "\n\n"


def _problem(problem: PreviewProblem) -> Item:
    about = f"**{code(problem.service or str(problem.resource))}**: " if problem.resource else ""
    step = f" {code(problem.step, STEP_LENGTH)}" if problem.step else ""
    message = clean(problem.message).strip()
    lines = message.split("\n")
    first = [
        line if len(line) <= MESSAGE_LINE_LENGTH else f"{line[:MESSAGE_LINE_LENGTH]}…" for line in lines[:MESSAGE_LINES]
    ]
    brief = f"- {about}{prose(chr(10).join(first))}{step}\n"
    if problem.next_step:
        brief += f"  <br>→ {prose(problem.next_step)}\n"
    blocks = []
    if problem.output:
        text, number = _tail(problem.output)
        total = len(problem.output)
        of_all = f"last {number} of {total} lines" if number < total else counted(number, "line")
        blocks.append(folded(f"What it printed ({of_all})", fence(text)))
    if first != lines:
        blocks.append(folded("The whole message", fence(_tail(lines)[0])))
    if not blocks:
        return Item(brief, brief)
    # Within the item of the list.
    inside = "\n".join(f"  {line}" if line else "" for line in "\n".join(blocks).split("\n"))
    return Item(f"{brief}\n{inside}\n", brief)


def _tail(lines: Sequence[str]) -> tuple[str, int]:
    """The end of a text, where its conclusion is, and its number of lines."""
    kept: list[str] = []
    size = 0
    for line in reversed(lines[-OUTPUT_LINES:]):
        cut = clean(line)[: OUTPUT_BYTES // 10]
        size += len(cut.encode()) + 1
        if size > OUTPUT_BYTES:
            break
        kept.append(cut)
    return "\n".join(reversed(kept)), len(kept)


def _violations(head: str, name: str, importance: int, violations: Iterable[Violation], tail: str = "") -> Section:
    entries = []
    for (rule, level, message), together in grouped_violations(violations).items():
        names = [code(str(violation.resource)) if violation.resource else "*the stack*" for violation in together]
        cells = (f"**{code(rule)}**", prose(level))
        entries.append(
            Item(
                row(*cells, some_of(names, NAMED_VIOLATORS), prose(message)),
                row(*cells, some_of(names, 1), prose(message.split("\n")[0][:200])),
            )
        )
    return Section(name, importance, head + table_head("rule", "level", "resource", "what is wrong"), entries, tail)


def not_reversible(changes: Sequence[ServiceChanges]) -> Section:
    texts = [
        f"- {f'**{code(each.service)}**: ' if each.service else ''}{prose(text)}\n"
        for each in changes
        for text in each.not_reversible
    ]
    return Section("losses", 3, "### ⚠️ Not reversible\n\n", [Item(text, text) for text in texts])


def services(changes: Sequence[ServiceChanges]) -> Section:
    """One entry per service, or per group of services with the same changed settings; smaller groups come first."""
    entries = []
    for group in sorted(alike(changes, SMALLEST_GROUP), key=len):
        first = group[0]
        if len(group) == 1:
            name = f"**{code(first.service)}**" if first.service else f"*{OUTSIDE}*"
        else:
            name = f"**{len(group)} services**<br>{some_of([code(each.service) for each in group], NAMED_RESOURCES)}"
        pods = pods_text(first) if len({each.pods for each in group}) == 1 else pods_text(replace(first, pods=None))
        name += f"<br>{'each: ' if len(group) > 1 and pods else ''}{pods}" if pods else ""
        if first.fate is Fate.REMOVED:
            kept = "deleted; its images stay in the registry, for a rollback"
            removed = row(name, "*all that it has in the cluster*", "", kept)
            entries.append(Item(removed, removed))
            continue
        rows = [
            _setting_row(name if index == 0 else "", setting.name, [each.settings[index] for each in group])
            for index, setting in enumerate(first.settings)
        ]
        names = [_setting_name(each.name) for each in first.settings]
        brief = row(name, some_of(names, NAMED_RESOURCES) or NOTHING, "", "")
        entries.append(Item("".join(rows) or brief, brief))
    return Section("services", 4, table_head("service", "what changes", "now", "after"), entries)


def _setting_row(name: str, setting: str, alike: Sequence[Setting]) -> str:
    """A setting of one service, or of several: a few different values, with the number of services for each."""
    values = Counter((each.old, each.new) for each in alike)
    if len(values) == 1:
        return row(name, _setting_name(setting), *_setting_values(alike[0]))
    if len(values) > FEW_VALUES:
        return row(name, _setting_name(setting), "*differs*", "*differs, below*")
    pairs = [_setting_values(Setting(setting, old, new)) for old, new in values]
    after = ", ".join(f"{new} in {number}" for (_, new), number in zip(pairs, values.values(), strict=True))
    return row(name, _setting_name(setting), ", ".join(dict.fromkeys(old for old, _ in pairs)), after)


def _setting_name(name: str) -> str:
    return prose(name) if name in (CALLED_BY, BASE_IMAGE) else code(name)


def _setting_values(setting: Setting) -> tuple[str, str]:
    texts = (setting.old, setting.new)
    if any(map(_is_long_text, texts)):
        return _size(setting.old), f"{_size(setting.new)} *below*"
    old, new = (code(shortened(text), VALUE_LENGTH) if text is not None else NOTHING for text in texts)
    if setting.old == setting.new == SECRET:
        return old, "another value"
    return old, new if setting.new not in WORDS_OF_OBJECTS else str(setting.new)


def drift(summary: PreviewSummary) -> list[Section]:
    """What `slipway drift` finds: objects that are changed by hand, gone, or not in the state."""
    if summary.drift is None:
        return []
    if not summary.drift:
        text = "Nothing in the cluster differs from the recorded state.\n"
        return [Section("drift", 5, "### Drift\n\n", [Item(text, text)])]
    entries = []
    for change in summary.drift:
        by = ", ".join(code(name) for name in summary.changed_by.get(change.resource.urn, ()))
        own = change.service and _plain_name(change) == change.service
        service = f"**{code(change.service)}** " if change.service else ""
        name = f"{service}{code(change.resource.kind)}" if own else f"{service}{_label(change)}"
        name += f"<br>by {by}" if by and change.operation is Operation.UPDATE else ""
        updated = change.operation is Operation.UPDATE
        settings = resource_settings(change, with_names_of_contents=True) if updated else ()
        rows = [
            row(name if index == 0 else "", _setting_name(within(setting.name, change)), *_setting_values(setting))
            for index, setting in enumerate(settings)
        ]
        what = DRIFT_NOTES.get(change.operation, CHANGES)
        brief = row(name, f"*{what}*", "", "")
        entries.append(Item("".join(rows) or brief, brief))
    back = f"\nTo revert it: {code(f'slipway up -s {summary.stack} --refresh')}.\n"
    head = f"### Drift\n\n{table_head('object', 'what differs', 'recorded', 'found')}"
    return [Section("drift", 5, head, entries, back)]


def single_values(changes: Sequence[ServiceChanges]) -> Section:
    """The values that a row of many services cannot show, because each has its own."""
    entries = []
    for group in alike(changes, SMALLEST_GROUP):
        for index, setting in enumerate(group[0].settings):
            values = Counter((each.settings[index].old, each.settings[index].new) for each in group)
            if len(values) == 1:
                continue
            usual = values.most_common(1)[0][0] if len(values) <= FEW_VALUES else None
            entries += [
                Item(row(code(each.service), _setting_name(setting.name), *_setting_values(own)))
                for each in group
                if ((own := each.settings[index]).old, own.new) != usual
            ]
    head = fold("Values that only some of them have")
    return Section("single values", 9, head + table_head("service", "what", "now", "after"), entries, FOLD_END)


def objects(changes: Sequence[ResourceChange]) -> Section:
    """Every Kubernetes object, folded: changed fields, and for each service the created and deleted objects."""
    entries = []
    # One row per changed field, the first of which names the resource. Names that are hashes are left out.
    for group in grouped(each for each in changes if each.operation in (Operation.REPLACE, Operation.UPDATE)):
        first = group.first
        replaced = first.operation is Operation.REPLACE and not is_named_by_content(first.resource.urn)
        note = f"<br>replaced, 🔁 is why: {how_replaced(first)}" if replaced else ""
        name = _names(group) + note + (f"<br>{DATA_LOSS}" if first.loses_data else "")
        fields = [replace(field, replaces=replaced and field.replaces) for field in group.fields]
        fields = [field for field in fields if not is_name_of_content(first, field)]
        rows = [_field_row(name if index == 0 else "", group, field) for index, field in enumerate(fields)]
        paths = [code(short_path(field.path)) for field in fields]
        brief = row(name, some_of(paths, NAMED_RESOURCES) or "*takes the new values*", "", "")
        entries.append(Item("".join(rows) or brief, brief))
    gone = [change for change in changes if change.operation is Operation.DELETE]
    made = [change for change in changes if change.operation is Operation.CREATE]
    entries += _per_service(gone, _goes) + _per_service(made, lambda *those: f"created: {_kinds(*those)}")
    head = fold(f"Every object that changes ({len(changes)})")
    return Section("objects", 10, head + table_head("object", "field", "now", "after"), entries, FOLD_END)


def _field_row(name: str, group: ChangeGroup, field: FieldChange) -> str:
    """A field of all the resources of a group; a few values, with the number of resources for each."""
    path = f"{'🔁 ' if field.replaces else ''}{code(short_path(field.path))}"
    if field.path in group.varying:
        values = group.values(field.path)
        if len(values) > FEW_VALUES:
            return row(name, path, "*differs*", "*differs*")
        old = [_value(shortened(value or "")) for value in dict.fromkeys(old for old, _ in values)]
        new = [f"{_value(shortened(value or ''))} in {number}" for (_, value), number in values.items()]
        return row(name, path, ", ".join(old), ", ".join(new))
    if _is_long(field):
        return row(name, path, _size(field.old), f"{_size(field.new)} *below*")
    return row(name, path, *map(_value, value_texts(field)))


def _value(text: str) -> str:
    if text == CHANGES:
        return f"*{text}*"
    return code(text, VALUE_LENGTH) if text else NOTHING


def _names(group: ChangeGroup) -> str:
    if len(group.changes) == 1:
        return _label(group.first)
    names = some_of([code(_plain_name(change)) for change in group.changes], NAMED_RESOURCES)
    return f"{len(group.changes)} **{code(group.first.resource.kind)}**<br>{names}"


def _label(change: ResourceChange) -> str:
    return f"**{code(change.resource.kind)}** {code(_plain_name(change))}"


def _plain_name(change: ResourceChange) -> str:
    """The resource's name without the hash of its content."""
    return HASH.sub("", change.resource.name) if is_named_by_content(change.resource.urn) else change.resource.name


def _per_service(changes: Sequence[ResourceChange], tell: Callable[[str, Sequence[ResourceChange]], str]) -> list[Item]:
    """A row for each service, or for all services with the same text."""
    alike: dict[str, list[str]] = {}
    for service, of_service in by_service(changes):
        alike.setdefault(tell(service, of_service), []).append(code(service) if service else NOTHING)
    return [Item(*[row(some_of(services, NAMED_SERVICES), what, "", "")] * 2) for what, services in alike.items()]


def _goes(service: str, changes: Sequence[ResourceChange]) -> str:
    plain = [change for change in changes if not (change.loses_data or change.kept)]
    lines = [f"deleted: {_kinds(service, plain)}"] if plain else []
    lines += [f"deleted: {_label(change)}, {DATA_LOSS}" for change in changes if change.loses_data]
    if kept := [change for change in changes if change.kept]:
        lines.append(f"{prose(kinds_text(kept))}: kept, only no longer in the state")
    return "<br>".join(lines)


def _kinds(service: str, changes: Sequence[ResourceChange]) -> str:
    return prose(kinds_text(changes)) if service else ", ".join(map(_label, changes))


def long_values(changes: Iterable[ResourceChange]) -> Section:
    """Values of several lines, as the difference between old and new."""
    entries = []
    for change in changes:
        for field in filter(_is_long, change.fields):
            old, new = (clean(as_yaml(value) or value or "").splitlines() for value in (field.old, field.new))
            compared = list(difflib.unified_diff(old, new, lineterm="", n=2))
            lines = [line[:1000] for line in compared[2:]]  # without the headings
            shown = lines[:DIFF_LINES]
            if len(lines) > DIFF_LINES:
                shown.append(f"… {len(lines) - DIFF_LINES} more lines")
            title = f"{field.path} of {change.resource.kind} {_plain_name(change)}"
            entries.append(Item(folded(title, fence("\n".join(shown), "diff"))))
    return Section("long values", 11, "", entries)


def _is_long(field: FieldChange) -> bool:
    return any(map(_is_long_text, (field.old, field.new))) or any(map(as_yaml, (field.old, field.new)))


def _is_long_text(text: str | None) -> bool:
    return bool(text) and ("\n" in str(text).strip() or len(str(text)) > 2 * VALUE_LENGTH)


def _size(value: str | None) -> str:
    return NOTHING if value is None else counted(len((as_yaml(value) or value).splitlines()), "line")


def _policies(summary: PreviewSummary) -> list[Section]:
    """Folded: nothing here is wrong, but it must not be hidden.

    Violations that only the update can decide are named only by rule: every preview that builds an image has some.
    """
    if not summary.rules:
        return []
    waived = [note for note in summary.notes() if note.state is ViolationState.WAIVED]
    undecided = sorted({note.rule for note in summary.notes() if note.state is ViolationState.UNDECIDED})
    shown = [*summary.advice(), *waived]
    counts_ = [f"advice of {len({each.rule for each in summary.advice()})}"] * bool(summary.advice())
    counts_ += [f"{len(waived)} waived"] * bool(waived)
    later = f"Decided at the update: {some_of([code(rule) for rule in undecided], 20)}.\n" if undecided else ""
    head = fold("; ".join([rules_text(summary).rstrip("."), *counts_]))
    if shown:
        return [_violations(head, "policies' advice", 7, shown, f"\n{later}{FOLD_END}")]
    return (
        [Section("policies", 7, head, [Item(later, later)], FOLD_END)]
        if later
        else [Section("policies", 7, "", [Item(f"{rules_text(summary)}\n", f"{rules_text(summary)}\n")])]
    )


def _warnings(warnings: Sequence[str]) -> Section:
    lines = [f"- {prose(warning)}\n" for warning in warnings]
    head = fold(counted(len(lines), "warning"))
    return Section(
        "warnings", 12, head, [Item(line, line[:500] if len(line) <= 500 else "") for line in lines], FOLD_END
    )
