"""Rules that never end, in each of the ways they can."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from policy.judge import Deadline, DeadlineError


def test_what_is_done_in_time_gives_its_result_or_its_error() -> None:
    assert Deadline(5).run(lambda: 42, lambda: "it") == 42
    with pytest.raises(ZeroDivisionError):
        Deadline(5).run(lambda: 1 // 0, lambda: "it")


def test_what_never_ends_is_named() -> None:
    with pytest.raises(DeadlineError, match=r"rule `x` on Deployment/api did not finish in 0\.1 s"):
        Deadline(0.1).run(threading.Event().wait, lambda: "rule `x` on Deployment/api")


def test_what_lets_no_other_thread_run_is_ended_with_the_process() -> None:
    # A regular expression holds the interpreter's lock for as long as it takes, here for ever.
    program = (
        "import re\n"
        "from policy import judge\n"
        "judge.LAST_RESORT_SECONDS = 0.3\n"
        "def evil_rule(): re.match(r'(a|aa)+$', 'a' * 200 + 'b')\n"
        "judge.Deadline(0.2).run(evil_rule, lambda: 'it')\n"
    )
    started = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode != 0
    assert "evil_rule" in ended.stderr
    assert time.monotonic() - started < 10
