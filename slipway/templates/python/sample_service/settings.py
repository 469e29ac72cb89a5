"""What the environment tells sample-service."""

from __future__ import annotations

from dataclasses import dataclass

from kit import settings

SERVICE = "sample-service"


@dataclass(frozen=True)
class Settings:
    """Parsed once, at start."""

    log_level: str = "info"
    port: int = 8080

    @staticmethod
    def from_environment() -> Settings:
        """Reads the variables; ends the process with one clear line where one is missing or wrong."""
        return settings.read_or_exit(SERVICE, _read)


def _read() -> Settings:
    return Settings(log_level=settings.log_level(), port=settings.port(default=8080))
