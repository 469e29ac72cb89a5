"""A version is what the executable says, exactly and in time; what the user has already is taken if it will do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.toolchain.parts import BUILDKIT, COREDNS, KUBERNETES, PULUMI, Part, VersionQuestion
from lab.toolchain.versions import ask_executable, ask_plugin, find_nearby, find_on_path, tells, version_in

Put = Callable[[str, str], Path]
MakePart = Callable[..., Part]


@pytest.mark.parametrize(
    ("part", "answer"),
    [
        (PULUMI, "v3.259.0"),
        (KUBERNETES, "Kubernetes v1.34.4"),
        (BUILDKIT, "buildkitd github.com/moby/buildkit v0.34.2 "),
        (BUILDKIT, "buildctl github.com/moby/buildkit v0.34.2 3b4f5a6"),
        (COREDNS, "CoreDNS-1.14.1\nlinux/amd64, go1.26.8, "),
    ],
)
def test_the_real_answers_are_understood(part: object, answer: str) -> None:
    assert tells(answer, part.question, part.version)  # type: ignore[attr-defined]
    assert version_in(answer) == part.version  # type: ignore[attr-defined]


@pytest.mark.parametrize("answer", ["v1.2.30", "v11.2.3", "v1.2.3-rc.1", "v1.2.3+dirty", "1.2.3", "", "v1.2"])
def test_a_version_that_only_looks_alike_is_another(answer: str) -> None:
    assert not tells(answer, VersionQuestion((), "v{version}"), "1.2.3")


def test_an_executable_that_hangs_or_fails_tells_nothing(on_path: Put) -> None:
    started = time.monotonic()
    assert ask_executable(on_path("hangs", "exec sleep 30"), (), deadline_seconds=0.3) == ""
    assert time.monotonic() - started < 5
    assert ask_executable(on_path("fails", "echo v1.2.3; exit 1"), ()) == ""
    assert ask_executable(Path("/nowhere/at/all"), ()) == ""


def test_our_own_folder_on_path_is_passed_over(home: Path, on_path: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    users = on_path("tool", "true")
    ours = home / "cache" / "toolchain" / "tool-1.2.3" / "bin"
    ours.mkdir(parents=True)
    (ours / "tool").symlink_to(users)
    monkeypatch.setenv("PATH", f"{ours}:{os.environ['PATH']}")
    assert find_on_path("tool", but_not_below=home / "cache" / "toolchain") == users


def test_a_plugins_version_is_read_over_grpc(home: Path, put_plugin: Callable[[Path, str], Path]) -> None:
    assert ask_plugin(put_plugin(home / "pulumi-resource-tool", "1.2.3")) == "1.2.3"
    assert ask_plugin(put_plugin(home / "pulumi-language-python", "v3.0.0")) == "3.0.0"


def test_a_program_that_is_no_plugin_tells_no_version(on_path: Put) -> None:
    assert ask_plugin(on_path("pulumi-resource-mute", "exec sleep 30"), deadline_seconds=0.3) == ""
    assert ask_plugin(on_path("pulumi-resource-chatty", "echo hello")) == ""
    assert ask_plugin(on_path("pulumi-resource-liar", "echo 1; exec sleep 30"), deadline_seconds=0.5) == ""


@pytest.mark.parametrize("version", ["1.2.3", "1.0.9-vendor", "99.1"])
def test_any_version_will_do_where_the_part_says_so(version: str, make_part: MakePart, on_path: Put) -> None:
    tool = on_path("tool", f"echo tool v{version}")
    assert find_nearby(make_part(any_version=True)) == {"tool": tool}
    assert find_nearby(make_part()) == ({"tool": tool} if version == "1.2.3" else {})


@pytest.mark.parametrize("body", ["exit 1", "echo tool", "echo tool v1.2.3; exit 1"])
def test_what_tells_no_version_never_will_do(body: str, make_part: MakePart, on_path: Put) -> None:
    on_path("tool", body)
    assert find_nearby(make_part(any_version=True)) == {}


def test_one_of_several_executables_never_will_do(make_part: MakePart, on_path: Put) -> None:
    on_path("tool", "echo tool v1.2.3")
    assert find_nearby(make_part(any_version=True, executables=("tool", "toolctl"))) == {}
