"""Logs as one JSON object per line on stdout, each with the id of the request it belongs to."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from flask import g, has_request_context


def request_id() -> str | None:
    """Id of the request being served, `None` outside of one."""
    return g.get("request_id") if has_request_context() else None


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; `extra={"fields": {...}}` adds keys of its own."""

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "service": self._service,
            "request_id": request_id(),
            "message": record.getMessage(),
            "logger": record.name,
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def log_config(service: str, level: str) -> dict[str, Any]:
    """A `logging.config` dictionary; gunicorn takes it as `logconfig_dict`, so that its own lines look the same."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonLines, "service": service}},
        "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
        "root": {"level": level.upper(), "handlers": ["stdout"]},
        "loggers": {
            "gunicorn.error": {"level": level.upper(), "propagate": True, "handlers": []},
            # the line of kit.telemetry says more, and knows the request's id
            "gunicorn.access": {"propagate": False, "handlers": []},
            # it logs every request it sends at level info, which our own lines cover
            "httpx": {"level": "WARNING"},
        },
    }
