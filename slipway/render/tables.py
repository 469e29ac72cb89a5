"""Tables that a person reads and `grep` can search: a row is a line, unless the terminal is too narrow for it."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

# Wider than any row: a reader of a pipe wants each row on one line.
_WIDTH = 1000
_GAP = 2
_INDENT = " " * 4
_EMPTY = ("", "-")

Cell = str | Text


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[str] = (), below: Sequence[str] = ()
) -> None:
    """Print `rows` under `headings`; the columns named in `right` are aligned to the right.

    If the table is wider than the terminal, or than COLUMNS, its columns named in `below` move under their rows, one by
    one in that order, until the others fit.
    """
    console = Console(highlight=False)
    limit = console.width if console.is_terminal or os.environ.get("COLUMNS", "").isdigit() else _WIDTH
    widths = {
        heading: max(cell_len(str(cell)) for cell in (heading, *(row[index] for row in rows)))
        for index, heading in enumerate(headings)
    }
    moved: list[str] = []
    for heading in below:
        if sum(widths.values()) + _GAP * (len(widths) - 1) <= limit:
            break
        moved.append(heading)
        del widths[heading]
    for number, row in enumerate([headings, *rows]):
        cells = dict(zip(headings, row, strict=True))
        line = Text(" " * _GAP).join(_aligned(cells[name], widths[name], to_right=name in right) for name in widths)
        line.rstrip()
        console.print(Text(line.plain, style="bold") if number == 0 else line, soft_wrap=True)
        for name in (each for each in headings if number and each in moved and str(cells[each]) not in _EMPTY):
            text = textwrap.fill(
                f"{name}: {cells[name]}",
                limit,
                initial_indent=_INDENT,
                subsequent_indent=f"{_INDENT}  ",
                break_on_hyphens=False,
            )
            console.print(Text(text), soft_wrap=True)


def _aligned(cell: Cell, width: int, *, to_right: bool) -> Text:
    text = cell.copy() if isinstance(cell, Text) else Text(cell)
    missing = width - text.cell_len
    if to_right:
        text.pad_left(missing)
    else:
        text.pad_right(missing)
    return text
