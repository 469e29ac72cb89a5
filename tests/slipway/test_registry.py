"""What a registry says of an image, from a registry on loopback that asks for credentials as Docker Hub does."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pytest

from slipway.deploy.drift import has_same_bases
from slipway.registry import ImageName, RegistryError, image_digest

DIGEST = f"sha256:{'a' * 64}"
USER = base64.b64encode(b"me:secret").decode()


@pytest.mark.parametrize(
    ("name", "host", "repository", "reference"),
    [
        ("python", "docker.io", "library/python", "latest"),
        ("python:3.12-slim", "docker.io", "library/python", "3.12-slim"),
        ("bitnami/redis:7", "docker.io", "bitnami/redis", "7"),
        ("registry.example:5000/a/b", "registry.example:5000", "a/b", "latest"),
        ("localhost/a:1", "localhost", "a", "1"),
        (f"ghcr.io/a/b:1@{DIGEST}", "ghcr.io", "a/b", DIGEST),
    ],
)
def test_a_name_is_read_as_docker_reads_it(name: str, host: str, repository: str, reference: str) -> None:
    assert ImageName.parse(name) == ImageName(host, repository, reference)


def test_docker_hub_answers_elsewhere_and_loopback_without_tls() -> None:
    assert ImageName.parse("python").url == "https://registry-1.docker.io/v2/library/python/manifests/latest"
    assert ImageName.parse("127.0.0.1:5000/a").url == "http://127.0.0.1:5000/v2/a/manifests/latest"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Starts a registry that asks for no credentials (``), or for `Basic` or `Bearer` ones; its address."""
    servers: list[ThreadingHTTPServer] = []

    def start(scheme: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                granted = self.headers.get("Authorization") == f"Basic {USER}" and "scope=repository:a:pull" in unquote(
                    self.path
                )
                self._answer(200 if granted else 401, json.dumps({"token": "granted"}) if granted else "{}")

            def do_HEAD(self) -> None:
                wanted = {"Basic": f"Basic {USER}", "Bearer": "Bearer granted"}.get(scheme)
                if wanted and self.headers.get("Authorization") != wanted:
                    realm = f'realm="http://{host}/token",service="r",scope="repository:a:pull"'
                    self._answer(401, "", **{"WWW-Authenticate": f"{scheme} {realm}"})
                elif self.path == "/v2/a/manifests/1" and "image.index" in self.headers["Accept"]:
                    self._answer(200, "", **{"Docker-Content-Digest": DIGEST})
                else:
                    self._answer(500 if "broken" in self.path else 404, "")

            def _answer(self, status: int, body: str, **headers: str) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, format: str, *args: object) -> None:
                """The test's output is not the place for it."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        host = f"127.0.0.1:{server.server_port}"
        servers.append(server)
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        (tmp_path / "config.json").write_text(json.dumps({"auths": {host: {"auth": USER}}}))
        return host

    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("scheme", ["", "Basic", "Bearer"])
def test_the_digest_under_a_tag(registry: Callable[[str], str], scheme: str) -> None:
    assert image_digest(f"{registry(scheme)}/a:1") == DIGEST


def test_loopback_is_never_reached_through_a_proxy(
    registry: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert image_digest(f"{registry('')}/a:1") == DIGEST


def test_a_tag_that_is_not_there_has_none(registry: Callable[[str], str]) -> None:
    assert image_digest(f"{registry('')}/a:2") is None


def test_credentials_that_are_missing_are_named(registry: Callable[[str], str], tmp_path: Path) -> None:
    host = registry("Bearer")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(RegistryError, match="does not say which digest") as caught:
        image_digest(f"{host}/a:1")
    assert "401" in caught.value.why
    assert caught.value.next_step.startswith(f"`docker login {host}`")


def test_one_that_fails_or_is_not_there(registry: Callable[[str], str]) -> None:
    with pytest.raises(RegistryError) as caught:
        image_digest(f"{registry('')}/broken:1")
    assert "500" in caught.value.why
    with pytest.raises(RegistryError, match="does not answer"):
        image_digest("127.0.0.1:1/a:1")


def test_a_base_image_that_its_tag_has_no_more_is_another_base(registry: Callable[[str], str]) -> None:
    """What every build of a state was pinned to; one without a tag cannot become another."""

    def state(base: str) -> dict[str, Any]:
        image = {"urn": "urn:pulumi:dev::shop::docker-build:index:Image::a", "type": "docker-build:index:Image"}
        return {"resources": [{**image, "inputs": {"buildArgs": {"BASE_IMAGE": base}}}]}

    host = registry("")
    assert has_same_bases(state(f"{host}/a:1@{DIGEST}"))
    assert not has_same_bases(state(f"{host}/a:1@sha256:{'b' * 64}"))
    assert not has_same_bases(state(f"{host}/gone:1@{DIGEST}"))
    assert has_same_bases(state(f"{host}/gone@{DIGEST}"))
