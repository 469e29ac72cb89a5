"""A long command's output is in its log, its last line on the screen, and its failure an error with both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.toolchain.running import run_logged, tail
from slipway.errors import SlipwayError
from slipway.progress import Step


class Seen(Step):
    """A step that remembers every update."""

    def __init__(self) -> None:
        super().__init__("step")
        self.updates: list[str] = []

    def update(self, text: str) -> None:
        self.updates.append(text)


def run(script: str, log: Path, step: Step | None = None) -> None:
    run_logged(["sh", "-c", script], what="It", log=log, step=step or Step("step"), environment=os.environ)


def test_both_streams_are_logged_in_order_and_shown(tmp_path: Path) -> None:
    seen = Seen()
    run("echo one; echo two >&2; printf '10%%\\r20%%\\r30%%\\n'", tmp_path / "log", seen)
    assert (tmp_path / "log").read_bytes().endswith(b"\none\ntwo\n10%\r20%\r30%\n")
    assert seen.updates == ["one", "two", "30%"]


def test_a_failure_shows_the_last_lines_and_names_the_log(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError) as caught:
        run("seq 1 40; echo; exit 3", tmp_path / "log")
    assert caught.value.what == "It failed (exit 3)"
    assert caught.value.why.splitlines() == [str(number) for number in range(29, 41)]
    assert str(tmp_path / "log") in caught.value.next_step


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match=r"It failed"):
        run_logged(["/no/such/program"], what="It", log=tmp_path / "log", step=Step("s"), environment=os.environ)


def test_a_program_that_falls_silent_is_ended(tmp_path: Path) -> None:
    script = f"echo $$ >{tmp_path}/pid; echo one; exec sleep 30"
    with pytest.raises(SlipwayError) as caught:
        run_logged(
            ["sh", "-c", script],
            what="It",
            log=tmp_path / "log",
            step=Step("s"),
            environment=os.environ,
            silence_seconds=0.3,
            next_step="Look.",
        )
    assert caught.value.what == "It failed (no output for 0.3 s)"
    assert caught.value.why.endswith("\none")
    assert caught.value.next_step == f"The whole log is in {tmp_path}/log. Look."
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


@pytest.mark.slow
def test_a_program_that_goes_on_talking_may_take_longer(tmp_path: Path) -> None:
    script = "for each in 1 2 3 4; do sleep 0.2; printf $each; done"
    run_logged(
        ["sh", "-c", script],
        what="It",
        log=tmp_path / "log",
        step=Step("s"),
        environment=os.environ,
        silence_seconds=0.6,
    )
    assert (tmp_path / "log").read_bytes().endswith(b"\n1234")


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    seen = Seen()
    run(r"printf 'a\377b\n'", tmp_path / "log", seen)
    assert seen.updates == ["a\ufffdb"]
    assert tail(tmp_path / "log").endswith("a\ufffdb")
