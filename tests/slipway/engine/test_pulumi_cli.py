"""What every run of the engine is given, and that Ctrl-C reaches it once each time."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from slipway.engine.errors import failure
from slipway.engine.events import STACK_TYPE, Diagnostic, Urn
from slipway.engine.messages import DIAGNOSIS
from slipway.engine.pulumi_cli import Pulumi
from tests.slipway.opened import engine_in


@pytest.mark.parametrize(
    ("own", "expected"), [({}, "400 1GiB true"), ({"GOGC": "50", "GOMEMLIMIT": "2GiB"}, "50 2GiB true")]
)
def test_its_garbage_collector_runs_less_often_unless_somebody_says_otherwise(
    tmp_path: Path, own: dict[str, str], expected: str
) -> None:
    engine = engine_in(tmp_path, '#!/bin/sh\necho "$GOGC $GOMEMLIMIT $PULUMI_SKIP_UPDATE_CHECK"\n')
    assert engine.with_variables(own).run("version").output.strip() == expected


DEPLOYMENT = "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:apps/v1:Deployment::"
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
    return engine_in(tmp_path, ENGINE)


@pytest.mark.slow
def test_an_interrupted_run_gets_the_signal_once_and_says_so(engine: Pulumi) -> None:
    printed: list[str] = []
    lines: list[str] = []

    def on_line(line: str, _seconds: float) -> None:
        printed.append(line.strip())
        if line.strip() == "ready":
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()

    ended = engine.stream(["up"], on_line, lines.append)
    assert (ended.interrupted, ended.exit_code) == (True, 1)
    assert printed == ["ready", "interrupt 1"]
    assert lines == ["Interrupted: waiting for the running operations to finish. Press Ctrl-C again to stop at once."]


def test_the_screens_come_before_messages_about_other_resources() -> None:
    stack = Urn(f"urn:pulumi:dev::slipway::{STACK_TYPE}::slipway-dev")
    events = [
        Diagnostic(1, Urn(f"{DEPLOYMENT}order-service"), "error", "error: something else"),
        Diagnostic(2, stack, "error", f"{DIAGNOSIS}user-service crashes\n  pods     2 of 2"),
        Diagnostic(3, stack, "error", "update failed"),
    ]
    error = failure("dev", events, "")
    assert error.what == "The update of stack dev failed."
    assert error.why == "user-service crashes\n  pods     2 of 2\nDeployment order-service: something else"
