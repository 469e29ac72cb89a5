"""Puts foreign text into Markdown as plain text: no markup, no broken table, no HTML, no notifications.

Written for GitHub Flavored Markdown (https://github.github.com/gfm/) and GitLab's. It uses whichever reads better: code
spans, in which nothing is markup, or character references, which show a character but never act as one.

A document is fitted into a size: first every entry in brief, then as many in full as there is room for. It says what
was cut.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
# Shown by their number: control characters, and those that change a line's direction (https://trojansource.codes).
UNSEEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
MARKUP = re.compile(r"[\\`*_{}\[\]<>&|~!^$]")
NOT_IN_A_CODE_SPAN = re.compile(r"[`|\\]")
# GitHub and GitLab turn these into links and notifications: @name, #1, !1, GH-1, addresses of pages and of mail.
LINKED = re.compile(r"@|#(?=\d)|GH-(?=\d)|:(?=//)|(?i:www)(?=\.)")
BETWEEN = "&#8203;"  # a space of no width
LINE_BREAK = "<br>"
FOLD_END = "\n\n</details>\n"
IN_BACKTICKS = re.compile(r"`([^`]*[^`\s][^`]*)`")
LONGEST_DIGEST = re.compile(r"\b(sha256:)?([0-9a-f]{12})[0-9a-f]{52}\b")


def clean(text: str) -> str:
    """`text` without terminal colours, with invisible characters made visible; newlines and tabs stay."""
    text = ANSI.sub("", text).replace("\r\n", "\n")
    return "".join(_seen(character) for character in text)


def _seen(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in UNSEEN_CATEGORIES:
        return character
    return f"\\u{ord(character):04x}"


def prose(text: str) -> str:
    """A foreign sentence; its lines are kept as lines, and its text `between backticks` is code.

    Not for the start of a line of the document.
    """
    lines = []
    for line in _lines(text):
        parts = IN_BACKTICKS.split(line)  # every other one was between backticks
        lines.append("".join(code(part) if index % 2 else _inert(part) for index, part in enumerate(parts)))
    return LINE_BREAK.join(lines)


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in clean(text).strip().split("\n")]


def _inert(text: str) -> str:
    """The text without meaning in Markdown and HTML."""
    without_markup = MARKUP.sub(_reference, text)
    # References that `_reference` wrote have a `#` with digits after it, which stays.
    return re.sub(r"(?P<reference>&#\d+;)|" + LINKED.pattern, _unlink, without_markup)


def code(text: str, longest: int = 0) -> str:
    """A name or a value in code, on one line; `longest` is the number of characters to show, 0 for all."""
    line = clean(text).replace("\n", "⏎").replace("\t", " ")
    if longest and len(line) > longest:
        line = f"{line[:longest]}…"
    if not line.strip():
        return "*(empty)*"
    if line == line.strip() and not NOT_IN_A_CODE_SPAN.search(line):
        return f"`{line}`"
    return f"<code>{_inert(line)}</code>"


def fence(text: str, language: str = "text") -> str:
    """A block of code, with any content."""
    body = clean(text).rstrip("\n")
    longest = max((len(run) for run in re.findall(r"`+", body)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}{language}\n{body}\n{marks}\n"


def folded(summary: str, body: str) -> str:
    """A part that a reader unfolds; `summary` is foreign text, `body` is Markdown already."""
    return f"{fold(summary)}{body.strip(chr(10))}{FOLD_END}"


def fold(summary: str) -> str:
    """The start of a folded part. Its title is HTML to Markdown: the output of `code` would not be code there."""
    return f"<details><summary>{_inert(' '.join(_lines(summary)))}</summary>\n\n"


def row(*cells: str) -> str:
    """A row of a table; cells are Markdown without a bare `|` or newline, as `prose` and `code` make it."""
    return f"| {' | '.join(cells)} |\n"


def table_head(*titles: str) -> str:
    return row(*titles) + row(*["---"] * len(titles))


def shortened(text: str) -> str:
    """`text` with SHA-256 digests cut to 12 digits, enough for people to tell them apart."""
    return LONGEST_DIGEST.sub(r"\1\2…", text)


def some_of(texts: Sequence[str], most: int) -> str:
    """The first of them, and how many more there are."""
    shown = ", ".join(texts[:most])
    return f"{shown} and {len(texts) - most} more" if len(texts) > most else shown


def _reference(found: re.Match[str]) -> str:
    return f"&#{ord(found[0])};"


def _unlink(found: re.Match[str]) -> str:
    return found[0] if found["reference"] else f"{found[0]}{BETWEEN}"


# GitHub's limit for a comment's body. GitHub counts characters; bytes, which are counted here, are never fewer.
GITHUB_LIMIT_BYTES = 65_536
NOTE_BYTES = 300


@dataclass(frozen=True)
class Item:
    """An entry of a section, shown whole, in brief, or not at all."""

    full: str
    brief: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and what is under it. The lower `importance`, the later it is cut."""

    name: str
    importance: int
    head: str
    entries: Sequence[Item]
    tail: str = ""


def fit(before: str, sections: Sequence[Section], after: str, limit_bytes: int = GITHUB_LIMIT_BYTES) -> str:
    """The document, at most `limit_bytes` of UTF-8; a section without remaining entries loses its heading too."""
    sections = [section for section in sections if section.entries]
    chosen = _choose(sections, limit_bytes - _size(before) - _size(after) - NOTE_BYTES)
    notes: list[str] = []
    parts = [before]
    for section, texts in zip(sections, chosen, strict=True):
        if any(texts):
            parts.append(f"{section.head}{''.join(texts)}{section.tail}\n")
        gone = sum(not text for text in texts)
        brief = sum(bool(text) and text != entry.full for text, entry in zip(texts, section.entries, strict=True))
        notes += [f"{gone} of {len(texts)} {section.name}"] if gone else []
        notes += [f"the details of {brief} {section.name}"] if brief else []
    if notes:
        parts.append(f"> [!NOTE]\n> Cut to fit into a comment: {'; '.join(notes)}. The run's log has everything.\n\n")
    return "".join([*parts, after])


def _choose(sections: Sequence[Section], room_bytes: int) -> list[list[str]]:
    """For each section the texts of its entries, empty if left out."""
    room = room_bytes
    for section in sections:
        # With both notes about it, with numbers of up to six digits.
        room -= _size(section.head + section.tail) + 1 + 2 * (_size(section.name) + 30)
    chosen = [[""] * len(section.entries) for section in sections]
    by_importance = sorted(range(len(sections)), key=lambda index: sections[index].importance)
    for in_full in (False, True):
        for number in by_importance:
            for index, entry in enumerate(sections[number].entries):
                text = entry.full if in_full else entry.brief
                more = _size(text) - _size(chosen[number][index])
                if more <= room and (text or not in_full):
                    chosen[number][index] = text
                    room -= more
    return chosen


def _size(text: str) -> int:
    return len(text.encode())
