"""How rules are asked: levels, waivers, rules that fail themselves, order of magnitude of the time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy.declaration import Options, Problem, Resource, View
from policy.files import Waiver, Waivers
from policy.judge import REPLAY_KEY, REPLAY_VARIABLE, Judge, RuleError, message, notes, refusal
from policy.kinds import containers
from policy.model import State
from slipway.backend.update_info import ROLLBACK_SETTING
from slipway.rollback import plan as replay
from tests.policy.policy_examples import (
    DIGEST,
    MISSING,
    REGISTRY,
    RULES,
    UNKNOWN,
    Edit,
    good,
    judge,
    judged,
    kubernetes,
    pod,
)

IMAGE = ("spec", "template", "spec", "containers", 0, "image")
PROBE = ("spec", "template", "spec", "containers", 0, "livenessProbe")


def broken_rule(judge: Judge, error: Exception) -> Judge:
    def check(container: View, _stack: object) -> Iterator[Problem]:
        if container:
            raise error
        yield container.problem("never")

    judge.rules = (replace(RULES["pre-stop"], subjects=containers, check=check),)
    return judge


def test_a_rule_that_raises_is_an_error_that_names_it_and_shows_no_value() -> None:
    with pytest.raises(RuleError) as caught:
        broken_rule(judge(), ValueError("hunter2")).evaluate(good().values())
    assert str(caught.value).startswith("rule `pre-stop` failed on Deployment/api: ValueError at test_judge.py:")
    assert "hunter2" not in str(caught.value)


def test_an_unused_waiver_is_an_error() -> None:
    report = judged(good(), ("pre-stop", "Deployment/api"))
    assert report.refuses
    assert report.waiver_problems == (
        "policy/waivers.yaml:1: Deployment/api does not break pre-stop here; "
        "remove the waiver, or name the stack that needs it (`stack: prod`)",
    )
    assert "policy/waivers.yaml:1" in refusal(report)


def test_a_waiver_holds_for_an_object_that_is_named_by_its_content() -> None:
    """With its next content it has another name, and it is the same to whoever wrote the waiver."""
    found = [
        Resource("kubernetes:core/v1:ConfigMap", f"api-{digits}", {"immutable": True}) for digits in ("1a2b3c4d", "0")
    ]
    assert [each.ref for each in found] == ["ConfigMap/api", "ConfigMap/api-0"]
    assert Resource("kubernetes:core/v1:ConfigMap", "api-1a2b3c4d").ref == "ConfigMap/api-1a2b3c4d"


def test_the_refusal_says_all_a_person_needs_rule_by_rule() -> None:
    spoilt = Edit("Deployment/api", PROBE, MISSING).done(good())
    spoilt = Edit("Deployment/scaled", PROBE, MISSING).done(spoilt)
    assert refusal(judged(spoilt)) == (
        "Policy violation: stack prod breaks 1 mandatory rule.\n"
        "  liveness-probe [mandatory] Containers have a liveness probe\n"
        "    Deployment/api  spec.template.spec.containers[0].livenessProbe: container `api` has no `livenessProbe`; "
        "allowed: one with httpGet, tcpSocket, grpc, exec\n"
        "    Deployment/scaled  spec.template.spec.containers[0].livenessProbe: container `api` has no "
        "`livenessProbe`; allowed: one with httpGet, tcpSocket, grpc, exec\n"
        "    Why: Without it a process that hangs is never restarted.\n"
        "    Fix: Give the container a `livenessProbe` (`health` in service.yaml).\n"
        "All rules: docs/policy.md. To waive a rule for a limited time: policy/waivers.yaml."
    )


def test_a_waiver_that_prod_needs_is_no_error_where_its_rule_is_off() -> None:
    alone = Edit("Deployment/api", ("spec", "replicas"), 1).done(good())
    waived = ("replicas", "Deployment/api")
    assert [judged(alone, waived, stack=stack).refuses for stack in ("prod", "dev")] == [False, False]
    assert judged(good(), waived, stack="prod").waiver_problems != ()


@pytest.mark.parametrize(
    ("config", "environ", "refuses"),
    [({}, {}, True), ({}, {"SLIPWAY_ROLLBACK": "{}"}, False), ({"slipway:rollbackTo": "3"}, {}, False)],
)
def test_todays_waivers_keep_nobody_from_going_back(
    monkeypatch: pytest.MonkeyPatch, config: dict[str, str], environ: dict[str, str], refuses: bool
) -> None:
    """They are of a release that may be what went wrong: what it waived is not there any more."""
    unused = Waiver("pre-stop", "Deployment/new", "a good reason", date(2099, 1, 1), "policy/waivers.yaml:1")
    found = Waivers((unused,), ("policy/waivers.yaml:9: the waiver of pre-stop expired",))
    monkeypatch.setattr("policy.judge.load_waivers", lambda *_: found)
    environ = {**environ, "SLIPWAY_REGISTRY": REGISTRY}
    report = Judge.of("prod", config, environ).evaluate(good().values())
    assert report.refuses is refuses
    assert report.refusals == []
    spoilt = Edit("Deployment/api", PROBE, MISSING).done(good())
    assert Judge.of("prod", config, environ).evaluate(spoilt.values()).refusals != []


def test_a_replay_is_known_by_the_same_words_everywhere() -> None:
    assert REPLAY_VARIABLE == replay.ROLLBACK_VARIABLE
    assert ROLLBACK_SETTING == REPLAY_KEY


def test_without_notes_the_text_is_empty() -> None:
    report = judged(good())
    assert (refusal(report), notes(report), report.refuses) == ("", "", False)


def test_waived_and_advised_and_undecided_are_reported_and_refuse_nothing() -> None:
    spoilt = Edit("Deployment/api", PROBE, MISSING).done(good())
    spoilt = Edit("Deployment/api", ("spec", "progressDeadlineSeconds"), 100).done(spoilt)
    report = judged(spoilt, ("liveness-probe", "Deployment/api"), stack="dev")
    assert refusal(report) == ""
    text = notes(report)
    assert "Policy advice:\n  startup-within-deadline [advisory]" in text
    assert "Waived policies:\n  liveness-probe [mandatory]" in text
    assert "Waived until 2099-01-01: a good reason (policy/waivers.yaml:1)" in text


@pytest.mark.parametrize(
    ("waived", "state", "beginning"),
    [
        ([], State.VIOLATION, "spec.template.spec.containers[0].image: container `api` has image `api:1`"),
        ([("image-by-digest", "Deployment/api")], State.WAIVED, "Waived until 2099-01-01: a good reason"),
    ],
)
def test_messages_of_the_pack_begin_with_their_state(
    waived: list[tuple[str, str]], state: State, beginning: str
) -> None:
    spoilt = Edit("Deployment/api", IMAGE, "api:1").done(good())
    (found,) = judged(spoilt, *waived, rules=["image-by-digest"]).of(state)
    assert message(found).startswith(beginning)


TOKENS = sorted({resource.type for resource in good().values()})
KEYS = st.sampled_from(
    [
        "metadata",
        "spec",
        "template",
        "containers",
        "image",
        "labels",
        "ports",
        "selector",
        "matchLabels",
        "rules",
        "name",
    ]
)
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5), st.just(UNKNOWN)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=20,
)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TOKENS), st.dictionaries(KEYS, anything, max_size=4)), max_size=4))
def test_no_inputs_whatever_make_a_rule_fail(declared: list[tuple[str, dict[str, object]]]) -> None:
    odd = [Resource(token, f"odd{index}", inputs, f"urn:{index}") for index, (token, inputs) in enumerate(declared)]
    report = judge().evaluate([*odd, *good().values()])
    # No rule asks anything of an image that was not promoted.
    assert {each.resource.ref for each in report.results} >= {each.ref for each in odd if each.kind != "ServiceImage"}


@pytest.mark.slow
def test_a_thousand_resources_are_judged_in_time_linear_in_their_number() -> None:
    def seconds(services: int) -> float:
        resources = [each for index in range(services) for each in service(f"s{index}")]
        started = time.process_time()
        report = judge().evaluate(resources)
        assert report.of(State.VIOLATION) == []
        return time.process_time() - started

    seconds(5)
    # In turns, and the best of each: the machine is not ours alone, and neither is its cache.
    pairs = [(seconds(40), seconds(200)) for _ in range(5)]
    few, many = (min(times) for times in zip(*pairs, strict=True))
    assert many < 12 * few  # 5 times as many; a rule that pairs everything with everything would take 25 times as long
    assert many < 8


def service(name: str) -> list[Resource]:
    labels = {"app.kubernetes.io/name": name}
    selector = {"matchLabels": labels}
    template = pod(name)
    template["metadata"]["labels"] = labels
    template["spec"]["topologySpreadConstraints"][0]["labelSelector"] = selector
    template["spec"]["containers"][0]["image"] = f"{REGISTRY}/{name}@{DIGEST}"
    spec = {**good()["Deployment/api"].inputs["spec"], "selector": selector, "template": template}
    closed = {"podSelector": selector, "policyTypes": ["Ingress", "Egress"]}
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return [
        kubernetes("core/v1:ServiceAccount", name),
        kubernetes("apps/v1:Deployment", name, spec=spec),
        kubernetes("core/v1:Service", name, spec={"selector": labels, "ports": ports}),
        kubernetes("networking.k8s.io/v1:NetworkPolicy", name, spec=closed),
        kubernetes("policy/v1:PodDisruptionBudget", name, Options(), spec={"maxUnavailable": 1, "selector": selector}),
    ]
