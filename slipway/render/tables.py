"""Tables that a person reads and `grep` can search: a row is a line, whatever the terminal's width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

# Wider than any row: a narrow terminal folds a long line itself, at its edge, instead of inside of every column.
_WIDTH = 1000

Cell = str | Text


def print_table(headings: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[str] = ()) -> None:
    """Print `rows` under `headings`; the columns named in `right` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="right" if heading in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, width=_WIDTH).print(table)
