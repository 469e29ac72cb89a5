"""Files that every service carries a copy of stay the same in each: a service's build sees its own folder only."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from slipway.paths import CHECKOUT

TEMPLATE = CHECKOUT / "slipway/templates/service"
OUR_SERVICES = [CHECKOUT / "services/user_service", CHECKOUT / "services/order_service"]


def _copies() -> dict[str, list[Path]]:
    """Shared files by name, with every copy there is."""
    copies = defaultdict(list)
    for folder in [TEMPLATE, *OUR_SERVICES]:
        package = next(folder.glob("*/kit/__init__.py")).parents[1].name
        for kit in (f"{package}/kit", "tests/kit"):
            for file in sorted((folder / kit).glob("*.py")):
                copies[f"{'tests' if kit.startswith('tests') else 'package'}: {file.name}"].append(file)
        for file in (folder / "requirements-test.txt", folder / "requirements.txt"):
            copies[file.name].append(file)
    return dict(copies)


@pytest.mark.parametrize("name", [name for name in _copies() if not name.startswith("requirements.")])
def test_every_copy_is_the_same(name: str) -> None:
    first, *others = _copies()[name]
    assert others, f"{first} is in one kit only: it belongs to its service, outside of kit/"
    for other in others:
        assert other.read_bytes() == first.read_bytes(), f"{other} differs from {first}: copy one over the other"


def test_what_two_services_need_they_need_in_one_version() -> None:
    pins: dict[str, set[str]] = defaultdict(set)
    for file in _copies()["requirements.txt"]:
        for line in file.read_text().splitlines():
            if not line.startswith("#"):
                name, _, version = line.partition("==")
                pins[name].add(version)
    assert len(pins) > 10
    assert {name: versions for name, versions in pins.items() if len(versions) != 1 or "" in versions} == {}
