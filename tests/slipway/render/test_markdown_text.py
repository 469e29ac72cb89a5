"""Text of others stays text: read back by a Markdown parser, it is what it was, and there is nothing else."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from slipway.render.markdown_text import BETWEEN, clean, code, fence, folded, prose, row, table_head

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
OURS = {"<code>", "</code>", "<br>"}
HOSTILE = [
    "a|b",
    "a\\|b",
    "`` ` ``|",
    "<script>alert(1)</script>",
    "</details>",
    "<!-- slipway:preview:slipway:prod -->",
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "**bold** _it_ ~~no~~",
    "&lt;b&gt; &#60;",
    "@everyone #12 GH-3 org/repo#4",
    "line one\nline two | x\n\n# heading",
    "\x1b[31mred\x1b[0m",
    "\u202egnirts",
    "trailing\\",
    "$$x$$ :tada:",
]


def inline_tokens(markdown: str) -> list[Token]:
    return [child for token in PARSER.parse(markdown) for child in token.children or []]


def shown(tokens: list[Token]) -> str:
    """What a reader sees of them."""
    text = ""
    for token in tokens:
        if token.type == "html_inline":
            assert token.content in OURS, token.content
            text += "\n" if token.content == "<br>" else ""
        else:
            assert token.type in ("text", "code_inline", "text_special"), token.type
            text += token.content
    return text.replace("\u200b", "")


def seen_cells(markdown: str) -> list[str]:
    """The texts of the last row of a table, which must have as many cells as its head."""
    tokens = PARSER.parse(markdown)
    assert [token.type for token in tokens if token.type.startswith("table")] == ["table_open", "table_close"]
    rows = [index for index, token in enumerate(tokens) if token.type == "tr_open"]
    assert len(rows) == 2
    cells = [tokens[index + 1] for index, token in enumerate(tokens) if token.type == "td_open"]
    return [shown(cell.children or []) for cell in cells]


def without_backticks(text: str) -> list[str]:
    """Prose makes code of what stands between them."""
    return text.replace("`", "").split()


TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from("|`\\<>&*_[]()!#@~-+.:/$^{}\n\t \x1b\u202e1aGH"), st.characters(codec="utf-8")),
    max_size=40,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_prose_in_a_table(text: str) -> None:
    first, second = seen_cells(table_head("a", "b") + row(prose(text), "x"))
    assert second == "x"
    assert without_backticks(first) == without_backticks(clean(text))


@given(TEXTS)
@example("0\\")
@example("a &#1;")
def test_any_prose_in_a_table(text: str) -> None:
    first, second = seen_cells(table_head("a", "b") + row(prose(text), "x"))
    assert second == "x"
    assert without_backticks(first) == without_backticks(clean(text))


@given(TEXTS)
@example("a\\|b")
@example("`")
def test_any_code_in_a_table(text: str) -> None:
    wanted = clean(text).replace("\n", "⏎")
    if not wanted.strip():
        assert code(text) == "*(empty)*"
        return
    first, second = seen_cells(table_head("a", "b") + row(code(text), "x"))
    assert second == "x"
    assert first.split() == wanted.split()


@given(TEXTS)
@example("```\n````")
@example("~~~")
def test_any_text_in_a_block(text: str) -> None:
    tokens = PARSER.parse(f"before\n\n{fence(text)}\nafter\n")
    assert [token.type for token in tokens if not token.type.startswith("paragraph") and token.type != "inline"] == [
        "fence"
    ]
    (block,) = (token for token in tokens if token.type == "fence")
    assert block.content.strip("\n") == clean(text).strip("\n") or not text.strip()


@pytest.mark.parametrize("text", ["@team", "a@b.example", "#12", "GH-12", "https://evil.example", "www.evil.example"])
def test_nobody_is_notified_and_nothing_is_linked(text: str) -> None:
    """Prose is broken up where GitHub would make a link of it; in code it makes none."""
    assert BETWEEN in prose(text)
    assert code(text) == f"`{text}`"
    assert BETWEEN in code(f"{text}|")


def test_prose_may_have_code() -> None:
    assert prose("set `replicas` to `<2>|`; a `lone one") == (
        "set `replicas` to <code>&#60;2&#62;&#124;</code>; a &#96;lone one"
    )


def test_a_character_reference_is_not_broken_up() -> None:
    assert prose("<#1>") == f"&#60;#{BETWEEN}1&#62;"


def test_unseen_characters_are_made_visible() -> None:
    assert clean("a\x00b\u202ec\u200bd") == "a\\u0000b\\u202ec\\u200bd"


def test_long_values_are_cut() -> None:
    assert code("x" * 200, 10) == f"`{'x' * 10}…`"


def test_a_fold_is_closed_and_its_body_is_markdown() -> None:
    text = folded("more", "**body**")
    assert text == "<details><summary>more</summary>\n\n**body**\n\n</details>\n"
    assert "<strong>body</strong>" in PARSER.render(text)


def test_the_title_of_a_fold_is_no_html() -> None:
    assert "<summary>&#60;img&#62; @&#8203;team</summary>" in folded("<img> @team", "")
