"""What the environment tells order-service."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from kit import settings
from kit.database import parse_url
from sqlalchemy import URL

SERVICE = "order-service"


@dataclass(frozen=True)
class Settings:
    """Parsed once, at start; `user_service_url` has no slash at its end."""

    database_url: URL
    user_service_url: str
    log_level: str = "info"
    port: int = 8080

    @staticmethod
    def from_environment() -> Settings:
        """Reads the variables; ends the process with one clear line where one is missing or wrong."""
        return settings.read_or_exit(SERVICE, _read)


def _read() -> Settings:
    return Settings(
        database_url=database_url(),
        user_service_url=user_service_url(),
        log_level=settings.log_level(),
        port=settings.port(default=8080),
    )


def database_url() -> URL:
    """`DATABASE_URL`, one of the secrets of service.yaml."""
    return parse_url(settings.required("DATABASE_URL", "postgresql://USER:PASSWORD@HOST:5432/DATABASE"))


def user_service_url() -> str:
    """`USER_SERVICE_URL`, which the platform gives to services that call user-service."""
    name, example = "USER_SERVICE_URL", "http://user-service"
    value = settings.required(name, example)
    try:
        parts = urlsplit(value)
        # reading the port is what checks it
        is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_http = False
    if not is_http:
        raise settings.SettingsError(f"{name} is {value!r}; set it to an http or https URL like {example}")
    return value.rstrip("/")
