"""An image's tag changes exactly when what the build sees changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pulumi_docker_build as docker_build
import pytest

from components.service_image import ServiceImageArgs, content_tag

BASE = "python:3.12-slim@sha256:1"


@pytest.fixture
def args(tmp_path: Path) -> ServiceImageArgs:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print(1)\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / ".dockerignore").write_text("# caches\n**/__pycache__\n*.md\n!KEEP.md\n")
    return ServiceImageArgs(context=tmp_path, repository="registry.example/a", base_image=BASE)


def touch(path: Path) -> None:
    path.touch()
    os.utime(path, (1, 1))


def ignored_file(context: Path) -> None:
    (context / "README.md").write_text("text")
    (context / "app" / "__pycache__").mkdir()
    (context / "app" / "__pycache__" / "main.pyc").write_bytes(b"\0")


@pytest.mark.parametrize("change", [lambda context: touch(context / "app" / "main.py"), ignored_file])
def test_the_tag_stays_when_the_build_sees_no_difference(
    args: ServiceImageArgs, change: Callable[[Path], None]
) -> None:
    before = content_tag(args, BASE)
    change(args.context)
    assert content_tag(args, BASE) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda context: (context / "app" / "main.py").write_text("print(2)\n"),
        lambda context: (context / "app" / "main.py").chmod(0o755),
        lambda context: (context / "app" / "main.py").rename(context / "app" / "other.py"),
        lambda context: (context / "app" / "new.py").write_text(""),
        lambda context: (context / "KEEP.md").write_text(""),
        lambda context: (context / "Dockerfile").write_text("FROM other\n"),
        lambda context: (context / "link").symlink_to("app"),
    ],
)
def test_the_tag_changes_with_what_the_build_sees(args: ServiceImageArgs, change: Callable[[Path], object]) -> None:
    before = content_tag(args, BASE)
    change(args.context)
    assert content_tag(args, BASE) != before


def test_the_tag_changes_with_base_image_and_platform(args: ServiceImageArgs) -> None:
    tags = {
        content_tag(args, BASE),
        content_tag(args, BASE + "2"),
        content_tag(replace(args, platforms=[docker_build.Platform.LINUX_ARM64]), BASE),
    }
    assert len(tags) == 3


def test_the_same_content_elsewhere_has_the_same_tag(args: ServiceImageArgs, tmp_path: Path) -> None:
    before = content_tag(args, BASE)
    moved = tmp_path.parent / f"{tmp_path.name}-moved"
    tmp_path.rename(moved)
    assert content_tag(replace(args, context=moved), BASE) == before
