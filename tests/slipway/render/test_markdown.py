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

from slipway.deploy.summary import PreviewResult, PreviewSummary, Problem, Violation
from slipway.engine.events import Urn
from slipway.engine.messages import DECIDED_AT_UPDATE, WAIVED
from slipway.render.markdown import MARKER, render
from slipway.render.markdown_text import GITHUB_LIMIT_BYTES, Item, Section, fit
from slipway.state.changes import Operation, ResourceChange
from slipway.state.fields import FieldChange
from tests.slipway.render.reading import LINKS

RECORDED = ("first", "unchanged", "small", "refused", "failing", "removed", "drift", "huge")
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


@pytest.mark.parametrize("name", RECORDED)
def test_comments_are_well_formed(name: str, summarized: Any) -> None:
    text = render(summarized(name))
    assert_well_formed(text)
    assert MARKER.match(text)
    assert len(text.encode()) <= GITHUB_LIMIT_BYTES


@pytest.mark.parametrize("limit_bytes", [2_500, 5_000, 10_000, 20_000, 30_000])
def test_a_huge_comment_fits_any_limit_and_stays_well_formed(limit_bytes: int, summarized: Any) -> None:
    text = render(summarized("huge"), limit_bytes=limit_bytes)
    assert len(text.encode()) <= limit_bytes
    assert_well_formed(text)
    assert "> Cut to fit into a comment: " in text
    assert text.rstrip().endswith("</sub>")


def test_what_matters_least_is_cut_first(summarized: Any) -> None:
    """Room for a part: the refusals and what loses data stay, what is merely long goes."""
    text = render(summarized("huge"), limit_bytes=6_000)
    assert "memory-limit" in text
    assert "what is stored in it goes with it" in text
    note = text[text.index("> Cut to fit") :].splitlines()[0]
    assert "1 of 1 long values" in note
    assert "of 280 images" in note
    for kept in ("violations", "replacements", "deletions", "updates", "creations"):
        assert not re.search(rf"\d+ of \d+ {kept}", note)


def test_300_services_that_change_alike_are_a_few_lines(summarized: Any) -> None:
    text = render(summarized("huge"))
    updates = text[text.index("### Update") : text.index("### Images")]
    assert len(updates.splitlines()) < 60
    assert re.search(r"\d{2,3} \*\*`Deployment`\*\*", updates)


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
        problems=(Problem(nasty, resource(nasty), nasty, nasty, tuple(nasty.split("\n")), nasty), Problem(nasty * 9)),
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
    assert "## ⚠️ `dev`: 1 to create\n\n**No policy was asked.**" in render(summary)


def test_what_is_waived_or_undecided_refuses_nothing_and_is_folded() -> None:
    undecided = Violation("image-digest", "mandatory", f"{DECIDED_AT_UPDATE}the image", resource("a"))
    waived = Violation("replicas", "mandatory", f"{WAIVED}until 2030-01-01\nreplicas is 1", resource("b"))
    text = render(summary_of(violations=(undecided, waived)))
    assert "## ✅ `dev`: nothing to do" in text
    assert "<details><summary>Policies: 1 waived, 1 decided at update</summary>\n\n| rule | level |" in text
    assert "| **`replicas`** | waived | `Deployment b` | Waived until 2030-01-01<br>replicas is 1 |" in text
    assert_well_formed(text)


def test_a_loss_of_data_is_marked() -> None:
    claim = resource("orders", "kubernetes:core/v1:PersistentVolumeClaim")
    text = render(summary_of(changes=(ResourceChange(claim, Operation.DELETE),)))
    assert "## ⚠️ `dev`: 1 to delete" in text
    assert "| — | **`PersistentVolumeClaim`** `orders`: ⚠️ what is stored in it goes with it |" in text


def test_links_lead_to_the_log_and_the_difference(summarized: Any) -> None:
    footer = render(summarized("small"), LINKS).splitlines()[-1]
    assert footer == (
        "<sub>`slipway preview -s dev` · 9.8 s · "
        "[1234abcd → 5678ef01](https://ci.example/compare/1234abcd...5678ef01) · [log](https://ci.example/run/1)</sub>"
    )


@pytest.mark.parametrize("result", [PreviewResult.FAILED, PreviewResult.INTERRUPTED])
def test_a_preview_that_knows_nothing_yet(result: PreviewResult) -> None:
    text = render(replace(summary_of(result=result), rules=0))
    assert "No policy was asked: it did not come that far." in text
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
    failed = PreviewSummary("shop", "dev", PreviewResult.FAILED, problems=(Problem(f"boom {'x' * 200_000}"),))
    text = render(failed)
    assert "boom xxx" in text
    assert "The whole message" in text
    assert "Cut to fit" not in text
    assert len(text) < GITHUB_LIMIT_BYTES
