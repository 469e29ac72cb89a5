"""What the user has already is taken where its version will do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lab.toolchain.nearby import find_nearby
from lab.toolchain.parts import Part

MakePart = Callable[..., Part]
Put = Callable[[str, str], Path]


@pytest.mark.parametrize("version", ["1.2.3", "1.0.9-vendor", "99.1"])
def test_any_version_will_do_where_the_part_says_so(version: str, make_part: MakePart, on_path: Put) -> None:
    tool = on_path("tool", f"echo tool v{version}")
    assert find_nearby(make_part(any_version=True)) == {"tool": tool}
    assert find_nearby(make_part()) == ({"tool": tool} if version == "1.2.3" else {})


@pytest.mark.parametrize("body", ["exit 1", "echo tool", "echo tool v1.2.3; exit 1"])
def test_what_tells_no_version_never_will_do(body: str, make_part: MakePart, on_path: Put) -> None:
    on_path("tool", body)
    assert find_nearby(make_part(any_version=True)) == {}


def test_one_of_several_executables_never_will_do(make_part: MakePart, on_path: Put) -> None:
    on_path("tool", "echo tool v1.2.3")
    assert find_nearby(make_part(any_version=True, executables=("tool", "toolctl"))) == {}
