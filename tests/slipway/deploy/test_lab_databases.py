"""When an update has the lab make databases for its environment."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slipway.deploy.preparation import drop_databases, ensure_databases
from slipway.environment_variables import ShellEnvironment
from slipway.errors import SlipwayError
from slipway.stack import Stack
from tests.slipway.opened import stack_in

VARIABLE = "ORDER_SERVICE_DATABASE_URL_FILE"


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stack]:
    """A stack `pr-1` of a project with order-service, on a lab that is not there: whatever it is asked for fails."""
    home, folder = tmp_path / "home", tmp_path / "project"
    monkeypatch.setenv("SLIPWAY_HOME", str(home))
    (home / "lab").mkdir(parents=True)
    given = {VARIABLE: str(home / "lab/databases/{stack}/order_service")}
    (home / "lab/environment.json").write_text(json.dumps(given))
    (folder / "services/order_service").mkdir(parents=True)
    (folder / "services/order_service/service.yaml").write_text("# ours\nname: order-service\n")
    (folder / "Pulumi.yaml").write_text("name: shop\nruntime: python\n")

    def make(config: object = None, *, uses_lab: bool = True, **variables: str) -> Stack:
        (folder / "Pulumi.pr-1.yaml").write_text(json.dumps({"config": config or {}}))
        stack = stack_in(folder, "pr-1", given | variables)
        return replace(stack, environment=ShellEnvironment({}, uses_lab=uses_lab))

    return make


def test_a_lab_that_cannot_make_them_is_an_error(opened: Callable[..., Stack]) -> None:
    with pytest.raises(SlipwayError) as caught:
        ensure_databases(opened(), print)
    assert caught.value.what == "The lab's databases of pr-1 could not be created."
    why = "There is no lab on this machine." if os.geteuid() == 0 else "the lab needs root"
    assert why in caught.value.why
    assert caught.value.next_step == "`slipway lab databases pr-1` tries again."


def test_nothing_is_made_where_nothing_is_taken_from_the_lab(opened: Callable[..., Stack], tmp_path: Path) -> None:
    ensure_databases(opened({"order-service:DATABASE_URL": {"secure": "v1:x"}}), print)
    ensure_databases(opened(uses_lab=False), print)
    ensure_databases(opened(**{VARIABLE: "/run/secrets/{stack}/url"}), print)
    file = tmp_path / "project/services/order_service/service.yaml"
    file.write_text(file.read_text().replace("order-service", "shop-service"))
    ensure_databases(opened(), print)


def test_what_is_there_stays_until_the_environment_goes(opened: Callable[..., Stack], tmp_path: Path) -> None:
    drop_databases(opened(), print)
    file = tmp_path / "home/lab/databases/pr-1/order_service"
    file.parent.mkdir(parents=True)
    file.write_text("postgresql://u:p@h/d\n")
    ensure_databases(opened(), print)
    with pytest.raises(SlipwayError, match="could not be deleted"):
        drop_databases(opened(), print)
