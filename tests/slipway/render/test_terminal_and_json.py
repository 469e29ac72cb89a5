"""The same previews for the eyes in front of a terminal, and for a script."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from slipway.deploy.summary import PreviewProblem, PreviewResult, PreviewSummary
from slipway.render.json_summary import shape, to_json
from slipway.render.terminal import show
from tests.slipway.render.reading import plain

HUGE = pytest.param("huge", marks=pytest.mark.slow)
RECORDED = (
    "first", "unchanged", "env", "small", "refused", "failing", "removed", "removed_refused", "drift", "fifty"
)  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_the_whole_text_without_a_terminal(name: str, summarized: Any) -> None:
    """Made by `make record`, and read by a person before it was committed."""
    assert plain(summarized(name)) == (Path(__file__).parent / f"{name}.txt").read_text()


def test_a_terminal_gets_a_table_of_the_policies(summarized: Any) -> None:
    file = io.StringIO()
    show(summarized("refused"), Console(file=file, width=120, force_terminal=True, color_system=None))
    lines = file.getvalue().splitlines()
    (head,) = (line for line in lines if line.startswith("rule") and "memory-limit" in lines[lines.index(line) + 1])
    assert head.split() == ["rule", "level", "resource", "what", "is", "wrong"]


def test_markup_of_others_is_not_obeyed(summarized: Any) -> None:
    problem = PreviewProblem(
        "[bold]no[/bold] \x1b[31mred\x1b[0m", output=("[link=https://evil.example]x[/link]",), next_step="[b]"
    )
    text = plain(PreviewSummary("shop", "dev", PreviewResult.FAILED, problems=(problem,)))
    assert "[bold]no[/bold] red" in text
    assert "[link=https://evil.example]x[/link]" in text
    assert "next: [b]" in text
    assert "\x1b" not in text


def test_the_last_line_says_how_it_ended(summarized: Any) -> None:
    assert plain(summarized("refused")).splitlines()[-4:] == [
        "Preview of slipway/dev: refused by policy, 1 mandatory violation",
        "  if it went through: 1 service changes",
        "  Pods restart: user-service (1 pod); no pod of the other service.",
        "  3 policies evaluated, 1 passed.  Commit 1234abcd → 5678ef01.",
    ]


@pytest.mark.parametrize("name", [*RECORDED, HUGE])
def test_json_can_be_read_back(name: str, summarized: Any) -> None:
    summary = summarized(name)
    read = json.loads(to_json(summary))
    assert read == shape(summary)
    assert (read["version"], read["project"], read["stack"]) == (1, "slipway", "dev")
    assert read["result"] == summary.result.value
    assert len(read["changes"]) == len(summary.changes)


def test_the_documented_keys_are_the_keys(summarized: Any) -> None:
    guide = (Path(__file__).resolve().parents[3] / "docs/pull-requests.md").read_text()
    example = json.loads(guide[guide.index("```json\n") + 8 :].split("```")[0])
    small = shape(summarized("small"))
    made = shape(summarized("failing")) | {"changes": small["changes"], "services": small["services"]}
    assert example.keys() == made.keys()
    assert example["changes"][0].keys() == made["changes"][0].keys()
    assert example["changes"][0]["fields"][0].keys() == made["changes"][0]["fields"][0].keys()
    assert example["services"][0].keys() == made["services"][0].keys()
    assert example["services"][0]["settings"][0].keys() == made["services"][0]["settings"][0].keys()
    assert example["images"][0].keys() == shape(summarized("small"))["images"][0].keys()
    assert example["problems"][0].keys() == made["problems"][0].keys()
    violations = shape(summarized("refused"))["policies"]["violations"]
    assert example["policies"]["violations"][0].keys() == violations[0].keys()


def test_the_json_of_a_small_change(summarized: Any) -> None:
    read = shape(summarized("small"))
    assert read["counts"] == {"replace": 2, "update": 2}
    assert read["unitTestsPassed"] == ["user-service"]
    assert read["drift"] is None
    secret = next(change for change in read["changes"] if change["type"] == "kubernetes:core/v1:Secret")
    assert {"path": "data", "kind": "update", "old": "(secret)", "new": "(secret)", "replaces": True} in (
        secret["fields"]
    )
    assert "other-orders" not in json.dumps(read)


def test_drift_is_in_the_json_when_it_was_asked(summarized: Any) -> None:
    found = {
        (each["operation"], each["type"].split(":")[-1], each["service"])
        for each in shape(summarized("drift"))["drift"]
    }
    assert found == {
        ("delete", "Service", "order-service"),
        ("update", "Deployment", "order-service"),
        ("update", "Deployment", "user-service"),
        ("update", "NetworkPolicy", "order-service"),
        ("update", "NetworkPolicy", "user-service"),
    }


@pytest.mark.parametrize("name", [*RECORDED, HUGE])
def test_what_changes_fits_a_terminal_of_80_columns(name: str, summarized: Any) -> None:
    """What a failed build printed is as wide as that printed it."""
    file = io.StringIO()
    show(replace(summarized(name), problems=()), Console(file=file, width=80, force_terminal=True, color_system=None))
    assert [line for line in file.getvalue().splitlines() if cell_len(line) > 80] == []
