"""`slipway where` over environments that build, that are promoted to, that were rolled back or never updated."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from slipway.cli.promote import age_text
from slipway.promotion.settings_file import SettingsFile
from tests.slipway.environments import Environments, Repository, digest

SETTINGS = "config:\n  slipway:build: false\n"


@dataclass
class Shop:
    """A repository with dev, which builds, and prod, which is promoted to."""

    slipway: Any
    environments: Environments
    repository: Repository

    def add(self, stack: str = "dev", **more: Any) -> int:
        return self.environments.add(stack, **more)

    def where(self, *arguments: str) -> list[str]:
        done = self.slipway("where", *arguments)
        assert done.returncode == 0, done.stderr
        return [" ".join(line.split()) for line in done.stdout.splitlines()]

    def found(self, *arguments: str) -> Any:
        done = self.slipway("where", "--json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shop(slipway: Any) -> Shop:
    slipway.write_toolchain()
    backend = slipway.home / "backend"
    slipway.write_lab(PULUMI_BACKEND_URL=f"file://{backend}")
    (slipway.folder / "Pulumi.prod.yaml").write_text(SETTINGS)
    spec = slipway.folder / "services" / "a" / "service.yaml"
    spec.parent.mkdir(parents=True)
    spec.write_text("name: a\n")
    return Shop(slipway, Environments(backend), Repository(slipway.folder))


def test_what_runs_where_and_what_is_ahead(shop: Shop) -> None:
    first = shop.repository.commit("Begin", "services/a/a.py")
    shop.add(images={"a": "a", "b": "b"}, commit=first)
    promotion = shop.environments.promotion("a", 1, commit=first)
    shop.add("prod", images={"a": promotion})
    shop.add(images={"a": "a"}, commit=first)
    second = shop.repository.commit("Say hello", "services/a/a.py")
    shop.repository.commit("Of another", "services/c/c.py")
    shop.add(images={"a": "c"}, commit=second)
    heading, *rows = shop.where()
    assert heading == "service environment digest commit since update promoted from"
    ages = [row.split()[4:6] for row in rows[:3]]
    assert [row.replace(" ".join(age), "AGE", 1) for row, age in zip(rows, ages, strict=False)] == [
        f"a dev cccccccc {second[:8]} AGE #3 -",
        f"a prod aaaaaaaa {first[:8]} AGE #1 #1 of dev",
        f"b dev bbbbbbbb {first[:8]} AGE #1 -",
    ]
    assert rows[3:] == ["a: dev is ahead of prod by 1 commit", f"{second[:8]} Say hello"]

    found = shop.found("a")
    assert [(each["environment"], each["digest"], each["update"]) for each in found["images"]] == [
        ("dev", digest("c"), 3),
        ("prod", digest("a"), 1),
    ]
    assert found["images"][1]["promotedFrom"] == {
        "environment": "dev",
        "update": 1,
        "commit": first,
        "time": promotion.time,
    }
    (lead,) = found["ahead"]
    assert lead == {
        "service": "a",
        "environment": "dev",
        "behind": "prod",
        "commits": [{"commit": second, "subject": "Say hello", "takenBack": False}],
    }


def test_the_table_fits_80_columns(shop: Shop) -> None:
    service = "order-confirmation-service-of-the-shop"
    commit = shop.repository.commit("Begin", "services/a/a.py")
    shop.add(images={service: "a"}, commit=commit)
    shop.add("prod", images={service: shop.environments.promotion("a", 1, commit=commit)})
    done = shop.slipway("where", COLUMNS="80")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "    promoted from: #1 of dev" in done.stdout
    assert max(map(len, shop.slipway("where").stdout.splitlines())) > 80


def test_the_same_digest_is_ahead_of_nothing(shop: Shop) -> None:
    shop.add(images={"a": "a"})
    shop.add("prod", images={"a": shop.environments.promotion("a", 1)})
    assert shop.found()["ahead"] == []


def test_a_rolled_back_environment_shows_what_runs_and_what_waits(shop: Shop) -> None:
    first = shop.repository.commit("Begin", "services/a/a.py")
    second = shop.repository.commit("Say hello", "services/a/a.py")
    shop.add(images={"a": "a"}, commit=first)
    shop.add("prod", images={"a": shop.environments.promotion("a", 1, commit=first)})
    shop.add(images={"a": "b"}, commit=second)
    promoted = {"a": shop.environments.promotion("b", 2, commit=second)}
    file = shop.slipway.folder / "Pulumi.prod.yaml"
    file.write_text(SettingsFile.read(file).with_images(promoted))
    shop.add("prod", images=promoted)
    shop.environments.back("prod", 1, a=shop.environments.promotion("a", 1, commit=first))
    found = shop.found()
    assert [(each["digest"], each["update"], each["waiting"]) for each in found["images"]] == [
        (digest("b"), 2, None),
        (digest("a"), 3, digest("b")),
    ]
    assert "a: Pulumi.prod.yaml has bbbbbbbb, of update #2 of dev: `slipway up -s prod` deploys it" in shop.where()


def test_a_rollback_of_what_builds_is_of_the_commit_that_built_it(shop: Shop) -> None:
    first = shop.repository.commit("Begin", "services/a/a.py")
    second = shop.repository.commit("Say hello", "services/a/a.py")
    shop.add(images={"a": "a"}, commit=first)
    shop.add(images={"a": "b"}, commit=second, dirty=True)
    assert shop.where()[1].split()[3] == f"{second[:8]}-dirty"
    shop.environments.back("dev", 1, a="a")
    (image,) = shop.found()["images"]
    assert (image["commit"], image["update"]) == (first, 3)


def test_environments_that_both_build(shop: Shop) -> None:
    first = shop.repository.commit("Begin", "services/a/a.py")
    second = shop.repository.commit("Say hello", "services/a/a.py")
    shop.add("prod", images={"a": "a"}, commit=first)
    shop.add(images={"a": "a"}, commit=first)
    shop.add(images={"a": "b"}, commit=second)
    (lead,) = shop.found()["ahead"]
    assert (lead["environment"], lead["behind"], len(lead["commits"])) == ("dev", "prod", 1)


def test_what_git_is_configured_to_show_is_no_commit(shop: Shop) -> None:
    """Signatures, and a subject in another encoding than that of the terminal."""
    first = shop.repository.commit("Begin", "services/a/a.py")
    second = shop.repository.commit("Grüße", "services/a/a.py")
    shop.repository.git("config", "log.showSignature", "true")
    shop.repository.git("config", "i18n.logOutputEncoding", "latin-1")
    shop.add(images={"a": "a"}, commit=second)
    shop.add("prod", images={"a": shop.environments.promotion("b", 1, commit=first)})
    ascii_alone = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = shop.slipway.in_a_process("where", "--json", **ascii_alone)
    assert done.returncode == 0, done.stderr
    (lead,) = json.loads(done.stdout)["ahead"]
    assert [(each["commit"], each["subject"][:2]) for each in lead["commits"]] == [(second, "Gr")]


def test_commits_that_are_not_in_this_clone(shop: Shop) -> None:
    shop.repository.commit("Begin", "services/a/a.py")
    shop.add(images={"a": "a"}, commit="a" * 40)
    shop.add("prod", images={"a": shop.environments.promotion("b", 1)})
    assert shop.found()["ahead"][0]["commits"] is None
    assert "not all commits between them are in this clone: `git fetch`" in shop.where()[-1]


def test_an_environment_that_was_never_updated_or_cannot_be_read_is_said(shop: Shop) -> None:
    shop.add(images={"a": "a"})
    assert shop.where()[-1] == "prod: It was never updated, or has no service."
    shop.add("prod", images={"a": shop.environments.promotion("a", 1)})
    stacks = Path(shop.environments.folder) / ".pulumi" / "stacks" / "slipway"
    (stacks / "prod.json").write_text("{")
    assert shop.where()[-1].startswith("prod: The state of stack prod cannot be read.")


def test_a_service_that_runs_nowhere(shop: Shop) -> None:
    shop.add(images={"user-service": "a"})
    done = shop.slipway("where", "user-servise")
    assert done.returncode == 2
    assert "Did you mean user-service?" in done.stderr


@pytest.mark.parametrize(
    ("seconds", "text"), [(3, "now"), (60, "1 min"), (7_300, "2 h"), (86_400, "1 day"), (200_000, "2 days")]
)
def test_ages(seconds: float, text: str) -> None:
    assert age_text(seconds) == text
