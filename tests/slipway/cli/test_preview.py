"""`slipway preview` as a command: exit codes, files and words, with an engine that says again what the real one said.

What the engine says is recorded (see tests/recording/previews.py); test_preview_lab.py runs the real one.
"""

from __future__ import annotations

import json
import lzma
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from slipway.cli.preview import Files
from slipway.cli.preview import preview as preview_command
from slipway.errors import ExitCode, SlipwayError, report

RECORDINGS = Path(__file__).parents[1] / "render"
# Stands for `pulumi`: replays REPLAY on `preview`, ends as the real one does, and writes down how it was called.
ENGINE = f"""#!{sys.executable}
import lzma, json, os, sys, time
arguments = sys.argv[1:]
with open(os.environ["CALLS"], "a") as calls:
    streaming = os.environ.get("PULUMI_ENABLE_STREAMING_JSON_PREVIEW", "")
    calls.write(json.dumps([streaming, *arguments]) + "\\n")
if arguments[:2] == ["stack", "ls"]:
    print(json.dumps([dict(name="dev")]))
elif arguments[:2] == ["stack", "history"]:
    print(os.environ.get("HISTORY", "[]"))
elif arguments[0] == "preview":
    text = lzma.decompress(open(os.environ["REPLAY"], "rb").read()).decode().splitlines()
    until = int(os.environ.get("UNTIL", len(text)))
    for line in text[:until]:
        print(line.partition(" ")[2], flush=until < len(text))
    if os.environ.get("HANG"):
        open(os.environ["CALLS"] + ".hanging", "w").write(str(os.getpid()))
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            sys.exit(255)
    sys.stderr.write(os.environ.get("LAST_WORDS", ""))
    failed = until < len(text) or '"result":"failed"' in text[-2] or '"result":"failed"' in "".join(text[-9:])
    sys.exit(255 if failed else 0)
"""
ROOT = Path(__file__).parents[3]


def run(stack: str = "dev", *arguments: str) -> int:
    """The command, in the present folder; its exit code."""
    try:
        return preview_command(stack=stack, files=Files(Path("out.md"), Path("out.json")), drift="drift" in arguments)
    except SlipwayError as error:
        return report(error)


class Preview:
    """Runs the command in a project with a policy pack, a cluster and a registry of its own."""

    def __init__(self, command_line: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd
        self.folder: Path = command_line.folder
        self.calls = command_line.home / "calls"
        engine = command_line.home / "bin" / "pulumi"
        engine.parent.mkdir()
        engine.write_text(ENGINE)
        engine.chmod(0o755)
        (self.folder / "policy").mkdir()
        (self.folder / "policy" / "PulumiPolicy.yaml").write_text("runtime: python\n")
        command_line.write_toolchain(PATH=[str(engine.parent)])
        self.variables = {
            **command_line.environment(),
            "KUBECONFIG": "kubeconfig",
            "SLIPWAY_REGISTRY": "registry.example/shop",
            "CALLS": str(self.calls),
        }

    def environment(self, recording: str, variables: Mapping[str, str]) -> dict[str, str]:
        return {**self.variables, "REPLAY": str(RECORDINGS / f"{recording}.jsonl.xz"), **variables}

    def start(self, recording: str, **variables: str) -> subprocess.Popen[str]:
        """The command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-c", f"import sys; from {__name__} import run; sys.exit(run())"],
            cwd=self.folder,
            env={**self.environment(recording, variables), "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, recording: str, *arguments: str, **variables: str) -> tuple[int, str, str]:
        """The command in this process, with nothing else in its environment; exit code, stdout, stderr."""
        self.capfd.readouterr()
        with self.monkeypatch.context() as patch:
            for name in os.environ:
                patch.delenv(name)
            for name, value in self.environment(recording, variables).items():
                patch.setenv(name, value)
            patch.chdir(self.folder)
            return run(*arguments), *self.capfd.readouterr()

    @property
    def markdown(self) -> str:
        return (self.folder / "out.md").read_text()

    @property
    def json(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "out.json").read_text())
        return content

    def called(self) -> list[list[str]]:
        return [json.loads(line) for line in self.calls.read_text().splitlines()]


@pytest.fixture
def preview(slipway: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Preview:
    return Preview(slipway, monkeypatch, capfd)


@pytest.mark.parametrize(
    ("recording", "code", "title"),
    [
        ("unchanged", ExitCode.DONE, "## ✅ `dev`: nothing to do"),
        ("small", ExitCode.DONE, "## ✅ `dev`: 2 services change"),
        ("refused", ExitCode.POLICY, "## ❌ `dev`: refused by policy, 1 mandatory violation"),
        ("failing", ExitCode.FAILED, "## ❌ `dev`: failed"),
    ],
)
def test_exit_codes_and_files(preview: Preview, recording: str, code: ExitCode, title: str) -> None:
    exit_code, output, _ = preview(recording)
    assert exit_code == code
    assert title in preview.markdown
    assert preview.json["stack"] == "dev"
    assert "Preview of slipway/dev: " in output


def test_the_engine_runs_with_the_policies(preview: Preview) -> None:
    preview("small")
    (call,) = (call for call in preview.called() if call[1] == "preview")
    assert call[0] == "true"
    assert call[call.index("--policy-pack") + 1] == str(preview.folder / "policy")
    assert "--refresh" not in call


def test_the_output_of_a_failing_unit_test_is_shown(preview: Preview) -> None:
    _, output, errors = preview("failing")
    assert "FAILED tests/test_users.py::test_hostile" in output
    assert "user-service: The unit tests stopped with exit code 1." in output
    assert "Engine log: " in errors
    assert re.search(r"What it printed \([2-9]\d lines\)", preview.markdown)


def test_a_preview_that_breaks_off_is_written_as_far_as_it_came(preview: Preview) -> None:
    words = "error: unable to open bucket s3://shop: no credentials\n"
    exit_code, output, _ = preview("small", UNTIL="100", LAST_WORDS=words)
    assert exit_code == ExitCode.USAGE
    assert "The backend that keeps the state cannot be opened." in preview.markdown
    assert "next: Check PULUMI_BACKEND_URL" in output
    assert preview.json["result"] == "failed"


def test_a_recorded_state_that_cannot_be_had_is_reported_with_its_reason(preview: Preview) -> None:
    words = "error: Rollback error: Update #95 failed, so it cannot be rolled back to.\n"
    exit_code, output, _ = preview("small", UNTIL="0", LAST_WORDS=words)
    assert exit_code == ExitCode.FAILED
    assert "Update #95 failed, so it cannot be rolled back to." in output
    assert "failed, so it cannot be rolled back to." in preview.markdown


def test_a_locked_stack(preview: Preview) -> None:
    words = "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end\n"
    exit_code, _, _ = preview("small", UNTIL="0", LAST_WORDS=words)
    assert exit_code == ExitCode.FAILED
    assert "Stack dev is locked" in preview.markdown
    assert "pulumi cancel -s dev" in preview.markdown


def test_an_engine_that_says_nothing(preview: Preview) -> None:
    exit_code, _, _ = preview("small", UNTIL="0")
    assert exit_code == ExitCode.FAILED
    assert "The preview of dev failed." in preview.markdown
    assert preview.json["policies"]["asked"] == 0


def test_an_engine_that_is_killed(preview: Preview) -> None:
    process = preview.start("small", UNTIL="-12", HANG="1")
    wait_for(Path(f"{preview.calls}.hanging"))
    os.kill(int(Path(f"{preview.calls}.hanging").read_text()), signal.SIGKILL)
    process.communicate(timeout=30)
    assert process.returncode == ExitCode.FAILED
    assert "The engine was killed by SIGKILL while it previewed dev." in preview.markdown
    assert "| service | what changes | now | after |" in preview.markdown


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)


@pytest.mark.slow
def test_an_interrupted_preview_is_written_too(preview: Preview) -> None:
    process = preview.start("small", UNTIL="-12", HANG="1")
    wait_for(Path(f"{preview.calls}.hanging"))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "## ❌ `dev`: interrupted" in preview.markdown
    assert "| service | what changes | now | after |" in preview.markdown


def test_commits_and_links_of_a_run(preview: Preview) -> None:
    deployed = {"kind": "update", "result": "succeeded", "environment": {"git.head": "a" * 40, "git.dirty": "false"}}
    failed = {"kind": "update", "result": "failed", "environment": {"git.head": "b" * 40}}
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "Pulumi*.yaml", "policy"], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], cwd=preview.folder, check=True)
    variables = {"GITHUB_REPOSITORY": "acme/shop", "GITHUB_RUN_ID": "12", "GITHUB_SERVER_URL": "https://github.example"}
    preview("small", HISTORY=json.dumps([failed, deployed]), **variables)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=preview.folder, capture_output=True, text=True, check=True)
    assert preview.json["commits"] == {"previewed": head.stdout.strip(), "deployed": "a" * 40}
    assert f"https://github.example/acme/shop/compare/{'a' * 40}...{head.stdout.strip()})" in preview.markdown
    assert "[log](https://github.example/acme/shop/actions/runs/12)" in preview.markdown


def test_a_history_that_cannot_be_read_is_no_failure(preview: Preview) -> None:
    exit_code, _, _ = preview("small", HISTORY="no history here")
    assert exit_code == ExitCode.DONE
    assert preview.json["commits"]["deployed"] == ""


def test_nothing_is_previewed_without_the_policies(preview: Preview) -> None:
    (preview.folder / "policy" / "PulumiPolicy.yaml").unlink()
    exit_code, output, _ = preview("small")
    assert exit_code == ExitCode.USAGE
    assert "There is no policy pack" in output
    assert "There is no policy pack" in preview.markdown
    assert not preview.calls.exists()


def test_a_file_that_cannot_be_written_is_reported_before_anything_is_done(preview: Preview) -> None:
    (preview.folder / "out.md").mkdir()
    exit_code, _, errors = preview("small")
    assert exit_code == ExitCode.USAGE
    assert "out.md cannot be written" in errors
    assert not preview.calls.exists()


def test_a_link_is_written_through(preview: Preview) -> None:
    """As root, `--markdown /dev/stdout` would take the device away."""
    target = preview.folder / "elsewhere.md"
    target.write_text("of yesterday")
    (preview.folder / "out.md").symlink_to(target)
    exit_code, _, _ = preview("small", "nowhere")
    assert (exit_code, target.read_text()) == (ExitCode.USAGE, "")
    preview("small")
    assert (preview.folder / "out.md").is_symlink()
    assert "## ✅ `dev`" in target.read_text()


def test_a_pipe_is_written_to(preview: Preview) -> None:
    os.mkfifo(preview.folder / "out.md")
    process = preview.start("small")
    assert "## ✅ `dev`" in preview.markdown
    process.communicate(timeout=30)
    assert process.returncode == ExitCode.DONE


def test_an_old_summary_does_not_pass_for_a_new_one(preview: Preview) -> None:
    (preview.folder / "out.md").write_text("of yesterday")
    exit_code, _, errors = preview("small", "nowhere")
    assert exit_code == ExitCode.USAGE
    assert "There is no environment `nowhere`" in errors
    assert not (preview.folder / "out.md").exists()


@pytest.mark.parametrize("settings", ["config: [", "just text", "- a list"])
def test_settings_that_cannot_be_read_are_reported_in_the_comment_too(preview: Preview, settings: str) -> None:
    """A pull request that breaks them must not keep the comment of the push before."""
    (preview.folder / "Pulumi.dev.yaml").write_text(settings)
    exit_code, output, errors = preview("small")
    assert (exit_code, errors) == (ExitCode.USAGE, "")
    assert "Pulumi.dev.yaml cannot be read." in output
    assert preview.markdown.startswith("<!-- slipway:preview:slipway:dev -->")
    assert "Pulumi.dev.yaml cannot be read." in preview.markdown
    assert preview.json["result"] == "failed"


def test_the_output_of_the_engine_is_kept(preview: Preview) -> None:
    preview("failing")
    (log,) = (Path(preview.variables["SLIPWAY_HOME"]) / "logs").glob("preview-dev-*.log")
    recorded = lzma.decompress((RECORDINGS / "failing.jsonl.xz").read_bytes()).decode().splitlines()
    assert len(log.read_text().splitlines()) == len(recorded)
    assert log.stat().st_mode & 0o077 == 0
