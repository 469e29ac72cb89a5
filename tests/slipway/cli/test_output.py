"""A command whose output nobody can take any more goes on to its end, and says so where it can be read."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slipway.cli.output import lasting_output
from slipway.engine.events import EventLog
from slipway.engine.pulumi_cli import Pulumi
from tests.slipway.opened import engine_in

ROOT = Path(__file__).parents[3]
# Says more than a pipe holds, on both streams, then that it came to its end.
COMMAND = """\
import pathlib, sys
from slipway.cli.output import lasting_output
with lasting_output(sys.argv[1:]) as output:
    for number in range(3):
        print(f"line {number}", flush=True)
        print(f"step {number}", file=sys.stderr)
    pathlib.Path("ended").touch()
    code = output.end(0)
sys.exit(code)
"""
FULL = Path("/dev/full")


class Command:
    """Runs in a project of its own, with a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        (folder / "Pulumi.yaml").write_text("name: shop\n")

    def __call__(self, name: str, stdout: int | None = None, stderr: int | None = None) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, name],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SLIPWAY_HOME": str(self.data)},
            stdout=subprocess.PIPE if stdout is None else stdout,
            stderr=subprocess.PIPE if stderr is None else stderr,
            text=True,
            check=False,
        )
        assert (self.folder / "ended").exists()
        (self.folder / "ended").unlink()
        return done.returncode, done.stdout or "", done.stderr or ""

    def kept(self) -> str:
        (file,) = (self.data / "logs").glob("*-output-*.log")
        return file.read_text()


@pytest.fixture
def command(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def closed_pipe() -> int:
    """The end for writing of a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_an_update_whose_output_is_closed_ends_well_and_says_so(command: Command, closed_pipe: int) -> None:
    code, _, errors = command("up", stdout=closed_pipe)
    assert code == 0
    assert errors.startswith(
        "step 0\nstep 1\nstep 2\nThe output of `slipway up` could not be written (standard output: "
    )
    assert "Broken pipe). The command finished with exit code 0. The rest of its output is in " in errors
    assert command.kept().startswith("line 0\nline 1\nline 2\n")


@pytest.mark.slow
def test_what_could_be_said_to_nobody_is_said_by_the_next_command(command: Command, closed_pipe: int) -> None:
    assert command("up", stdout=closed_pipe, stderr=closed_pipe)[0] == 0
    assert command("env")[2] == "step 0\nstep 1\nstep 2\n"
    _, _, errors = command("history")
    assert ": The output of `slipway up` could not be written (standard output: Broken pipe, " in errors
    assert command("history")[2] == "step 0\nstep 1\nstep 2\n"


def test_a_query_that_is_read_no_further_is_silent(command: Command, closed_pipe: int) -> None:
    assert command("history", stdout=closed_pipe) == (0, "", "step 0\nstep 1\nstep 2\n")


def test_a_query_whose_disk_is_full_fails(command: Command) -> None:
    with FULL.open("w") as full:
        code, _, errors = command("history", stdout=full.fileno())
    assert code == 1
    assert "(standard output: No space left on device). The output is incomplete." in errors


def test_an_update_whose_disk_is_full_ends_well_and_says_so(command: Command) -> None:
    with FULL.open("w") as full:
        code, _, errors = command("up", stdout=full.fileno())
    assert code == 0
    assert "(standard output: No space left on device). The command finished with exit code 0." in errors


def test_a_terminal_that_is_gone_ends_nothing(command: Command) -> None:
    terminal, its_end = pty.openpty()
    os.close(terminal)
    assert command("up", stdout=its_end, stderr=its_end)[0] == 0
    os.close(its_end)
    assert "Input/output error" in command("history")[2]


def test_streams_that_were_closed_before_the_start_end_nothing(command: Command) -> None:
    script = f"exec {sys.executable} -c '{COMMAND}' up <&- >&- 2>&-"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "SLIPWAY_HOME": str(command.data)}
    done = subprocess.run(["bash", "-c", script], cwd=command.folder, env=environment, check=False)
    assert done.returncode == 0
    assert (command.folder / "ended").exists()


def test_what_an_encoding_lacks_ends_nothing(tmp_path: Path) -> None:
    code = "from slipway.cli.output import lasting_output\nimport sys\nwith lasting_output(['up']): print('a → b')"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"a ? b\n", b"")


def test_streams_in_memory_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout
    with lasting_output(["up"]) as output:
        print("a")
        assert output.end(3) == 3
    assert sys.stdout is before
    assert capsys.readouterr().out == "a\n"


def test_the_log_of_the_engine_on_a_full_disk_ends_nothing() -> None:
    log = EventLog("log", FULL.open("w"))
    for _ in range(3):
        log.write_line("x" * 2**16, 0.5)
    log.close()


# Ends in order a moment after SIGINT, and says so in a file: nobody else may be left to say it to.
ENGINE = """\
#!/usr/bin/env python3
import os, pathlib, signal, sys, time
ends = []
def interrupted(*_):
    ends.append(time.monotonic() + 0.5)
signal.signal(signal.SIGINT, interrupted)
pathlib.Path("begun").touch()
for number in range(200):
    os.write(1, b"line\\n")
    time.sleep(0.05)
    if ends and time.monotonic() > ends[0]:
        pathlib.Path("in-order").write_text(str(len(ends)))
        sys.exit(1)
"""


@pytest.fixture
def engine(tmp_path: Path) -> Pulumi:
    return engine_in(tmp_path, ENGINE)


@pytest.mark.slow
def test_an_error_while_a_line_is_shown_lets_the_engine_end_in_order(engine: Pulumi) -> None:
    def fail(_line: str, _seconds: float) -> None:
        raise ValueError("a defect")

    with pytest.raises(ValueError, match="a defect"):
        engine.stream(["up"], fail, lambda _: None)
    assert (engine.folder / "in-order").read_text() == "1"


@pytest.mark.slow
def test_a_build_server_that_cancels_lets_the_engine_end_in_order(engine: Pulumi) -> None:
    """GitHub's runner sends SIGINT, SIGTERM 7.5 s later, and kills 2.5 s after that."""
    said: list[str] = []

    def interrupt(_line: str, _seconds: float) -> None:
        if not said:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGHUP)
            said.append("sent")

    ended = engine.stream(["up"], interrupt, said.append)
    assert (ended.interrupted, ended.exit_code) == (True, 1)
    assert (engine.folder / "in-order").read_text() == "1"
    assert len(said) == 2
    assert sum(each.startswith("Interrupted: waiting") for each in said) == 1


@pytest.mark.slow
def test_under_nohup_a_hangup_interrupts_nothing(engine: Pulumi) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    lines: list[str] = []

    def hang_up(line: str, _seconds: float) -> None:
        lines.append(line)
        os.kill(os.getpid(), signal.SIGHUP if len(lines) < 3 else signal.SIGINT)

    try:
        ended = engine.stream(["up"], hang_up, lambda _: None)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended.interrupted
    assert len(lines) >= 3


@pytest.mark.slow
def test_a_captured_run_that_is_interrupted_ends_in_order(tmp_path: Path, engine: Pulumi) -> None:
    code = (
        "from slipway.cli.main import _interruptible\nfrom slipway.engine.pulumi_cli import Pulumi\n"
        "import os, pathlib, signal\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # the tests may run under nohup
        "with _interruptible() as came:\n"
        "    try: Pulumi(pathlib.Path.cwd(), os.environ).run('refresh')\n"
        "    except KeyboardInterrupt: print(came)\n"
    )
    environment = {"PATH": str(engine.environment["PATH"]), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    while not (tmp_path / "begun").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGHUP)
    assert process.communicate()[0] == f"[{int(signal.SIGHUP)}]\n"
    assert (tmp_path / "in-order").read_text() == "1"
