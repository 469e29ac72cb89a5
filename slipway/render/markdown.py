"""A preview's summary as Markdown, for a comment on a pull request: whole at any size, safe with any text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slipway.deploy.summary import PreviewProblem, PreviewResult, PreviewSummary, Violation, ViolationState
from slipway.engine.stages import IMAGE_TYPE
from slipway.progress import elapsed_text
from slipway.render.markdown_changes import drift, long_values, not_reversible, objects, services, single_values
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
    some_of,
    table_head,
)
from slipway.render.service_changes import counts, restarts_text, service_changes, symbol, verdict
from slipway.render.words import commits_text, counted, grouped_violations, is_incomplete, rules_text

MARKER = re.compile(r"<!-- slipway:preview:(?P<project>[^\s:]+):(?P<stack>[^\s:]+) -->")
OUTPUT_LINES = 120
OUTPUT_BYTES = 12_000
MESSAGE_LINES = 6
MESSAGE_LINE_LENGTH = 1_000
STEP_LENGTH = 120
NAMED_VIOLATORS = 5


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
        _unit_tests(summary),
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


def _unit_tests(summary: PreviewSummary) -> Section:
    tested = [code(name) for name in summary.tested]
    text = f"Unit tests passed: {some_of(tested, 20)}.\n" if tested else ""
    return Section("unit tests", 6, "", [Item(text, text)] if text else [])


def _warnings(warnings: Sequence[str]) -> Section:
    lines = [f"- {prose(warning)}\n" for warning in warnings]
    head = fold(counted(len(lines), "warning"))
    return Section(
        "warnings", 12, head, [Item(line, line[:500] if len(line) <= 500 else "") for line in lines], FOLD_END
    )
