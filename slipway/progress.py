"""Shows the running steps, as a live line on a terminal and as plain lines elsewhere; and prints tables."""

from __future__ import annotations

import os
import sys
import textwrap
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

# Wider than any row: a reader of a pipe wants each row on one line.
_TABLE_WIDTH = 1000
_COLUMN_GAP = 2
_MOVED_INDENT = " " * 4
_EMPTY_CELLS = ("", "-")
HEARTBEAT_SECONDS = 30.0


def elapsed_text(seconds: float) -> str:
    """`3.2 s` below a minute, `4 min 07 s` above."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest:02d} s"


@dataclass
class Step:
    """One step in progress; `update` sets what it is doing now (the last line of a log, a byte count).

    `result` is printed at the end, after the elapsed time.
    """

    title: str
    detail: str = ""
    skipped: str = ""
    result: str = ""
    started: float = field(default_factory=time.monotonic)

    def update(self, text: str) -> None:
        self.detail = " ".join(text.split())

    def skip(self, reason: str) -> None:
        """Let the step end as skipped, not as failed, even if its block raises."""
        self.skipped = reason

    def elapsed_seconds(self) -> float:
        return time.monotonic() - self.started


class Progress:
    """Reports steps on `console` (standard error by default). Steps may be nested and may run in several threads."""

    def __init__(self, console: Console | None = None, *, heartbeat_seconds: float = HEARTBEAT_SECONDS) -> None:
        # With FORCE_COLOR, `rich` treats a file as a terminal: the file may get colours, but no line that is redrawn.
        at_terminal = None if sys.stderr.isatty() else False
        self.console = console or Console(stderr=True, highlight=False, force_interactive=at_terminal)
        self._heartbeat_seconds = heartbeat_seconds
        self._steps: list[Step] = []
        self._lock = threading.Lock()
        self._live: Live | None = None
        self._spinner = Spinner("dots", style="cyan")

    def note(self, text: str) -> None:
        """Print a text once, above the running steps."""
        self.console.print(Text(text), soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[Step]:
        """Show `title` as running until the block ends, then as done, or as failed if the block raises."""
        step = Step(title)
        with self._lock:
            self._steps.append(step)
            if not self.console.is_interactive:
                self.console.print(Text(f"{step.title} ..."), soft_wrap=True)
            elif self._live is None:
                # Redirecting keeps a shared terminal tidy, but must not carry output meant for a pipe to stderr.
                redirect = sys.stdout.isatty()
                self._live = Live(
                    get_renderable=self._lines, console=self.console, transient=True, redirect_stdout=redirect
                )
                self._live.start()
        stopped, error = threading.Event(), None
        threading.Thread(target=self._beat, args=(step, stopped), daemon=True).start()
        try:
            yield step
        except BaseException as raised:
            error = raised
            raise
        finally:
            stopped.set()
            with self._lock:
                self._end(step, error)

    def _lines(self) -> Table:
        """The running steps, drawn at each refresh: the elapsed time changes without a call of `update`."""
        table = Table.grid()
        table.add_column(width=2)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for step in list(self._steps):
            line = Text.assemble(step.title, (f"  {elapsed_text(step.elapsed_seconds())}  {step.detail}", "dim"))
            table.add_row(self._spinner, line)
        return table

    def _end(self, step: Step, error: BaseException | None) -> None:
        self._steps.remove(step)
        if self._live is not None and not self._steps:
            self._live.stop()
            self._live = None
        took = elapsed_text(step.elapsed_seconds())
        if step.skipped:
            mark, end = ("-", "yellow"), f"skipped after {took}: {step.skipped}"
        elif error is None:
            mark, end = ("✓", "green"), f"done in {took}{f', {step.result}' if step.result else ''}"
        else:
            word = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            mark, end = ("✗", "red"), f"{word} after {took}"
        line = Text(f"{step.title}: {end}")
        if self.console.is_interactive:
            line = Text.assemble(mark, f" {step.title}  ", (end.removeprefix("done in "), "dim"))
        self.console.print(line, soft_wrap=True)

    def _beat(self, step: Step, stopped: threading.Event) -> None:
        while not (self.console.is_interactive or stopped.wait(self._heartbeat_seconds)):
            detail = f": {step.detail}" if step.detail else ""
            self.console.print(Text(f"{step.title}: {elapsed_text(step.elapsed_seconds())}{detail}"), soft_wrap=True)


Cell = str | Text


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[str] = (), below: Sequence[str] = ()
) -> None:
    """Print `rows` under `headings`; the columns named in `right` are aligned to the right.

    If the table is wider than the terminal, or than COLUMNS, its columns named in `below` move under their rows, one by
    one in that order, until the others fit.
    """
    console = Console(highlight=False)
    limit = console.width if console.is_terminal or os.environ.get("COLUMNS", "").isdigit() else _TABLE_WIDTH
    widths = {
        heading: max(cell_len(str(cell)) for cell in (heading, *(row[index] for row in rows)))
        for index, heading in enumerate(headings)
    }
    moved: list[str] = []
    for heading in below:
        if sum(widths.values()) + _COLUMN_GAP * (len(widths) - 1) <= limit:
            break
        moved.append(heading)
        del widths[heading]
    for number, row in enumerate([headings, *rows]):
        cells = dict(zip(headings, row, strict=True))
        line = Text(" " * _COLUMN_GAP).join(
            _aligned(cells[name], widths[name], to_right=name in right) for name in widths
        )
        line.rstrip()
        console.print(Text(line.plain, style="bold") if number == 0 else line, soft_wrap=True)
        for name in (each for each in headings if number and each in moved and str(cells[each]) not in _EMPTY_CELLS):
            text = textwrap.fill(
                f"{name}: {cells[name]}",
                limit,
                initial_indent=_MOVED_INDENT,
                subsequent_indent=f"{_MOVED_INDENT}  ",
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
