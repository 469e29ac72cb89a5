"""Names of images are read as Docker reads them; logins are tested where the provider pushes."""

from __future__ import annotations

import pytest

from lab.plugins.docker.provider import DOCKER_HUB, ImageName, parse_image_name
from lab.plugins.serving import PluginError

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("python:3.12-slim", ImageName(DOCKER_HUB, "library/python", "3.12-slim")),
        ("python", ImageName(DOCKER_HUB, "library/python", "latest")),
        ("docker.io/python", ImageName(DOCKER_HUB, "library/python", "latest")),
        ("index.docker.io/library/python:3", ImageName(DOCKER_HUB, "library/python", "3")),
        ("bitnami/redis:7", ImageName(DOCKER_HUB, "bitnami/redis", "7")),
        ("team/sub/app", ImageName(DOCKER_HUB, "team/sub/app", "latest")),
        (f"python@{DIGEST}", ImageName(DOCKER_HUB, "library/python", DIGEST)),
        (f"python:3.12@{DIGEST}", ImageName(DOCKER_HUB, "library/python", DIGEST)),
        ("localhost/app", ImageName("localhost", "app", "latest")),
        ("localhost:5000/app:1", ImageName("localhost:5000", "app", "1")),
        ("127.0.0.1:5000/slipway/python:3.11", ImageName("127.0.0.1:5000", "slipway/python", "3.11")),
        ("[::1]:5000/app", ImageName("[::1]:5000", "app", "latest")),
        ("ghcr.io/owner/app_x__y.z-1:v1", ImageName("ghcr.io", "owner/app_x__y.z-1", "v1")),
    ],
)
def test_a_name_has_a_registry_a_repository_and_a_tag(name: str, expected: ImageName) -> None:
    assert parse_image_name(name) == expected


@pytest.mark.parametrize(
    "name",
    ["", ":1", "App", "a//b", "app:", "app@sha256:12", "app:1:2", "a b", "bad_host.org:x/app", "../etc", "app:-1"],
)
def test_what_is_no_name_of_an_image_is_refused(name: str) -> None:
    with pytest.raises(PluginError, match="is not the name of an image; write"):
        parse_image_name(name)
