"""An image's tag changes exactly when what the build sees changes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pulumi_docker_build as docker_build
import pytest

from components.service_image import (
    ServiceImage,
    ServiceImageArgs,
    content_tag,
    context_problems,
    ssh_problem,
    visible_files,
)
from services.builds import Build

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


@pytest.fixture
def with_kit(args: ServiceImageArgs, tmp_path_factory: pytest.TempPathFactory) -> ServiceImageArgs:
    kit = tmp_path_factory.mktemp("kit")
    (kit / "kit").mkdir()
    (kit / "kit" / "logs.py").write_text("print(1)\n")
    (kit / ".dockerignore").write_text("*\n!kit\n**/__pycache__\n")
    return replace(args, named_contexts={"kit": kit})


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (lambda kit: (kit / "kit/logs.py").write_text("print(2)\n"), True),
        (lambda kit: (kit / "kit/new.py").write_text(""), True),
        (lambda kit: (kit / "kit/logs.py").chmod(0o755), True),
        (lambda kit: touch(kit / "kit/logs.py"), False),
        (lambda kit: (kit / "kit/logs.py").chmod(0o600), False),  # what a umask decides
        (lambda kit: (kit / "pyproject.toml").write_text(""), False),
    ],
)
def test_the_tag_changes_with_what_a_build_sees_of_a_named_context(
    with_kit: ServiceImageArgs, change: Callable[[Path], object], differs: bool
) -> None:
    before = content_tag(with_kit, BASE)
    change(with_kit.named_contexts["kit"])
    assert (content_tag(with_kit, BASE) != before) == differs


def test_where_a_named_context_lies_says_nothing_and_its_name_does(with_kit: ServiceImageArgs, tmp_path: Path) -> None:
    before = content_tag(with_kit, BASE)
    kit = with_kit.named_contexts["kit"]
    moved = kit.rename(kit.with_name(f"{kit.name}-moved"))
    assert content_tag(replace(with_kit, named_contexts={"kit": moved}), BASE) == before
    assert content_tag(replace(with_kit, named_contexts={"other": moved}), BASE) != before


def test_a_service_without_named_contexts_has_the_tag_it_always_had(tmp_path: Path) -> None:
    """Known from before there were any: a service in another language is not built anew because of them."""
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "main.go").write_text("package main\n")
    args = ServiceImageArgs(context=tmp_path, repository="registry.example/a", base_image=BASE)
    assert content_tag(args, BASE) == "9999c2c2bc0663a0"


def test_the_ignore_file_of_the_dockerfile_goes_before_that_of_the_context(args: ServiceImageArgs) -> None:
    """As the provider and BuildKit have it."""
    (args.context / "Dockerfile.dockerignore").write_bytes(b"\xef\xbb\xbf*.txt\n")
    before = content_tag(args, BASE)
    (args.context / "notes.txt").write_text("text")
    assert content_tag(args, BASE) == before
    (args.context / "README.md").write_text("text")
    assert content_tag(args, BASE) != before


def problems(args: ServiceImageArgs) -> list[str]:
    return list(context_problems([args.context], args.context / "Dockerfile"))


def test_nothing_is_wrong_with_files_as_git_makes_them(args: ServiceImageArgs) -> None:
    (args.context / "link").symlink_to("app")
    (args.context / "app").chmod(0o775)
    (args.context / "app" / "main.py").chmod(0o664)
    assert problems(args) == []


def test_a_link_that_leads_nowhere(args: ServiceImageArgs) -> None:
    (args.context / "link").symlink_to("nowhere")
    assert content_tag(args, BASE)
    assert problems(args) == [
        f"{args.context}/link: it is a link to nowhere, which does not exist; remove it, or list it in .dockerignore"
    ]
    (args.context / ".dockerignore").write_text("link\n")
    assert problems(args) == []


def test_a_name_that_is_no_utf_8(args: ServiceImageArgs) -> None:
    Path(os.fsdecode(os.fsencode(args.context) + b"/caf\xe9")).touch()
    assert content_tag(args, BASE)
    (told,) = problems(args)
    assert told.startswith(f"{args.context}/caf\ufffd: its name is not UTF-8, as builders require; rename it, or list")


def test_an_ignore_file_that_is_no_utf_8(args: ServiceImageArgs) -> None:
    before = content_tag(args, BASE)
    (args.context / "Dockerfile.dockerignore").write_bytes(b"Dockerfile.dockerignore\ncaf\xe9\n**/__pycache__\n")
    assert content_tag(args, BASE) == before
    Path(os.fsdecode(os.fsencode(args.context) + b"/caf\xe9")).touch()
    assert problems(args) == []


def test_files_of_a_clone_under_umask_077(args: ServiceImageArgs) -> None:
    (args.context / "app" / "main.py").chmod(0o600)
    (args.context / "app").chmod(0o700)
    (told,) = problems(args)
    assert told.startswith(f"{args.context}: only the owner can read 2 of its files and folders, such as app ")
    assert "(mode 700), and a pod runs as another user; umask 077 sets such modes: `chmod -R " in told
    (args.context / "Dockerfile").write_text("FROM a\nCOPY --chmod=755 . .\n")
    assert problems(args) == []


def test_the_tag_changes_with_what_service_yaml_says_of_the_build(args: ServiceImageArgs, tmp_path: Path) -> None:
    elsewhere = tmp_path.parent / f"{tmp_path.name}.Dockerfile"
    elsewhere.write_text("FROM scratch\n")
    with_file = replace(args, dockerfile=elsewhere)
    variants = [args, with_file, *(replace(args, build=build) for build in BUILDS)]
    tags = [content_tag(each, BASE) for each in variants]
    elsewhere.write_text("FROM scratch AS runtime\n")
    tags.append(content_tag(with_file, BASE))
    assert len(set(tags)) == len(tags)


BUILDS = [
    Build(args={"VERSION": "1"}),
    Build(args={"VERSION": "2"}),
    Build(target="server"),
    Build.model_validate({"testTarget": None}),
    Build(secrets=["token"]),
]


def test_the_tag_does_not_change_with_the_value_of_a_secret(args: ServiceImageArgs) -> None:
    build = Build(secrets=["token"])
    one, other = (content_tag(replace(args, build=build, secrets={"token": each}), BASE) for each in ("a", "b"))
    assert one == other


def test_the_ignore_file_of_a_dockerfile_elsewhere_counts(args: ServiceImageArgs, tmp_path: Path) -> None:
    folder = tmp_path / "docker"
    folder.mkdir()
    (folder / "api.Dockerfile").write_text("FROM scratch\n")
    (folder / "api.Dockerfile.dockerignore").write_text("app\n")
    assert "app/main.py" not in visible_files(args.context, folder / "api.Dockerfile")
    assert "docker/api.Dockerfile" in visible_files(args.context, folder / "api.Dockerfile")
    assert "app/main.py" in visible_files(args.context)


def test_ssh_keys_need_an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    assert ssh_problem(Build()) == ""
    assert ssh_problem(Build(ssh=["default"])).startswith(
        "`build.ssh` needs an SSH agent, and SSH_AUTH_SOCK is not set"
    )
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nonexistent")
    assert "names /nonexistent, which is not a socket" in ssh_problem(Build(ssh=["default"]))


IMAGE = "docker-build:index:Image"
APART = "FROM scratch AS test\nFROM scratch AS runtime\n"


def declared(declare: Any, args: ServiceImageArgs, dockerfile: str, **more: Any) -> Any:
    (args.context / "Dockerfile").write_text(dockerfile)
    return declare(lambda: ServiceImage("shop", replace(args, **more)))


def test_the_unit_tests_are_built_before_an_image_that_takes_nothing_of_them(
    declare: Any, args: ServiceImageArgs, tmp_path: Path
) -> None:
    recorder = declared(declare, args, APART, named_contexts={"kit": tmp_path / "app"})
    test, image = recorder.inputs(IMAGE, "shop-test"), recorder.inputs(IMAGE, "shop")
    assert (test["target"], test["push"], test["exports"]) == ("test", False, [{"cacheonly": {}}])
    assert (image["target"], image["push"], image["exports"]) == ("runtime", False, [{"raw": "type=registry"}])
    assert test["context"] == image["context"]
    # so that the provider builds the tests again where only a named context has changed
    assert test["labels"] == {"slipway.dev/content": image["tags"][0].rpartition(":")[2]}
    assert "labels" not in image


def test_one_build_has_the_unit_tests_of_an_image_that_is_made_of_what_they_tested(
    declare: Any, args: ServiceImageArgs
) -> None:
    recorder = declared(declare, args, f"{APART}COPY --from=test /a /b\n")
    assert recorder.names(IMAGE) == ["shop"]
    assert recorder.inputs(IMAGE, "shop")["labels"] == {"slipway.dev/unit-tests": "stage test"}


def test_a_preview_of_an_image_with_a_cache_in_the_registry_builds_the_unit_tests_alone(
    declare: Any, args: ServiceImageArgs
) -> None:
    """It would push the cache: the provider builds nothing in a preview of an image with `push`."""
    recorder = declared(declare, args, f"{APART}COPY --from=test /a /b\n", cache=True)
    assert recorder.inputs(IMAGE, "shop-test")["exports"] == [{"cacheonly": {}}]
    image = recorder.inputs(IMAGE, "shop")
    assert (image["push"], "exports" in image, "labels" in image) == (True, False, False)


def test_an_image_without_unit_tests_says_so(declare: Any, args: ServiceImageArgs) -> None:
    recorder = declared(declare, args, APART, build=Build.model_validate({"testTarget": None}))
    assert recorder.names(IMAGE) == ["shop"]
    assert recorder.inputs(IMAGE, "shop")["labels"] == {"slipway.dev/unit-tests": "none"}
