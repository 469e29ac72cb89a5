"""The base image is made from this host's mirrors and settings, and from nothing that belongs to this host alone."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from lab import base_image
from lab.base_image import Recipe, apt_options, apt_sources, python_version, signature
from slipway.errors import SlipwayError

TARGETS = """\
Debian|bookworm|main|http://mirror.example/debian/
Debian|bookworm|contrib|http://mirror.example/debian/
Debian|bookworm-security|main|http://mirror.example/debian-security/
Debian|trixie|main|http://mirror.example/debian/
Docker|bookworm|stable|https://docker.example/linux/debian/
Node|bookworm|main|https://node.example/node_20.x/
Debian|bookworm|main|http://mirror.example/debian/
"""
RECIPE = Recipe("bookworm", ("deb http://mirror.example/debian bookworm main",), (), "CERTIFICATES", "[global]\n")


def test_debians_own_suite_is_taken_and_third_parties_are_not() -> None:
    assert apt_sources(TARGETS, "bookworm") == (
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian-security/ bookworm-security main",
    )


def test_before_the_first_apt_update_the_mirror_is_known_by_its_path() -> None:
    unknown = TARGETS.replace("Debian|", "$(ORIGIN)|").replace("Node|", "$(ORIGIN)|")
    assert apt_sources(unknown, "bookworm") == apt_sources(TARGETS, "bookworm")


@pytest.mark.parametrize("targets", ["", "Ubuntu|noble|main|http://mirror.example/ubuntu/\n"])
def test_other_systems_leave_the_mirror_to_mmdebstrap(targets: str) -> None:
    assert apt_sources(targets, "bookworm") == ()


def test_only_what_says_how_to_reach_a_mirror_is_carried_over() -> None:
    dump = """\
APT::Architecture "amd64";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::https::CaInfo "/etc/ssl/company.crt";
Acquire::Check-Valid-Until "false";
Acquire::cdrom::mount "/media/cdrom/";
Acquire::Retries "3";
Acquire::http::Proxy::direct.example "";
DPkg::Pre-Install-Pkgs:: "/usr/sbin/something";
"""
    assert apt_options(dump) == (
        'Acquire::http::Proxy "http://proxy.example:3128"',
        'Acquire::https::CaInfo "/etc/ssl/company.crt"',
        'Acquire::Check-Valid-Until "false"',
        'Acquire::Retries "3"',
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"suite": "trixie"},
        {"sources": ()},
        {"apt_options": ('Acquire::Retries "3"',)},
        {"authorities": "OTHER CERTIFICATES"},
        {"pip_config": "[global]\ntimeout = 5\n"},
    ],
)
def test_whatever_changes_the_image_changes_its_recipe(changed: dict[str, object]) -> None:
    assert replace(RECIPE, **changed).digest() != RECIPE.digest()  # type: ignore[arg-type]
    assert replace(RECIPE).digest() == RECIPE.digest()


def test_the_quick_look_sees_a_changed_pip_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = tmp_path / "pip.conf"
    settings.write_text("[global]\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(settings))
    before = signature()
    assert signature() == before
    settings.write_text("[global]\ntimeout = 5\n")
    changed = signature()
    assert changed != before
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example/simple")
    assert signature() != changed


def archive_with(path: Path, name: str, target: str) -> Path:
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("./usr/bin/python3-config"), io.BytesIO())
        link = tarfile.TarInfo(name)
        link.type, link.linkname = tarfile.SYMTYPE, target
        tar.addfile(link)
    return path


def test_the_tag_tells_the_python_that_is_really_in_the_image(tmp_path: Path) -> None:
    assert python_version(archive_with(tmp_path / "a.tar", "./usr/bin/python3", "python3.13")) == "3.13"


def test_an_image_without_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlipwayError, match="has no /usr/bin/python3"):
        python_version(archive_with(tmp_path / "a.tar", "./usr/bin/perl", "perl5"))


LISTING = """\
:env:.timeout='180'
global.index-url='https://packages.example/simple'
global.timeout='15'
global.cert='/etc/ssl/certs/ca-certificates.crt'
global.find-links='/opt/wheels'
global.trusted-host='a.example\\nb.example'
install.no-binary=':none:'
"""


def test_pip_settings_are_read_as_pip_resolves_them() -> None:
    parsed = base_image.parse_pip_settings(LISTING)
    assert parsed["timeout"] == "180"
    assert parsed["trusted-host"] == "a.example\nb.example"


def test_an_image_gets_addresses_but_no_folders_of_the_host() -> None:
    assert base_image.image_pip_config(base_image.parse_pip_settings(LISTING), "/bundle.crt").splitlines() == [
        "[global]",
        "cert = /bundle.crt",
        "disable-pip-version-check = true",
        "index-url = https://packages.example/simple",
        "timeout = 180",
        "trusted-host = a.example b.example",
    ]


def test_a_password_never_enters_an_image() -> None:
    settings = {
        "index-url": "https://me:secret@packages.example/simple",
        "extra-index-url": "https://ok.example/simple",
    }
    text = base_image.image_pip_config(settings, "/bundle.crt")
    assert "secret" not in text
    assert "extra-index-url = https://ok.example/simple" in text
