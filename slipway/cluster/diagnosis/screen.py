"""A diagnosis as plain text that fits one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from slipway.cluster.diagnosis.advice import exit_words
from slipway.cluster.diagnosis.model import Diagnosis, LogTail

WIDTH = 100
"""The width of a screen in columns, except on a narrower terminal."""
MAX_LINES = 24
MIN_WIDTH = 40
_INDENT = 9
_REASON_LINES = 3
_LAST_LINE_ROWS = 3
_LOG_MARK = "    | "


def screen(diagnosis: Diagnosis, width: int = WIDTH) -> str:
    """What is wrong, where, messages, what to do: `MAX_LINES` lines at most; only commands may exceed `width`."""
    width = max(width, MIN_WIDTH)
    head = textwrap.wrap(diagnosis.headline, width)[:3]
    if diagnosis.pods:
        count = len(diagnosis.pods)
        like_it = " and others like it" if count > 1 else ""
        others = f" ({'; '.join(diagnosis.others)})" if diagnosis.others else ""
        pods = f"{count} of {max(diagnosis.pods_wanted, count)}: {diagnosis.pods[0]}{like_it}{others}"
        head += _list("pods", (pods,), width, 2)
    if diagnosis.finding.state:
        head += _list("state", (_state(diagnosis),), width, 1)
    if diagnosis.finding.reason:
        head += _list("reason", (diagnosis.finding.reason,), width, _REASON_LINES)
    foot = [*_list("events", diagnosis.events, width, 1), *_list("next", diagnosis.advice, width, 2)]
    # Whole, whatever the width, so that they can be copied.
    foot += [f"  {'':<{_INDENT - 1}} $ {command}" for command in diagnosis.commands]
    # The runs of the container share the room; the last one also gets the lines that the others leave.
    room = MAX_LINES - len(head) - len(foot)
    tails = diagnosis.logs[: max(room // 4, 1)]
    logs: list[str] = []
    for index, tail in enumerate(tails):
        left = len(tails) - index
        lines = _tail(tail, width, room // left if left > 1 else room)
        room -= len(lines)
        logs += lines
    return "\n".join([*head, *logs, *foot])


def _state(diagnosis: Diagnosis) -> str:
    finding = diagnosis.finding
    parts = [finding.state]
    if finding.container and finding.container != diagnosis.service:
        parts.append(f"container {finding.container}")
    if finding.ends:
        parts.append(f"ended {finding.ends} time{'s' if finding.ends > 1 else ''}")
    if finding.exit_code is not None:
        parts.append(f"last with {exit_words(finding.exit_code)}")
    return ", ".join(parts)


def _list(title: str, items: tuple[str, ...], width: int, lines: int) -> Iterator[str]:
    """`title` in front of the first line; each item wrapped into at most `lines` lines."""
    for item in items:
        wrapped = textwrap.wrap(" ".join(item.split()), width - _INDENT - 2, break_on_hyphens=False)
        if len(wrapped) > lines:
            wrapped[lines - 1 :] = [_cut(" ".join(wrapped[lines - 1 :]), width - _INDENT - 2)]
        for line in wrapped:
            yield f"  {title:<{_INDENT - 1}} {line}"
            title = ""


def _tail(tail: LogTail, width: int, room: int) -> list[str]:
    if room < 2:
        return []
    *before, last = tail.lines
    # The last line says most: it may take several rows.
    columns, room = width - len(_LOG_MARK), room - 1
    rows = [last[at : at + columns] for at in range(0, len(last), columns)]
    end = rows[: min(_LAST_LINE_ROWS, room)]
    if len(end) < len(rows):
        end[-1] = f"{end[-1][:-1]}…"
    before = before[max(len(before) + len(end) - room, 0) :]
    title = _cut(f"  {'log':<{_INDENT - 1}} {tail.title}:", width)
    return [title, *(_cut(f"{_LOG_MARK}{line}", width) for line in (*before, *end))]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
