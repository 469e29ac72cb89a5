"""A preview's summary as Markdown, for a comment on a pull request: whole at any size, safe with any text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slipway.deploy.summary import PreviewResult, PreviewSummary, Problem, Violation, ViolationState
from slipway.progress import elapsed_text
from slipway.render import markdown_changes as changes
from slipway.render.markdown_fit import GITHUB_LIMIT_BYTES, Item, Section, fit
from slipway.render.markdown_text import FOLD_END, clean, code, fence, fold, folded, prose, row, some_of, table_head
from slipway.render.words import (
    commits_text,
    counted,
    counts,
    grouped_violations,
    image_texts,
    is_incomplete,
    rules_text,
    symbol,
    verdict,
)
from slipway.state.changes import Operation

MARKER = re.compile(r"<!-- slipway:preview:(?P<project>[^\s:]+):(?P<stack>[^\s:]+) -->")
OUTPUT_LINES = 120
OUTPUT_BYTES = 12_000
MESSAGE_LINES = 6
MESSAGE_LINE_LENGTH = 1_000
STEP_LENGTH = 120
NAMED_RESOURCES = 5
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
        changes.replaced(summary.of(Operation.REPLACE), importance=3),
        changes.deleted(summary.of(Operation.DELETE), importance=4),
        changes.updated("Update", summary.of(Operation.UPDATE), importance=6),
        _images(summary),
        changes.created(summary.of(Operation.CREATE), importance=8),
        _violations("Advice of the policies", "advisory violations", 7, summary.advice()),
        _notes(summary.notes()),
        *_drift(summary),
        changes.per_resource(summary.changes, importance=10),
        changes.long_values(summary.changes, importance=11),
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
                row(*cells, some_of(names, NAMED_RESOURCES), prose(message)),
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
        changes.updated("Drift: changed by somebody else", moved, importance=9, titles=("recorded", "found")),
        changes.deleted(gone, importance=9, title="Drift: gone from the cluster"),
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
