"""An image goes from one registry to another as it is: between two real ones, on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from slipway.errors import ConfigurationError, SlipwayError
from slipway.promotion.plan import ImageCopy, copy_image, crane
from slipway.registry import MANIFESTS, RegistryError, image_digest
from tests.lab_exports import lab_exports
from tests.second_registry import PASSWORD, USER, second_registry

INDEX, MANIFEST = MANIFESTS[0], MANIFESTS[2]
PLATFORMS = ("amd64", "arm64")


def push_blob(repository: str, content: bytes) -> dict[str, object]:
    """The descriptor of a blob that is in the repository now."""
    begun = httpx.post(f"{repository}/blobs/uploads/")
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    put = httpx.put(f"{begun.headers['Location']}&digest={digest}", content=content)
    assert put.status_code == 201, put.text
    return {"mediaType": "application/octet-stream", "digest": digest, "size": len(content)}


def push_manifest(repository: str, manifest: dict[str, object]) -> tuple[str, int]:
    """Digest and size of what is written with blanks that nobody else would write."""
    content = json.dumps(manifest, indent=5).encode()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    headers = {"Content-Type": str(manifest["mediaType"])}
    put = httpx.put(f"{repository}/manifests/{digest}", content=content, headers=headers)
    assert put.status_code == 201, put.text
    return digest, len(content)


def push_index(address: str) -> str:
    """The digest of an image of two platforms, in `address/team/a`."""
    repository = f"http://{address}/v2/team/a"
    manifests = []
    for architecture in PLATFORMS:
        config = push_blob(repository, json.dumps({"architecture": architecture, "os": "linux"}).encode())
        layer = push_blob(repository, f"a layer of {architecture}".encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {**config, "mediaType": "application/vnd.oci.image.config.v1+json"},
            "layers": [{**layer, "mediaType": "application/vnd.oci.image.layer.v1.tar"}],
        }
        digest, size = push_manifest(repository, manifest)
        platform = {"architecture": architecture, "os": "linux"}
        manifests.append({"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform})
    digest, _ = push_manifest(repository, {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests})
    return digest


@pytest.fixture
def source(tmp_path: Path) -> Iterator[str]:
    with second_registry(tmp_path / "source") as address:
        yield address


def environment(folder: Path, *logins: str) -> dict[str, str]:
    """With Docker's configuration in `folder`, logged in at `logins`."""
    folder.mkdir()
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth} for host in logins}}))
    return {**lab_exports(), "HOME": str(folder), "DOCKER_CONFIG": str(folder)}


@pytest.mark.lab
def test_an_index_is_copied_with_all_its_platforms(tmp_path: Path, source: str) -> None:
    digest = push_index(source)
    said: list[str] = []
    with second_registry(tmp_path / "target") as target:
        copy = ImageCopy("a", f"{source}/team/a", f"{target}/live/a", digest)
        assert image_digest(f"{copy.target}@{digest}") is None
        copy_image(copy, environment(tmp_path / "docker"), said.append)
        for reference in (digest, copy.tag):
            name = f"v2/%s/a/manifests/{reference}"
            headers = {"Accept": INDEX}
            there = httpx.get(f"http://{target}/{name % 'live'}", headers=headers).content
            assert there == httpx.get(f"http://{source}/v2/team/a/manifests/{digest}", headers=headers).content
        for manifest in json.loads(there)["manifests"]:
            assert image_digest(f"{copy.target}@{manifest['digest']}") == manifest["digest"]
            (layer,) = httpx.get(
                f"http://{target}/v2/live/a/manifests/{manifest['digest']}", headers={"Accept": MANIFEST}
            ).json()["layers"]
            blob = httpx.get(f"http://{target}/v2/live/a/blobs/{layer['digest']}").text
            assert blob == f"a layer of {manifest['platform']['architecture']}"
        assert said == [f"Copied a to {copy.target}:promoted-{digest[7:23]}: the same digest."]


@pytest.mark.lab
def test_docker_s_login_is_used_and_without_it_nothing_is_copied(
    tmp_path: Path, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = push_index(source)
    with second_registry(tmp_path / "target", login=True) as target:
        copy = ImageCopy("a", f"{source}/team/a", f"{target}/live/a", digest)
        without = environment(tmp_path / "without")
        with pytest.raises(SlipwayError, match="a was not copied from") as caught:
            copy_image(copy, without, print)
        assert "401 Unauthorized" in caught.value.why
        assert f"`docker login {target}`" in caught.value.next_step
        with_login = environment(tmp_path / "with", target)
        monkeypatch.setenv("DOCKER_CONFIG", without["DOCKER_CONFIG"])
        with pytest.raises(RegistryError, match="does not say which digest"):
            image_digest(f"{copy.target}@{digest}")
        monkeypatch.setenv("DOCKER_CONFIG", with_login["DOCKER_CONFIG"])
        assert image_digest(f"{copy.target}@{digest}") is None
        copy_image(copy, with_login, print)
        assert image_digest(f"{copy.target}:{copy.tag}") == digest


@pytest.mark.lab
def test_an_image_that_is_not_there_is_not_copied(tmp_path: Path, source: str) -> None:
    copy = ImageCopy("a", f"{source}/team/a", f"{source}/live/a", f"sha256:{'a' * 64}")
    with pytest.raises(SlipwayError, match="a was not copied") as caught:
        copy_image(copy, environment(tmp_path / "docker"), print)
    assert "MANIFEST_UNKNOWN" in caught.value.why or "NAME_UNKNOWN" in caught.value.why


def test_without_crane_it_is_said_where_it_comes_from(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="was not found on PATH") as caught:
        crane({"PATH": str(tmp_path)})
    assert "make lab" in caught.value.next_step
