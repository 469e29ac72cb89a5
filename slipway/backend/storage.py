"""The files of a self-managed backend, in a local folder, or in a bucket (S3, Google Cloud, Azure) through obstore."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import stat
import subprocess
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from slipway.environment_variables import TRUE
from slipway.errors import ConfigurationError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FALSE = {"0", "f", "false"}
S3, GCS, AZURE = "s3", "gs", "azblob"
EXTRAS = {S3: "s3", GCS: "gcs", AZURE: "azure"}
LEFT_OUT = {
    S3: {
        "awssdk", "ssetype", "kmskeyid", "rate_limiter_capacity", "hostname_immutable",
        "request_checksum_calculation", "response_checksum_validation",
    },
    GCS: {"private_key_path"},
    AZURE: set(),
}  # fmt: skip
UNDERSTOOD = {
    S3: {
        "region", "endpoint", "profile", "anonymous",
        "disableSSL", "disable_https", "s3ForcePathStyle", "use_path_style",
    },
    GCS: {"access_id", "anonymous"},
    AZURE: {"storage_account", "domain", "protocol", "localemu"},
}  # fmt: skip
PARALLEL_READS = 32
CREDENTIALS_TIMEOUT_SECONDS = 30.0
MESSAGE_LENGTH = 500
RETRIES: dict[str, Any] = {"max_retries": 3}


@dataclass(frozen=True)
class StoredFile:
    """A file without its content; `name` is without its folder."""

    name: str
    size: int
    modified: datetime


class Storage(Protocol):
    """A tree of files; paths are relative to its root, with `/`. Errors of the tree itself are raised."""

    def files(self, folder: str) -> list[StoredFile]:
        """The files in `folder` itself, in no order; empty if the folder does not exist."""
        ...

    def read(self, paths: Sequence[str]) -> dict[str, bytes | OSError]:
        """The content of each file, or the error if it cannot be read."""
        ...

    def write(self, path: str, content: bytes) -> None:
        """Write the file, as a whole or not at all; raises OSError."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Copy a file; raises OSError."""
        ...

    def delete(self, paths: Sequence[str]) -> None:
        """Delete files; one that is missing is no error. Raises OSError."""
        ...

    def place(self, path: str) -> str:
        """The path or URL of the file, for messages."""
        ...


@dataclass(frozen=True)
class Folder:
    """Storage in a folder of this machine."""

    root: Path

    def files(self, folder: str) -> list[StoredFile]:
        try:
            paths = list((self.root / folder).iterdir())
        except FileNotFoundError:
            return []
        found = []
        for path in paths:
            # The engine writes and locks in parallel: a file may be removed since it was listed.
            with suppress(FileNotFoundError):
                status = path.stat()
                if stat.S_ISREG(status.st_mode):
                    modified = datetime.fromtimestamp(status.st_mtime, UTC)
                    found.append(StoredFile(path.name, status.st_size, modified))
        return found

    def read(self, paths: Sequence[str]) -> dict[str, bytes | OSError]:
        found: dict[str, bytes | OSError] = {}
        for path in paths:
            try:
                found[path] = (self.root / path).read_bytes()
            except OSError as error:
                found[path] = error
        return found

    def write(self, path: str, content: bytes) -> None:
        self._put(path, lambda partial: partial.write_bytes(content))

    def copy(self, source: str, target: str) -> None:
        self._put(target, lambda partial: shutil.copyfile(self.root / source, partial))

    def _put(self, path: str, fill: Callable[[Path], object]) -> None:
        """Fill a file elsewhere, which another process would take for a lock or a state, and give it its name."""
        file, partial = self.root / path, self.root / ".pulumi" / f"{uuid.uuid4()}.partial"
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            fill(partial)
            if file.exists():
                shutil.copymode(file, partial)
            file.with_name(f"{file.name}.attrs").unlink(missing_ok=True)  # the engine's hash of the old content
            partial.rename(file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def delete(self, paths: Sequence[str]) -> None:
        for path in paths:
            (self.root / path).unlink(missing_ok=True)

    def place(self, path: str) -> str:
        return str(self.root / path)


@dataclass(frozen=True)
class Bucket:
    """The location of a backend; `options` and `client` are those of `obstore.store.S3Store` and similar stores."""

    scheme: str
    name: str
    prefix: str
    options: Mapping[str, str | bool] = field(repr=False)
    client: Mapping[str, bool] = field(default_factory=dict)
    profile: str = ""
    """A profile of AWS's shared configuration; empty if none is chosen."""


def bucket(url: str, variables: Mapping[str, str]) -> Bucket:
    """The bucket at `url`, with the credentials that the engine would find in `variables`.

    Raises ConfigurationError for a parameter that is not supported, or a value that is not a boolean.
    """
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(set(query) - UNDERSTOOD[parts.scheme] - LEFT_OUT[parts.scheme]):
        raise ConfigurationError(
            f"The backend's URL has a parameter that `slipway history` does not support: {', '.join(unknown)}.",
            why=f"Supported for {parts.scheme}://: {', '.join(sorted(UNDERSTOOD[parts.scheme]))}.",
            next_step="Remove it, and set environment variables instead (AWS_..., GOOGLE_..., AZURE_...).",
        )
    where = (parts.scheme, parts.netloc, unquote(parts.path).strip("/"))
    if parts.scheme == S3:
        return Bucket(*where, *_s3(query, variables), query.get("profile") or variables.get("AWS_PROFILE", ""))
    if parts.scheme == GCS:
        return Bucket(*where, _gcs(query, variables))
    return Bucket(*where, *_azure(query, variables))


def _s3(query: Mapping[str, str], variables: Mapping[str, str]) -> tuple[dict[str, str | bool], dict[str, bool]]:
    insecure = _is_true(query, "disableSSL") or _is_true(query, "disable_https")
    endpoint = query.get("endpoint") or variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL", "")
    if endpoint and "://" not in endpoint:
        endpoint = f"{'http' if insecure else 'https'}://{endpoint}"
    path_style = _is_true(query, "s3ForcePathStyle") or _is_true(query, "use_path_style")
    given = {
        "region": query.get("region") or variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION"),
        "endpoint": endpoint,
        "access_key_id": variables.get("AWS_ACCESS_KEY_ID"),
        "secret_access_key": variables.get("AWS_SECRET_ACCESS_KEY"),
        "session_token": variables.get("AWS_SESSION_TOKEN"),
    }
    # A self-hosted server seldom has a host name for each bucket; an IP address never has.
    hosted = not path_style and not endpoint
    options: dict[str, str | bool] = {name: value for name, value in given.items() if value}
    if _is_true(query, "anonymous"):
        options["skip_signature"] = True
    return {**options, "virtual_hosted_style_request": hosted}, {"allow_http": endpoint.startswith("http://")}


def _gcs(query: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str | bool]:
    """Credentials in Pulumi's order: the JSON in GOOGLE_CREDENTIALS, a token, then Google's own default credentials."""
    if _is_true(query, "anonymous") or query.get("access_id") == "-":
        return {"skip_signature": True}
    if key := variables.get("GOOGLE_CREDENTIALS"):
        return {"service_account_key": key}
    if token := variables.get("GOOGLE_OAUTH_ACCESS_TOKEN"):
        return {"bearer_token": token}
    file = variables.get("GOOGLE_APPLICATION_CREDENTIALS")
    return {"application_credentials": file} if file else {}


def _azure(query: Mapping[str, str], variables: Mapping[str, str]) -> tuple[dict[str, str | bool], dict[str, bool]]:
    text = variables.get("AZURE_STORAGE_CONNECTION_STRING") or variables.get("AZURE_STORAGEBLOB_CONNECTIONSTRING", "")
    # Keys end with "=" themselves.
    connection = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
    account = query.get("storage_account") or variables.get("AZURE_STORAGE_ACCOUNT") or connection.get("AccountName")
    domain = query.get("domain") or variables.get("AZURE_STORAGE_DOMAIN") or connection.get("EndpointSuffix", "")
    protocol = query.get("protocol") or variables.get("AZURE_STORAGE_PROTOCOL") or "https"
    key, sas = variables.get("AZURE_STORAGE_KEY"), variables.get("AZURE_STORAGE_SAS_TOKEN")
    given: dict[str, str | None] = {"account_name": account, "endpoint": connection.get("BlobEndpoint")}
    if domain and not given["endpoint"]:
        host = domain if domain.startswith("blob.") else f"blob.{domain}"
        given["endpoint"] = f"{protocol}://{account}.{host}"
    if key or not sas:
        given["account_key"] = key or connection.get("AccountKey")
    else:
        given["sas_key"] = sas.removeprefix("?")
    options: dict[str, str | bool] = {name: value for name, value in given.items() if value}
    if _is_true(query, "localemu") or variables.get("AZURE_STORAGE_IS_LOCAL_EMULATOR", "").lower() in TRUE:
        options["use_emulator"] = True
    return options, {"allow_http": protocol == "http" or "use_emulator" in options}


def _is_true(query: Mapping[str, str], name: str) -> bool:
    value = query.get(name, "false").lower()
    if value not in TRUE | FALSE:
        raise ConfigurationError(f"The backend's URL has {name}={value}.", why="Allowed are true and false.")
    return value in TRUE


@dataclass(frozen=True)
class BucketStorage:
    """The objects of `bucket` under its prefix."""

    bucket: Bucket
    _store: ObjectStore = field(repr=False)

    @classmethod
    def open(cls, bucket: Bucket, variables: Mapping[str, str]) -> BucketStorage:
        """Sends no request to the bucket yet. Raises ConfigurationError if the optional packages are not installed."""
        try:
            from obstore import store  # noqa: PLC0415 -- an extra
        except ImportError as error:
            extra = EXTRAS[bucket.scheme]
            raise ConfigurationError(
                f"The history is in the bucket {bucket.scheme}://{bucket.name}, and its client is not installed.",
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
                f"The backend {bucket.scheme}://{bucket.name} cannot be opened with its settings.",
                why=_message(error),
                next_step="Fix its URL, or the AWS_..., GOOGLE_... or AZURE_... variables.",
            ) from error

    def files(self, folder: str) -> list[StoredFile]:
        from obstore import list_with_delimiter  # noqa: PLC0415

        try:
            found = list_with_delimiter(self._store, self._key(folder))
        except Exception as error:
            raise OSError(_message(error)) from error
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
        except Exception as error:  # noqa: BLE001 -- a network error concerns only this file
            return OSError(_message(error))

    def write(self, path: str, content: bytes) -> None:
        self._change(lambda: self._store.put(self._key(path), content))

    def copy(self, source: str, target: str) -> None:
        self._change(lambda: self._store.copy(self._key(source), self._key(target)))

    def delete(self, paths: Sequence[str]) -> None:
        with suppress(FileNotFoundError):  # some servers say so
            if paths:
                self._change(lambda: self._store.delete([self._key(path) for path in paths]))

    def _change(self, request: Callable[[], object]) -> None:
        try:
            request()
        except OSError:
            raise
        except Exception as error:
            raise OSError(_message(error)) from error

    def _key(self, path: str) -> str:
        return f"{self.bucket.prefix}/{path}" if self.bucket.prefix else path

    def place(self, path: str) -> str:
        return f"{self.bucket.scheme}://{self.bucket.name}/{self._key(path)}"


def _message(error: Exception) -> str:
    """The message in one line, without the library's debug details."""
    return " ".join(str(error).partition("Debug source:")[0].split())[:MESSAGE_LENGTH]


def shared_credentials(profile: str, variables: Mapping[str, str]) -> dict[str, str]:
    """The keys of a profile: from AWS's shared credentials file, else from `aws`, which supports SSO and roles.

    Empty if there is no profile: obstore then uses the machine's own identity.
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
            encoding="utf-8",
            errors="replace",
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
        output = getattr(error, "stderr", "") or error
        raise ConfigurationError(
            f"No credentials were found for the AWS profile {profile}.",
            why=f"It has none in the shared credentials file, and `{' '.join(command)}` failed: {output}".strip(),
            next_step="Log in, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
        ) from error
