"""When the program asks its gate, and what it does with the answer."""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pulumi
import pytest
from pulumi.runtime import settings
from pulumi.runtime.mocks import MockResourceArgs, Mocks
from pulumi.runtime.stack import run_pulumi_func
from pulumi.runtime.sync_await import _sync_await

from components.preflight import enforce_policies
from policy import program_check

REFUSAL = "Policy violation: stack dev breaks 1 mandatory rule.\n  liveness-probe"


class Nothing(Mocks):
    """Nothing is asked here, and no resource made but a component."""

    def call(self, args: object) -> NoReturn:
        raise AssertionError(args)

    def new_resource(self, args: MockResourceArgs) -> tuple[str, dict[str, object]]:
        assert args.typ == "test:index:Sneaky"
        return f"{args.name}-id", {}


class Gate:
    """Answers in place of the gate's process, and keeps what it was asked and what was said."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.verdict = program_check.Verdict()
        self.requests: list[program_check.CheckRequest] = []
        self.warnings: list[str] = []
        monkeypatch.setattr(program_check, "judge", self._judge)
        monkeypatch.setattr(pulumi.log, "warn", self.warnings.append)

    def _judge(self, request: program_check.CheckRequest) -> program_check.Verdict:
        self.requests.append(request)
        return self.verdict


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Gate:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PULUMI_CONFIG", '{"user-service:DATABASE_URL": "x"}')
    monkeypatch.setenv("PULUMI_CONFIG_SECRET_KEYS", '["user-service:DATABASE_URL"]')
    monkeypatch.delenv(program_check.VARIABLE, raising=False)
    return Gate(monkeypatch)


def run(*, preview: bool, rest: Callable[[], object] = lambda: None) -> None:
    """A program that passes the policies first, and then does the rest."""

    def program() -> None:
        enforce_policies()
        rest()

    contextvars.copy_context().run(_run, program, preview)  # what it does to the stack is of this run alone


def _run(program: Callable[[], None], preview: bool) -> None:
    settings.ROOT.set(None)
    pulumi.runtime.set_mocks(Nothing(), project="slipway", stack="dev", preview=preview, organization="ada")
    _sync_await(run_pulumi_func(program))


@pytest.mark.parametrize("preview", [True, False])
def test_a_compliant_program_goes_on_without_a_word(gate: Gate, preview: bool) -> None:
    run(preview=preview)
    assert gate.warnings == []
    (request,) = gate.requests
    assert request == program_check.CheckRequest(
        str(Path.cwd()), "slipway", "dev", "ada", {"user-service:DATABASE_URL": "x"}, ["user-service:DATABASE_URL"]
    )


def test_an_update_is_refused_with_the_list(gate: Gate) -> None:
    gate.verdict = program_check.Verdict(refusal=REFUSAL)
    with pytest.raises(pulumi.RunError) as caught:
        run(preview=False)
    assert str(caught.value) == f"{REFUSAL}\nNothing was changed."


def test_a_preview_shows_the_same_list_and_goes_on(gate: Gate) -> None:
    gate.verdict = program_check.Verdict(refusal=REFUSAL, notes="Policy advice:\n  x")
    run(preview=True)
    assert gate.warnings == ["Policy advice:\n  x", f"{REFUSAL}\nAn update would be refused."]


@pytest.mark.parametrize("preview", [True, False])
@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (program_check.Verdict(error="rule `x` failed"), "Policy error: rule `x` failed\nNothing was changed."),
        (program_check.Verdict(program_error="Configuration error: no registry"), "Configuration error: no registry"),
    ],
)
def test_no_verdict_lets_nothing_pass(gate: Gate, verdict: program_check.Verdict, words: str, preview: bool) -> None:
    gate.verdict = verdict
    with pytest.raises(pulumi.RunError) as caught:
        run(preview=preview)
    assert str(caught.value) == words


def test_what_the_gate_cannot_see_is_left_to_the_engine(gate: Gate) -> None:
    gate.verdict = program_check.Verdict(not_inspectable="the remote component eks:index:Cluster `c`")
    with pytest.raises(pulumi.RunError, match=r"cannot inspect the remote component .*\n.*slipway up"):
        run(preview=False)
    run(preview=True)
    assert "An update would be refused." in gate.warnings[0]


def test_what_only_the_update_knows_is_left_to_the_engine(gate: Gate) -> None:
    """The update that could decide it is the one that must not begin."""
    gate.verdict = program_check.Verdict(
        notes="Policies that only …", undecided="values that mandatory rules need are not known"
    )
    with pytest.raises(pulumi.RunError, match=r"mandatory rules need are not known.*\n.*slipway up"):
        run(preview=False)
    run(preview=True)
    assert "An update would be refused." in gate.warnings[-1]


class Sneaky(pulumi.ComponentResource):
    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("test:index:Sneaky", name, None, opts)


def test_what_was_not_looked_at_is_refused_when_it_is_declared(gate: Gate) -> None:
    """Declared in an `apply` of what only the engine knows, or where the program asks whether it is a preview."""
    gate.verdict = program_check.Verdict(judged=[("test:index:Sneaky", "seen")])

    def within_what_was_seen() -> None:
        Sneaky("unseen", pulumi.ResourceOptions(parent=Sneaky("seen")))

    run(preview=False, rest=lambda: Sneaky("seen"))
    run(preview=True, rest=lambda: Sneaky("unseen"))
    for rest in (lambda: Sneaky("unseen"), within_what_was_seen):
        with pytest.raises(pulumi.RunError, match=r"did not see Sneaky unseen\.\n.*slipway up"):
            run(preview=False, rest=rest)


def test_nobody_asks_behind_slipway_up(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.verdict = program_check.Verdict(refusal=REFUSAL)
    monkeypatch.setenv(program_check.VARIABLE, program_check.token(Path.cwd(), "slipway", "dev"))
    run(preview=False)
    assert gate.requests == []


def test_somebody_asks_when_the_program_is_another_than_approved(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    gate.verdict = program_check.Verdict(refusal=REFUSAL)
    monkeypatch.setenv(program_check.VARIABLE, program_check.token(Path.cwd(), "slipway", "dev"))
    Path("__main__.py").write_text("changed")
    with pytest.raises(pulumi.RunError):
        run(preview=False)


def test_a_program_that_is_being_looked_at_does_not_ask_again(gate: Gate) -> None:
    with program_check.declaring():
        run(preview=True)
    assert gate.requests == []
    run(preview=True)
    assert len(gate.requests) == 1
