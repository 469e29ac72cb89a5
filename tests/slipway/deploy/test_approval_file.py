"""What a preview writes for `slipway up --approved`, read again, and what is no such file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slipway.deploy.approval import Approval, require_approved, to_text
from slipway.errors import ConfigurationError, SlipwayError
from slipway.stack import Stack
from tests.slipway.opened import stack_in

NOW = datetime(2030, 1, 2, 12, 0, 0, tzinfo=UTC)
APPROVAL = Approval(NOW, "a" * 40, {"__main__.py": "1"}, {"slipway:context": "2"}, "3", 4)


@pytest.fixture
def prod(tmp_path: Path) -> Stack:
    (tmp_path / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    return stack_in(tmp_path, "prod")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "approval.json"
    written.write_text(to_text(APPROVAL, "slipway", "prod"))
    return written


def test_what_is_as_it_was_may_go_on(prod: Stack, file: Path) -> None:
    require_approved(prod, file, replace(APPROVAL, taken=datetime.now(UTC)))


def test_what_moved_is_named(prod: Stack, file: Path) -> None:
    with pytest.raises(SlipwayError, match="has changed since the approval") as caught:
        require_approved(prod, file, replace(APPROVAL, commit="b" * 40, files={"__main__.py": "other"}))
    assert caught.value.why.splitlines() == ["commit: aaaaaaaa → bbbbbbbb", "files: __main__.py (changed)"]


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (lambda _: "no json", "Invalid JSON"),
        (lambda _: "[]", "object"),
        (lambda text: text.replace("slipway/prod", "slipway/dev"), "It is for slipway/dev."),
        (lambda text: text.replace('"version":1', '"version":2').replace('"version": 1', '"version": 2'), "version: "),
        (lambda text: json.dumps({**json.loads(text), "more": 1}), "more: "),
        (lambda text: text.replace("2030-01-02", "soon"), "approval.taken: "),
    ],
)
def test_another_file_is_no_approval(prod: Stack, file: Path, edit: Callable[[str], str], why: str) -> None:
    file.write_text(edit(file.read_text()))
    with pytest.raises(ConfigurationError, match=r"is not an approval of slipway/prod") as caught:
        require_approved(prod, file, APPROVAL)
    assert why in caught.value.why
    assert "slipway preview -s prod --approval" in caught.value.next_step


def test_a_file_that_is_not_there(prod: Stack, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not an approval"):
        require_approved(prod, tmp_path / "none.json", APPROVAL)
