"""An engine that we ask to cancel is not an interrupted one, and its error is the diagnosis."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slipway.diagnosis import MARK, Cause, Diagnosis
from slipway.diagnosis.model import Finding
from slipway.engine.errors import failure
from slipway.engine.events import Diagnostic, Event, Failed, Resource, Started
from slipway.pulumi_cli import Pulumi

URN = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:apps/v1:Deployment::"
# Counts the interrupts that it gets, as the engine does, and ends a moment after the first. It writes past the buffer
# of stdout, which a handler may not enter while the line before is still on its way out of it.
ENGINE = """\
#!/usr/bin/env python3
import os, signal, sys, time
count = 0
def interrupted(*_):
    global count
    count += 1
    os.write(1, b"interrupt %d\\n" % count)
signal.signal(signal.SIGINT, interrupted)
os.write(1, b"ready\\n")
end = time.monotonic() + 20
while time.monotonic() < end:
    time.sleep(0.05)
    if count:
        end = min(end, time.monotonic() + 1)
sys.exit(1)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Pulumi:
    program = tmp_path / "pulumi"
    program.write_text(ENGINE)
    program.chmod(0o755)
    return Pulumi(tmp_path, {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"})


def run(engine: Pulumi, *, cancels: int, signals: int) -> tuple[list[str], list[str], bool, int]:
    """What the engine printed, what was said of interrupts, whether the run counts as one, and its exit code."""
    printed: list[str] = []
    said: list[str] = []
    ask: list[Callable[[], None]] = []

    @contextmanager
    def cancelling(cancel: Callable[[], None]) -> Iterator[None]:
        ask.append(cancel)
        yield

    def act() -> None:
        for _ in range(cancels):
            ask[0]()
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGINT)

    def on_line(line: str, _seconds: float) -> None:
        printed.append(line.strip())
        if line.strip() == "ready":
            threading.Thread(target=act).start()

    ended = engine.stream(["up"], on_line, said.append, cancelling=cancelling)
    return printed, said, ended.interrupted, ended.exit_code


def test_a_cancelled_run_is_interrupted_once_and_counts_as_failed(engine: Pulumi) -> None:
    assert run(engine, cancels=3, signals=0) == (["ready", "interrupt 1"], [], False, 1)


def test_a_first_ctrl_c_after_that_is_not_the_second_one(engine: Pulumi) -> None:
    printed, said, interrupted, _ = run(engine, cancels=1, signals=1)
    assert printed == ["ready", "interrupt 1"]
    assert interrupted
    assert said == ["Interrupted: waiting for what is under way to finish. Press Ctrl-C again to stop at once."]


def test_who_was_interrupted_is_not_cancelled_too(engine: Pulumi) -> None:
    printed: list[str] = []
    ask: list[Callable[[], None]] = []

    @contextmanager
    def cancelling(cancel: Callable[[], None]) -> Iterator[None]:
        ask.append(cancel)
        yield

    def on_line(line: str, _seconds: float) -> None:
        printed.append(line.strip())
        if line.strip() == "ready":
            os.kill(os.getpid(), signal.SIGINT)
        elif line.strip() == "interrupt 1":
            ask[0]()

    assert engine.stream(["up"], on_line, lambda _: None, cancelling=cancelling).interrupted
    assert printed == ["ready", "interrupt 1"]


def failed(name: str, *messages: str) -> list[Event]:
    resource = Resource(f"{URN}{name}")
    told = [Diagnostic(1, resource, "error", message) for message in messages]
    return [Started(0, resource, "update", True), *told, Failed(2, resource, "update", True)]


def test_the_screen_of_the_hook_stands_for_the_engine_s_words() -> None:
    events = failed("user-service", f"{MARK}user-service crashes\n  pods     2 of 2", "error: 3 errors occurred")
    error = failure("dev", [*events, *failed("order-service", "error: something else")], "")
    assert error.why == "user-service crashes\n  pods     2 of 2\nDeployment order-service: something else"


def test_what_was_given_up_is_told_first_and_what_was_cancelled_with_it_not_at_all() -> None:
    diagnosis = Diagnosis("user-service", "slipway-dev", Finding(Cause.CRASH), "user-service crashes")
    cancelled = "error: Resource operation was cancelled for 'slipway-dev/order-service'"
    events = failed("order-service", cancelled) + failed("user-service", cancelled, f"{MARK}user-service is starting")
    error = failure("dev", events, "", [diagnosis])
    assert error.why == "user-service crashes"
    assert error.what == "The update of stack dev failed."
