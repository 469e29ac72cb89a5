"""Each piece of YAML in README and docs/ can be copied: it is a service, settings or waivers that are accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components.settings import StackSettings
from policy.files import load_waivers
from policy.rules import ALL
from services.catalog import Overrides, load
from slipway.paths import CHECKOUT

PAGES = [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
# These are tried where they are used: a Role that a release gets by with, a pipeline of GitLab's.
TRIED_ELSEWHERE = {"cluster.md": "kind: Role", "gitlab-ci.md": "stages:"}
DOCKERFILE = "ARG GO_IMAGE\nFROM scratch AS test\nFROM scratch AS runtime\n"
# With the stages, argument and secret that docs/service.md names.
OWN_DOCKERFILE = """\
ARG VERSION
FROM scratch AS unit-tests
FROM scratch AS server
RUN --mount=type=secret,id=pip_token,required pip install
"""


def examples() -> list[Any]:
    found = []
    for page in PAGES:
        for number, text in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.M | re.DOTALL)):
            if not text.startswith(TRIED_ELSEWHERE.get(page.name, "nothing")):
                found.append(pytest.param(text, id=f"{page.name}-{number}"))
    return found


@pytest.mark.parametrize("text", examples())
def test_an_example_can_be_copied(
    text: str, tmp_path: Path, declare: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    document = yaml.safe_load(text)
    monkeypatch.chdir(tmp_path)
    if "name" in document:
        assert _loaded(tmp_path, text) == document["name"]
    elif "checks" in document:
        assert _loaded(tmp_path, f"name: example\n{text}") == "example"
    elif "config" in document:
        (tmp_path / "Pulumi.example.yaml").write_text(text, "utf-8")
        declare(lambda: StackSettings.from_config(pulumi.get_stack()), stack="example", config=_settings(document))
        for name, given in (document["config"].get("slipway:services") or {}).items():
            assert _loaded(tmp_path, f"name: {name}\n", {name: given}) == name
    else:
        (tmp_path / "waivers.yaml").write_text(text, "utf-8")
        stack = document["waivers"][0]["stack"]
        read = load_waivers(stack, (rule.id for rule in ALL), date(2029, 1, 1), tmp_path / "waivers.yaml")
        assert [each.rule for each in read.entries] == [each["rule"] for each in document["waivers"]], read.problems


def _settings(document: Any) -> dict[str, str]:
    return {
        key: value if isinstance(value, str) else json.dumps(value, default=str)
        for key, value in document["config"].items()
    }


def _loaded(root: Path, text: str, settings: Any = None) -> str:
    """The name of the service that the catalog reads where all is there that its service.yaml names."""
    document = yaml.safe_load(text)
    given = (settings or {}).get(document["name"]) or {}
    folder = root / "services" / document["name"].replace("-", "_")
    build = {"dockerfile": "Dockerfile", "context": ".", **document.get("build", {})}
    others = [*document.get("calls", ()), *re.findall(r"\.\./(\w+)/Dockerfile", build["dockerfile"])]
    for other in others:
        _write(folder.parent / other.replace("-", "_") / "service.yaml", f"name: {other.replace('_', '-')}\n")
        _write(folder.parent / other.replace("-", "_") / "Dockerfile", DOCKERFILE)
    _write(folder / "service.yaml", text)
    _write(folder / build["dockerfile"], OWN_DOCKERFILE if "target" in build else DOCKERFILE)
    for context in [*document.get("contexts", {}).values(), build["context"]]:
        (folder / context).mkdir(parents=True, exist_ok=True)
    for file in [*document.get("files", {}).values(), *given.get("files", {}).values()]:
        if isinstance(file, str):
            _write(folder / file, "text\n")
    found = {each.name for each in load(folder.parent, Overrides(settings or {}, {}))}
    (name,) = found - {other.replace("_", "-") for other in others}
    return name


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
