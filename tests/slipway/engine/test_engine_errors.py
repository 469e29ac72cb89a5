"""What a person reads when the engine fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slipway.engine.errors import failed_builds, failure, killed, messages
from slipway.engine.events import Diagnostic, Event, Urn
from slipway.engine.messages import DIAGNOSIS, checks_failed
from slipway.errors import ExitCode

Recorded = Callable[[str], list[Event]]
POD = Urn("urn:pulumi:dev::slipway::kubernetes:core/v1:Pod::a")


def test_a_configuration_error_of_the_program_exits_with_2(recorded: Recorded) -> None:
    error = failure("cli", recorded("wrong_configuration"), "")
    assert error.code is ExitCode.USAGE
    assert error.what.startswith(
        "services/user_service/service.yaml:3: unknown key `replicaz`; did you mean `replicas`?"
    )
    assert "Configuration error" not in str(error)


def test_further_lines_of_a_configuration_error_are_kept() -> None:
    diagnostic = Diagnostic(0, None, "error", "Configuration error: two problems:\n  one\n  two\n")
    error = failure("dev", [diagnostic], "")
    assert (error.what, error.why) == ("two problems:", "  one\n  two")


def test_a_failing_check_is_reported_once_in_its_own_words(recorded: Recorded) -> None:
    error = failure("cli", recorded("failing_check"), "")
    assert error.code is ExitCode.FAILED
    assert error.what == "The update of stack cli failed."
    assert error.why.startswith("1 of 2 checks failed:\n  user-service: GET /users answered 200:")
    assert error.why.count("checks failed") == 1
    assert error.next_step == "Fix it and run `slipway up -s cli` again."


def test_a_failing_unit_test_leaves_the_rest_alone_and_says_so(recorded: Recorded) -> None:
    events = recorded("failing_unit_test")
    error = failure("cli", events, "")
    assert error.why == (
        "Image user-service-test: a step of the build ended with exit code 1; what it printed is above."
    )
    assert error.next_step == "Nothing was deployed. Fix it and run `slipway up -s cli` again."


def test_the_output_of_a_failing_unit_test_is_whole_and_clean(recorded: Recorded) -> None:
    ((image, step),) = failed_builds(recorded("failing_unit_test")).items()
    assert image.name == "user-service-test"
    command = "/opt/venv/bin/python -m pytest -p no:cacheprovider || { status=$?; sleep 1; exit $status; }"
    assert step.instruction == f"RUN {command}"
    assert step.output[0] == "============================= test session starts =============================="
    assert '>       assert 1 == 2, "on purpose"' in step.output
    assert step.output[-1] == "======================== 1 failed, 114 passed in 17.46s ========================"


def test_an_update_that_went_well_has_no_failed_build(recorded: Recorded) -> None:
    assert failed_builds(recorded("first_update")) == {}


def test_the_same_message_twice_is_reported_once() -> None:
    diagnostics = [
        Diagnostic(0, POD, "error", "no"),
        Diagnostic(1, POD, "error", "no"),
        Diagnostic(2, None, "error", "no"),
    ]
    assert messages(diagnostics) == ["Pod a: no", "no"]


@pytest.mark.parametrize("echo", ["update failed", "", "resource monitor shut down while waiting"])
def test_echoes_are_left_out(echo: str) -> None:
    assert messages([Diagnostic(0, None, "error", echo)]) == []


KNOWN = [
    (
        "error: getting stack configuration: get stack secrets manager: incorrect passphrase",
        "The passphrase does not decrypt the secrets of stack dev.",
        "PULUMI_CONFIG_PASSPHRASE",
        2,
    ),
    (
        "error: get stack secrets manager: unable to read PULUMI_CONFIG_PASSPHRASE_FILE: open /x: no such file",
        "The passphrase of stack dev cannot be read.",
        "PULUMI_CONFIG_PASSPHRASE_FILE",
        2,
    ),
    (
        "error: passphrase must be set with PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE",
        "Stack dev encrypts its secrets with a passphrase, and none is set.",
        "PULUMI_CONFIG_PASSPHRASE",
        2,
    ),
    (
        "error: the stack is currently locked by 1 lock(s). Either wait or delete it with `pulumi cancel`.\n"
        "  file:///b/.pulumi/locks/x.json: created by ada@host (pid 7) at 2026-01-01T00:00:00Z",
        "Stack dev is locked: another update holds it, or a killed update did not release it.",
        "pulumi cancel -s dev",
        1,
    ),
    (
        'error: Preview failed: before hook "slipway-ownership" failed: Namespace shop exists already, and this stack '
        "did not create it: created by kubectl.\n  Take it over with `slipway:adopt`",
        "The update of stack dev would take over objects that this stack did not create.",
        "slipway:adopt",
        1,
    ),
    (
        "error: getting stack configuration: invalid YAML file: yaml: line 7: mapping values are not allowed",
        "The settings of stack dev cannot be read.",
        "Pulumi.dev.yaml",
        2,
    ),
    (
        "error: failed to solve: golang:1.27: failed to resolve source metadata for docker.io/library/golang:1.27: "
        'failed to do request: Head "https://registry.example/v2/library/golang/manifests/1.27": no such host',
        "A base image of a build cannot be pulled.",
        "docs/templates.md",
        1,
    ),
    (
        'error: unable to open state directory "file:///nonexistent": stat /nonexistent: no such file or directory',
        "The backend that keeps the state cannot be opened.",
        "PULUMI_BACKEND_URL",
        2,
    ),
    (
        "error: PULUMI_ACCESS_TOKEN must be set for login during non-interactive CLI sessions",
        "The engine is not logged in to a backend.",
        "pulumi login",
        2,
    ),
    ("error: no stack named 'dev' found", "There is no stack dev in the backend.", "slipway up -s dev", 2),
    (
        "error: no resource plugin 'pulumi-resource-kubernetes' found in the workspace at version v4.25.0",
        "A plugin of the engine is missing.",
        "slipway doctor",
        2,
    ),
]


@pytest.mark.parametrize(("message", "what", "next_step", "code"), KNOWN, ids=[known[1] for known in KNOWN])
def test_known_failures(message: str, what: str, next_step: str, code: int) -> None:
    error = failure("dev", [], f"warning: something else\n{message}\n")
    assert error.what == what
    assert next_step in error.next_step
    assert error.code == code


def test_who_has_the_lock_is_reported() -> None:
    assert "created by ada@host (pid 7)" in failure("dev", [], KNOWN[3][0]).why


def test_an_unknown_failure_is_the_engines_own_text() -> None:
    error = failure("dev", [], "warning: w\nerror: it is odd:\n  very odd\nTraceback: noise\n")
    assert (error.what, error.why, error.code) == ("The update of stack dev failed.", "it is odd:\n  very odd", 1)


@pytest.mark.parametrize(
    "message",
    [
        'error: Preview failed: update of resource "urn" failed: namespaces "slipway-dev" not found',
        'error: 1 of 1 checks failed:\n  a: GET /a answered 404: {"message":"services \\"a\\" not found"}; expected 2',
        'error: deployments.apps "user-service" not found',
    ],
)
def test_what_was_deleted_by_hand_has_an_advice(message: str) -> None:
    error = failure("dev", [Diagnostic(0, POD, "error", message)], "")
    assert "`slipway up -s dev --refresh`" in error.next_step


def test_what_a_service_does_not_find_is_its_own_affair() -> None:
    message = (
        'error: 1 of 1 checks failed:\n  a: GET /a answered 404: {"error":"user \\"bob\\" not found"}; expected 200'
    )
    assert "--refresh" not in failure("dev", [Diagnostic(0, POD, "error", message)], "").next_step


def test_an_engine_without_a_word() -> None:
    assert failure("dev", [], " \n").why == "The engine gave no reason."


def test_a_killed_engine_leaves_a_lock() -> None:
    error = killed("dev", 9)
    assert "SIGKILL" in error.what
    assert "pulumi cancel -s dev" in error.next_step


@pytest.mark.parametrize("words", ["Policy violation: 1 rule is broken", "Policy error: rule `probes` failed"])
def test_what_the_gate_refuses_exits_with_3(words: str) -> None:
    error = failure("dev", [Diagnostic(0, None, "error", f"{words}\n  liveness-probe on Deployment/a")], "")
    assert (error.what, error.code) == (words, 3)
    assert "liveness-probe on Deployment/a" in error.why
    assert "policy/waivers.yaml" in error.next_step


@pytest.mark.parametrize(
    "message",
    ["user is not logged in", "Configuration error: no DATABASE_URL", "incorrect passphrase", "Rollback error: none"],
)
def test_what_a_service_says_is_no_word_of_the_engine(message: str) -> None:
    """The diagnosis would be lost, and the exit code be that of a mistake in the settings."""
    screen = f"{DIAGNOSIS}user-service crashes\n  log      user-service, last run:\n    | {message}"
    deployment = Urn("urn:pulumi:dev::slipway::kubernetes:apps/v1:Deployment::user-service")
    checks = f"{checks_failed(1, 2)}\n  user-service: GET /users answered 500: {message}; expected status 200"
    for event in (Diagnostic(0, deployment, "error", screen), Diagnostic(0, None, "error", checks)):
        error = failure("dev", [event], "")
        assert (error.what, error.code) == ("The update of stack dev failed.", ExitCode.FAILED)
        assert error.why == event.message.removeprefix(DIAGNOSIS)
