"""Providers that are folders of Python source."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.lab
NewProject = Callable[..., Any]

PROGRAM = """
    import pulumi

    class Greeter(pulumi.ComponentResource):
        greeting: pulumi.Output[str]

        def __init__(self):
            super().__init__("acme:index:Greeter", "greeter", {"name": "you", "greeting": None}, remote=True)

    pulumi.export("greeting", Greeter().greeting)
"""
PROVIDER = """
    from typing import TypedDict
    import pulumi
    from pulumi.provider.experimental import component_provider_host
    import wording

    class Args(TypedDict):
        name: pulumi.Input[str]

    class Greeter(pulumi.ComponentResource):
        greeting: pulumi.Output[str]

        def __init__(self, name: str, args: Args, opts: pulumi.ResourceOptions | None = None):
            super().__init__("acme:index:Greeter", name, {}, opts)
            self.greeting = pulumi.Output.from_input(args["name"]).apply(wording.greet)
            self.register_outputs({"greeting": self.greeting})

    component_provider_host(name="acme", components=[Greeter])
"""


@pytest.fixture
def project(new_project: NewProject) -> Any:
    made = new_project(PROGRAM)
    settings = json.loads((made.folder / "Pulumi.yaml").read_text(encoding="utf-8"))
    settings["plugins"] = {"providers": [{"name": "acme", "path": "acme"}]}
    made.write("Pulumi.yaml", json.dumps(settings))
    runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
    made.write("acme/PulumiPlugin.yaml", json.dumps({"runtime": runtime}))
    return made


def test_component_of_a_source_provider(project: Any) -> None:
    project.write("acme/__main__.py", PROVIDER)
    project.write("acme/wording.py", 'def greet(name):\n    return f"hello {name}"\n')

    done = project.up()

    assert done.code == 0, done.output
    assert project.outputs() == {"greeting": "hello you"}


def test_broken_provider_shows_its_own_traceback(project: Any) -> None:
    project.write("acme/__main__.py", 'raise ValueError("no greetings today")\n')

    done = project.preview()

    assert done.code not in (0, None)
    assert "ValueError: no greetings today" in done.output
    assert "executor.py" not in done.output


def test_folder_that_is_no_provider(project: Any) -> None:
    done = project.preview()

    assert done.code not in (0, None)
    assert "cannot be run: it has neither a __main__.py nor a pyproject.toml with project.name" in done.output
