"""Which kind of process a command line is of, and what a command took."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.processes import CommandError, by_kind, kind_of, timed

BUSY = "import time\nend = time.process_time() + {seconds}\nwhile time.process_time() < end: pass\n"


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/p/.venv/bin/python -m slipway.cli.main up -s dev --yes", "command line"),
        ("/t/pulumi-3.259.0/bin/pulumi up --stack dev --yes --policy-pack policy", "engine"),
        ("/p/.venv/bin/python -P -m lab.plugins.language_python 127.0.0.1:4", "language host"),
        ("/p/.venv/bin/python /p/lab/plugins/language_python/executor.py", "program"),
        ("/p/.venv/bin/python -u /p/lab/plugins/language_python/executor.py", "policy pack"),
        ("/o/pulumi-language-python --root /p 127.0.0.1:4", "language host"),
        ("/p/.venv/bin/python -u /o/pulumi-language-python-exec --monitor 127.0.0.1:4", "program"),
        ("/p/.venv/bin/python -u -m pulumi.policy 127.0.0.1:4 /p/policy", "policy pack"),
        ("/p/.venv/bin/python -m policy.program_check_process 9", "program's gate"),
        ("/h/plugins/resource-kubernetes-v4.25.0/pulumi-resource-kubernetes 127.0.0.1:4", "kubernetes provider"),
        ("/h/plugins/resource-docker-build-v0.0.22/pulumi-resource-docker-build 127.0.0.1:4", "docker-build provider"),
        ("/h/plugins/resource-docker-v5.2.0/pulumi-resource-docker 127.0.0.1:4", "docker provider"),
        ("/p/.venv/bin/python -P -m lab.plugins.docker 127.0.0.1:4", "docker provider"),
        ("/t/helm-4.3.1/bin/helm upgrade bench /c --wait", "helm"),
        ("git status --porcelain", "other"),
        ("", "other"),
    ],
)
def test_a_command_line_tells_the_kind(command: str, kind: str) -> None:
    assert kind_of(command.split()) == kind


def test_seconds_are_summed_by_kind_and_what_no_look_saw_is_other() -> None:
    seen = {1: ("engine", 2.0), 2: ("program", 3.0), 3: ("engine", 2.5), 4: ("other", 0.25)}
    assert by_kind(seen, 10.0) == {"engine": 4.5, "program": 3.0, "other": 2.5}
    assert by_kind({1: ("engine", 2.0)}, 1.9) == {"engine": 2.0}


@pytest.mark.slow
def test_a_command_is_timed_with_its_children(tmp_path: Path) -> None:
    child = (
        f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BUSY.format(seconds=0.6)!r}], check=True)\n"
    )
    run, output = timed([sys.executable, "-c", child + "print('done')"], folder=tmp_path, environment=os.environ)
    assert output == "done\n"
    assert sum(run.cpu_seconds.values()) >= 0.6
    assert run.seconds >= 0.6


@pytest.mark.slow
def test_what_a_failing_command_printed_is_reported(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"(?s)exit code 3.*no such thing"):
        timed(["sh", "-c", "echo no such thing; exit 3"], folder=tmp_path, environment=os.environ)


@pytest.mark.slow
def test_whatever_ends_the_timing_ends_all_that_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A grandchild in a process group of its own, as a plugin of the engine has.
    monkeypatch.setattr("bench.processes.COMMAND_TIMEOUT_SECONDS", 1.0)
    command = "setsid sh -c 'echo $$ > pid; exec sleep 300' & wait"
    with pytest.raises(Exception, match="timed out"):
        timed(["sh", "-c", command], folder=tmp_path, environment=os.environ)
    pid = int((tmp_path / "pid").read_text())
    given_up = time.monotonic() + 10
    while psutil.pid_exists(pid) and time.monotonic() < given_up:
        time.sleep(0.05)
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
