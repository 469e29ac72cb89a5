"""docs/reference.md against the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from slipway.errors import ExitCode

CHECKOUT = Path(__file__).resolve().parents[2]
REFERENCE = (CHECKOUT / "docs" / "reference.md").read_text()
# Of tests alone, or of the lab's processes among themselves.
INTERNAL = {"SLIPWAY_LAB_OWNER", "SLIPWAY_LAB_PROGRAM"}


def test_every_exit_code_is_documented_and_no_other() -> None:
    documented = dict(re.findall(r"^\| (\d+) \| `([A-Z_]+)` \|", REFERENCE, re.MULTILINE))
    assert documented == {str(code.value): code.name for code in ExitCode}


def test_every_variable_of_ours_is_documented_and_no_other() -> None:
    documented = set(re.findall(r"`(SLIPWAY_[A-Z_]+)`", REFERENCE))
    used = set().union(*(re.findall(r"\bSLIPWAY_[A-Z_]+\b", text) for text in _sources()))
    # `SLIPWAY_FORMER_PASSPHRASE_FILE` is made of two parts in the code.
    assert documented - {"SLIPWAY_FORMER_PASSPHRASE_FILE"} == used - INTERNAL


def _sources() -> Iterator[str]:
    for folder in ("components", "lab", "policy", "services", "slipway"):
        yield from (file.read_text() for file in (CHECKOUT / folder).rglob("*.py"))
    yield (CHECKOUT / "tests" / "conftest.py").read_text()
