"""Writes the rules into docs/policy.md, so that the page matches the code: `python -m policy.rule_table`."""

from __future__ import annotations

from pathlib import Path

from policy.rules import ALL, FAMILIES

FILE = Path(__file__).resolve().parent.parent / "docs" / "policy.md"
BEGIN = "<!-- The rest of this file is written by `python -m policy.rule_table`. -->"


def tables() -> str:
    """A table for each family: id, levels, the requirement, its reason and its source."""
    lines = [BEGIN, "", "## The rules", "", f"{len(ALL)} rules in {len(FAMILIES)} families."]
    for family, rules in FAMILIES.items():
        lines += ["", f"### {family}", "", "| rule | dev | prod | asks | why |", "| --- | --- | --- | --- | --- |"]
        for rule in rules:
            links = (f"[source]({each})" if each.startswith("https://") else each for each in rule.source.split("; "))
            asks = f"{rule.title}. *Fix:* {rule.remedy} ({', '.join(links)})"
            cells = (f"`{rule.id}`", rule.levels.dev, rule.levels.prod, asks, rule.why)
            escaped = (cell.replace("|", "\\|") for cell in cells)
            lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join(lines) + "\n"


def updated(text: str) -> str:
    """The document with its part generated again."""
    return text.partition(BEGIN)[0] + tables()


if __name__ == "__main__":
    FILE.write_text(updated(FILE.read_text(encoding="utf-8")), encoding="utf-8")
