"""Writes the rules into docs/policy.md, so that what people read is what is asked: `python -m policy.rule_table`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from policy.model import Rule
from policy.rules import ALL, FAMILIES

FILE = Path(__file__).resolve().parent.parent / "docs" / "policy.md"
BEGIN = "<!-- The rest of this file is written by `python -m policy.rule_table`. -->"


def tables() -> str:
    """A table for each family: id, levels, what is asked, why, and where that comes from."""
    count = f"{len(ALL)} rules in {len(FAMILIES)} families."
    return "\n".join([BEGIN, "", "## The rules", "", count, *_sections()]) + "\n"


def updated(text: str) -> str:
    """The document with its generated part made anew."""
    return text.partition(BEGIN)[0] + tables()


def _sections() -> Iterator[str]:
    for family, rules in FAMILIES.items():
        yield from ("", f"### {family}", "", "| rule | dev | prod | asks | why |", "| --- | --- | --- | --- | --- |")
        yield from map(_row, rules)


def _row(rule: Rule) -> str:
    asks = f"{rule.title}. *Fix:* {rule.remedy} ({_linked(rule.source.split('; '))})"
    cells = (f"`{rule.id}`", rule.levels.dev, rule.levels.prod, asks, rule.why)
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _linked(sources: Iterable[str]) -> str:
    return ", ".join(f"[source]({each})" if each.startswith("https://") else each for each in sources)


if __name__ == "__main__":
    FILE.write_text(updated(FILE.read_text(encoding="utf-8")), encoding="utf-8")
