"""What the engine's URLs of buckets, and the variables beside them, come to."""

from __future__ import annotations

from pathlib import Path

import pytest

from slipway.backend.storage import BucketStorage, bucket, shared_credentials
from slipway.errors import ConfigurationError

HOSTED = {"virtual_hosted_style_request": True}
BY_PATH = {"virtual_hosted_style_request": False}


@pytest.mark.parametrize(
    ("url", "variables", "options", "insecure"),
    [
        ("s3://b", {}, HOSTED, False),
        ("s3://b?region=eu-west-1&awssdk=v2", {}, {**HOSTED, "region": "eu-west-1"}, False),
        ("s3://b", {"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}, {**HOSTED, "region": "a"}, False),
        ("s3://b?s3ForcePathStyle=true", {}, BY_PATH, False),
        ("s3://b?use_path_style=1", {}, BY_PATH, False),
        ("s3://b?endpoint=minio:9000", {}, {**BY_PATH, "endpoint": "https://minio:9000"}, False),
        ("s3://b?endpoint=minio:9000&disableSSL=true", {}, {**BY_PATH, "endpoint": "http://minio:9000"}, True),
        ("s3://b?endpoint=m:9&disable_https=true", {}, {**BY_PATH, "endpoint": "http://m:9"}, True),
        ("s3://b?endpoint=http://m:9", {}, {**BY_PATH, "endpoint": "http://m:9"}, True),
        ("s3://b", {"AWS_ENDPOINT_URL": "http://m:9"}, {**BY_PATH, "endpoint": "http://m:9"}, True),
        ("s3://b?anonymous=true", {}, {**HOSTED, "skip_signature": True}, False),
        (
            "s3://b?ssetype=aws:kms&kmskeyid=k",
            {"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"},
            {**HOSTED, "access_key_id": "i", "secret_access_key": "s", "session_token": "t"},
            False,
        ),
        ("gs://b", {}, {}, False),
        ("gs://b?anonymous=true", {"GOOGLE_CREDENTIALS": "{}"}, {"skip_signature": True}, False),
        ("gs://b?access_id=-", {}, {"skip_signature": True}, False),
        (
            "gs://b",
            {"GOOGLE_CREDENTIALS": "{}", "GOOGLE_OAUTH_ACCESS_TOKEN": "t"},
            {"service_account_key": "{}"},
            False,
        ),
        ("gs://b", {"GOOGLE_OAUTH_ACCESS_TOKEN": "t"}, {"bearer_token": "t"}, False),
        ("gs://b", {"GOOGLE_APPLICATION_CREDENTIALS": "f"}, {"application_credentials": "f"}, False),
        ("azblob://b?storage_account=a", {"AZURE_STORAGE_ACCOUNT": "x"}, {"account_name": "a"}, False),
        (
            "azblob://b",
            {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "a2V5"},
            {"account_name": "a", "account_key": "a2V5"},
            False,
        ),
        (
            "azblob://b",
            {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_SAS_TOKEN": "?sv=1"},
            {"account_name": "a", "sas_key": "sv=1"},
            False,
        ),
        (
            "azblob://b",
            {"AZURE_STORAGE_CONNECTION_STRING": "AccountName=a;AccountKey=a2U=;EndpointSuffix=core.windows.net"},
            {"account_name": "a", "account_key": "a2U=", "endpoint": "https://a.blob.core.windows.net"},
            False,
        ),
        (
            "azblob://b?domain=blob.core.chinacloudapi.cn&storage_account=a",
            {},
            {"account_name": "a", "endpoint": "https://a.blob.core.chinacloudapi.cn"},
            False,
        ),
        ("azblob://b?localemu=true&protocol=http", {}, {"use_emulator": True}, True),
    ],
)
def test_options(url: str, variables: dict[str, str], options: dict[str, object], insecure: bool) -> None:
    found = bucket(url, variables)
    assert dict(found.options) == options
    assert bool(found.client.get("allow_http")) == insecure
    assert found.name == "b"
    if not {"service_account_key", "application_credentials"} & set(options):
        assert BucketStorage.open(found, {"HOME": "/nowhere"}).place("x") == f"{url.partition('?')[0]}/x"
        return
    with pytest.raises(ConfigurationError, match="cannot be opened"):  # `{}` is no key, and there is no file `f`
        BucketStorage.open(found, {})


def test_the_prefix() -> None:
    found = bucket("s3://b/a%20team/states/?region=x", {})
    assert (found.name, found.prefix) == ("b", "a team/states")
    assert "secret" not in repr(bucket("s3://b", {"AWS_SECRET_ACCESS_KEY": "secret"}))


@pytest.mark.parametrize("parameter", ["role=arn:aws:iam::1:role/x", "fips=true", "nonsense=1", "disableSSL=maybe"])
def test_what_cannot_be_done_is_refused(parameter: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        bucket(f"s3://b?{parameter}", {})
    assert parameter.split("=", maxsplit=1)[0] in str(caught.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    for url, extra in (("s3://b", "s3"), ("gs://b", "gcs"), ("azblob://b", "azure")):
        with pytest.raises(ConfigurationError, match="not installed") as caught:
            BucketStorage.open(bucket(url, {}), {})
        assert f"extra `{extra}`" in caught.value.next_step


def test_credentials_of_a_profile(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b\n[c]\naws_access_key_id = d\n")
    variables = {"AWS_SHARED_CREDENTIALS_FILE": str(file), "PATH": str(tmp_path)}
    assert shared_credentials("", variables) == {"access_key_id": "a", "secret_access_key": "b"}
    assert shared_credentials("c", variables) == {"access_key_id": "d"}
    with pytest.raises(ConfigurationError, match="AWS profile sso"):
        shared_credentials("sso", variables)
    command = tmp_path / "aws"
    command.write_text('#!/bin/sh\necho \'{"Version": 1, "AccessKeyId": "i", "SecretAccessKey": "s"}\'\n')
    command.chmod(0o755)
    assert shared_credentials("sso", variables) == {"access_key_id": "i", "secret_access_key": "s"}
    assert shared_credentials("", {"HOME": str(tmp_path)}) == {}
