"""What looks like a secret in free text is replaced, and what only reads like one is left to be read."""

from __future__ import annotations

import time

import pytest

from slipway.masking import SECRET, masked, masked_text, without_keys


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("DATABASE_URL is postgres://shop:hunter2@db/shop", f"DATABASE_URL is postgres://shop:{SECRET}@db/shop"),
        ("postgres://shop:hun@ter2@db/shop?a=b@c", f"postgres://shop:{SECRET}@db/shop?a=b@c"),
        ("password=hunter2 and more", f"password={SECRET} and more"),
        ("PASSWORD='hun ter2' USER='shop'", f"PASSWORD='{SECRET}' USER='shop'"),
        ('{"password": "hun, ter2", "user": "shop"}', f'{{"password": "{SECRET}", "user": "shop"}}'),
        ("password='' user='shop'", "password='' user='shop'"),
        ("api_key := 'hunter2'", f"api_key := '{SECRET}'"),
        ('{"token": "hunter2"}', f'{{"token": "{SECRET}"}}'),
        ("assert password == 'hunter2'", f"assert password == '{SECRET}'"),
        ("psql --password hunter2 shop", f"psql --password {SECRET} shop"),
        ("pulumi config set --secret shop:TOKEN hunter2", f"pulumi config set --secret shop:TOKEN {SECRET}"),
        ("host=db user=a password=hunter2", f"host=db user=a password={SECRET}"),
        ("AccountName=a;AccountKey=aHVudGVyMg==;", f"AccountName=a;AccountKey={SECRET};"),
        ("Authorization: Bearer hunter2", f"Authorization: Bearer {SECRET}"),
        ("-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----\n", f"{SECRET}\n"),
    ],
)
def test_secrets_in_text(text: str, expected: str) -> None:
    assert masked_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "FAILED tests/test_login.py::TestToken::test_refresh - assert 1 == 2",
        "TestPassword::test_it",
        "no token:\nTraceback (most recent call last)",
        "urn:pulumi:dev::shop::kubernetes:core/v1:Secret::api",
        "the password is wrong",
        "set it with `pulumi config set --secret user-service:DATABASE_URL`, or in the environment variable X",
        "give it a --token-file /var/run/file",
    ],
)
def test_text_about_secrets(text: str) -> None:
    assert masked_text(text) == text


@pytest.mark.parametrize("line", ["a-", "--", "--a ", "token", "a://b:c", "password =", "x"])
def test_a_long_line_takes_no_time(line: str) -> None:
    began = time.perf_counter()
    masked_text(line * 40_000)
    assert time.perf_counter() - began < 2


def test_secrets_within_a_value_are_masked_though_its_name_is_harmless() -> None:
    """A comment on a pull request shows values of a ConfigMap, and of a cluster what is in no file."""
    data = {"app.json": '{"level": "info", "password": "hunter2"}', "DSN": "host=db password=hunter2", "LEVEL": "info"}
    shown = masked({"data": data}, "kubernetes:core/v1:ConfigMap")["data"]
    assert "hunter2" not in str(shown)
    assert shown["LEVEL"] == "info"
    assert '"level": "info"' in shown["app.json"]


def test_a_path_of_a_policy_is_no_assignment() -> None:
    message = "spec.automountServiceAccountToken: automountServiceAccountToken is `true`; allowed: `false`"
    assert without_keys(message) == message
