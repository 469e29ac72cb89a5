"""docs/reference.md lists every environment variable that the code reads or sets, and every exit code, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from slipway.errors import ExitCode
from slipway.paths import CHECKOUT

PAGE = (CHECKOUT / "docs/reference.md").read_text(encoding="utf-8")
README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
CODE = ("__main__.py", "components", "lab", "policy", "services", "slipway")
VARIABLE = re.compile(
    r"(SLIPWAY|PULUMI|GITHUB|CI|XDG|AWS|GOOGLE|AZURE|AZURE_STORAGEBLOB|DOCKER|BUILDX)_[A-Z0-9_]*[A-Z0-9]"
    r"|KUBECONFIG|HTTPS?_PROXY|NO_PROXY|GOGC|GOMEMLIMIT"
)
OF_TESTS = re.compile("SLIPWAY_TEST_[A-Z_]+")
# Read under a name that is put together: FORMER_PASSPHRASE and _FILE.
PUT_TOGETHER = {"SLIPWAY_FORMER_PASSPHRASE_FILE"}


def _in_code() -> set[str]:
    files = [
        file for name in CODE for file in ([CHECKOUT / name] if name.endswith(".py") else _modules(CHECKOUT / name))
    ]
    return _texts(files, VARIABLE) | _texts(_modules(CHECKOUT / "tests"), OF_TESTS) | PUT_TOGETHER


def _modules(folder: Path) -> list[Path]:
    return [
        file for file in folder.rglob("*.py") if not {"templates", "tests"} & set(file.relative_to(CHECKOUT).parts[1:])
    ]


def _texts(files: list[Path], pattern: re.Pattern[str]) -> set[str]:
    """The strings of these modules that are what the pattern says."""
    sources = [source for file in files if pattern.search(source := file.read_text(encoding="utf-8"))]
    nodes = (node for source in sources for node in ast.walk(ast.parse(source)))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if pattern.fullmatch(text)}


def _described() -> set[str]:
    """What stands in the first columns of the tables, and of the buckets in the second."""
    cells = re.findall(r"^\| (.+?) \|(.*)\|$", PAGE, re.MULTILINE)
    texts = [first + (rest if "://" in first else "") for first, rest in cells]
    return {name for text in texts for name in re.findall(r"`([A-Z_0-9]+)`", text)} | (
        {"SLIPWAY_FORMER_PASSPHRASE_FILE"} if "`SLIPWAY_FORMER_PASSPHRASE_FILE`" in PAGE else set()
    )


def test_every_environment_variable_is_described_and_no_other() -> None:
    in_code, described = _in_code(), _described()
    assert len(in_code) > 40
    assert in_code - described == set(), "not in docs/reference.md"
    assert described - in_code == set(), "in docs/reference.md, and nowhere in the code"


def test_every_exit_code_is_described_and_no_other() -> None:
    described = re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", PAGE, re.MULTILINE)
    assert [(int(number), name) for number, name in described] == [(code.value, code.name) for code in ExitCode]


@pytest.mark.parametrize("code", ExitCode)
def test_the_readme_has_every_exit_code(code: ExitCode) -> None:
    (sentence,) = re.findall(r"^Exit codes: (.*?\.)$", README, re.MULTILINE | re.DOTALL)
    assert re.search(rf"(^|· |\n){code.value} ", sentence)
