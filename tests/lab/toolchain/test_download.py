"""Downloads from a real HTTP server: checked, resumed, and given up within seconds."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.toolchain.download import Downloader, UnavailableError, checksum_for
from lab.toolchain.parts import DOCKER_PROVIDER, KUBERNETES, PULUMI, Part, Release
from slipway.progress import Step

MakePart = Callable[..., Part]


@pytest.fixture
def downloader() -> Iterator[Downloader]:
    running = Downloader(connect_timeout_seconds=1.0)
    yield running
    running.close()


@pytest.fixture
def folder(home: Path) -> Path:
    (home / "bin").mkdir()
    return home / "bin"


def fetch(downloader: Downloader, part: Part, folder: Path) -> str:
    return downloader.fetch(part, folder, Step("download"))


def test_an_archive_is_unpacked_and_executable(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path, home: Path
) -> None:
    part = make_part(site.offer_archive({"tool": "echo tool v1.2.3"}))
    assert fetch(downloader, part, folder) == f"{site.url}/tool.tar.gz"
    assert (folder / "tool").stat().st_mode & 0o777 == 0o755
    assert list((home / "cache" / "downloads").iterdir()) == []


def test_a_plain_executable_needs_no_archive(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path
) -> None:
    content = b"#!/bin/sh\necho tool v1.2.3\n"
    fetch(downloader, make_part(site.offer("tool", content, hashlib.sha256(content).hexdigest())), folder)
    assert (folder / "tool").read_bytes() == content
    assert (folder / "tool").stat().st_mode & 0o111


def test_a_wrong_checksum_is_refused_and_nothing_is_kept(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path, home: Path
) -> None:
    part = make_part(site.offer_archive({"tool": "true"}, checksums=f"{'0' * 64}  tool.tar.gz\n"))
    with pytest.raises(UnavailableError, match=r"has the sha256 [0-9a-f]{64}, its publisher's is 0{64}"):
        fetch(downloader, part, folder)
    assert list(folder.iterdir()) == []
    assert [path for path in (home / "cache" / "downloads").rglob("*") if path.is_file()] == []


def test_a_publisher_without_checksums_is_passed_over(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path
) -> None:
    part = make_part(site.offer_archive({"tool": "true"}))
    del site.files["/tool.tar.gz.sha256"]
    with pytest.raises(UnavailableError, match=r"no checksums at .*/tool\.tar\.gz\.sha256 \(HTTP 404\)"):
        fetch(downloader, part, folder)
    assert downloader.known_unreachable(part) == "", "a missing file is no unreachable site"
    assert [path for path, _ in site.requests] == ["/tool.tar.gz.sha256"], "the archive itself was not asked for"


def test_a_missing_archive_is_passed_over(downloader: Downloader, site: Any, make_part: MakePart, folder: Path) -> None:
    part = make_part(site.offer_archive({"tool": "true"}))
    del site.files["/tool.tar.gz"]
    with pytest.raises(UnavailableError, match="HTTP 404"):
        fetch(downloader, part, folder)


def test_a_body_that_breaks_off_is_resumed_where_it_ended(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path
) -> None:
    part = make_part(site.offer_archive({"tool": "echo tool v1.2.3"}))
    site.cut["/tool.tar.gz"] = [50]
    fetch(downloader, part, folder)
    assert (folder / "tool").is_file()
    assert [wanted for path, wanted in site.requests if path == "/tool.tar.gz"] == ["", "bytes=50-"]


def test_a_body_that_breaks_off_again_and_again_is_given_up_and_a_later_run_resumes_it(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path
) -> None:
    part = make_part(site.offer_archive({"tool": "echo tool v1.2.3"}))
    site.cut["/tool.tar.gz"] = [30, 40, 50]
    with pytest.raises(UnavailableError, match=r"/tool\.tar\.gz was interrupted \(.*received 10 bytes, expected "):
        fetch(downloader, part, folder)
    assert list(folder.iterdir()) == []
    fetch(downloader, part, folder)
    assert site.requests[-1] == ("/tool.tar.gz", "bytes=50-")
    assert (folder / "tool").is_file()


def test_a_site_that_refuses_is_passed_over(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path
) -> None:
    part = make_part(site.offer_archive({"tool": "true"}))
    site.refuse = True
    with pytest.raises(UnavailableError, match=r"no checksums at .*/tool\.tar\.gz\.sha256 \(HTTP 403\)"):
        fetch(downloader, part, folder)


def test_a_later_run_resumes_what_an_earlier_one_left(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path, home: Path
) -> None:
    part = make_part(site.offer_archive({"tool": "echo tool v1.2.3"}))
    content = site.files["/tool.tar.gz"]
    left = home / "cache" / "downloads" / hashlib.sha256(content).hexdigest()[:16] / "tool.tar.gz.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(content[:20])
    fetch(downloader, part, folder)
    assert (folder / "tool").is_file()
    assert ("/tool.tar.gz", "bytes=20-") in site.requests


@pytest.mark.slow
def test_a_site_that_hangs_is_given_up_within_seconds_and_tried_once(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path
) -> None:
    part = make_part(site.offer_archive({"tool": "true"}))
    site.hang.add("/tool.tar.gz.sha256")
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"cannot be reached \(no answer within 3 s\)"):
        fetch(downloader, part, folder)
    assert time.monotonic() - started < 6
    assert "cannot be reached" in downloader.known_unreachable(make_part(part.release, name="another"))


def test_a_refused_connection_is_an_unreachable_site(downloader: Downloader, make_part: MakePart, folder: Path) -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 cannot be reached"):
        fetch(downloader, make_part(), folder)


def test_an_archive_that_lacks_the_executable_is_refused(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path
) -> None:
    part = make_part(site.offer_archive({"other": "true"}))
    with pytest.raises(UnavailableError, match=r"tool\.tar\.gz does not contain tool"):
        fetch(downloader, part, folder)


def test_an_archive_that_is_none_is_refused(
    downloader: Downloader, site: Any, make_part: MakePart, folder: Path
) -> None:
    part = make_part(site.offer("tool.tar.gz", b"<html>sign in to this network</html>"))
    with pytest.raises(UnavailableError, match=r"tool\.tar\.gz cannot be unpacked"):
        fetch(downloader, part, folder)


SHA1, SHA256 = "a" * 40, "b" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{SHA256}", ("sha256", SHA256)),
        (f"{SHA256}\n", ("sha256", SHA256)),
        (f"{SHA256.upper()} *tool.tgz\n", ("sha256", SHA256)),
        (f"{'c' * 64}  other.tgz\n{SHA256}  tool.tgz\n", ("sha256", SHA256)),
        (f"{SHA1}  ./tool.tgz\n", ("sha1", SHA1)),
        (json.dumps({"subject": [{"name": "tool.tgz", "digest": {"sha256": SHA256}}]}), ("sha256", SHA256)),
    ],
)
def test_every_form_of_checksums_is_read(text: str, expected: tuple[str, str]) -> None:
    assert checksum_for("tool.tgz", text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "<html></html>", f"{SHA256}  other.tgz", f"{SHA256[:-1]}  tool.tgz", '{"subject": []}', '{"subject"', "{}"],
)
def test_checksums_that_do_not_cover_the_file_are_refused(text: str) -> None:
    with pytest.raises(UnavailableError):
        checksum_for("tool.tgz", text)


def test_the_addresses_of_the_pinned_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert PULUMI.release.addresses("3.259.0") == [
        (
            "https://get.pulumi.com/releases/sdk/pulumi-v3.259.0-linux-x64.tar.gz",
            "https://get.pulumi.com/releases/sdk/pulumi-3.259.0-checksums.txt",
        )
    ]
    kube = dict(KUBERNETES.release.addresses(KUBERNETES.version))
    assert len(kube) == 5
    kubelet = "https://dl.k8s.io/release/v1.34.4/bin/linux/amd64/kubelet"
    assert kube[kubelet] == f"{kubelet}.sha256"
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    base = "https://github.com/pulumi/pulumi-docker/releases/download/v5.2.0"
    assert DOCKER_PROVIDER.release.addresses("5.2.0") == [
        (f"{base}/pulumi-resource-docker-v5.2.0-linux-arm64.tar.gz", f"{base}/pulumi-docker_5.2.0_checksums.txt")
    ]
    assert all(
        url.startswith("https://") for part in (PULUMI, KUBERNETES) for pair in _pairs(part.release) for url in pair
    )


def _pairs(release: Release) -> list[tuple[str, str]]:
    return list(release.archives.items())
