"""A preview's summary as Markdown, for a comment on a pull request: whole at any size, safe with any text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from slipway.deploy.summary import PreviewResult, PreviewSummary, Problem, Violation, ViolationState
from slipway.progress import elapsed_text
from slipway.render.groups import FEW_VALUES, ChangeGroup, by_service, grouped, is_hashed, is_image
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
from slipway.render.words import (
    CHANGES,
    commits_text,
    counted,
    counts,
    grouped_violations,
    how_replaced,
    image_texts,
    is_incomplete,
    kinds_text,
    rules_text,
    short_path,
    symbol,
    value_texts,
    verdict,
)
from slipway.state.changes import Operation, ResourceChange
from slipway.state.fields import FieldChange

MARKER = re.compile(r"<!-- slipway:preview:(?P<project>[^\s:]+):(?P<stack>[^\s:]+) -->")
OUTPUT_LINES = 120
OUTPUT_BYTES = 12_000
MESSAGE_LINES = 6
MESSAGE_LINE_LENGTH = 1_000
STEP_LENGTH = 120
NAMED_VIOLATORS = 5
FOLDED_IMAGES = 12


@dataclass(frozen=True)
class Links:
    """Pages that the reader may want: the run's log, the difference between what is deployed and this."""

    run: str = ""
    compare: str = ""


def marker(project: str, stack: str) -> str:
    """The hidden line by which the comment of an environment is found again."""
    return f"<!-- slipway:preview:{project}:{stack} -->"


def render(summary: PreviewSummary, links: Links | None = None, limit_bytes: int = GITHUB_LIMIT_BYTES) -> str:
    """The comment's text, at most `limit_bytes` long."""
    return fit(_title(summary), _sections(summary), _footer(summary, links or Links()), limit_bytes)


def _title(summary: PreviewSummary) -> str:
    lines = [marker(summary.project, summary.stack), f"## {symbol(summary)} {code(summary.stack)}: {verdict(summary)}"]
    if summary.result is not PreviewResult.SUCCEEDED:
        so_far = "As far as it came: " if is_incomplete(summary) else "It would be "
        lines.append(f"{so_far}{counts(summary)}.")
    elif not summary.changes:
        lines.append(f"All {counted(summary.unchanged, 'resource')} stay as they are.")
    if not summary.refusals():
        lines.append(f"{rules_text(summary)}" if summary.rules else f"**{rules_text(summary)}**")
    return "\n\n".join(lines) + "\n\n"


def _sections(summary: PreviewSummary) -> list[Section]:
    """In the order in which a person should read them; the numbers say what is cut last."""
    return [
        Section("failures", 1, "### Failed\n\n", [_problem(problem) for problem in summary.problems]),
        _violations("Refused by policy", "violations", 2, summary.refusals(), rules_text(summary)),
        replaced(summary.of(Operation.REPLACE), importance=3),
        deleted(summary.of(Operation.DELETE), importance=4),
        updated("Update", summary.of(Operation.UPDATE), importance=6),
        _images(summary),
        created(summary.of(Operation.CREATE), importance=8),
        _violations("Advice of the policies", "advisory violations", 7, summary.advice()),
        _notes(summary.notes()),
        *_drift(summary),
        per_resource(summary.changes, importance=10),
        long_values(summary.changes, importance=11),
        _warnings(summary.warnings),
    ]


def _problem(problem: Problem) -> Item:
    about = f"**{code(problem.service or str(problem.resource))}**: " if problem.resource else ""
    message = clean(problem.message).strip()
    lines = message.split("\n")
    step = f" {code(problem.step, STEP_LENGTH)}" if problem.step else ""
    first = [_shortened(line) for line in lines[:MESSAGE_LINES]]
    brief = f"- {about}{prose(chr(10).join(first))}{step}\n"
    if problem.next_step:
        brief += f"  <br>→ {prose(problem.next_step)}\n"
    blocks = [_output(problem)] if problem.output else []
    if first != lines:
        blocks.append(folded("The whole message", fence(_tail(message.split("\n"))[0])))
    inside = "\n".join(blocks)
    return Item(f"{brief}\n{_indented(inside)}\n" if inside else brief, brief)


def _shortened(line: str) -> str:
    return line if len(line) <= MESSAGE_LINE_LENGTH else f"{line[:MESSAGE_LINE_LENGTH]}…"


def _output(problem: Problem) -> str:
    text, lines = _tail(problem.output)
    of_all = f"last {lines} of {len(problem.output)} lines" if lines < len(problem.output) else counted(lines, "line")
    return folded(f"What it printed ({of_all})", fence(text))


def _tail(lines: Sequence[str]) -> tuple[str, int]:
    """The end of a text, where its conclusion is, and how many lines of it."""
    kept: list[str] = []
    size = 0
    for line in reversed(lines[-OUTPUT_LINES:]):
        cut = clean(line)[: OUTPUT_BYTES // 10]
        size += len(cut.encode()) + 1
        if size > OUTPUT_BYTES:
            break
        kept.append(cut)
    return "\n".join(reversed(kept)), len(kept)


def _indented(block: str) -> str:
    """Within the item of a list."""
    return "\n".join(f"  {line}" if line else "" for line in block.split("\n"))


def _violations(title: str, name: str, importance: int, violations: Iterable[Violation], below: str = "") -> Section:
    entries = []
    for (rule, level, message), alike in grouped_violations(violations).items():
        names = [code(str(violation.resource)) if violation.resource else "*the stack*" for violation in alike]
        cells = (f"**{code(rule)}**", prose(level))
        entries.append(
            Item(
                row(*cells, some_of(names, NAMED_VIOLATORS), prose(message)),
                row(*cells, some_of(names, 1), prose(message.split("\n")[0][:200])),
            )
        )
    head = f"### {title}\n\n{table_head('rule', 'level', 'resource', 'what is wrong')}"
    return Section(name, importance, head, entries, f"\n{below}\n" if below else "")


def _notes(notes: Sequence[Violation]) -> Section:
    """Folded: nothing here is wrong, but nobody should be able to say that it was kept from them."""
    section = _violations("", "waived and undecided policies", 10, notes)
    waived = sum(note.state is ViolationState.WAIVED for note in notes)
    counts = [f"{waived} waived"] * bool(waived) + [f"{len(notes) - waived} decided at update"] * (len(notes) > waived)
    return replace(
        section, head=section.head.replace("### \n\n", fold(f"Policies: {', '.join(counts)}"), 1), tail=FOLD_END
    )


def _images(summary: PreviewSummary) -> Section:
    entries = []
    for image in summary.images:
        old, new = image_texts(image)
        entries.append(Item(row(code(image.service or image.resource.name), code(old), code(new))))
    tested = f"\nUnit tests passed: {some_of([code(name) for name in summary.tested], 20)}.\n" if summary.tested else ""
    if not entries and tested:
        return Section("images", 5, "### Images\n", [Item(tested, tested)])
    head, tail = table_head("service", "now", "after"), tested
    commits = commits_text(summary.commits)
    title = f"### Images{f', {code(commits)}' if commits else ''}\n\n"
    if len(entries) > FOLDED_IMAGES:
        head, tail = f"{fold(counted(len(entries), 'image'))}{head}", f"{FOLD_END}{tested}"
    return Section("images", 5, title + head, entries, tail)


def _drift(summary: PreviewSummary) -> list[Section]:
    if summary.drift is None:
        return []
    if not summary.drift:
        said = "Nothing in the cluster differs from the recorded state.\n"
        return [Section("drift", 9, "### Drift\n\n", [Item(said, said)])]
    gone = [change for change in summary.drift if change.operation is Operation.DELETE]
    moved = [change for change in summary.drift if change.operation is not Operation.DELETE]
    return [
        updated("Drift: changed by somebody else", moved, importance=9, titles=("recorded", "found")),
        deleted(gone, importance=9, title="Drift: gone from the cluster"),
    ]


def _warnings(warnings: Sequence[str]) -> Section:
    lines = [f"- {prose(warning)}\n" for warning in warnings]
    head = fold(counted(len(lines), "warning"))
    return Section(
        "warnings", 12, head, [Item(line, line[:500] if len(line) <= 500 else "") for line in lines], FOLD_END
    )


def _footer(summary: PreviewSummary, links: Links) -> str:
    parts = [code(f"slipway preview -s {summary.stack}"), elapsed_text(summary.duration_seconds)]
    if commits := commits_text(summary.commits):
        parts.append(f"[{commits}]({links.compare})" if links.compare else code(commits))
    if links.run:
        parts.append(f"[log]({links.run})")
    return f"<sub>{' · '.join(parts)}</sub>\n"


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
