"""Fits a document into a size: all in brief first, then as much in full as there is room for; says what was cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# What GitHub takes as a comment's body, counted in characters there and in bytes here, which are never fewer.
GITHUB_LIMIT_BYTES = 65_536
NOTE_BYTES = 300


@dataclass(frozen=True)
class Item:
    """Something in a section that is there whole, in brief, or not at all."""

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
    """The document, at most `limit_bytes` of UTF-8; a section of which nothing is left loses its heading too."""
    sections = [section for section in sections if section.entries]
    chosen = _choose(sections, limit_bytes - _size(before) - _size(after) - NOTE_BYTES)
    notes: list[str] = []
    parts = [before]
    for section, texts in zip(sections, chosen, strict=True):
        if any(texts):
            parts.append(f"{section.head}{''.join(texts)}{section.tail}\n")
        notes += _notes(section, texts)
    if notes:
        parts.append(f"> [!NOTE]\n> Cut to fit into a comment: {'; '.join(notes)}. The run's log has everything.\n\n")
    return "".join([*parts, after])


def _choose(sections: Sequence[Section], room_bytes: int) -> list[list[str]]:
    """For each section the texts of its entries, empty for what is left out."""
    room = room_bytes - sum(_size(section.head + section.tail) + 1 + _note_room(section) for section in sections)
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


def _notes(section: Section, texts: Sequence[str]) -> list[str]:
    gone = sum(not text for text in texts)
    brief = sum(bool(text) and text != entry.full for text, entry in zip(texts, section.entries, strict=True))
    notes = [f"{gone} of {len(texts)} {section.name}"] if gone else []
    return notes + ([f"the details of {brief} {section.name}"] if brief else [])


def _note_room(section: Section) -> int:
    """For both notes about a section, with numbers of up to six digits."""
    return 2 * (len(section.name.encode()) + 30)


def _size(text: str) -> int:
    return len(text.encode())
