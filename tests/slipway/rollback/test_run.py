"""What a rollback says of itself: in the history, and where it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from slipway.backend import RollbackInfo, UpdateInfo, UpdateKind, parse_rollback
from slipway.cli.rollback import headline
from slipway.deploy.update import Update
from slipway.engine.errors import gone_advice
from slipway.engine.events import Diagnostic, Event
from slipway.engine.messages import checks_failed
from slipway.engine.pulumi_cli import Completed
from slipway.errors import ExitCode, SlipwayError
from slipway.progress import Progress
from slipway.rollback import automatic
from slipway.rollback import run as module
from slipway.rollback.automatic import FailedUpdate
from slipway.rollback.plan import DataAtStakeError, RollbackPlan, RollbackRequest, plan_rollback
from slipway.rollback.proof import ClusterDifference
from slipway.rollback.run import Rollback
from slipway.stack import Stack
from slipway.state.checkpoint import stem
from tests.slipway.opened import stack_in
from tests.slipway.states import remove, urn

TARGET = UpdateInfo(12, UpdateKind.UPDATE, succeeded=True, started=datetime(2030, 1, 1, tzinfo=UTC))
NOTHING = RollbackPlan((), {}, {}, ())
DEV, PROD = (stack_in(Path("nowhere").absolute(), name) for name in ("dev", "prod"))


def rollback(request: RollbackRequest, reason: str = "") -> Rollback:
    return Rollback(PROD, 14, TARGET, request, NOTHING, {}, reason)


def test_the_history_can_tell_what_it_was() -> None:
    made = rollback(RollbackRequest(12, ("a", "b")), "the harbour burns; (all of it)")
    assert parse_rollback(made.message) == RollbackInfo(14, 12, ("a", "b"), "the harbour burns; (all of it)")
    assert parse_rollback(rollback(RollbackRequest(12)).message) == RollbackInfo(14, 12)


def test_the_command_does_the_same_again() -> None:
    assert rollback(RollbackRequest(12)).command == "slipway rollback -s prod --to 12"
    request = RollbackRequest(12, ("a", "b"), keep_secrets=True, include_stateful=True)
    assert rollback(request, "it's on fire").command == (
        "slipway rollback -s prod --to 12 --service a --service b --keep-secrets --include-stateful "
        "--break-glass 'it'\"'\"'s on fire'"
    )


def test_what_a_commit_says_does_nothing_to_a_terminal() -> None:
    sly = replace(TARGET, author="A\x1b[2Jda", message="Ask\x1b]0;of the harbour\x07")
    text = headline(replace(rollback(RollbackRequest(12)), target=sly))
    assert not {"\x1b", "\x07"} & set(text)
    assert "by Ada" in text


def test_a_failure_never_advises_to_go_forward() -> None:
    error = SlipwayError(
        "The update of stack prod was interrupted.",
        why="Ctrl-C",
        next_step="`slipway up -s prod` continues where it stopped.",
        code=ExitCode.INTERRUPTED,
    )
    own = rollback(RollbackRequest(12)).as_its_own(error)
    assert own.what == "The rollback of stack prod was interrupted."
    assert own.next_step == "`slipway rollback -s prod --to 12` continues where it stopped."
    assert (own.why, own.code) == (error.why, error.code)
    gone = SlipwayError(
        "The update of stack prod failed.", next_step=gone_advice("prod", 'deployments.apps "a" not found')
    )
    assert "slipway up" in gone.next_step
    assert "slipway up" not in rollback(RollbackRequest(12)).as_its_own(gone).next_step


BY_HAND = ClusterDifference(half_recorded=("Deployment user-service",))
IMAGES = ["--exclude", "**docker-build:index:Image::*"]


def arguments(then: Any, now: Any, *services: str, moved: ClusterDifference = BY_HAND) -> list[str]:
    request = RollbackRequest(12, services)
    return Rollback(DEV, 14, TARGET, request, plan_rollback(then, now, request), now, moved=moved).arguments()


def test_all_images_stay_out_of_it(first: Any, second: Any) -> None:
    assert arguments(first, second) == IMAGES


def test_what_is_as_it_was_is_left_unless_somebody_has_changed_the_cluster(first: Any, second: Any) -> None:
    found = arguments(first, second, moved=ClusterDifference())
    assert found[:2] == IMAGES
    excluded = set(found[3::2])
    assert urn("core/v1:Service", "user-service") in excluded
    assert not any("apps/v1:Deployment" in each for each in excluded), "both have another image"
    of_one = arguments(first, second, "order-service", moved=ClusterDifference())
    assert set(of_one[::2]) == {"--target"}
    assert urn("apps/v1:Deployment", "order-service") in of_one
    assert urn("core/v1:Service", "order-service") not in of_one, "as a target that is not declared it would be deleted"
    assert arguments(first, second, moved=ClusterDifference(unread="no answer")) == IMAGES


def test_a_service_s_own_objects_alone_may_be_touched(first: Any, second: Any) -> None:
    found = arguments(first, second, "user-service")
    known = {each["urn"] for each in [*first["resources"], *second["resources"]]}
    assert set(found[::2]) == {"--target"}
    assert sorted(found[1::2]) == sorted(
        urn for urn in known if "kubernetes:" in urn and stem(urn).endswith("::user-service")
    )


def test_what_the_service_has_too_much_may_be_deleted(first: Any, second: Any) -> None:
    assert urn("autoscaling/v2:HorizontalPodAutoscaler", "order-service") in arguments(first, second, "order-service")


def test_a_service_that_is_gone_is_made_with_its_components_and_no_image(first: Any, second: Any) -> None:
    remove(second, "user-service")
    found = set(arguments(first, second, "user-service")[1::2])
    mine = {each["urn"] for each in first["resources"] if stem(each["urn"]).endswith("::user-service")}
    assert found == {each for each in mine if "docker-build" not in each}


def test_an_update_that_touched_nothing_is_not_rolled_back() -> None:
    """Refused configuration, a failed build: the cluster has not heard of it."""
    error = SlipwayError("The update of stack dev failed.")
    assert FailedUpdate(DEV, Update((), Any, ""), error).undone(Progress()) is error  # type: ignore[arg-type]


LOCKED = Completed(255, errors="error: the stack is currently locked by 1 lock(s)\n")
REFUSED = Completed(255, errors="error: Rollback error: the registry does not have it\n")
BEFORE, LATER = ({"manifest": {"time": time}, "resources": []} for time in ("before", "later"))


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Stack dev, whose backend has one update of it."""
    monkeypatch.setenv("SLIPWAY_HOME", str(tmp_path))
    (tmp_path / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    record(tmp_path, 1, "a release", BEFORE)
    return stack_in(tmp_path)


def record(folder: Path, number: int, message: str, state: dict[str, Any]) -> None:
    """As the engine does it at the end of an update."""
    root = folder / ".pulumi"
    for each in ("history/slipway/dev", "stacks/slipway"):
        (root / each).mkdir(parents=True, exist_ok=True)
    (root / "meta.yaml").write_text("version: 1\n")
    info = {"kind": "update", "startTime": 1, "endTime": 2, "result": "failed", "message": message}
    checkpoint = json.dumps({"version": 3, "checkpoint": {"latest": state}})
    (root / f"history/slipway/dev/dev-{number}.history.json").write_text(json.dumps(info))
    (root / f"history/slipway/dev/dev-{number}.checkpoint.json").write_text(checkpoint)
    (root / "stacks/slipway/dev.json").write_text(checkpoint)


Ended = Callable[[Completed, str], list[Any]]


@pytest.fixture
def ended(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Carries a rollback out which ends so, after an update of that message was recorded; the states put back."""
    put_back: list[Any] = []

    def run(how: Completed, message: str) -> list[Any]:
        def update(*_: object, **__: object) -> Update:
            record(stack.project.folder, 2, message, LATER)
            return Update((), how, "log")

        monkeypatch.setattr(module, "run_update", update)
        monkeypatch.setattr(module, "import_state", lambda *arguments: put_back.append(arguments[-1]))
        monkeypatch.setattr(Rollback, "variables", lambda _: {})
        with pytest.raises(SlipwayError):
            Rollback(stack, 1, TARGET, RollbackRequest(12), NOTHING, {}).run(Progress())
        return put_back

    return run


def test_a_refused_rollback_leaves_the_state_as_it_was(ended: Ended) -> None:
    assert ended(REFUSED, "rollback of #1 to #12") == [BEFORE]


def test_one_that_found_the_stack_locked_leaves_what_the_other_made_of_it(ended: Ended) -> None:
    assert ended(LOCKED, "a release by somebody else") == []


MIGRATED = {
    "urn": "urn:pulumi:dev::slipway::slipway:index:Microservice$kubernetes:batch/v1:Job::web",
    "type": "kubernetes:batch/v1:Job",
    "inputs": {"metadata": {"labels": {"slipway.dev/migration": "web"}}},
}


@pytest.mark.parametrize("migrated", [False, True])
def test_failing_checks_are_a_wreck_though_this_update_changed_nothing(
    monkeypatch: pytest.MonkeyPatch, *, migrated: bool
) -> None:
    """An earlier one has, which was left for a look, or was killed before it could go back."""
    calls: list[int] = []

    def prepare(*arguments: Any) -> Rollback:
        calls.append(arguments[-2])
        raise module.NothingToRollBackError("There is nothing to roll back.")

    monkeypatch.setattr(FailedUpdate, "_target", lambda *_: TARGET)
    monkeypatch.setattr(Rollback, "prepare", prepare)
    monkeypatch.setattr(Stack, "present", lambda _: {"resources": [MIGRATED] * migrated})
    error = SlipwayError("The update of stack dev failed.", why=f"{checks_failed(1, 2)}\n  user: GET / answered 500")
    diagnostic = Diagnostic(1.0, None, "error", error.why)
    ended = FailedUpdate(DEV, Update((diagnostic,), REFUSED, "log"), error).undone(Progress())
    assert calls == [12]
    assert (ended.what, ended.code) == (error.what, error.code)
    left, *more = ended.why.splitlines()[-2:] if migrated else ended.why.splitlines()[-1:]
    assert left == "dev is still as update #12 left it: nothing to roll back."
    assert ["slipway up -s dev --force" in each and "of web" in each for each in more] == [True] * migrated


@pytest.mark.parametrize(
    ("second", "flag"),
    [
        (SlipwayError("A rule is broken.", code=ExitCode.POLICY), '--to 12 --break-glass "REASON"'),
        (DataAtStakeError("The rollback would replace objects that hold data."), "--to 12 --include-stateful"),
        (SlipwayError("The registry does not have it."), "--to 12 "),
    ],
)
def test_the_commands_to_go_on_by_hand_are_not_refused_for_the_same_again(
    monkeypatch: pytest.MonkeyPatch, second: SlipwayError, flag: str
) -> None:
    def prepare(*_: Any) -> Rollback:
        raise second

    monkeypatch.setattr(FailedUpdate, "_target", lambda *_: TARGET)
    monkeypatch.setattr(Rollback, "prepare", prepare)
    diagnostic = Diagnostic(1.0, None, "error", checks_failed(1, 2))
    update = Update((diagnostic,), REFUSED, "log")
    ended = FailedUpdate(DEV, update, SlipwayError("It failed.")).undone(Progress())
    assert ended.code is ExitCode.ROLLBACK_FAILED
    assert f"slipway rollback -s dev {flag}" in ended.next_step
    assert ("--include-stateful" in ended.next_step) is ("--include-stateful" in flag)


PLACES = {"then": "registry.example/then", "now": "registry.example/now"}


@pytest.mark.parametrize(("automatic", "registry"), [(True, "then"), (False, "now")])
def test_the_policies_of_today_are_evaluated_with_the_settings_of_today(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, *, automatic: bool, registry: str
) -> None:
    """But for an update that failed: its settings may be what went wrong."""
    calls: list[Any] = []

    def require(_plan: Any, _stack: Stack, _target: UpdateInfo, config: Any) -> None:
        calls.append(config["slipway:registry"])

    target = replace(TARGET, config={"slipway:registry": PLACES["then"]})
    (stack.project.folder / "Pulumi.dev.yaml").write_text(f"config: {{slipway:registry: {PLACES['now']}}}\n")
    monkeypatch.setattr(module, "_target", lambda *_: target)
    monkeypatch.setattr(module, "_state", lambda *_: {})
    monkeypatch.setattr(module, "_plan", lambda *_: (NOTHING, {}))
    monkeypatch.setattr(module, "cluster_difference", lambda *_: ClusterDifference())
    monkeypatch.setattr(module, "_require_difference", lambda *_: None)
    monkeypatch.setattr(module, "_require_policies", require)
    Rollback.prepare(stack, 12, module.RollbackOptions(automatic=automatic))
    assert calls == [PLACES[registry]]


def test_a_failing_check_is_known_by_the_engines_message(recorded: Callable[[str], list[Event]]) -> None:
    assert automatic._does_not_work(recorded("failing_check"))
    assert not automatic._does_not_work(recorded("failing_unit_test"))
