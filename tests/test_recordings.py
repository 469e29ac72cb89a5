"""What was recorded is of the versions that are used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.recording import versions
from tests.recording.__main__ import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_recordings_are_not_older_than_the_toolchain(kind: str) -> None:
    recorded = versions.read()[kind]
    assert set(recorded) == set(versions.PARTS)
    older = [f"{name} {version}" for name, version in versions.older(recorded).items()]
    assert not older, f"{kind} was recorded with {', '.join(older)}: `make record KINDS={kind}` records it anew"


@pytest.mark.parametrize(
    ("pinned", "is_older"), [("4.25.0", False), ("4.26.0", True), ("4.25.10", True), ("4.9.9", False), ("10.0.0", True)]
)
def test_what_is_pinned_to_a_newer_version_is_named(pinned: str, *, is_older: bool) -> None:
    name = "kubernetes-provider"
    part = replace(versions.PARTS[name], version=pinned)
    assert versions.older({name: "4.25.0"}, {name: part}) == ({name: "4.25.0"} if is_older else {})
