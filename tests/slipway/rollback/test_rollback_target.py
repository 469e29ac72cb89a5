"""Which update a rollback goes back to, over histories of every kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway.backend import History, UpdateInfo, UpdateKind
from slipway.backend.update_info import Record, RollbackInfo, UnreadableError
from slipway.errors import ConfigurationError
from slipway.rollback.target import default_target, last_good
from tests.slipway.states import sealed, urn

TIME = datetime(2030, 1, 1, tzinfo=UTC)


def state(**versions: int) -> dict[str, Any]:
    """What a cluster is told where each service has that version; a secret is encrypted anew each time."""
    state.calls += 1  # type: ignore[attr-defined]
    made = [
        {
            "urn": urn("apps/v1:Deployment", name),
            "type": "kubernetes:apps/v1:Deployment",
            "custom": True,
            "inputs": {"version": version, "secret": sealed(str(state.calls))},  # type: ignore[attr-defined]
        }
        for name, version in versions.items()
    ]
    return {"resources": made}


state.calls = 0  # type: ignore[attr-defined]


@dataclass
class Ship:
    """A history that is made update by update, as the engine would record it; it is its own backend."""

    updates: list[dict[str, Any]] = field(default_factory=list)
    states: list[dict[str, Any] | None] = field(default_factory=list)
    now: dict[str, int] = field(default_factory=dict)
    place: str = "memory"

    def add(self, *, ok: bool = True, message: str = "", kind: str = "update", **versions: int) -> int:
        self.now |= versions
        result = "succeeded" if ok else "failed"
        info = {"kind": kind, "startTime": 0, "endTime": 1, "result": result, "message": message}
        self.updates.append(info)
        self.states.append(state(**self.now))
        return len(self.updates)

    def back(self, to: int, *services: str, ok: bool = True) -> int:
        then = {each["urn"].rsplit("::")[-1]: each["inputs"]["version"] for each in self.states[to - 1]["resources"]}  # type: ignore[index]
        only = f" ({', '.join(services)})" if services else ""
        chosen = {name: version for name, version in then.items() if not services or name in services}
        self.now = {**self.now, **chosen} if services else chosen
        return self.add(ok=ok, message=f"rollback of #{len(self.updates)} to #{to}{only}")

    def records(self) -> list[Record]:
        return [Record(number, TIME) for number in range(1, len(self.updates) + 1)]

    def updates_of(self, records: Any) -> list[Any]:
        return [self.updates[record.number - 1] for record in records]

    def checkpoint(self, record: Record) -> dict[str, Any]:
        found = self.states[record.number - 1]
        if found is None:
            raise UnreadableError(f"{record.number}.checkpoint.json: torn")
        return found

    def present(self) -> dict[str, Any]:
        return state(**self.now)

    @property
    def history(self) -> History:
        return History("slipway", "dev", _Source(self))

    @property
    def target(self) -> int:
        return default_target(self.history, self.present()).number

    def target_of(self, *services: str) -> int:
        return default_target(self.history, self.present(), services).number

    def has_no_target(self) -> bool:
        with pytest.raises(ConfigurationError, match="no earlier state"):
            default_target(self.history, self.present())
        return True


@dataclass
class _Source:
    """`History` wants a method by the name of a field of `Ship`."""

    ship: Ship
    place: str = "memory"

    def records(self) -> list[Record]:
        return self.ship.records()

    def updates(self, records: Any) -> list[Any]:
        return self.ship.updates_of(records)

    def checkpoint(self, record: Record) -> dict[str, Any]:
        return self.ship.checkpoint(record)

    def present(self) -> dict[str, Any]:
        return self.ship.present()

    def is_held(self) -> bool:
        return False


@pytest.fixture
def ship() -> Ship:
    made = Ship()
    for version in (1, 2, 3):
        made.add(user=version, order=1)
    return made


def test_the_release_before_is_the_target(ship: Ship) -> None:
    assert ship.target == 2


def test_updates_that_changed_nothing_are_passed_over(ship: Ship) -> None:
    ship.add()
    ship.add()
    assert ship.target == 2


def test_right_after_a_rollback_it_is_older_than_what_was_gone_back_to(ship: Ship) -> None:
    ship.back(2)
    assert ship.target == 1
    ship.back(1)
    assert ship.has_no_target()


def test_after_a_rollback_that_skipped_states_these_are_no_targets(ship: Ship) -> None:
    ship.back(1)
    assert ship.has_no_target()


def test_after_two_bad_releases_in_a_row_the_good_one_is_the_target(ship: Ship) -> None:
    ship.add(user=4)
    back = ship.back(3)
    ship.add(user=5)
    assert ship.target == back


def test_what_was_rolled_back_from_and_released_again_is_a_release_like_any_other(ship: Ship) -> None:
    ship.back(2)
    again = ship.add(user=3)
    ship.add(user=4)
    assert ship.target == again


def test_what_was_rolled_back_from_is_none_without_being_released_again(ship: Ship) -> None:
    back = ship.back(2)
    ship.add(user=4)
    assert ship.target == back


def test_after_a_failed_update_it_is_the_last_good_one(ship: Ship) -> None:
    ship.add(ok=False, user=9)
    assert ship.target == 3
    ship.add(ok=False, user=10)
    assert ship.target == 3


def test_after_a_failed_update_whose_inputs_are_as_before_it_is_the_last_good_one(ship: Ship) -> None:
    """The rollout failed half way: the engine keeps the old inputs beside the errors."""
    ship.add(ok=False)
    present = ship.present()
    present["resources"][0]["initErrors"] = ["timed out"]
    assert default_target(ship.history, present).number == 3


def leftover() -> dict[str, Any]:
    return {**state(user=0)["resources"][0], "delete": True}


def test_after_a_success_that_left_something_to_delete_the_present_state_is_no_target(ship: Ship) -> None:
    """As a rollback of one service does where another one depends on it."""
    ship.back(2, "user")
    present = ship.present()
    present["resources"].append(leftover())
    assert default_target(ship.history, present).number == 1


def test_after_a_failure_that_left_something_to_delete_it_is_the_last_good_one(ship: Ship) -> None:
    ship.add(ok=False)
    present = ship.present()
    present["resources"].append(leftover())
    assert default_target(ship.history, present).number == 3


def test_after_a_kill_it_is_the_last_good_one(ship: Ship) -> None:
    present = ship.present() | {"pending_operations": [{"type": "updating", "resource": {}}]}
    assert default_target(ship.history, present).number == 3


def test_a_failed_rollback_takes_nothing_off_the_list(ship: Ship) -> None:
    ship.back(1, ok=False)
    assert ship.target == 3


def test_after_a_rollback_that_failed_it_is_the_same_again(ship: Ship) -> None:
    """Not the release that it was to lead away from."""
    for then in ("failed", "was refreshed"):
        if then == "failed":
            ship.back(1, ok=False)
            ship.now = {"user": 1, "order": 7}
        else:
            ship.add(kind="refresh")
        assert ship.target == 1, then
        assert ship.target_of("order") == 1, then
        assert ship.target_of("user") == 3, "it is there already"
    ship.add(user=8)
    assert ship.target == 3


def test_a_rollback_that_was_refused_is_not_suggested_again(ship: Ship) -> None:
    """Its image is gone, say: what it was to go back to is as far as before."""
    present = {**ship.now}
    ship.back(1, ok=False)
    ship.states[-1], ship.now = state(**present), present
    assert ship.target == 2
    ship.states[-1]["resources"][0]["initErrors"] = ["timed out"]  # type: ignore[index]
    assert ship.target == 1, "it was on its way"


def test_a_failed_rollback_of_one_service_says_nothing_of_the_others(ship: Ship) -> None:
    ship.add(order=2)
    ship.back(1, "user", ok=False)
    ship.now = {"user": 9, "order": 2}
    assert ship.target == 4
    assert ship.target_of("user") == 1
    assert ship.target_of("order") == 3


def test_a_refresh_that_found_a_change_goes_back_to_the_release(ship: Ship) -> None:
    ship.add(kind="refresh", user=77)
    assert ship.target == 3


def test_a_refresh_that_found_none_is_no_target_and_no_obstacle(ship: Ship) -> None:
    ship.add(kind="refresh")
    assert ship.target == 2


def test_after_a_destroy_everything_comes_back(ship: Ship) -> None:
    ship.now = {}
    ship.add(kind="destroy")
    assert ship.target == 3


def test_an_import_is_a_release(ship: Ship) -> None:
    imported = ship.add(kind="import", user=8)
    ship.add(user=9)
    assert ship.target == imported


def test_a_history_of_one_update_has_no_target() -> None:
    ship = Ship()
    ship.add(user=1)
    assert ship.has_no_target()


def test_a_history_of_failures_has_no_target() -> None:
    ship = Ship()
    ship.add(ok=False, user=1)
    ship.add(ok=False, user=2)
    assert ship.has_no_target()
    assert last_good(ship.history) is None


def test_a_torn_state_in_between_is_passed_over(ship: Ship) -> None:
    ship.states[1] = None
    assert ship.target == 1


def test_a_torn_record_in_between_is_passed_over(ship: Ship) -> None:
    ship.updates[1] = {"kind": "update"}
    assert ship.target == 1


def test_after_one_service_went_back_it_is_the_state_before_the_bad_one(ship: Ship) -> None:
    both = ship.add(user=4, order=2)
    back = ship.back(3, "user")
    assert ship.target == 3, "#4 was rolled back from"
    ship.add(order=3)
    assert ship.target == back
    assert both == 4


def test_after_one_service_went_back_the_state_is_no_older_than_itself(ship: Ship) -> None:
    ship.add(order=2)
    ship.back(2, "user")
    assert ship.target == 3


def test_going_back_from_a_wreck_does_not_undo_the_release_before_it(ship: Ship) -> None:
    """The failed update has its inputs still."""
    ship.add(ok=False)
    back = ship.back(2)
    ship.states[back - 1] = None
    assert last_good(ship.history) == ship.history.entry(3)


def test_a_rollback_to_a_rollback_stands_for_what_that_went_to(ship: Ship) -> None:
    first = ship.back(2)
    ship.add(user=4)
    ship.back(first)
    assert ship.target == 1


def test_the_last_good_state_is_no_failure_and_was_not_rolled_back_from(ship: Ship) -> None:
    ship.add(ok=False, user=4)
    assert last_good(ship.history) == ship.history.entry(3)
    back = ship.back(3)
    assert last_good(ship.history) == ship.history.entry(back)
    ship.add(ok=False, user=5)
    assert last_good(ship.history) == ship.history.entry(back)


def test_a_setting_that_stays_in_git_undoes_nothing(ship: Ship) -> None:
    """Under `slipway:rollbackTo: 2` each further update is a rollback from what is there already."""
    ship.back(2)
    again = ship.back(2)
    ship.add(ok=False, user=7)
    good = last_good(ship.history)
    assert good is not None
    assert good.number == again
    ship.states[again - 1] = None
    good = last_good(ship.history)
    assert good is not None
    assert good.number == again - 1, "the state was gone back to, not from"


def test_one_service_goes_back_to_where_it_was_another(ship: Ship) -> None:
    """What was released of others since says nothing of it."""
    ship.add(order=2)
    ship.add(order=3)
    assert ship.target_of("user") == 2
    assert ship.target_of("order") == 4
    assert ship.target == 4


def test_one_service_goes_back_step_by_step(ship: Ship) -> None:
    ship.back(ship.target_of("user"), "user")
    assert ship.target_of("user") == 1
    ship.back(1, "user")
    with pytest.raises(ConfigurationError, match="no earlier state of user to go back to"):
        ship.target_of("user")


def test_one_service_that_skipped_states_goes_no_further_forward(ship: Ship) -> None:
    ship.add(user=4, order=2)
    ship.back(1, "user", "order")
    with pytest.raises(ConfigurationError, match="no earlier state"):
        ship.target_of("user")


def test_what_another_service_was_rolled_back_from_is_none_of_this_one_s(ship: Ship) -> None:
    ship.add(user=4, order=2)
    ship.back(3, "order")
    ship.add(user=5)
    assert ship.target_of("user") == 5, "user-service stayed at 4"


def test_an_update_without_the_service_is_passed_over(ship: Ship) -> None:
    added = ship.add(new=1)
    ship.add(new=2)
    assert ship.target_of("new") == added
    ship.back(3)
    assert ship.target_of("user", "order") == 2


def test_a_service_that_is_gone_comes_back_from_where_it_was_last(ship: Ship) -> None:
    ship.now.pop("user")
    ship.add(order=2)
    assert ship.target_of("user") == 3


def test_a_wreck_of_another_service_is_none_of_this_one_s(ship: Ship) -> None:
    ship.add(order=2)
    ship.add(ok=False)
    present = ship.present()
    present["resources"][1]["initErrors"] = ["timed out"]
    assert default_target(ship.history, present, ("user",)).number == 2
    assert default_target(ship.history, present, ("order",)).number == 4


def test_a_refresh_after_a_rollback_that_skipped_states_makes_these_no_targets(ship: Ship) -> None:
    ship.back(1)
    ship.add(kind="refresh")
    ship.add(kind="refresh")
    assert ship.has_no_target()


@pytest.mark.parametrize("target", [3, 4, 99])
def test_a_rollback_to_what_is_not_older_ends_the_search(ship: Ship, target: int) -> None:
    """Files that were taken out of the history give the others other numbers."""
    ship.updates[2]["message"] = f"rollback of #2 to #{target}"
    assert ship.target in (1, 2)


STEP = st.one_of(
    st.tuples(st.just("up"), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("back"), st.integers(1, 30), st.booleans()),
    st.tuples(st.just("one"), st.integers(1, 30), st.booleans()),
    st.tuples(st.just("refresh"), st.integers(1, 4), st.just(True)),
    st.tuples(st.just("tear"), st.integers(1, 30), st.just(True)),
)


def sailed(steps: list[tuple[str, int, bool]]) -> Ship:
    ship = Ship()
    ship.add(user=1, order=1)
    for what, number, flag in steps:
        last = len(ship.updates)
        if what == "up":
            changed: dict[str, Any] = {"user" if number % 2 else "order": number}
            ship.add(ok=flag, **changed)
        elif what == "refresh":
            ship.add(kind="refresh", user=number)
        elif ship.states[min(number, last) - 1] is None:
            continue
        elif what == "tear":
            ship.states[min(number, last) - 1] = None
        elif ship.history.entry(min(number, last)).succeeded:
            ship.back(min(number, last), *(("user",) if what == "one" else ()), ok=flag)
    return ship


def object_versions(state: dict[str, Any] | None) -> dict[str, int] | None:
    return state and {each["urn"]: each["inputs"]["version"] for each in state["resources"]}


@pytest.mark.slow
@given(st.lists(STEP, max_size=10))
@settings(deadline=None, max_examples=300)
def test_no_target_is_failed_unreadable_present_or_undone(steps: list[tuple[str, int, bool]]) -> None:
    ship = sailed(steps)
    entries = ship.history.entries
    try:
        target = default_target(ship.history, ship.present())
    except ConfigurationError:
        return
    outcome = object_versions(ship.states[target.number - 1])
    assert target.succeeded
    assert target.kind in (UpdateKind.UPDATE, UpdateKind.ROLLBACK)
    assert outcome is not None
    assert outcome != object_versions(ship.present())
    for entry in later(entries, target):
        source, after = entry.rollback and entry.rollback.source, ship.states[entry.number - 1]
        if source == target.number and after is not None:
            assert object_versions(after) == outcome, f"#{target.number} was rolled back from by {entry}"


def later(entries: tuple[UpdateInfo, ...], target: UpdateInfo) -> list[UpdateInfo]:
    return [each for each in entries if each.number > target.number and each.succeeded and each.rollback]


def test_rollbacks_are_read_from_the_messages_of_this_test() -> None:
    ship = Ship()
    ship.add(user=1)
    ship.add(user=2)
    ship.back(1, "user")
    assert ship.history.entry(3).rollback == RollbackInfo(2, 1, ("user",))


def test_a_service_that_nobody_knows_is_named_with_those_that_there_are(ship: Ship) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ship.target_of("usr")
    assert caught.value.what == "dev has no service usr."
    assert "order, user" in caught.value.why


def test_a_rollback_of_one_service_beside_a_broken_one_is_no_good_state(ship: Ship) -> None:
    """Its checks were asked of that service alone: to go back there would fail on the other, again and again."""
    ship.add(ok=False, user=9, order=9)
    back = ship.back(3, "order")
    assert ship.target == 3
    assert ship.target_of("user") == 3
    assert last_good(ship.history) == ship.history.entry(3)
    ship.add(ok=False, order=10)
    assert ship.target == 3
    assert ship.target_of("order") == back, "of order itself it is one: its own checks were met"


def test_what_a_refresh_found_in_between_makes_it_no_better(ship: Ship) -> None:
    ship.add(ok=False, user=9, order=9)
    ship.add(kind="refresh")
    ship.back(3, "order")
    assert ship.target == 3


def test_a_rollback_of_one_service_beside_good_ones_is_good(ship: Ship) -> None:
    ship.add(user=4, order=4)
    half = ship.back(3, "order")
    ship.add(ok=False, user=5)
    assert last_good(ship.history) == ship.history.entry(half)
