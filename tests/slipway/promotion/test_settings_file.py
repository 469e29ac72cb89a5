"""Digests are written into an environment's settings, and not a letter of anything else changes."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slipway.backend.promotion import Promotion
from slipway.errors import ConfigurationError, SlipwayError
from slipway.promotion.settings_file import SettingsFile, only_promotion

FILE = Path("Pulumi.prod.yaml")


def promotion(letter: str = "a", update: int = 12, source: str = "dev") -> Promotion:
    commit, time = "12345e6789", "2030-01-01T00:00:00Z"
    return Promotion(digest=f"sha256:{letter * 64}", source=source, update=update, commit=commit, time=time)


def added(text: str, *, at: int, old: str) -> str:
    """`text` without the lines of `old`, which are all there, in their order."""
    lines = old.splitlines()
    assert text.splitlines()[:at] == lines[:at]
    assert text.splitlines()[len(text.splitlines()) - len(lines) + at :] == lines[at:]
    return "\n".join(text.splitlines()[at : len(text.splitlines()) - len(lines) + at])


def test_the_first_digest_stands_behind_the_line_that_says_not_to_build() -> None:
    old = (
        "config:\n  # in dev\n  slipway:build: false # since\n"
        "  slipway:services:\n    user-service:\n      replicas: 2\n"
        "  # The databases' addresses are secrets: set them with\n  #   pulumi config set --secret\n"
    )
    new = SettingsFile.of_text(FILE, old).with_images({"user-service": promotion()})
    assert added(new, at=3, old=old) == (
        "  slipway:images:\n"
        "    user-service:\n"
        f"      digest: sha256:{'a' * 64}\n"
        "      from: dev\n"
        "      update: 12\n"
        "      commit: '12345e6789'\n"
        "      time: '2030-01-01T00:00:00Z'"
    )


@pytest.mark.parametrize(("value", "builds"), [("false", False), ('"false"', False), ("true", True), ('"true"', True)])
def test_whether_an_environment_builds_also_where_pulumi_has_saved_the_file(value: str, *, builds: bool) -> None:
    assert SettingsFile.of_text(FILE, f"config:\n  slipway:build: {value}\n").builds is builds
    assert SettingsFile.of_text(FILE, "config:\n  a:b: c\n").builds


COMMENTED = f"""\
config:
    slipway:build: false

    # Verified in dev.
    slipway:images:
        b-service:   # the second
            update: 3  # see the issue
            digest: "sha256:{"b" * 64}"
            from: dev

            time: '2030-01-01T00:00:00Z'
            commit: '0123456789'   # reviewed
        # nothing here yet
    # Of another.
    a:b: |
        text

    # The end.
encryptionsalt: v1:x
"""


def test_an_entry_keeps_its_comments_and_the_order_of_its_lines() -> None:
    new = SettingsFile.of_text(FILE, COMMENTED).with_images({"b-service": promotion("c", 123)})
    assert new == COMMENTED.replace("update: 3 ", "update: 123 ").replace(
        f'"sha256:{"b" * 64}"', f"sha256:{'c' * 64}"
    ).replace("'0123456789'", "'12345e6789'")


def test_another_service_stands_in_the_order_of_names() -> None:
    new = SettingsFile.of_text(FILE, COMMENTED).with_images({"c-service": promotion()})
    assert added(new, at=12, old=COMMENTED).splitlines()[0] == "        c-service:"
    assert list(SettingsFile.of_text(FILE, new).images) == ["b-service", "c-service"]


@pytest.mark.parametrize("value", ["", " {}", " null", " ~  # none", " {} # none"])
def test_an_empty_list_of_images(value: str) -> None:
    new = SettingsFile.of_text(FILE, f"config:\n  slipway:images:{value}\n  slipway:build: false").with_images(
        {"a": promotion(), "b": promotion("b")}
    )
    assert list(yaml.safe_load(new)["config"]["slipway:images"]) == ["a", "b"]
    assert new.endswith("\n  slipway:build: false")
    assert ("# none" in new) == ("# none" in value)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_stay(end: str) -> None:
    old = "config:\n  slipway:build: false\n".replace("\n", end)
    new = SettingsFile.of_text(FILE, old).with_images({"a": promotion()})
    assert new.count(end) == new.count("\n") == 9


names = st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True)
images = st.dictionaries(
    names,
    st.builds(promotion, st.sampled_from("abc"), st.integers(1, 99), st.sampled_from(["dev", "1", "true", "x.y"])),
)


@settings(max_examples=15, deadline=None)
@given(images, images)
@example({}, {name: promotion() for name in ("on", "off", "no", "1", "null", "true")})
def test_what_was_written_is_read(first: dict[str, Promotion], second: dict[str, Promotion]) -> None:
    """Names such as `on`, `1` and `true` too."""
    old = "config:\n  slipway:build: false\n  a:b: c # d\n"
    one = SettingsFile.of_text(FILE, SettingsFile.of_text(FILE, old).with_images(first))
    two = SettingsFile.of_text(FILE, one.with_images(second))
    assert (one.images, two.images) == (first, first | second)
    assert "  a:b: c # d\n" in two.text


PLAIN = "config:\n  slipway:build: false\n"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PLAIN + "  a:b: &x c\n", "line 3 has an anchor"),
        (PLAIN + "  a:b: &x c\n  d:e: *x\n", "line 3 has an anchor"),
        (PLAIN + "  a:b: c\t# d\n", "line 3 has a tab"),
        (PLAIN + "\ta:b: c\n", "line 3 has a tab"),
        (PLAIN + "  a:b: !!str 1\n", "line 3 has a tag"),
        ("---\n" + PLAIN, "line 1 has a document start marker"),
        ("\ufeff" + PLAIN, "byte order mark"),
        ("config: [\n", "while parsing"),
        (PLAIN + "  slipway:images: [a]\n", "allowed: a mapping"),
    ],
)
def test_a_file_whose_lines_mean_more_than_they_say_is_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why) as caught:
        SettingsFile.of_text(FILE, text)
    assert caught.value.what.startswith("Pulumi.prod.yaml cannot be edited: ")
    assert "The file is unchanged" in caught.value.why


@pytest.mark.parametrize(
    "text",
    [
        "config: {slipway:build: false}\n",
        "config: {}\n",
        "",
        PLAIN + f"  slipway:images: {{a: {{digest: 'sha256:{'a' * 64}', from: dev, update: 1, commit: 0123456a, "
        "time: '2030-01-01T00:00:00Z'}}\n",
    ],
)
def test_braces_that_no_line_fits_into_are_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot be edited"):
        SettingsFile.of_text(FILE, text).with_images({"b": promotion()})


def test_an_entry_in_braces_is_changed_in_its_place() -> None:
    inside = f"digest: sha256:{'b' * 64}, from: dev, update: 1, commit: 0123456a, time: '2030-01-01T00:00:00Z'"
    old = PLAIN + f"  slipway:images:\n    a: {{{inside}}} # flat\n"
    new = SettingsFile.of_text(FILE, old).with_images({"a": promotion()})
    assert SettingsFile.of_text(FILE, new).images == {"a": promotion()}
    assert new.endswith("} # flat\n")


def test_what_nobody_promoted_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"`slipway:images\.b-service\.digest` is 'latest'") as caught:
        SettingsFile.of_text(FILE, COMMENTED.replace(f'"sha256:{"b" * 64}"', "latest"))
    assert "edited by hand" in caught.value.why


def test_a_file_is_replaced_at_once_with_the_rights_it_had(tmp_path: Path) -> None:
    file, link = tmp_path / "real.yaml", tmp_path / FILE
    file.write_text(PLAIN)
    file.chmod(0o640)
    link.symlink_to(file)
    read = SettingsFile.read(link)
    read.write("new")
    assert (file.read_text(), file.stat().st_mode & 0o777, link.is_symlink()) == ("new", 0o640, True)
    with pytest.raises(SlipwayError, match="was changed during"):
        read.write("newer")
    assert file.read_text() == "new"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["Pulumi.prod.yaml", "real.yaml"]


def test_one_promotion_at_a_time(tmp_path: Path) -> None:
    with only_promotion(tmp_path), pytest.raises(SlipwayError, match="Another promotion"), only_promotion(tmp_path):
        pytest.fail("two promotions")
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(SlipwayError, match="Another promotion"), only_promotion(tmp_path):
        pytest.fail("two promotions")
    os.close(held)
    with only_promotion(tmp_path):
        assert list(tmp_path.iterdir()) == [], "the lock leaves no file"
