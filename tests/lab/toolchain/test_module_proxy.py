"""A Go module proxy that refuses, breaks off, stops or lies ends an installation with what to do, and loses nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import subprocess
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lab.toolchain import go
from lab.toolchain.go import Go, build_part, find_go
from lab.toolchain.installation import Installation
from lab.toolchain.layout import bin_folder
from lab.toolchain.parts import KUBERNETES_PROVIDER, Part
from slipway.errors import SlipwayError
from slipway.progress import Progress, Step

from .conftest import NOWHERE

ZIP = "/example.test/second/@v/v1.0.0.zip"
NAMES = ("first", "second")


def go_mod(name: str) -> bytes:
    return f"module example.test/{name}\n\ngo 1.20\n".encode()


def module_files(name: str, value: str = "1.2.3") -> dict[str, bytes]:
    folder = f"example.test/{name}@v1.0.0"
    source = f"package {name}\n\nconst Version = `{value}`\n".encode()
    more = f"package {name}\n".encode()
    return {f"{folder}/go.mod": go_mod(name), f"{folder}/more.go": more, f"{folder}/source.go": source}


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def hash_of(files: dict[str, bytes]) -> str:
    """What go.sum says of these files: golang.org/x/mod/sumdb/dirhash, Hash1."""
    lines = "".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(files.items()))
    return f"h1:{base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()}"


@pytest.fixture
def proxy(site: Any, real_go: Go, home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A proxy that has two modules, and a Go that has fetched none."""
    monkeypatch.setenv("GOPROXY", site.url)
    monkeypatch.setenv("GOMODCACHE", str(home / "modules"))
    for name in NAMES:
        site.files[f"/example.test/{name}/@v/v1.0.0.zip"] = zipped(module_files(name))
        site.files[f"/example.test/{name}/@v/v1.0.0.mod"] = go_mod(name)
    return site


@pytest.fixture
def part(make_part: Callable[..., Part], home: Path) -> Part:
    """A part that can be had in no other way than by a build with these modules."""
    made = make_part()
    module = home / "module"
    with (module / "go.mod").open("a") as requirements, (module / "go.sum").open("w") as hashes:
        for name in NAMES:
            requirements.write(f"\nrequire example.test/{name} v1.0.0\n")
            hashes.write(f"example.test/{name} v1.0.0 {hash_of(module_files(name))}\n")
            hashes.write(f"example.test/{name} v1.0.0/go.mod {hash_of({'go.mod': go_mod(name)})}\n")
    (module / "main.go").write_text(
        'package main\n\nimport (\n"os"\n\n_ "example.test/first"\n"example.test/second"\n)\n\n'
        'func main() { os.Stdout.WriteString("tool v" + second.Version + "\\n") }\n'
    )
    return made


def ensure(part: Part) -> None:
    run = Installation(Progress())
    try:
        run.ensure(part)
    finally:
        run.close()


def refused(part: Part) -> SlipwayError:
    with pytest.raises(SlipwayError) as caught:
        ensure(part)
    assert not bin_folder(part).exists()
    return caught.value


def is_there(part: Part) -> bool:
    ensure(part)
    answer = subprocess.run([bin_folder(part) / "tool"], capture_output=True, text=True, check=True)
    return answer.stdout == "tool v1.2.3\n"


@pytest.mark.toolchain
def test_a_file_of_ours_is_compiled_instead_of_a_modules(proxy: Any, part: Part, home: Path) -> None:
    assert part.build is not None
    module = home / "module"
    (module / "ours.go.txt").write_text("package second\n\nconst Version = `1.2.3 ` + more\n")
    (module / "more.go.txt").write_text("package second\n\nconst more = `of ours`\n")
    with (module / "go.mod").open("a") as replacements:
        replacements.write("\nreplace example.test/second => example.test/second v1.0.0\n")
    before = (module / "go.mod").read_text()
    instead = {
        ("example.test/second", "source.go"): "ours.go.txt",
        ("example.test/second", "more.go"): "more.go.txt",
    }
    build_part(part, replace(part.build, instead=instead), find_go() or pytest.fail(), home, Step("build"))
    answer = subprocess.run([home / "tool"], capture_output=True, text=True, check=True)
    assert answer.stdout == "tool v1.2.3 of ours\n"
    assert (module / "go.mod").read_text() == before


@pytest.mark.toolchain
def test_a_file_of_a_module_is_compiled_with_edits(proxy: Any, part: Part, home: Path) -> None:
    assert part.build is not None
    go = find_go() or pytest.fail()
    file = ("example.test/second", "source.go")
    build_part(part, replace(part.build, edits={file: {"1.2.3": "1.2.4"}}), go, home, Step("build"))
    answer = subprocess.run([home / "tool"], capture_output=True, text=True, check=True)
    assert answer.stdout == "tool v1.2.4\n"
    with pytest.raises(ValueError, match=r"source.go of example.test/second has no '4.5.6'"):
        build_part(part, replace(part.build, edits={file: {"4.5.6": "1.2.4"}}), go, home, Step("build"))


@pytest.mark.toolchain
def test_what_a_build_tag_leaves_out_is_not_even_fetched(proxy: Any, part: Part, home: Path) -> None:
    assert part.build is not None
    tagged = "//go:build !small\n\npackage main\n\nimport _ `example.test/third`\n"
    (home / "module" / "large.go").write_text(tagged)
    build_part(part, replace(part.build, tags=("small",)), find_go() or pytest.fail(), home, Step("build"))
    answer = subprocess.run([home / "tool"], capture_output=True, text=True, check=True)
    assert answer.stdout == "tool v1.2.3\n"


@pytest.mark.toolchain
def test_a_proxy_that_refuses_is_reported_with_what_to_do(proxy: Any, part: Part, home: Path) -> None:
    proxy.refuse = True
    error = refused(part)
    assert error.what == "Fetching the Go modules of Tool 1.2.3 failed (exit 1)"
    assert error.why.endswith(f"reading {proxy.url}{ZIP}: 403 Forbidden")
    assert error.next_step == (
        f"The whole log is in {home}/cache/logs/tool-1.2.3.log. Go asks the proxies that `go env GOPROXY` names: set "
        "GOPROXY to one that serves these modules, or put tool 1.2.3 on PATH, and run the same command again. "
        "It continues from there."
    )
    proxy.refuse = False
    assert is_there(part)


@pytest.mark.toolchain
def test_the_kubernetes_providers_own_modules_from_a_proxy_that_refuses(proxy: Any) -> None:
    proxy.refuse = True
    error = refused(replace(KUBERNETES_PROVIDER, release=NOWHERE))
    assert error.what == "Fetching the Go modules of kubernetes provider 4.25.0 failed (exit 1)"
    assert error.why.endswith(": 403 Forbidden")
    assert "or put pulumi-resource-kubernetes 4.25.0 on PATH" in error.next_step


@pytest.mark.toolchain
def test_a_module_that_breaks_off_in_the_middle_is_reported_and_fetched_by_the_next_run(proxy: Any, part: Part) -> None:
    proxy.cut[ZIP] = [100]
    assert refused(part).why.endswith(f'read "{proxy.url}{ZIP}": unexpected EOF')
    assert is_there(part)
    paths = [path for path, _ in proxy.requests]
    assert [paths.count(f"/example.test/{name}/@v/v1.0.0.zip") for name in NAMES] == [1, 2]


@pytest.mark.toolchain
def test_a_proxy_that_stops_in_the_middle_is_given_up(proxy: Any, part: Part, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go itself would wait for ever."""
    monkeypatch.setattr(go, "FETCH_SILENCE_SECONDS", 2.0)
    proxy.stall[ZIP] = 100
    started = time.monotonic()
    error = refused(part)
    assert time.monotonic() - started < 20
    assert error.what == "Fetching the Go modules of Tool 1.2.3 failed (no output for 2.0 s)"
    assert "go: downloading example.test/second v1.0.0" in error.why
    del proxy.stall[ZIP]
    assert is_there(part)


@pytest.mark.toolchain
def test_a_module_that_is_not_the_pinned_one_is_refused(proxy: Any, part: Part) -> None:
    proxy.files[ZIP] = zipped(module_files("second", "6.6.6"))
    error = refused(part)
    assert "checksum mismatch" in error.why
    assert "SECURITY ERROR" in error.why
