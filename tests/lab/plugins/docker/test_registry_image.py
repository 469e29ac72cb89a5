"""`getRegistryImage` against registries with and without TLS and logins."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NewRegistry = Callable[..., Any]
NewProvider = Callable[..., Any]


def test_outputs_are_those_of_the_official_plugin(
    new_registry: NewRegistry, started_provider: Any, digest: str
) -> None:
    registry = new_registry()
    name = f"{registry.address}/team/app:1.0"

    found = started_provider.image(name)

    assert found == {"id": digest, "insecureSkipVerify": False, "name": name, "sha256Digest": digest}
    assert registry.requests == ["HEAD /v2/team/app/manifests/1.0"]


def test_image_by_digest(new_registry: NewRegistry, new_provider: NewProvider, digest: str) -> None:
    registry = new_registry()

    assert new_provider().image(f"{registry.address}/team/app:9@{digest}")["sha256Digest"] == digest


def test_digest_is_computed_where_the_registry_does_not_say_it(
    new_registry: NewRegistry, new_provider: NewProvider, digest: str
) -> None:
    registry = new_registry(says_digest=False)

    assert new_provider().image(f"{registry.address}/team/app:1.0")["sha256Digest"] == digest


@pytest.mark.parametrize("challenge", ["Basic", "Bearer"])
def test_login_from_registry_auth(
    new_registry: NewRegistry, new_provider: NewProvider, digest: str, challenge: str
) -> None:
    registry = new_registry(challenge=challenge, login="deploy:s3cret")
    provider = new_provider()
    provider.configure(registryAuth=[{"address": registry.address, "username": "deploy", "password": "s3cret"}])

    assert provider.image(f"{registry.address}/team/app:1.0")["sha256Digest"] == digest


@pytest.mark.parametrize("challenge", ["Basic", "Bearer"])
def test_login_from_the_environment_is_for_declared_registries_only(
    new_registry: NewRegistry, new_provider: NewProvider, digest: str, challenge: str
) -> None:
    declared = new_registry(challenge=challenge, login="deploy:s3cret")
    other = new_registry(challenge=challenge, login="deploy:s3cret")
    provider = new_provider(DOCKER_REGISTRY_USER="deploy", DOCKER_REGISTRY_PASS="s3cret")
    provider.configure(registryAuth=[{"address": f"http://{declared.address}"}])

    assert provider.image(f"{declared.address}/team/app:1.0")["sha256Digest"] == digest
    provider.refusal(f"{other.address}/team/app:1.0")
    assert not any("Basic" in request for request in other.requests)


def docker_config(folder: Path, **content: object) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(content), encoding="utf-8")
    return str(folder)


def test_login_from_dockers_configuration(
    new_registry: NewRegistry, new_provider: NewProvider, digest: str, tmp_path: Path
) -> None:
    registry = new_registry(challenge="Bearer", login="me:pass:word")
    auth = base64.b64encode(b"me:pass:word").decode()
    folder = docker_config(tmp_path / "docker", auths={f"https://{registry.address}/v2/": {"auth": auth}})

    assert new_provider(DOCKER_CONFIG=folder).image(f"{registry.address}/team/app:1.0")["id"] == digest


def test_login_from_a_credential_helper(
    new_registry: NewRegistry, new_provider: NewProvider, digest: str, tmp_path: Path
) -> None:
    registry = new_registry(challenge="Basic", login="me:from-helper")
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        f'#!/bin/sh\nread -r host\n[ "$1 $host" = "get {registry.address}" ] || exit 1\n'
        'echo \'{"ServerURL": "x", "Username": "me", "Secret": "from-helper"}\'\n',
        encoding="utf-8",
    )
    helper.chmod(0o755)
    folder = docker_config(tmp_path / "docker", credHelpers={registry.address: "test"})
    provider = new_provider(DOCKER_CONFIG=folder, PATH=f"{tmp_path}:/usr/bin:/bin")

    assert provider.image(f"{registry.address}/team/app:1.0")["id"] == digest


def test_login_from_content_and_file_named_in_registry_auth(
    new_registry: NewRegistry, new_provider: NewProvider, digest: str, tmp_path: Path
) -> None:
    first = new_registry(challenge="Basic", login="one:1")
    second = new_registry(challenge="Basic", login="two:2")
    content = json.dumps({"auths": {first.address: {"username": "one", "password": "1"}}})
    folder = docker_config(tmp_path / "elsewhere", auths={second.address: {"username": "two", "password": "2"}})
    provider = new_provider()
    provider.configure(
        registryAuth=[
            {"address": first.address, "configFileContent": content},
            {"address": second.address, "configFile": f"{folder}/config.json"},
        ]
    )

    for registry in (first, second):
        assert provider.image(f"{registry.address}/team/app:1.0")["id"] == digest


def test_broken_docker_configuration_matters_only_to_a_registry_that_wants_a_login(
    new_registry: NewRegistry, new_provider: NewProvider, digest: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    provider = new_provider(DOCKER_CONFIG=str(tmp_path))

    assert provider.image(f"{new_registry().address}/team/app:1.0")["id"] == digest
    refusal = provider.refusal(f"{new_registry(challenge='Basic').address}/team/app:1.0")
    assert f"(no login: {tmp_path}/config.json is not valid JSON" in refusal


def test_tls_with_an_authority_of_ones_own(
    new_registry: NewRegistry, new_provider: NewProvider, digest: str, authority: Any
) -> None:
    registry = new_registry(tls=authority.tls, challenge="Bearer", login="me:pass")
    auth = [{"address": registry.address, "username": "me", "password": "pass"}]
    name = f"{registry.address}/team/app:1.0"

    trusting = new_provider(SSL_CERT_FILE=str(authority.bundle))
    trusting.configure(registryAuth=auth)
    assert trusting.image(name)["id"] == digest

    wary = new_provider()
    wary.configure(registryAuth=auth)
    refusal = wary.refusal(name)
    assert "its certificate is not trusted" in refusal
    assert "name a bundle in SSL_CERT_FILE" in refusal
    assert registry.requests[-1].startswith("HEAD"), "only the trusting one got through"

    careless = wary.image(name, insecureSkipVerify=True)
    assert careless["id"] == digest
    assert careless["insecureSkipVerify"] is True


def test_login_is_not_sent_in_the_clear_for_a_tls_registry(
    new_registry: NewRegistry, new_provider: NewProvider, authority: Any
) -> None:
    registry = new_registry(tls=authority.tls, challenge="Bearer", login="me:pass", realm="http://203.0.113.1/token")
    provider = new_provider(SSL_CERT_FILE=str(authority.bundle))
    provider.configure(registryAuth=[{"address": registry.address, "username": "me", "password": "pass"}])

    assert "wants the login sent to 'http://203.0.113.1/token'" in provider.refusal(f"{registry.address}/team/app:1.0")


def test_proxy_of_the_environment_is_not_used_for_loopback(
    new_registry: NewRegistry, new_provider: NewProvider, digest: str
) -> None:
    nowhere = "http://127.0.0.1:9"
    provider = new_provider(HTTP_PROXY=nowhere, HTTPS_PROXY=nowhere, ALL_PROXY=nowhere)

    assert provider.image(f"{new_registry().address}/team/app:1.0")["id"] == digest


def test_unknown_image(new_registry: NewRegistry, new_provider: NewProvider) -> None:
    registry = new_registry()
    name = f"{registry.address}/team/app:2.0"

    assert new_provider().refusal(name) == (
        f"cannot read the image {name}: {registry.url} does not have team/app:2.0; "
        "check the name, or build and push it first"
    )


@pytest.mark.parametrize("challenge", ["Basic", "Bearer"])
def test_wrong_password(new_registry: NewRegistry, new_provider: NewProvider, challenge: str) -> None:
    registry = new_registry(challenge=challenge, login="deploy:s3cret")
    provider = new_provider()
    provider.configure(registryAuth=[{"address": registry.address, "username": "deploy", "password": "guess"}])

    refusal = provider.refusal(f"{registry.address}/team/app:1.0")

    assert "401" in refusal
    assert "for the user deploy; check the password and the user's rights" in refusal
    assert "guess" not in refusal


@pytest.mark.parametrize("challenge", ["Basic", "Bearer"])
def test_missing_login(new_registry: NewRegistry, new_provider: NewProvider, challenge: str) -> None:
    registry = new_registry(challenge=challenge, login="deploy:s3cret")

    refusal = new_provider().refusal(f"{registry.address}/team/app:1.0")

    assert "without a login; use `docker login` or set docker:registryAuth" in refusal


@pytest.mark.parametrize(
    ("status", "text"), [(403, "(403)"), (429, "limits the rate"), (500, "answered 500 Internal Server Error")]
)
def test_registry_in_trouble(new_registry: NewRegistry, new_provider: NewProvider, status: int, text: str) -> None:
    registry = new_registry(status=status)

    assert text in new_provider().refusal(f"{registry.address}/team/app:1.0")


def test_unreachable_registry(new_provider: NewProvider) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    refusal = new_provider().refusal(f"127.0.0.1:{port}/team/app:1.0")

    assert f"127.0.0.1:{port} cannot be reached: [Errno 111] Connection refused" in refusal
    assert "check the address, and that the registry runs" in refusal


@pytest.mark.slow
def test_silent_registry_is_given_up_within_seconds(new_registry: NewRegistry, new_provider: NewProvider) -> None:
    registry = new_registry(delay_seconds=30)
    began = time.monotonic()

    refusal = new_provider().refusal(f"{registry.address}/team/app:1.0")

    assert "no answer in time" in refusal
    assert time.monotonic() - began < 15


def test_plain_http_elsewhere_has_to_be_declared(new_registry: NewRegistry, new_provider: NewProvider) -> None:
    registry = new_registry(host=socket.gethostname())  # by this name it is any registry of a network
    name = f"{registry.address}/team/app:1.0"
    provider = new_provider(NO_PROXY="*")

    refusal = provider.refusal(name)
    provider.configure(registryAuth=[{"address": registry.url, "authDisabled": True}])

    assert f"the registry https://{registry.address} cannot be reached: it does not speak TLS" in refusal
    assert "give its address as http:// in docker:registryAuth" in refusal
    assert provider.image(name)["name"] == name


@pytest.mark.thorough  # as every first release looks up its base image
@pytest.mark.lab
def test_lab_registry_through_the_engine(new_project: Callable[..., Any], lab_image: str) -> None:
    project = new_project(
        """
        import pulumi
        import pulumi_docker as docker

        name = pulumi.Config().require("image")
        pulumi.export("digest", docker.get_registry_image_output(name=name).sha256_digest)
        """
    )
    project.pulumi("config", "set", "image", lab_image)

    done = project.up()

    assert done.code == 0, done.output
    assert "warning" not in done.output.lower()
    assert str(project.outputs()["digest"]).startswith("sha256:")
    assert "1 unchanged" in project.up().output
    project.pulumi("config", "set", "image", f"{lab_image}-that-is-not-there")
    missing = project.preview()
    assert missing.code not in (0, None)
    assert "check the name, or build and push it first" in missing.output
    assert "Traceback" not in missing.output
