"""A bucket's URL as the engine writes it, put into the options of the library that reads it. Pure.

The parameters are those of gocloud.dev's s3blob, gcsblob and azureblob, and what pulumi's pkg/backend/diy makes of
older ones. What only matters to a writer (encryption, checksums, rates) is left out; what cannot be done is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from slipway.errors import ConfigurationError

TRUE, FALSE = {"1", "t", "true"}, {"0", "f", "false"}
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


@dataclass(frozen=True)
class Bucket:
    """Where a backend is: `options` and `client` are those of `obstore.store.S3Store` and the like."""

    scheme: str
    name: str
    prefix: str
    options: Mapping[str, str | bool] = field(repr=False)
    client: Mapping[str, bool] = field(default_factory=dict)
    profile: str = ""
    """Of AWS's shared configuration; empty for none in particular."""


def bucket(url: str, variables: Mapping[str, str]) -> Bucket:
    """The bucket at `url`, with the credentials that the engine would find in `variables`.

    Raises ConfigurationError for a parameter that is not understood, or a value that is no truth value.
    """
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query, keep_blank_values=True))
    _require_known(parts.scheme, asked)
    where = (parts.scheme, parts.netloc, unquote(parts.path).strip("/"))
    if parts.scheme == S3:
        return Bucket(*where, *_s3(asked, variables), asked.get("profile") or variables.get("AWS_PROFILE", ""))
    if parts.scheme == GCS:
        return Bucket(*where, _gcs(asked, variables))
    return Bucket(*where, *_azure(asked, variables))


def _require_known(scheme: str, asked: Mapping[str, str]) -> None:
    if unknown := sorted(set(asked) - UNDERSTOOD[scheme] - LEFT_OUT[scheme]):
        raise ConfigurationError(
            f"The backend's URL has a parameter that the history cannot be read with: {', '.join(unknown)}.",
            why=f"Understood for {scheme}:// are: {', '.join(sorted(UNDERSTOOD[scheme]))}.",
            next_step="Give the same by environment variables (AWS_..., GOOGLE_..., AZURE_...), and leave it out.",
        )


def _s3(asked: Mapping[str, str], variables: Mapping[str, str]) -> tuple[dict[str, str | bool], dict[str, bool]]:
    insecure = _is_true(asked, "disableSSL") or _is_true(asked, "disable_https")
    endpoint = asked.get("endpoint") or variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL", "")
    if endpoint and "://" not in endpoint:
        endpoint = f"{'http' if insecure else 'https'}://{endpoint}"
    path_style = _is_true(asked, "s3ForcePathStyle") or _is_true(asked, "use_path_style")
    given = {
        "region": asked.get("region") or variables.get("AWS_REGION") or variables.get("AWS_DEFAULT_REGION"),
        "endpoint": endpoint,
        "access_key_id": variables.get("AWS_ACCESS_KEY_ID"),
        "secret_access_key": variables.get("AWS_SECRET_ACCESS_KEY"),
        "session_token": variables.get("AWS_SESSION_TOKEN"),
    }
    # A server of one's own seldom has a name for each bucket; an address never has.
    hosted = not path_style and not endpoint
    options: dict[str, str | bool] = {name: value for name, value in given.items() if value}
    if _is_true(asked, "anonymous"):
        options["skip_signature"] = True
    return {**options, "virtual_hosted_style_request": hosted}, {"allow_http": endpoint.startswith("http://")}


def _gcs(asked: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str | bool]:
    """In pulumi's order: the JSON in GOOGLE_CREDENTIALS, a token, then Google's own default credentials."""
    if _is_true(asked, "anonymous") or asked.get("access_id") == "-":
        return {"skip_signature": True}
    if key := variables.get("GOOGLE_CREDENTIALS"):
        return {"service_account_key": key}
    if token := variables.get("GOOGLE_OAUTH_ACCESS_TOKEN"):
        return {"bearer_token": token}
    file = variables.get("GOOGLE_APPLICATION_CREDENTIALS")
    return {"application_credentials": file} if file else {}


def _azure(asked: Mapping[str, str], variables: Mapping[str, str]) -> tuple[dict[str, str | bool], dict[str, bool]]:
    connection = _connection(variables)
    account = asked.get("storage_account") or variables.get("AZURE_STORAGE_ACCOUNT") or connection.get("AccountName")
    domain = asked.get("domain") or variables.get("AZURE_STORAGE_DOMAIN") or connection.get("EndpointSuffix", "")
    protocol = asked.get("protocol") or variables.get("AZURE_STORAGE_PROTOCOL") or "https"
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
    if _is_true(asked, "localemu") or variables.get("AZURE_STORAGE_IS_LOCAL_EMULATOR", "").lower() in TRUE:
        options["use_emulator"] = True
    return options, {"allow_http": protocol == "http" or "use_emulator" in options}


def _connection(variables: Mapping[str, str]) -> dict[str, str]:
    text = variables.get("AZURE_STORAGE_CONNECTION_STRING") or variables.get("AZURE_STORAGEBLOB_CONNECTIONSTRING", "")
    return dict(part.split("=", 1) for part in text.split(";") if "=" in part)  # keys end with "=" themselves


def _is_true(asked: Mapping[str, str], name: str) -> bool:
    value = asked.get(name, "false").lower()
    if value not in TRUE | FALSE:
        raise ConfigurationError(f"The backend's URL says {name}={value}.", why="Allowed are true and false.")
    return value in TRUE
