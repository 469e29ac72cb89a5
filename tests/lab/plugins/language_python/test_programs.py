"""Programs under the language host, run by a real engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.lab
NewProject = Callable[..., Any]

SETTINGS = """
    import json, os, sys
    import pulumi
    import helper_module

    config = pulumi.Config()
    pulumi.export("greeting", helper_module.greet(config.require("name")))
    pulumi.export("password", config.require_secret("password"))
    pulumi.export("settings", [
        pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization(), pulumi.runtime.is_dry_run(),
        os.getcwd(), pulumi.get_root_directory(), sys.prefix, os.environ["VIRTUAL_ENV"],
        os.environ["PATH"].split(":")[0], os.environ.get("PYTHONPATH", ""), sys.argv, __name__,
    ])
    pulumi.export("first_import_folder", sys.path[0])
    pulumi.export("environment_config", json.loads(os.environ["PULUMI_CONFIG"])["tiny:name"])
"""


def test_program_gets_its_configuration_settings_and_virtual_environment(new_project: NewProject) -> None:
    project = new_project(SETTINGS)
    project.write("helper_module.py", 'def greet(name):\n    return f"hello {name}"\n')
    project.pulumi("config", "set", "name", "slipway")
    project.pulumi("config", "set", "--secret", "password", "hunter2")

    done = project.up()

    assert done.code == 0, done.output
    assert "hunter2" not in done.output
    outputs = project.outputs()
    folder, prefix = str(project.folder), project.outputs()["settings"][6]
    assert outputs["greeting"] == "hello slipway"
    assert outputs["password"] == "hunter2"
    assert outputs["settings"] == [
        *("tiny", "dev", "organization", False, folder, folder, prefix, prefix, f"{prefix}/bin", "", ["."], "__main__")
    ]
    assert outputs["environment_config"] == "slipway"
    state = next((project.folder / ".state").rglob("dev.json")).read_text(encoding="utf-8")
    assert "hunter2" not in state


@pytest.mark.thorough  # as tests/e2e/test_gate.py previews, updates and updates again
def test_preview_is_a_dry_run_and_a_second_update_changes_nothing(new_project: NewProject) -> None:
    project = new_project('import pulumi\npulumi.export("dry_run", pulumi.runtime.is_dry_run())\n')

    preview = project.preview("--json")
    first, second = project.up(), project.up()

    assert json.loads(preview.output)["changeSummary"] == {"create": 1}
    assert first.code == second.code == 0
    assert "1 created" in first.output
    assert "1 unchanged" in second.output
    assert project.outputs() == {"dry_run": False}
    for done in (first, second):
        assert "warning" not in done.output.lower()


def test_output_of_the_program_reaches_the_user_line_by_line(new_project: NewProject) -> None:
    project = new_project(
        """
        import logging, os, sys
        print("printed", "in", "one line")
        print("to stderr", file=sys.stderr)
        logging.warning("logged")
        os.system("echo from a subprocess")
        """
    )

    done = project.up()

    assert done.code == 0, done.output
    for line in ("printed in one line", "to stderr", "WARNING:root:logged", "from a subprocess"):
        assert line in done.output


def test_program_with_async_entry_point_and_applies(new_project: NewProject) -> None:
    project = new_project(
        """
        import asyncio
        import pulumi

        async def main():
            await asyncio.sleep(0.01)
            return {"sum": pulumi.Output.all(1, 2).apply(sum)}

        pulumi.run(main)
        """
    )

    assert project.up().code == 0
    assert project.outputs() == {"sum": 3}


def test_main_file_elsewhere(new_project: NewProject) -> None:
    project = new_project("raise SystemExit('not this one')")
    settings = json.loads((project.folder / "Pulumi.yaml").read_text(encoding="utf-8"))
    project.write("Pulumi.yaml", json.dumps(settings | {"main": "infra/program.py"}))
    project.write("infra/program.py", 'import os, pulumi\npulumi.export("folder", os.getcwd())\n')

    done = project.up()

    assert done.code == 0, done.output
    assert project.outputs() == {"folder": str(project.folder / "infra")}


@pytest.mark.thorough  # as tests/e2e/test_first_release.py takes the example down
def test_program_runs_for_destroy_and_refresh_too(new_project: NewProject) -> None:
    project = new_project('print("I ran")\n')
    assert project.up().code == 0

    for command in ("refresh", "destroy"):
        done = project.pulumi(command, "--yes", "--skip-preview", "--run-program")
        assert done.code == 0, done.output
        assert "I ran" in done.output


def test_about_shows_python_and_the_programs_packages(new_project: NewProject) -> None:
    project = new_project("")

    done = project.pulumi("about", "--json", "--transitive")

    assert done.code == 0, done.output
    about = json.loads(done.output[done.output.index("{") :])
    assert about["runtime"]["language"] == "python"
    assert about["runtime"]["executable"].endswith("/bin/python")
    assert about["runtime"]["version"].startswith("3.")
    assert {"name": "pulumi", "version": "3.259.0"} in about["dependencies"]


def test_engine_gets_exact_plugin_versions(new_project: NewProject) -> None:
    project = new_project("")

    done = project.pulumi("plugin", "ls", "--project", "--json")

    assert done.code == 0, done.output
    listed = {plugin["name"]: plugin["version"] for plugin in json.loads(done.output) if plugin["kind"] == "resource"}
    assert listed == {"docker": "5.2.0", "docker-build": "0.0.22", "kubernetes": "4.25.0"}
