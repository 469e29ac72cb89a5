"""Progress is plain lines in a log and a live line on a terminal; what failed stays to be seen."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from slipway.progress import Progress, Step, elapsed_text


def plain(**options: float) -> tuple[Progress, io.StringIO]:
    output = io.StringIO()
    return Progress(Console(file=output, width=60), **options), output


def without_times(text: str) -> str:
    return re.sub(r"\d+\.\d s", "N s", text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (3.24, "3.2 s"), (59.9, "59.9 s"), (60, "1 min 00 s"), (247.9, "4 min 07 s")],
)
def test_elapsed_time_is_read_at_a_glance(seconds: float, text: str) -> None:
    assert elapsed_text(seconds) == text


def test_a_log_gets_a_line_at_the_beginning_and_one_at_the_end() -> None:
    progress, output = plain()
    with progress.step("Building [bold]tool[/bold]") as step:
        step.update("compiling")
    assert without_times(output.getvalue()) == (
        "Building [bold]tool[/bold] ...\nBuilding [bold]tool[/bold]: done in N s\n"
    )


def test_a_failed_step_is_marked_and_the_error_goes_on() -> None:
    progress, output = plain()
    with pytest.raises(ValueError, match="boom"), progress.step("Building"):
        raise ValueError("boom")
    with pytest.raises(KeyboardInterrupt), progress.step("Waiting"):
        raise KeyboardInterrupt
    assert without_times(output.getvalue()).splitlines()[1::2] == [
        "Building: failed after N s",
        "Waiting: interrupted after N s",
    ]


def test_a_skipped_step_is_no_failed_one() -> None:
    progress, output = plain()
    with pytest.raises(OSError, match="away"), progress.step("Downloading") as step:
        step.skip("the site is away")
        raise OSError("away")
    assert without_times(output.getvalue()).endswith("Downloading: skipped after N s: the site is away\n")


def test_a_long_step_shows_signs_of_life_in_a_log() -> None:
    progress, output = plain(heartbeat_seconds=0.05)
    with progress.step("Building") as step:
        step.update(" compiling\n  package x ")
        deadline = time.monotonic() + 10
        while "compiling" not in output.getvalue() and time.monotonic() < deadline:
            time.sleep(0.02)
    beats = without_times(output.getvalue()).splitlines()[1:-1]
    assert beats
    assert set(beats) == {"Building: N s: compiling package x"}


def test_long_lines_of_a_log_are_not_broken() -> None:
    progress, output = plain()
    progress.note("word " * 40)
    with progress.step("title " * 30):
        pass
    assert len(output.getvalue().splitlines()) == 3


def test_a_terminal_shows_the_steps_under_way_and_then_how_they_ended() -> None:
    output = io.StringIO()
    progress = Progress(Console(file=output, force_terminal=True, width=60, color_system=None))
    with progress.step("outer"):
        with progress.step("inner") as inner:
            inner.update("detail " * 30)
            progress.note("a note")
            time.sleep(0.3)
        with pytest.raises(ValueError, match="no"), progress.step("bad"):
            raise ValueError("no")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue())
    assert re.search(r"outer {2}\d\.\d s", text), "the outer step goes on being shown with its time"
    assert re.search(r"inner {2}\d\.\d s {2}detail detail .*…", text), "a long detail is cut, not wrapped"
    ended = [line for line in re.split(r"[\r\n]+", without_times(text)) if line.startswith(("✓", "✗"))]
    assert [line.strip() for line in ended] == ["✓ inner  N s", "✗ bad  failed after N s", "✓ outer  N s"]


def test_output_for_a_pipe_is_not_carried_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    terminal = io.StringIO()
    with Progress(Console(file=terminal, force_terminal=True)).step("working"):
        print('{"for": "jq"}')
    assert capsys.readouterr().out == '{"for": "jq"}\n'
    assert "jq" not in terminal.getvalue()


def test_a_step_counts_from_its_beginning() -> None:
    step = Step("title")
    time.sleep(0.05)
    assert 0.05 <= step.elapsed_seconds() < 5
