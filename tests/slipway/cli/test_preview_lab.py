"""`slipway preview` with the real engine and a real policy pack, on a project so small that only they can go wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from slipway.errors import ExitCode
from slipway.paths import lab_environment_file, toolchain_environment_file
from tests.slipway.conftest import CommandLine

pytestmark = pytest.mark.lab

PROJECT = "name: scratch\nruntime:\n  name: python\n  options:\n    virtualenv: .venv\n"
PROGRAM = """\
import pulumi, sys
pulumi.export("greeting", pulumi.Config().require("greeting"))
"""
PACK = """\
from pulumi_policy import EnforcementLevel, PolicyPack, StackValidationPolicy

def polite(args, report):
    for resource in args.resources:
        if resource.resource_type == "pulumi:pulumi:Stack" and {rude}:
            report("say `hello`")

PolicyPack("scratch", enforcement_level=EnforcementLevel.MANDATORY, policies=[
    StackValidationPolicy("polite", "Greetings are polite.", polite),
])
"""
CALL = (
    "import sys; from pathlib import Path; from slipway.cli.preview import Files, preview\n"
    "sys.exit(preview(stack='dev', files=Files(Path('out.md'), Path('out.json')), drift=True))"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A project that was never updated, and a lab whose registry answers; each preview brings its own pack."""
    slipway = CommandLine(tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("project"))
    folder = slipway.folder
    (folder / "Pulumi.yaml").write_text(PROJECT)
    (folder / "Pulumi.dev.yaml").write_text("config:\n  scratch:greeting: hello\n")
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "policy").mkdir()
    (folder / "policy" / "PulumiPolicy.yaml").write_text("runtime: {name: python, options: {virtualenv: ../.venv}}\n")
    (slipway.home / "backend").mkdir()
    (slipway.home / "passphrase").write_text("the passphrase of this test\n")
    slipway.write_toolchain(**json.loads(toolchain_environment_file().read_text()))
    slipway.write_lab(
        PULUMI_BACKEND_URL=f"file://{slipway.home}/backend",
        PULUMI_CONFIG_PASSPHRASE_FILE=str(slipway.home / "passphrase"),
        SLIPWAY_REGISTRY=json.loads(lab_environment_file().read_text())["SLIPWAY_REGISTRY"],
    )
    return slipway


def preview(project: CommandLine, pack: str, program: str = PROGRAM) -> tuple[int, str, str]:
    (project.folder / "__main__.py").write_text(program)
    (project.folder / "policy" / "__main__.py").write_text(pack)
    done = subprocess.run(
        [sys.executable, "-c", CALL],
        cwd=project.folder,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, (project.folder / "out.md").read_text(), done.stdout + done.stderr


def checkpoints(project: CommandLine) -> list[Path]:
    return sorted((project.home / "backend").rglob("*.checkpoint.json"))


def test_a_preview_that_would_go_through(project: CommandLine) -> None:
    exit_code, markdown, output = preview(project, PACK.format(rude="False"))
    assert exit_code == ExitCode.DONE, output
    assert markdown.startswith("<!-- slipway:preview:scratch:dev -->\n\n## ✅ `dev`: nothing to do\n")
    assert "1 policy evaluated, 1 passed." in markdown
    assert "Nothing in the cluster differs from the recorded state." in markdown, "before the first update"
    assert checkpoints(project) == []


def test_a_preview_that_a_policy_refuses(project: CommandLine) -> None:
    exit_code, markdown, output = preview(project, PACK.format(rude="True"))
    assert exit_code == ExitCode.POLICY, output
    assert "## ❌ `dev`: refused by policy, 1 mandatory violation" in markdown
    assert "| **`polite`** | mandatory | *the stack* | Greetings are polite.<br>say `hello` |" in markdown
    assert json.loads((project.folder / "out.json").read_text())["result"] == "refused"


def test_a_pack_that_cannot_be_read(project: CommandLine) -> None:
    exit_code, markdown, output = preview(project, "import nonsense\n")
    assert exit_code not in (ExitCode.DONE, ExitCode.POLICY), output
    assert "## ❌ `dev`: failed" in markdown
    assert "the policy pack ended before it was ready" in markdown
    assert "No policy was evaluated: it ended before that." in markdown


def test_a_program_that_fails(project: CommandLine) -> None:
    program = 'import pulumi\nraise pulumi.RunError("no <b>luck</b> | @team")\n'
    exit_code, markdown, output = preview(project, PACK.format(rude="False"), program)
    assert exit_code == ExitCode.FAILED, output
    assert "no &#60;b&#62;luck&#60;/b&#62; &#124; @&#8203;team" in markdown
