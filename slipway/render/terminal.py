"""A preview's summary on a terminal, and as plain complete lines if there is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from slipway.deploy.summary import PreviewProblem, PreviewResult, PreviewSummary, Violation, ViolationState
from slipway.masking import SECRET
from slipway.render.markdown_text import clean, shortened, some_of
from slipway.render.service_changes import (
    FEW_VALUES,
    OUTSIDE,
    SMALLEST_GROUP,
    Fate,
    ServiceChanges,
    alike,
    by_service,
    counts,
    pods_text,
    restarts_text,
    service_changes,
    verdict,
)
from slipway.render.settings import WORDS_OF_OBJECTS, Setting, resource_settings, within
from slipway.render.words import DRIFT_NOTES, commits_text, counted, grouped_violations, is_incomplete, rules_text
from slipway.state.difference import Operation, ResourceChange

STYLES = {Fate.REMOVED: "red", Fate.CHANGED: "yellow", Fate.NEW: "green"}
DRIFT_SIGNS = {Operation.CREATE: "+", Operation.DELETE: "-", Operation.UPDATE: "~"}
DRIFT_WORDS = {Operation.CREATE: "not in the state", Operation.UPDATE: "changed", Operation.DELETE: "gone"}
LONGEST_LINE = 300
"""If there is no terminal."""
NAMED = 5
NOTHING = "-"


def show(summary: PreviewSummary, console: Console) -> None:
    """Print the whole summary, the most important part last, where people look."""
    report = _Report(console)
    changes = service_changes(summary)
    report.services(changes)
    report.drift(summary)
    report.policies(summary)
    report.not_reversible(changes)
    report.violations("Refused by policy", "red", summary.refusals())
    report.problems(summary.problems)
    report.verdict(summary, changes)


def drift_lines(stack: str, changes: Sequence[ResourceChange], changed_by: Mapping[str, Sequence[str]]) -> list[str]:
    """Where the cluster differs from the state, by service and object, with recorded and found values."""
    if not changes:
        return [f"{stack}: no drift."]
    found = []
    for service, of_service in by_service(changes):
        found.append(service or OUTSIDE)
        for change in of_service:
            by = ", ".join(changed_by.get(change.resource.urn, ()))
            note = DRIFT_NOTES.get(change.operation, f"changed by {by}" if by else "")
            found.append(f"  {DRIFT_SIGNS[change.operation]} {change.resource}{f', {note}' if note else ''}")
            updated = change.operation is Operation.UPDATE
            settings = resource_settings(change, with_names_of_contents=True) if updated else ()
            found += [f"      {setting_text(replace(each, name=within(each.name, change)))}" for each in settings]
    numbers = {operation: sum(change.operation is operation for change in changes) for operation in DRIFT_WORDS}
    counts = ", ".join(f"{number} {DRIFT_WORDS[operation]}" for operation, number in numbers.items() if number)
    back = f"To revert it: `slipway up -s {stack} --refresh`; what is not in the state stays."
    return [*found, f"{stack}: {counted(len(changes), 'object')} drifted from the state: {counts}.", back]


def setting_text(setting: Setting) -> str:
    """`env.LOG_LEVEL: info → debug`, on one line."""
    old, new = map(_value_text, (setting.old, setting.new))
    if setting.old == setting.new == SECRET:
        return f"{setting.name}: another value, hidden"
    if setting.old is None and setting.new in WORDS_OF_OBJECTS:
        return f"{setting.name}: {new}"
    return f"{setting.name}: {old} → {new}"


def _value_text(value: str | None) -> str:
    if value is None:
        return NOTHING
    lines = clean(shortened(value)).strip().splitlines()
    return f"{len(lines)} lines" if len(lines) > 1 else " ".join(lines) or "(empty)"


class _Report:
    def __init__(self, console: Console) -> None:
        self._console = console

    def wrapped(self, text: Text | str, indent: int = 0) -> None:
        """Print a sentence; on a terminal, it is broken into lines between words."""
        if self._console.is_terminal:
            self._console.print(Padding(Text(text) if isinstance(text, str) else text, (0, 0, 0, indent), expand=False))
        else:
            self.line(text, indent)

    def line(self, text: Text | str = "", indent: int = 0, *, cut: bool = False) -> None:
        """Print a line; `cut` shortens it to the width of a terminal, which would break the line anywhere."""
        content = Text(" " * indent) + (text if isinstance(text, Text) else Text(text))
        if cut:
            longest = self._console.width if self._console.is_terminal else LONGEST_LINE
            content.truncate(longest, overflow="ellipsis")
        self._console.print(content, soft_wrap=True)

    def title(self, text: str, style: str) -> None:
        self.line()
        self.line(Text(text, style=f"bold {style}"))

    def services(self, changes: Sequence[ServiceChanges]) -> None:
        """One entry per service, or per group of services with the same changed settings."""
        for group in sorted(alike(changes, SMALLEST_GROUP), key=len, reverse=True):
            first = group[0]
            same_pods = len({each.pods for each in group}) == 1
            pods = pods_text(first if same_pods else replace(first, pods=None))
            self.line()
            if len(group) == 1:
                name, style = first.service or OUTSIDE, STYLES[first.fate]
                self.line(Text.assemble((name, f"bold {style}"), f": {pods}" if pods else ""), cut=True)
            else:
                names = some_of([each.service for each in group], NAMED)
                title = Text.assemble((f"{len(group)} services", f"bold {STYLES[first.fate]}"), f", each: {pods}")
                self.line(title, cut=True)
                self.line(Text(names, style="dim"), 2, cut=True)
            for index, setting in enumerate(first.settings):
                values = Counter((each.settings[index].old, each.settings[index].new) for each in group)
                self.line(_values_text(setting, values), 2, cut=True)

    def not_reversible(self, changes: Sequence[ServiceChanges]) -> None:
        lines = [(each.service, text.replace("`", "")) for each in changes for text in each.not_reversible]
        if lines:
            self.title("Not reversible", "red")
        for service, text in lines:
            self.wrapped(f"{f'{service}: ' if service else ''}{text}", 2)

    def drift(self, summary: PreviewSummary) -> None:
        if summary.drift is None:
            return
        self.title("Drift: recorded → found" if summary.drift else "Drift", "cyan")
        for text in drift_lines(summary.stack, summary.drift, summary.changed_by):
            self.line(text, cut=True)

    def policies(self, summary: PreviewSummary) -> None:
        """Advice and waivers; without violations that only the update can decide."""
        notes = summary.notes()
        self.violations("Waived", "cyan", [each for each in notes if each.state is ViolationState.WAIVED])
        self.violations("Advice of the policies", "yellow", summary.advice())

    def violations(self, title: str, style: str, violations: Sequence[Violation]) -> None:
        if not violations:
            return
        self.title(f"{title} ({len(violations)})", style)
        table = Table("rule", "level", "resource", "what is wrong", box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for (rule, level, message), together in grouped_violations(violations).items():
            names = [str(violation.resource or "the stack") for violation in together]
            cells = (rule, level, some_of(names, NAMED), clean(message))
            if self._console.is_terminal:
                table.add_row(*(Text(cell) for cell in cells))
            else:
                self.line("  ".join((rule, level, ", ".join(names), " ".join(clean(message).split()))), 2)
        if self._console.is_terminal:
            self._console.print(table)

    def problems(self, problems: Sequence[PreviewProblem]) -> None:
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

    def verdict(self, summary: PreviewSummary, changes: Sequence[ServiceChanges]) -> None:
        good = summary.result is PreviewResult.SUCCEEDED
        self.line()
        self.wrapped(
            Text.assemble(
                f"Preview of {summary.project}/{summary.stack}: ",
                (verdict(summary), f"bold {'green' if good else 'red'}"),
            )
        )
        if not good:
            so_far = "before it ended: " if is_incomplete(summary) else "if it went through: "
            self.wrapped(f"{so_far}{counts(summary)}", 2)
        if changes:
            self.wrapped(restarts_text(changes, summary.services), 2)
        commits = commits_text(summary.commits)
        tested = f"  Unit tests passed: {some_of(summary.tested, NAMED)}." if summary.tested else ""
        self.wrapped(f"{rules_text(summary)}{f'  Commit {commits}.' if commits else ''}{tested}", 2)


def _values_text(setting: Setting, values: Counter[tuple[str | None, str | None]]) -> str:
    """A setting with its values in one service, or with the number of services for each."""
    if len(values) == 1:
        return setting_text(setting)
    if len(values) > FEW_VALUES:
        return f"{setting.name}: differs from one to another"
    texts = [f"{setting_text(Setting('', old, new))[2:]} in {number}" for (old, new), number in values.items()]
    return f"{setting.name}: {', '.join(texts)}"
