"""Storage in a bucket: S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage, through obstore."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slipway.backend.bucket_urls import AZURE, EXTRAS, GCS, S3, Bucket
from slipway.backend.storage import StoredFile
from slipway.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PARALLEL_READS = 32
CREDENTIALS_TIMEOUT_SECONDS = 30.0
TOLD_LENGTH = 500
RETRIES: dict[str, Any] = {"max_retries": 3}


@dataclass(frozen=True)
class BucketStorage:
    """The objects of `bucket` under its prefix."""

    bucket: Bucket
    _store: ObjectStore = field(repr=False)

    @classmethod
    def open(cls, bucket: Bucket, variables: Mapping[str, str]) -> BucketStorage:
        """Nothing is asked of the bucket yet. ConfigurationError where the optional packages are not installed."""
        try:
            from obstore import store  # noqa: PLC0415 -- an extra
        except ImportError as error:
            extra = EXTRAS[bucket.scheme]
            raise ConfigurationError(
                f"The history is in a bucket, {bucket.scheme}://{bucket.name}, and what reads it is not installed.",
                why=str(error),
                next_step=f"Install the extra `{extra}`: `.venv/bin/python -m pip install -e '.[{extra}]'`.",
            ) from error
        kinds: dict[str, Any] = {S3: store.S3Store, GCS: store.GCSStore, AZURE: store.AzureStore}
        options = dict(bucket.options)
        if bucket.scheme == S3 and not {"access_key_id", "skip_signature"} & set(options):
            options.update(shared_credentials(bucket.profile, variables))
        client = dict(bucket.client) or None
        try:
            return cls(
                bucket, kinds[bucket.scheme](bucket.name, client_options=client, retry_config=RETRIES, **options)
            )
        except Exception as error:
            raise ConfigurationError(
                f"The backend {bucket.scheme}://{bucket.name} cannot be opened with what is set for it.",
                why=_told(error),
                next_step="Mend its URL, or the AWS_..., GOOGLE_... or AZURE_... variables.",
            ) from error

    def files(self, folder: str) -> list[StoredFile]:
        from obstore import list_with_delimiter  # noqa: PLC0415

        try:
            found = list_with_delimiter(self._store, self._key(folder))
        except Exception as error:
            raise OSError(_told(error)) from error
        return [
            StoredFile(each["path"].rpartition("/")[-1], each["size"], each["last_modified"])
            for each in found["objects"]
        ]

    def read(self, paths: Sequence[str]) -> dict[str, bytes | OSError]:
        with ThreadPoolExecutor(PARALLEL_READS) as pool:
            return dict(zip(paths, pool.map(self._content, paths), strict=True))

    def _content(self, path: str) -> bytes | OSError:
        try:
            return bytes(self._store.get(self._key(path)).bytes())
        except FileNotFoundError as error:
            return error
        except Exception as error:  # noqa: BLE001 -- whatever the network says of one file, it is one file's problem
            return OSError(_told(error))

    def _key(self, path: str) -> str:
        return f"{self.bucket.prefix}/{path}" if self.bucket.prefix else path

    def place(self, path: str) -> str:
        return f"{self.bucket.scheme}://{self.bucket.name}/{self._key(path)}"


def _told(error: Exception) -> str:
    """In one line, without the library's view of its own insides."""
    return " ".join(str(error).partition("Debug source:")[0].split())[:TOLD_LENGTH]


def shared_credentials(profile: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The keys of a profile: from AWS's shared credentials file, else from its command line, which knows SSO and roles.

    Empty where there is no profile: then the machine's own identity is used, as obstore finds it.
    """
    home = Path(variables.get("HOME") or Path.home())
    file = Path(variables.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws" / "credentials")
    profiles = configparser.RawConfigParser()
    profiles.read(file)
    name = profile or "default"
    if profiles.has_option(name, "aws_access_key_id"):
        keys = {
            "access_key_id": profiles.get(name, "aws_access_key_id"),
            "secret_access_key": profiles.get(name, "aws_secret_access_key", fallback=""),
            "session_token": profiles.get(name, "aws_session_token", fallback=""),
        }
        return {option: value for option, value in keys.items() if value}
    return _exported_credentials(profile, variables) if profile else {}


def _exported_credentials(profile: str, variables: Mapping[str, str]) -> dict[str, str]:
    """https://docs.aws.amazon.com/cli/latest/reference/configure/export-credentials.html"""
    command = ["aws", "configure", "export-credentials", "--format", "process", "--profile", profile]
    try:
        done = subprocess.run(
            command,
            env=dict(variables) or dict(os.environ),
            capture_output=True,
            text=True,
            check=True,
            timeout=CREDENTIALS_TIMEOUT_SECONDS,
        )
        found = json.loads(done.stdout)
        return {
            "access_key_id": found["AccessKeyId"],
            "secret_access_key": found["SecretAccessKey"],
            **({"session_token": found["SessionToken"]} if found.get("SessionToken") else {}),
        }
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        said = getattr(error, "stderr", "") or error
        raise ConfigurationError(
            f"No credentials were found for the AWS profile {profile}.",
            why=f"It has none in the shared credentials file, and `{' '.join(command)}` failed: {said}".strip(),
            next_step="Log in, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ) from error
