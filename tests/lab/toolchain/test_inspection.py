"""The survey tells of every part what a person needs to know, and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.toolchain import inspection, survey
from lab.toolchain.debian import DebianTool
from lab.toolchain.inspection import PartStatus
from lab.toolchain.installation import Installation
from lab.toolchain.layout import bin_folder, plugin_folder, show_to_engine
from lab.toolchain.parts import LANGUAGE_HOST, PULUMI, Part
from slipway.progress import Progress

MakePart = Callable[..., Part]
Put = Callable[[str, str], Path]
PutPlugin = Callable[[Path, str], Path]


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Part], PartStatus]]:
    """Surveys one part; the rest of the table is left out."""
    monkeypatch.setattr(inspection, "PROVIDERS", ())
    monkeypatch.setattr(inspection, "DEBIAN_TOOLS", ())

    def one(part: Part) -> PartStatus:
        monkeypatch.setattr(inspection, "PROGRAMS", (part,))
        return survey()[0]

    yield one


def ensure(part: Part) -> None:
    run = Installation(Progress())
    try:
        run.ensure(part)
    finally:
        run.close()


def test_an_installed_part(
    make_part: MakePart, fake_go: Callable[..., Path], look: Callable[[Part], PartStatus]
) -> None:
    fake_go()
    part = make_part()
    ensure(part)
    assert look(part) == PartStatus("Tool", "1.2.3", "1.2.3", str(bin_folder(part) / "tool"), "build", ok=True)


def test_a_missing_part(make_part: MakePart, look: Callable[[Part], PartStatus], home: Path) -> None:
    expected = PartStatus("Tool", "1.2.3", "", "", "", ok=False, to_do="`make up` installs it")
    assert look(make_part()) == expected
    assert not (home / "cache").exists(), "looking changes nothing"


def test_a_part_that_is_on_path_and_not_yet_installed(
    make_part: MakePart, on_path: Put, look: Callable[[Part], PartStatus]
) -> None:
    tool = on_path("tool", "echo tool v1.2.3")
    expected = PartStatus("Tool", "1.2.3", "1.2.3", str(tool), "PATH", ok=True, to_do="`make up` will use it")
    assert look(make_part()) == expected


@pytest.mark.parametrize(
    ("version", "changes", "why"),
    [
        ("1.2.4", {}, "another version (1.2.4)"),
        ("1.2.3", {"executables": ("tool", "toolctl")}, "toolctl is not on PATH"),
        ("1.2.3", {"companion": LANGUAGE_HOST}, "pulumi-language-python is not beside it"),
    ],
)
def test_a_part_on_path_that_is_of_no_use(
    version: str, changes: dict[str, Any], why: str, request: pytest.FixtureRequest
) -> None:
    tool = request.getfixturevalue("on_path")("tool", f"echo tool v{version}")
    part = request.getfixturevalue("make_part")(**changes)
    to_do = f"{why}; `make up` installs it"
    expected = PartStatus("Tool", "1.2.3", version, str(tool), "PATH", ok=False, to_do=to_do)
    assert request.getfixturevalue("look")(part) == expected


@pytest.mark.parametrize(
    ("body", "changes", "version", "to_do"),
    [
        ("echo tool v1.0.9", {}, "1.0.9", "`make up` will use it"),
        ("echo tool", {}, "tool", "it does not report its version; `make up` installs it"),
        (
            "echo tool v1.0.9",
            {"executables": ("tool", "toolctl")},
            "1.0.9",
            "toolctl is not on PATH; `make up` installs it",
        ),
    ],
)
def test_a_part_on_path_of_which_any_version_will_do(
    body: str, changes: dict[str, Any], version: str, to_do: str, request: pytest.FixtureRequest
) -> None:
    tool = request.getfixturevalue("on_path")("tool", body)
    part = request.getfixturevalue("make_part")(any_version=True, **changes)
    expected = PartStatus("Tool", "any", version, str(tool), "PATH", ok="will use" in to_do, to_do=to_do)
    assert request.getfixturevalue("look")(part) == expected


def test_an_installed_part_of_which_any_version_will_do(
    make_part: MakePart, on_path: Put, fake_go: Callable[..., Path], look: Callable[[Part], PartStatus]
) -> None:
    tool = on_path("tool", "echo tool v1.0.9")
    part = make_part(any_version=True)
    ensure(part)
    assert look(part) == PartStatus("Tool", "any", "1.0.9", str(tool), "PATH", ok=True)
    tool.unlink()
    assert not look(part).ok
    fake_go()
    ensure(part)
    assert look(part) == PartStatus("Tool", "any", "1.2.3", str(bin_folder(part) / "tool"), "build", ok=True)


def test_a_part_whose_bytes_changed_is_seen_even_when_size_and_time_did_not(
    make_part: MakePart, fake_go: Callable[..., Path], look: Callable[[Part], PartStatus]
) -> None:
    fake_go()
    part = make_part()
    ensure(part)
    tool = bin_folder(part) / "tool"
    before = tool.stat()
    tool.write_bytes(tool.read_bytes().replace(b"1.2.3", b"6.6.6"))
    os.utime(tool, ns=(before.st_atime_ns, before.st_mtime_ns))
    status = look(part)
    assert not status.ok
    assert status.to_do == "tool changed since it was installed; `make up` installs it again"


def test_a_plugin_that_does_not_start(make_part: MakePart, look: Callable[[Part], PartStatus]) -> None:
    part = make_part(
        executables=("pulumi-resource-tool",), question=None, build=None, fallback_module="lab.plugins.no_such_plugin"
    )
    ensure(part)
    show_to_engine(part)
    status = look(part)
    assert (status.ok, status.source, status.version) == (False, "fallback", "")
    assert status.to_do == "does not start: run it with the argument 127.0.0.1:1 to see why"


def test_half_a_plugin_on_path(make_part: MakePart, look: Callable[[Part], PartStatus], half_a_plugin: Path) -> None:
    to_do = "it does not start as a plugin; `make up` installs it"
    expected = PartStatus("Tool", "1.2.3", "", str(half_a_plugin), "PATH", ok=False, to_do=to_do)
    assert look(make_part(executables=("pulumi-resource-tool",), question=None)) == expected


def test_a_plugin_that_the_engine_cannot_see(
    make_part: MakePart, look: Callable[[Part], PartStatus], home: Path, put_plugin: PutPlugin
) -> None:
    put_plugin(home / "path" / "pulumi-resource-tool", "1.2.3")
    part = make_part(executables=("pulumi-resource-tool",), question=None, build=None, fallback_module="lab.plugins.x")
    ensure(part)
    assert look(part).to_do == "`make up` links it into PULUMI_HOME"
    show_to_engine(part)
    assert look(part).ok


def test_go_is_needed_only_while_something_is_to_be_built(
    make_part: MakePart, fake_go: Callable[..., Path], look: Callable[[Part], PartStatus], monkeypatch: Any
) -> None:
    part = make_part()
    look(part)
    go = {status.name: status for status in survey()}["Go"]
    assert (go.ok, go.version) == (False, "")
    assert go.to_do.startswith("`make up` installs Go 1.")
    compiler = fake_go()
    ensure(part)
    assert {status.name: status for status in survey()}["Go"].version == "99.1.0"
    compiler.unlink()
    assert {status.name: status for status in survey()}["Go"].ok


def test_debian_tools(on_path: Put, monkeypatch: pytest.MonkeyPatch, look: Any, make_part: MakePart) -> None:
    frobd = on_path("frobd", "echo frobd version 7.8-2+deb12u1")
    tools = (DebianTool("frob-server", ("frobd",)), DebianTool("absent", ("absentd",)))
    look(make_part())
    monkeypatch.setattr(inspection, "DEBIAN_TOOLS", tools)
    assert survey()[-2:] == [
        PartStatus("frob-server", "any", "7.8-2+deb12u1", str(frobd), "", ok=True, for_lab=True),
        PartStatus(
            "absent", "any", "", "", "", ok=False, to_do="`make up` installs it (apt-get install absent)", for_lab=True
        ),
    ]


def test_the_language_host_lies_beside_the_engine(home: Path, look: Any, make_part: MakePart, put_plugin: Any) -> None:
    def host() -> PartStatus:
        look(make_part())
        return {status.name: status for status in survey()}["Python language host"]

    assert host().to_do == "`make up` installs it"
    engine = bin_folder(PULUMI) / "pulumi"
    engine.parent.mkdir(parents=True)
    engine.touch()
    path = put_plugin(engine.with_name(LANGUAGE_HOST), PULUMI.version)
    assert host() == PartStatus(
        "Python language host", PULUMI.version, PULUMI.version, str(path), "beside the engine", ok=True
    )


def test_a_plugin_of_another_version_where_the_engine_looks(
    make_part: MakePart, look: Callable[[Part], PartStatus], home: Path, put_plugin: PutPlugin
) -> None:
    """The engine runs what lies in its folder, whatever the toolchain has."""
    put_plugin(home / "path" / "pulumi-resource-tool", "1.2.3")
    part = make_part(executables=("pulumi-resource-tool",), question=None, build=None, fallback_module="lab.plugins.x")
    ensure(part)
    show_to_engine(part)
    link = plugin_folder(part) / "pulumi-resource-tool"
    link.unlink()
    put_plugin(link, "1.2.4")
    status = look(part)
    assert (status.ok, status.wanted, status.version, status.where) == (False, "1.2.3", "1.2.4", str(link))
    assert status.to_do == "it is 1.2.4, and 1.2.3 is required; `make up` installs it"
    ensure(part)
    show_to_engine(part)
    assert look(part).ok


def test_an_sdk_that_asks_for_another_version_of_the_plugin(
    make_part: MakePart,
    look: Callable[[Part], PartStatus],
    home: Path,
    put_plugin: PutPlugin,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As `pip install --upgrade` leaves it: the engine would look for a plugin that nobody has installed."""
    package = home / "site-packages"
    (package / "pulumi_tool-1.3.0.dist-info").mkdir(parents=True)
    (package / "pulumi_tool-1.3.0.dist-info" / "METADATA").write_text("Name: pulumi-tool\nVersion: 1.3.0\n")
    monkeypatch.syspath_prepend(str(package))
    put_plugin(home / "path" / "pulumi-resource-tool", "1.2.3")
    part = make_part(executables=("pulumi-resource-tool",), question=None, build=None, fallback_module="lab.plugins.x")
    ensure(part)
    show_to_engine(part)
    status = look(part)
    assert (status.ok, status.version) == (False, "1.2.3")
    assert status.to_do.startswith("the program's SDK is 1.3.0 and asks for a plugin of that version, not 1.2.3; ")


def test_a_language_host_of_another_version(look: Any, make_part: MakePart, home: Path, put_plugin: Any) -> None:
    engine = bin_folder(PULUMI) / "pulumi"
    engine.parent.mkdir(parents=True)
    engine.touch()
    put_plugin(engine.with_name(LANGUAGE_HOST), "3.1.0")
    look(make_part())
    host = {status.name: status for status in survey()}["Python language host"]
    assert (host.ok, host.wanted, host.version) == (False, PULUMI.version, "3.1.0")
    assert host.to_do == f"it is 3.1.0, and {PULUMI.version} is required; `make up` installs it"
