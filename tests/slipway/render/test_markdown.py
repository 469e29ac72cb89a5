"""The comment on a pull request: whole texts of real previews, safe and well formed at any size."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from slipway.deploy.summary import PreviewProblem, PreviewResult, PreviewSummary, Violation
from slipway.engine.events import Urn
from slipway.engine.messages import DECIDED_AT_UPDATE, WAIVED
from slipway.render.markdown import MARKER, render
from slipway.render.markdown_text import GITHUB_LIMIT_BYTES, Item, Section, fit
from slipway.state.difference import FieldChange, Operation, ResourceChange
from tests.recording.previews import examples
from tests.slipway.render.reading import LINKS

HUGE = pytest.param("huge", marks=pytest.mark.slow)
RECORDED = (
    "first", "unchanged", "env", "small", "refused", "failing", "removed", "removed_refused", "drift", "fifty", HUGE
)  # fmt: skip
HASHED_NAME = re.compile(r"-[0-9a-f]{8}\b")
PARSER = MarkdownIt("commonmark").enable("table")
TAGS = re.compile(r"</?(?:details|summary|sub|code|br)( open)?>|<!-- slipway:preview:\S+ -->")
NASTY = "</details> <script>alert(1)</script> | `x` @everyone #1 [a](https://evil.example)\n\n# Title\n```\n"
NASTY_IN_A_LINE = "</summary></details><img src=x> @everyone #1 https://evil.example"


def html_of(markdown: str) -> str:
    """All raw HTML that the reader's browser would get from the document."""
    tokens = PARSER.parse(markdown)
    inline = [child for token in tokens for child in token.children or []]
    return "".join(token.content for token in [*tokens, *inline] if token.type in ("html_block", "html_inline"))


def assert_well_formed(markdown: str) -> None:
    html = html_of(markdown)
    assert "<" not in TAGS.sub("", html)
    assert html.count("<details") == html.count("</details>")
    assert html.count("<summary>") == html.count("</summary>")
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


def notifying(markdown: str) -> str:
    """What GitHub looks at for mentions and references: the text outside code."""
    html = re.sub(r"<pre>.*?</pre>|<code>.*?</code>", "", PARSER.render(markdown), flags=re.DOTALL)
    return unescape(html)


@pytest.mark.parametrize("name", RECORDED)
def test_the_whole_comment(name: str, summarized: Any) -> None:
    """Made by `make record`, and read by a person before it was committed."""
    assert render(summarized(name), LINKS) == (Path(__file__).parent / f"{name}.md").read_text()


def test_the_examples_in_the_documentation_are_what_is_written() -> None:
    """Made by `make record KINDS=texts`."""
    assert examples() == (Path(__file__).parents[3] / "docs/preview-examples.md").read_text()


@pytest.mark.parametrize("name", RECORDED)
def test_comments_are_well_formed(name: str, summarized: Any) -> None:
    text = render(summarized(name))
    assert_well_formed(text)
    assert MARKER.match(text)
    assert len(text.encode()) <= GITHUB_LIMIT_BYTES


@pytest.mark.slow
@pytest.mark.parametrize("limit_bytes", [2_500, 5_000, 10_000, 20_000, 30_000])
def test_a_huge_comment_fits_any_limit_and_stays_well_formed(limit_bytes: int, summarized: Any) -> None:
    text = render(summarized("huge"), limit_bytes=limit_bytes)
    assert len(text.encode()) <= limit_bytes
    assert_well_formed(text)
    assert "> Cut to fit into a comment: " in text
    assert text.rstrip().endswith("</sub>")


@pytest.mark.slow
def test_what_matters_least_is_cut_first(summarized: Any) -> None:
    """Room for a part: the refusals and what loses data stay, what is merely long goes."""
    text = render(summarized("huge"), limit_bytes=6_000)
    assert "memory-limit" in text
    assert "what is stored in it goes with it" in text
    note = text[text.index("> Cut to fit") :].splitlines()[0]
    assert "1 of 1 long values" in note
    assert re.search(r"\d+ of \d+ single values", note)
    for kept in ("violations", "losses", "services"):
        assert not re.search(rf"\d+ of \d+ {kept}", note)


@pytest.mark.slow
def test_300_services_that_change_alike_are_a_few_lines(summarized: Any) -> None:
    text = render(summarized("huge"))
    table = text[text.index("| service | what changes |") : text.index("<details>")]
    assert len(table.splitlines()) < 20
    assert re.search(r"\*\*187 services\*\*", table)
    assert "`resources.memory` | `128Mi` | `512Mi` in 19, `256Mi` in 168 |" in table


@pytest.mark.parametrize("name", RECORDED)
def test_no_comment_has_hashed_names_json_or_what_every_preview_has(name: str, summarized: Any) -> None:
    text = render(summarized(name))
    shown = "\n".join(line for line in text.splitlines() if "Image" not in line)  # a tag is a hash of the sources
    assert not HASHED_NAME.search(shown)
    assert not re.search(r'\{"|\["[^"]+", ', text)
    assert "undecided" not in text


@pytest.mark.parametrize("name", [each for each in RECORDED if each not in ("failing", "unchanged")])
def test_a_service_stands_in_one_place_and_all_else_is_folded(name: str, summarized: Any) -> None:
    """But for what is refused or lost, and what was changed by hand: those come first, or have a table of their own."""
    text = re.sub(r"<details>.*?</details>", "", render(summarized(name)), flags=re.DOTALL)
    tables = re.findall(r"### [^\n]*\n|\| service \| what changes.*?\n\n", text, re.DOTALL)
    assert [each for each in tables if each.startswith("###")] == [
        title for title in ("### Refused by policy\n", "### ⚠️ Not reversible\n", "### Drift\n") if title in text
    ]
    (table,) = (each for each in tables if each.startswith("|")) if summarized(name).changes else ("",)
    named = re.findall(r"^\| \*\*(`[^`]+`)\*\*", table, re.MULTILINE)
    assert len(named) == len(set(named))


def test_one_changed_value_is_one_row(summarized: Any) -> None:
    text = render(summarized("env"))
    assert (
        "## ✅ `dev`: 1 service changes\n\nPods restart: order-service (1 pod); no pod of the other service.\n" in text
    )
    assert "| **`order-service`**<br>its pod restarts | `env.LOG_LEVEL` | `info` | `debug` |\n\n" in text


def test_two_of_fifty_services(summarized: Any) -> None:
    """An image by where it is built from, the memory, and that no other pods restart."""
    text = render(summarized("fifty"))
    assert "Pods restart: order-service (2 pods), user-service (2 pods); no pod of the other 48 services." in text
    for service in ("order", "user"):
        built = f"built from services/{service}_service and services/kit at 5678ef01"
        (row,) = (line for line in text.splitlines() if f"**`{service}-service`**<br>its 2 pods restart" in line)
        assert row.endswith(f"| `{built}` |")
        assert "|  | `resources.memory` | `128Mi` | `256Mi` |" in text[text.index(row) :].splitlines()[1]


def test_a_removed_service_beside_a_refusal(summarized: Any) -> None:
    text = render(summarized("removed_refused"))
    order = ["### Refused by policy", "| **`order-service`**<br>removed, its pod ends |", "| **`user-service`**<br>"]
    assert sorted(order, key=text.index) == order
    assert "| called by | `order-service` | — |" in text


@pytest.mark.slow
@pytest.mark.parametrize("limit_bytes", [6_000, GITHUB_LIMIT_BYTES])
def test_300_services_that_all_change_in_their_own_way(limit_bytes: int) -> None:
    """None like another: not all fit, and what is refused, lost and restarted comes before what is merely long."""
    names = [f"service-{number:03}" for number in range(300)]
    changes = []
    for number, name in enumerate(names):
        values = [FieldChange(f"data.V_{number}_{each}", "update", "a" * 150, "b" * 150) for each in range(5)]
        config_map = resource(f"{name}-0badf00d", "kubernetes:core/v1:ConfigMap")
        changes.append(ResourceChange(config_map, Operation.REPLACE, name, tuple(values)))
    claim = resource("orders", "kubernetes:core/v1:PersistentVolumeClaim")
    changes.append(ResourceChange(claim, Operation.DELETE, names[7]))
    refusal = Violation("memory-limit", "mandatory", "too much", resource(names[0]))
    summary = summary_of(
        result=PreviewResult.REFUSED, changes=tuple(changes), services=tuple(names), violations=(refusal,)
    )
    text = render(summary, limit_bytes=limit_bytes)
    assert len(text.encode()) <= limit_bytes
    assert_well_formed(text)
    assert "memory-limit" in text
    assert "`PersistentVolumeClaim orders` is deleted" in text
    assert "Cut to fit into a comment: " in text
    if limit_bytes == GITHUB_LIMIT_BYTES:
        assert all(f"**`{name}`**" in text for name in names)


def test_drift_is_a_table_of_its_own(summarized: Any) -> None:
    text = render(summarized("drift"))
    table = text[text.index("### Drift") :]
    assert "| **`order-service`** `Service` | *gone from the cluster* |  |  |" in table
    assert "| **`user-service`** `Deployment`<br>by `kubectl` | `replicas` | `1` | `3` |" in table
    assert "`env.LOG_LEVEL` | — | `debug` |" in table
    assert "`slipway up -s dev --refresh`" in table


def summary_of(**parts: Any) -> PreviewSummary:
    return PreviewSummary("shop", "dev", parts.pop("result", PreviewResult.SUCCEEDED), rules=1, **parts)


def resource(name: str, type_: str = "kubernetes:apps/v1:Deployment") -> Urn:
    return Urn(f"urn:pulumi:dev::shop::{type_}::{name}")


@pytest.mark.parametrize("nasty", [NASTY, NASTY_IN_A_LINE])
def test_text_of_others_is_only_text(nasty: str) -> None:
    field = FieldChange(f"data[{nasty}]", "update", nasty, f"{nasty}\n{nasty}")
    changes = tuple(
        ResourceChange(resource(f"{nasty}{number}", f"a:b:{nasty}"), operation, service=nasty, fields=(field,))
        for number, operation in enumerate(Operation)
    )
    summary = summary_of(
        result=PreviewResult.FAILED,
        changes=changes,
        violations=(Violation(nasty, "mandatory", nasty, resource(nasty)), Violation(nasty, "advisory", nasty, None)),
        problems=(
            PreviewProblem(nasty, resource(nasty), nasty, nasty, tuple(nasty.split("\n")), nasty),
            PreviewProblem(nasty * 9),
        ),
        warnings=(nasty,),
        drift=changes[:2],
        tested=(nasty,),
    )
    text = render(summary)
    assert_well_formed(text)
    assert "<script>" not in html_of(text)
    assert "<img" not in html_of(text)
    links = [child for token in PARSER.parse(text) for child in token.children or [] if child.type == "link_open"]
    assert links == []
    assert "@everyone" not in notifying(text)
    assert "#1" not in notifying(text)


def test_a_marker_in_somebodys_text_is_no_second_marker() -> None:
    marker = "<!-- slipway:preview:shop:prod -->"
    text = render(summary_of(warnings=(marker,), violations=(Violation("r", "advisory", marker, None),)))
    assert MARKER.findall(text) == [("shop", "dev")]


def test_that_nobody_checked_is_said() -> None:
    summary = replace(summary_of(changes=(ResourceChange(resource("a"), Operation.CREATE),)), rules=0)
    assert "## ⚠️ `dev`: 1 other object changes\n\nNo pod restarts.\n\n**No policy was evaluated.**" in render(summary)


def test_what_is_waived_or_undecided_refuses_nothing_and_is_folded() -> None:
    undecided = Violation("image-digest", "mandatory", f"{DECIDED_AT_UPDATE}the image", resource("a"))
    waived = Violation("replicas", "mandatory", f"{WAIVED}until 2030-01-01\nreplicas is 1", resource("b"))
    text = render(summary_of(violations=(undecided, waived)))
    assert "## ✅ `dev`: nothing to do" in text
    assert "<details><summary>1 policy evaluated, 0 passed; 1 waived</summary>\n\n| rule | level |" in text
    assert "Decided at the update: `image-digest`." in text
    assert "| **`replicas`** | waived | `Deployment b` | Waived until 2030-01-01<br>replicas is 1 |" in text
    assert_well_formed(text)


def test_a_loss_of_data_is_marked() -> None:
    claim = resource("orders", "kubernetes:core/v1:PersistentVolumeClaim")
    text = render(summary_of(changes=(ResourceChange(claim, Operation.DELETE),)))
    assert "## ⚠️ `dev`: 1 other object changes" in text
    assert "### ⚠️ Not reversible\n\n- `PersistentVolumeClaim orders` is deleted, and what is stored in it goes" in text


def test_links_lead_to_the_log_and_the_difference(summarized: Any) -> None:
    footer = render(summarized("small"), LINKS).splitlines()[-1]
    assert footer == (
        "<sub>`slipway preview -s dev` · 9.8 s · "
        "[1234abcd → 5678ef01](https://ci.example/compare/1234abcd...5678ef01) · [log](https://ci.example/run/1)</sub>"
    )


@pytest.mark.parametrize("result", [PreviewResult.FAILED, PreviewResult.INTERRUPTED])
def test_a_preview_that_knows_nothing_yet(result: PreviewResult) -> None:
    text = render(replace(summary_of(result=result), rules=0))
    assert "No policy was evaluated: it ended before that." in text
    assert "As far as it came: nothing to do." in text


ENTRIES = st.lists(st.builds(Item, st.text(max_size=80), st.text(max_size=20)), max_size=12)


@given(st.lists(ENTRIES, max_size=4), st.integers(700, 4000))
def test_any_document_fits(entries: list[list[Item]], limit_bytes: int) -> None:
    sections = [Section(f"part {index}", index, "head\n", found, "tail\n") for index, found in enumerate(entries)]
    text = fit("before\n", sections, "after\n", limit_bytes)
    assert len(text.encode()) <= limit_bytes
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_what_fits_is_left_alone() -> None:
    sections = [Section("parts", 1, "head\n", [Item("full one\n", "one\n"), Item("full two\n", "two\n")], "tail\n")]
    assert fit("", sections, "after\n", 10_000) == "head\nfull one\nfull two\ntail\n\nafter\n"


def test_it_is_said_what_was_cut() -> None:
    entries = [Item(f"{number:100}\n", f"{number}\n") for number in range(10)] + [Item("x" * 500)]
    text = fit("", [Section("parts", 1, "", entries)], "", 850)
    assert "Cut to fit into a comment: 1 of 11 parts; the details of 6 parts." in text


def test_a_failure_that_is_one_endless_line_is_told() -> None:
    """Some providers answer with a page of JSON on one line."""
    failed = PreviewSummary("shop", "dev", PreviewResult.FAILED, problems=(PreviewProblem(f"boom {'x' * 200_000}"),))
    text = render(failed)
    assert "boom xxx" in text
    assert "The whole message" in text
    assert "Cut to fit" not in text
    assert len(text) < GITHUB_LIMIT_BYTES
