"""Policy packs under the language host."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.lab
NewProject = Callable[..., Any]

PACK = """
    import os
    import pulumi
    from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

    def check(resource, report):
        where = [pulumi.get_project(), pulumi.get_stack(), pulumi.Config("tiny").get("size"), os.getcwd()]
        report("found " + " ".join(map(str, where)))

    policy = ResourceValidationPolicy("named", "Resources have names.", check, EnforcementLevel.{level})
    PolicyPack("rules", [policy])
"""


def add_pack(project: Any, text: str) -> str:
    """Write a policy pack next to the program and return its folder."""
    project.write("rules/PulumiPolicy.yaml", json.dumps({"runtime": {"name": "python", "options": options()}}))
    project.write("rules/__main__.py", text)
    return str(project.folder / "rules")


def options() -> dict[str, str]:
    return {"virtualenv": sys.prefix}


def test_mandatory_violation_stops_the_preview(new_project: NewProject) -> None:
    project = new_project("")
    pack = add_pack(project, PACK.format(level="MANDATORY"))
    project.pulumi("config", "set", "size", "3")

    done = project.preview("--policy-pack", pack)

    assert done.code not in (0, None)
    assert "[mandatory]  named" in done.output
    assert f"found tiny dev 3 {pack}" in done.output
    assert "Traceback" not in done.output


def test_advisory_violation_lets_the_update_through(new_project: NewProject) -> None:
    project = new_project("")
    pack = add_pack(project, PACK.format(level="ADVISORY"))

    done = project.up("--policy-pack", pack)

    assert done.code == 0, done.output
    assert "[advisory]  named" in done.output
    assert "1 created" in done.output


def test_broken_pack_fails_with_its_own_error(new_project: NewProject) -> None:
    project = new_project("")
    pack = add_pack(project, 'raise ValueError("no rules")\n')

    done = project.preview("--policy-pack", pack)

    assert done.code not in (0, None)
    assert "ValueError: no rules" in done.output
    assert "the policy pack ended before it was ready: " in done.output
    assert "executor.py" not in done.output


def test_large_inputs_pass_the_proxy(new_project: NewProject) -> None:
    project = new_project(
        """
        import pulumi

        class Big(pulumi.ComponentResource):
            def __init__(self):
                super().__init__("tiny:index:Big", "big", {"text": "x" * 6_000_000})

        Big()
        """
    )
    pack = add_pack(project, PACK.format(level="ADVISORY"))

    done = project.preview("--policy-pack", pack)

    assert done.code == 0, done.output[-2000:]
    assert "tiny:index:Big: big" in done.output
