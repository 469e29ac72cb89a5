"""What looks like a secret in free text is replaced, and what only reads like one is left to be read."""

from __future__ import annotations

import time

import pytest

from slipway.masking import SECRET, masked_text, without_keys


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


def test_a_path_of_a_policy_is_no_assignment() -> None:
    message = "spec.automountServiceAccountToken: automountServiceAccountToken is `true`; allowed: `false`"
    assert without_keys(message) == message
