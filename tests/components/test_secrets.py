"""Where the values of secrets come from, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.settings import read_secrets
from services.catalog import Service
from services.spec import ServiceSpec

VARIABLE = "ORDER_SERVICE_TOKEN"
SET = "`pulumi config set --secret order-service:TOKEN`"


def service(name: str, *secrets: str) -> Service:
    return Service(ServiceSpec(name=name, secrets=list(secrets)), Path("services/x"))


@pytest.fixture
def read(declare: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`read(config, *services)` gives the secrets of services, or of one `order-service` with a TOKEN."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delenv(f"{VARIABLE}_FILE", raising=False)

    def run(config: dict[str, str] | None = None, *services: Service) -> dict[str, dict[str, str]]:
        found: list[dict[str, dict[str, str]]] = []
        declare(lambda: found.append(read_secrets(services or (service("order-service", "TOKEN"),))), config=config)
        return found[0]

    return run


def refusal(read: Any, config: dict[str, str] | None = None, *services: Service) -> str:
    with pytest.raises(pulumi.RunError) as caught:
        read(config, *services)
    return str(caught.value)


@pytest.mark.parametrize(("text", "value"), [("x\n", "x"), (" x \r\n", " x "), ("x\n\n", "x\n"), ("\tx", "\tx")])
def test_the_same_value_is_the_same_whichever_way_it_comes(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, value: str
) -> None:
    file = tmp_path / "token"
    file.write_bytes(text.encode())
    assert read({"order-service:TOKEN": text}) == {"order-service": {"TOKEN": value}}
    monkeypatch.setenv(VARIABLE, text)
    assert read() == {"order-service": {"TOKEN": value}}
    monkeypatch.setenv(VARIABLE, "another")
    monkeypatch.setenv(f"{VARIABLE}_FILE", str(file))
    assert read() == {"order-service": {"TOKEN": value}}


def test_each_stack_may_have_a_file_of_its_own(read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{VARIABLE}_FILE", str(tmp_path / "{stack}" / "token"))
    assert f"the file {tmp_path}/dev/token, which {VARIABLE}_FILE names, cannot be read" in refusal(read)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/token").write_text("of dev\n")
    assert read() == {"order-service": {"TOKEN": "of dev"}}


def folder(file: Path) -> None:
    file.mkdir()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda _: None, "cannot be read: No such file or directory; set it with"),
        (folder, "cannot be read: Is a directory; set it with"),
        (lambda file: file.write_bytes(b"\xff\xfehidden"), "is not UTF-8 text"),
        (lambda file: file.write_bytes(b"hid\0den"), "has a NUL character"),
        (lambda file: file.write_bytes(b""), f"is empty, and order-service needs the secret TOKEN; set it with {SET}"),
        (lambda file: file.write_bytes(b"\n"), "is empty, and order-service needs the secret TOKEN"),
        (lambda file: file.write_bytes(b"hidden" * 30_000), "has 180,007 bytes with its name"),
    ],
)
def test_a_file_that_holds_no_secret_is_a_configuration_error(
    read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any, problem: str
) -> None:
    file = tmp_path / "token"
    make(file)
    monkeypatch.setenv(f"{VARIABLE}_FILE", str(file))
    message = refusal(read)
    assert message.startswith(f"Configuration error: the file {file}, which {VARIABLE}_FILE names, {problem}")
    assert "hid" not in message.replace(str(file), "")


def test_an_empty_value_is_refused_wherever_it_comes_from(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(read, {"order-service:TOKEN": ""}).startswith(
        "Configuration error: order-service:TOKEN in the configuration of stack dev is empty"
    )
    monkeypatch.setenv(VARIABLE, "")
    assert refusal(read).startswith(f"Configuration error: the environment variable {VARIABLE} is empty")


def test_what_is_missing_of_all_services_is_listed_at_once(read: Any) -> None:
    message = refusal(read, None, service("a", "X", "Y"), service("b", "Z"))
    assert [f"pulumi config set --secret {key}`" in message for key in ("a:X", "a:Y", "b:Z")] == [True] * 3


@pytest.mark.parametrize(
    ("services", "variable", "second"),
    [
        ([service("shop", "API_KEY"), service("shop-api", "KEY")], "SHOP_API_KEY", "shop-api:KEY"),
        ([service("shop", "key", "KEY")], "SHOP_KEY", "shop:KEY"),
        ([service("shop", "KEY_FILE", "KEY")], "SHOP_KEY_FILE", "shop:KEY"),
    ],
)
def test_one_variable_is_not_the_value_of_two_secrets(
    read: Any, monkeypatch: pytest.MonkeyPatch, services: list[Service], variable: str, second: str
) -> None:
    monkeypatch.setenv(variable, __file__)
    message = refusal(read, None, *services)
    assert message.startswith(f"Configuration error: {variable} is read for two secrets, ")
    assert message.endswith(f"set one of them with `pulumi config set --secret {second}`")
    assert read({second: "another"}, *services)


def test_more_than_a_secret_holds_is_refused(read: Any) -> None:
    names = [f"X{index}" for index in range(11)]
    message = refusal(read, {f"a:{name}": "x" * 100_000 for name in names}, service("a", *names))
    assert message.endswith("the secrets of a have 1,100,000 bytes in all, and a Secret holds 1,048,576")


def test_the_credentials_of_a_build_server_are_no_secrets_of_a_service(
    read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service called `aws` would be given the key by which the job reaches its backend."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-job")
    assert refusal(read, None, service("aws", "SECRET_ACCESS_KEY")).endswith(
        "aws needs the secret SECRET_ACCESS_KEY, which is not set in stack dev; set it with "
        "`pulumi config set --secret aws:SECRET_ACCESS_KEY`: other programs use the variable AWS_SECRET_ACCESS_KEY"
    )
    found = read({"aws:SECRET_ACCESS_KEY": "its-own"}, service("aws", "SECRET_ACCESS_KEY"))
    assert found == {"aws": {"SECRET_ACCESS_KEY": "its-own"}}


def test_what_files_take_is_read_too_and_may_be_longer_than_a_variable(read: Any) -> None:
    spec = ServiceSpec.model_validate(
        {
            "name": "order-service",
            "files": {"/etc/ca.pem": {"secret": "TOKEN"}},
            "sidecars": [{"name": "proxy", "files": {"/etc/key": {"secret": "KEY"}}}],
        }
    )
    config = {"order-service:TOKEN": "x" * 200_000, "order-service:KEY": "k"}
    found = read(config, Service(spec, Path("services/x")))
    assert found == {"order-service": {"TOKEN": "x" * 200_000, "KEY": "k"}}
