"""What the services need to run and to be tested, they need in one version: the kit is tested with all of it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from slipway.paths import CHECKOUT

TEMPLATE = CHECKOUT / "slipway/templates/python"
OUR_SERVICES = [CHECKOUT / "services/user_service", CHECKOUT / "services/order_service"]


@pytest.mark.parametrize("service", OUR_SERVICES, ids=lambda folder: folder.name)
def test_every_service_is_tested_with_the_same(service: Path) -> None:
    name = "requirements-test.txt"
    assert (service / name).read_bytes() == (TEMPLATE / name).read_bytes()


def test_what_two_services_need_they_need_in_one_version() -> None:
    pins: dict[str, set[str]] = defaultdict(set)
    for folder in [TEMPLATE, *OUR_SERVICES]:
        for line in (folder / "requirements.txt").read_text().splitlines():
            if not line.startswith("#"):
                name, _, version = line.partition("==")
                pins[name].add(version)
    assert len(pins) > 10
    assert {name: versions for name, versions in pins.items() if len(versions) != 1 or "" in versions} == {}
