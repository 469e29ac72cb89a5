"""A preview's summary on a terminal, and as plain complete lines where there is none."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from slipway.deploy.summary import PreviewResult, PreviewSummary, Problem, Violation
from slipway.render.groups import FEW_VALUES, ChangeGroup, by_service, grouped, is_hashed, is_image
from slipway.render.markdown_text import clean, some_of
from slipway.render.words import (
    commits_text,
    counts,
    grouped_violations,
    how_replaced,
    image_texts,
    is_incomplete,
    kinds_text,
    rules_text,
    short_path,
    value_texts,
    verdict,
)
from slipway.state.changes import Operation, ResourceChange
from slipway.state.fields import FieldChange

STYLES = {Operation.REPLACE: "magenta", Operation.DELETE: "red", Operation.UPDATE: "yellow", Operation.CREATE: "green"}
TITLES = {
    Operation.REPLACE: "Replace",
    Operation.DELETE: "Delete",
    Operation.UPDATE: "Update",
    Operation.CREATE: "Create",
}
NAMED = 5
NOTHING = "-"


def show(summary: PreviewSummary, console: Console) -> None:
    """Print the whole summary, what matters most last, where the eye is."""
    report = _Report(console)
    report.created(summary.of(Operation.CREATE))
    report.changes(TITLES[Operation.UPDATE], STYLES[Operation.UPDATE], summary.of(Operation.UPDATE))
    report.images(summary)
    report.goes(TITLES[Operation.DELETE], summary.of(Operation.DELETE))
    report.changes(TITLES[Operation.REPLACE], STYLES[Operation.REPLACE], summary.of(Operation.REPLACE))
    report.drift(summary.drift)
    report.violations("Waived, or decided at update", "cyan", summary.notes())
    report.violations("Advice of the policies", "yellow", summary.advice())
    report.violations("Refused by policy", "red", summary.refusals())
    report.problems(summary.problems)
    report.verdict(summary)


class _Report:
    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: Text | str = "", indent: int = 0) -> None:
        content = text if isinstance(text, Text) else Text(text)
        self._console.print(Text(" " * indent) + content, soft_wrap=True)

    def title(self, text: str, style: str) -> None:
        self.line()
        self.line(Text(text, style=f"bold {style}"))

    def changes(self, title: str, style: str, changes: Sequence[ResourceChange]) -> None:
        if changes:
            self.title(f"{title} ({len(changes)})", style)
        for group in grouped(changes):
            self._group(group)

    def _group(self, group: ChangeGroup) -> None:
        first = group.first
        number = f"{len(group.changes)} " if len(group.changes) > 1 else ""
        note = f"  {how_replaced(first)}" if first.operation is Operation.REPLACE else ""
        loss = "  what is stored in it goes with it" if first.loses_data else ""
        self.line(
            Text.assemble(
                f"{number}{first.resource.kind} ", (some_of(group.names(), NAMED), "bold"), (note, "dim"), (loss, "red")
            ),
            2,
        )
        for field in group.fields:
            if field.path in group.varying:
                self.line(f"{short_path(field.path)}: {_varying(group, field)}", 4)
                continue
            why = "  (is why)" if field.replaces else ""
            self.line(Text.assemble(f"{short_path(field.path)}: {_arrow(field)}", (why, "dim")), 4)
        for change in group.changes:
            for field in group.own_values(change):
                self.line(f"{change.resource.name} {short_path(field.path)}: {_arrow(field)}", 6)

    def goes(self, title: str, changes: Sequence[ResourceChange]) -> None:
        if changes:
            self.title(f"{title} ({len(changes)})", STYLES[Operation.DELETE])
        for change in changes:
            note = "what is stored in it goes with it" if change.loses_data else ""
            note = "kept, only no longer in the state" if change.kept else note
            self.line(
                Text.assemble(f"{change.resource.kind} ", (change.resource.name, "bold"), f"  {note}".rstrip()), 2
            )

    def created(self, changes: Sequence[ResourceChange]) -> None:
        if changes:
            self.title(f"{TITLES[Operation.CREATE]} ({len(changes)})", STYLES[Operation.CREATE])
        for service, of_service in by_service(changes):
            what = kinds_text(of_service) if service else ", ".join(str(change.resource) for change in of_service)
            self.line(f"{service}: {what}" if service else what, 2)

    def images(self, summary: PreviewSummary) -> None:
        if summary.images or summary.tested:
            self.title("Images", "cyan")
        for image in summary.images:
            old, new = image_texts(image)
            self.line(f"{image.service or image.resource.name}: {old} → {new}", 2)
        if summary.tested:
            self.line(f"Unit tests passed: {', '.join(summary.tested)}", 2)

    def drift(self, drift: Sequence[ResourceChange] | None) -> None:
        if drift is None:
            return
        gone = [change for change in drift if change.operation is Operation.DELETE]
        self.changes("Drift: recorded → found", "cyan", [change for change in drift if change not in gone])
        self.goes("Drift: gone from the cluster", gone)
        if not drift:
            self.title("No drift", "green")

    def violations(self, title: str, style: str, violations: Sequence[Violation]) -> None:
        if not violations:
            return
        self.title(f"{title} ({len(violations)})", style)
        table = Table("rule", "level", "resource", "what is wrong", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for (rule, level, message), alike in grouped_violations(violations).items():
            names = [str(violation.resource or "the stack") for violation in alike]
            cells = (rule, level, some_of(names, NAMED), clean(message))
            if self._console.is_terminal:
                table.add_row(*(Text(cell) for cell in cells))
            else:
                self.line("  ".join((rule, level, ", ".join(names), " ".join(clean(message).split()))), 2)
        if self._console.is_terminal:
            self._console.print(table)

    def problems(self, problems: Sequence[Problem]) -> None:
        if problems:
            self.title("Failed", "red")
        for problem in problems:
            about = f"{problem.service or problem.resource}: " if problem.resource else ""
            for output in problem.output:
                self.line(Text(clean(output), style="dim"), 4)
            first, *more = clean(problem.message).strip().split("\n")
            self.line(Text(f"{about}{first} {problem.step}".rstrip(), style="red"), 2)
            for text in more:
                self.line(text, 4)
            if problem.next_step:
                self.line(f"next: {problem.next_step}", 4)

    def verdict(self, summary: PreviewSummary) -> None:
        good = summary.result is PreviewResult.SUCCEEDED
        self.line()
        self.line(
            Text.assemble(
                f"Preview of {summary.project}/{summary.stack}: ",
                (verdict(summary), f"bold {'green' if good else 'red'}"),
            )
        )
        if not good:
            so_far = "as far as it came: " if is_incomplete(summary) else "it would be "
            self.line(f"{so_far}{counts(summary)}", 2)
        commits = commits_text(summary.commits)
        self.line(f"{rules_text(summary)}{f'  Commit {commits}.' if commits else ''}", 2)


def _arrow(field: FieldChange) -> str:
    old, new = (" ".join(clean(text).split()) for text in value_texts(field))
    return f"{old or NOTHING} → {new or NOTHING}"


def _varying(group: ChangeGroup, field: FieldChange) -> str:
    """Values that are not the same in all resources of a group."""
    if is_hashed(field):
        return "a hash of the content"
    values = group.values(field.path)
    if len(values) > FEW_VALUES or is_image(field):
        return "differs from one to another"
    return ", ".join(f"{old or NOTHING} → {new or NOTHING} in {number}" for (old, new), number in values.items())
