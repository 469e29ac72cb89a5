"""What the environment tells user-service."""

from __future__ import annotations

from dataclasses import dataclass

from kit import settings
from kit.database import parse_url
from sqlalchemy import URL

SERVICE = "user-service"


@dataclass(frozen=True)
class Settings:
    """Parsed once, at start."""

    database_url: URL
    log_level: str = "info"
    port: int = 8080

    @staticmethod
    def from_environment() -> Settings:
        """Reads the variables; ends the process with one clear line where one is missing or wrong."""
        return settings.read_or_exit(SERVICE, _read)


def _read() -> Settings:
    return Settings(
        database_url=parse_url(settings.required("DATABASE_URL", "postgresql://USER:PASSWORD@HOST:5432/DATABASE")),
        log_level=settings.log_level(),
        port=settings.port(default=8080),
    )
