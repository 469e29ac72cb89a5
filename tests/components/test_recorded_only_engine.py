"""The real engine, which refuses a URN that comes twice, is sent each recorded resource once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab_exports import lab_exports

pytestmark = pytest.mark.lab
ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import os

import pulumi

from components.program import RecordedOnly, declare_nothing, export_recorded


class Own(pulumi.ComponentResource):
    def __init__(self, text):
        super().__init__("team:index:Own", "own", {"text": text})
        self.register_outputs({"text": text})


def fail(urn):
    raise AssertionError(urn)


mode = os.environ["MODE"]
if mode == "update":
    Own("recorded")
    pulumi.export("text", "recorded")
if mode == "rollback":
    before = pulumi.ComponentResource("team:index:Before", "before")
    recorded_only = RecordedOnly()
    with recorded_only.declaring():
        Own("recorded")
    export_recorded({"text": "recorded"})
    Own("of the program")
    pulumi.ComponentResource("team:index:Child", "child", opts=pulumi.ResourceOptions(parent=before))
    pulumi.export("text", "of the program")
    pulumi.export("more", before.urn)
if mode == "wrong":
    Own("of the program")
    pulumi.ComponentResource("team:index:Before", "before")
    pulumi.Output.from_input("of the program").apply(fail)
    declare_nothing()
    raise pulumi.RunError("what the program says")
"""


def test_what_the_program_declares_besides_is_not_sent(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: own\nruntime: {name: python, options: {virtualenv: .venv}}\n")
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / ".venv").symlink_to(sys.prefix)
    (tmp_path / "backend").mkdir()
    environment = (
        os.environ | lab_exports() | {"PULUMI_BACKEND_URL": f"file://{tmp_path}/backend", "PYTHONPATH": str(ROOT)}
    )

    def pulumi(*arguments: str, mode: str = "") -> Any:
        command = ["pulumi", *arguments, "--stack", "dev", "--non-interactive"]
        return subprocess.run(
            command,
            cwd=folder,
            env=environment | {"MODE": mode},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def state() -> Any:
        deployment = json.loads(pulumi("stack", "export").stdout)["deployment"]
        return {each["urn"].split("::", 2)[2]: each.get("outputs") for each in deployment["resources"]}

    up = ("up", "--yes", "--skip-preview")
    assert pulumi("stack", "init").returncode == 0
    assert (done := pulumi(*up, mode="update")).returncode == 0, done.stdout + done.stderr
    recorded = {"pulumi:pulumi:Stack::own-dev": {"text": "recorded"}, "team:index:Own::own": {"text": "recorded"}}
    assert state() == recorded
    assert (done := pulumi(*up, mode="rollback")).returncode == 0, done.stdout + done.stderr
    assert state() == recorded
    done = pulumi(*up, mode="wrong")
    assert done.returncode != 0
    assert "what the program says" in done.stdout + done.stderr
    assert set(state()) <= set(recorded), "nothing was made"
