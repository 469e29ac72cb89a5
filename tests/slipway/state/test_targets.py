"""An update of some services alone: the engine leaves the others, and no program takes that for granted."""

from __future__ import annotations

from typing import Any

import pytest

from policy import program_check
from slipway.state.checkpoint import resources
from slipway.state.targets import VARIABLE, TargetsError, exclude_arguments, target_variables, targets_of

GATE = {program_check.VARIABLE: "a" * 64}


def test_all_but_the_services_and_the_stack_itself_is_left(first: Any) -> None:
    found = exclude_arguments(first, ["user-service"])
    excluded = set(found[1::2])
    assert set(found[::2]) == {"--exclude"}
    left = {each.urn for each in resources(first)} - excluded
    assert all("user-service" in each or each.endswith("::slipway-dev") for each in left)
    assert {each.urn for each in resources(first) if "order-service" in each.urn.rsplit("::", 1)[-1]} <= excluded


def test_the_program_is_told_the_services() -> None:
    assert targets_of({}) == ()
    assert targets_of({**GATE, **target_variables(["a", "b"], GATE)}) == ("a", "b")


@pytest.mark.parametrize(
    "environ",
    [
        {VARIABLE: "a,b"},
        {VARIABLE: ","},
        {**GATE, VARIABLE: "user-service"},
        {program_check.VARIABLE: "b" * 64, **target_variables(["a"], GATE)},
        {**GATE, VARIABLE: f"{target_variables(['a'], GATE)[VARIABLE]},b"},
    ],
)
def test_a_value_that_no_update_has_set_is_refused(environ: dict[str, str]) -> None:
    """An engine that does not know of it would delete all other services."""
    with pytest.raises(TargetsError, match="unset it"):
        targets_of(environ)
