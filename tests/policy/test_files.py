"""`waivers.yaml` and `settings.yaml`: every way to get them wrong is told with file and line."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from policy.files import PolicyFileError, Waivers, load_settings, load_waivers
from policy.rule_table import FILE, updated
from tests.policy.policy_examples import RULES

TODAY = date(2026, 3, 1)
ENTRY = """\
  - rule: pre-stop
    resource: Deployment/api
    reason: it drains by itself
    expires: 2026-03-01
"""


def read(folder: Path, text: str, stack: str = "prod") -> Waivers:
    file = folder / "policy" / "waivers.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return load_waivers(stack, RULES, TODAY, file)


def test_a_waiver_holds_through_its_last_day(tmp_path: Path) -> None:
    found = read(tmp_path, f"waivers:\n{ENTRY}")
    assert found.problems == ()
    (entry,) = found.entries
    assert found.of("pre-stop", "Deployment/api") is entry
    assert found.of("pre-stop", "Deployment/other") is None
    assert str(entry) == "until 2026-03-01: it drains by itself (policy/waivers.yaml:2)"


def test_a_waiver_for_a_stack_that_there_is_not_is_reported(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, f"waivers:\n{ENTRY}    stack: prd\n", stack="dev").problems
    assert "there is no stack `prd`; did you mean `prod`? The stacks: dev, " in problem


def test_a_waiver_for_one_stack_is_none_in_another(tmp_path: Path) -> None:
    text = f"waivers:\n{ENTRY}    stack: prod\n"
    assert len(read(tmp_path, text, "prod").entries) == 1
    assert read(tmp_path, text, "dev") == Waivers()


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("2026-03-01", "2026-02-28", "5: the waiver of pre-stop for Deployment/api expired on 2026-02-28"),
        (
            "pre-stop",
            "pre-stopp",
            "2: no rule has the id `pre-stopp`; did you mean `pre-stop`? All ids: docs/policy.md",
        ),
        ("    reason: it drains by itself\n", "", "2: `reason` is missing"),
        ("    expires: 2026-03-01\n", "", "2: `expires` is missing"),
        ("  - rule: pre-stop\n    resource", "  - resource", "2: `rule` is missing"),
        ("    resource: Deployment/api\n", "", "2: `resource` is missing"),
        ("it drains by itself", "soon", "4: `reason` is 'soon'; String should have at least 10 characters"),
        ("2026-03-01", "soon", "5: `expires` is 'soon'; it should be a valid date or datetime, input is too short"),
        (
            "Deployment/api",
            "api",
            "3: `resource` is 'api'; allowed is a kind and a name, as in Deployment/user-service",
        ),
        ("reason:", "because:", "4: unknown key `because`"),
        ("    resource", "    rule: pre-stop\n    resource", "3: `rule` is given twice, first on line 2"),
        ("waivers:", "waivers", "2: not valid YAML: mapping values are not allowed in this context"),
        (f"waivers:\n{ENTRY}", "- 1", "1: expected a mapping of keys to values here"),
        (ENTRY, ENTRY + ENTRY, "6: pre-stop is waived twice for Deployment/api; keep one"),
    ],
)
def test_a_broken_waiver_is_reported_with_its_line(tmp_path: Path, old: str, new: str, problem: str) -> None:
    text = f"waivers:\n{ENTRY}"
    assert old in text
    found = read(tmp_path, text.replace(old, new, 1))
    assert f"policy/waivers.yaml:{problem}" in found.problems


def test_a_file_that_is_missing_waives_nothing_and_is_an_error(tmp_path: Path) -> None:
    found = load_waivers("prod", RULES, TODAY, tmp_path / "waivers.yaml")
    assert found.entries == ()
    assert "cannot be read" in found.problems[0]


def test_the_repositorys_own_files_are_in_order() -> None:
    assert load_waivers("prod", RULES).problems == ()
    assert load_waivers("dev", RULES).problems == ()
    assert load_settings("dev", {}, {}).registries == ()


@pytest.mark.parametrize(
    ("stack", "tier"),
    [
        ("dev", "dev"),
        ("dev-ada", "dev"),
        ("pr-12", "dev"),
        ("e2e", "dev"),
        ("prod", "prod"),
        ("live", "prod"),
        ("", "prod"),
    ],
)
def test_a_stack_that_nobody_named_has_the_strictest_tier(stack: str, tier: str) -> None:
    assert load_settings(stack, {}, {}).tier == tier


def test_the_stacks_own_registry_is_allowed(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("registries: [shared.example]\n")
    environ = {"SLIPWAY_REGISTRY": "lab.example"}
    assert load_settings("dev", {}, environ, file).registries == ("lab.example", "shared.example")
    config = {"slipway:registry": "own.example"}
    assert load_settings("dev", config, environ, file).registries == ("own.example", "shared.example")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("environments: {dev: test}", "settings.yaml:1: `dev` is 'test'; it should be 'dev' or 'prod'"),
        ("registries:\n  - a\n  - 5000", "settings.yaml:3: `registries` is 5000"),
        ("registry: a", "settings.yaml:1: unknown key `registry`"),
    ],
)
def test_broken_settings_are_reported_with_their_line(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "policy" / "settings.yaml"
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(PolicyFileError) as caught:
        load_settings("dev", {}, {}, file)
    assert problem in str(caught.value)


def test_the_list_of_rules_that_people_read_is_current() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert text == updated(text), "run `python -m policy.rule_table`"
    assert all(f"| `{rule}` |" in text for rule in RULES)
