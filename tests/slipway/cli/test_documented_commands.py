"""Every `slipway …` in README and docs/ is a command that there is, with flags that it has."""

from __future__ import annotations

import re
import shlex

import pytest
import typer.main
from typer.core import TyperGroup

from slipway.cli.main import app
from slipway.paths import CHECKOUT

PAGES = [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "lab/README.md")]
PAGES += sorted((CHECKOUT / "docs").glob("*.md"))
WHOLE = re.compile(r"^(?:\$ )?(slipway (?!/).*?)(?: +(?:#|;|&&).*)?$", re.MULTILINE)
"""On a line of its own, in a block that is to be copied."""
MENTIONED = re.compile(r"(?<!`)`(slipway [^`|…\\]+)")
IN_BLOCKS = re.compile(r"^```\w*\n.*?^```", re.MULTILINE | re.DOTALL)


def found(pattern: re.Pattern[str], *, in_blocks: bool) -> list[str]:
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    parts = [IN_BLOCKS.findall(text) if in_blocks else [IN_BLOCKS.sub("", text)] for text in texts]
    lines = [each.strip() for part in parts for text in part for each in pattern.findall(text)]
    return [each for each in dict.fromkeys(lines) if not each.startswith("slipway/")]


def refusal(text: str, *, is_whole: bool = True) -> str:
    """Why no command would run, in one sentence; empty where one would. Of what is no whole command, flags alone."""
    name, *arguments = shlex.split(text)
    command = typer.main.get_command(app)
    while isinstance(command, TyperGroup) and arguments and not arguments[0].startswith("-"):
        name = arguments.pop(0)
        if name not in command.commands:
            return f"there is no command {name}"
        command = command.commands[name]
    if not is_whole:
        known = {"--help", *(flag for each in command.params for flag in (*each.opts, *each.secondary_opts))}
        unknown = [each for each in arguments if each.startswith("-") and each.partition("=")[0] not in known]
        return f"{name} has no {unknown[0]}" if unknown else ""
    try:
        command.make_context("slipway", arguments)
    except Exception as error:  # noqa: BLE001 -- typer exports none of its own kinds
        return str(error)
    return ""


@pytest.mark.parametrize("text", found(WHOLE, in_blocks=True))
def test_a_command_of_a_block_can_be_copied(text: str) -> None:
    assert refusal(text) == ""


@pytest.mark.parametrize("text", found(MENTIONED, in_blocks=False))
def test_a_command_that_is_mentioned_is_there(text: str) -> None:
    assert refusal(text, is_whole=False) == ""


def test_what_is_not_there_is_found() -> None:
    assert "--no-such-flag" in refusal("slipway up -s dev --no-such-flag")
    assert refusal("slipway up --no-such-flag", is_whole=False) == "up has no --no-such-flag"
    assert refusal("slipway upp") == "there is no command upp"
