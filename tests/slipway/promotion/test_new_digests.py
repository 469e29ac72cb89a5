"""Digests that do not run yet are looked up by a preview, before an update begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.deploy.program_policies import passed_policies
from slipway.promotion.settings_file import SettingsFile
from slipway.stack import Stack
from tests.slipway.environments import Environments
from tests.slipway.opened import stack_in

SETTINGS = "config:\n  slipway:build: false\n"


@pytest.fixture
def prod(tmp_path: Path) -> Stack:
    (tmp_path / "Pulumi.yaml").write_text("name: slipway\nruntime: python\n")
    (tmp_path / "Pulumi.prod.yaml").write_text(SETTINGS)
    return stack_in(tmp_path, "prod")


def test_what_the_state_has_just_so_is_not_new(prod: Stack) -> None:
    file = prod.project.folder / "Pulumi.prod.yaml"
    assert not prod.has_new_digests(), "there is none"
    environments = Environments(prod.project.folder)
    images = {name: environments.promotion("a", 1) for name in ("a", "b")}
    file.write_text(SettingsFile.read(file).with_images(images))
    assert prod.has_new_digests(), "nothing runs yet"
    file.write_text(file.read_text().replace("build: false", 'build: "false"'))
    assert prod.has_new_digests(), "as Pulumi saves it"
    environments.add("prod", images=images)
    assert not prod.has_new_digests()
    good = file.read_text()
    for old, new in (("sha256:aaaa", "sha256:bbbb"), ("update: 1", "update: 2"), ("T01:", "T02:")):
        file.write_text(good.replace(old, new, 1))
        assert prod.has_new_digests(), new
    file.write_text(good.replace('"false"', "true"))
    assert not prod.has_new_digests(), "the program refuses that by itself"


def test_a_verdict_of_earlier_is_not_enough_for_them(prod: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    file = prod.project.folder / "Pulumi.prod.yaml"
    monkeypatch.setattr("policy.program_check.CHECKOUT", prod.project.folder.resolve())
    file.write_text(SettingsFile.read(file).with_images({"a": Environments(prod.project.folder).promotion("a", 1)}))
    assert passed_policies(prod) is None
    assert not prod.own_file("policies").exists(), "nothing was judged"
